"""How a hospital's columns become the variables of studies: a YAML file that the hospital writes once and keeps to itself.

    >>> found = read('''
    ... mapping: 1
    ... about: Discharge letters of the ward system, 2015 to 2024
    ... missing: ["-9", unbekannt]
    ... decimal: ","
    ... dates: DD.MM.YYYY
    ... columns:
    ...   age: {from: geboren, until: aufnahme}
    ...   creatinine: {from: krea, unit: mg/dL}
    ...   sex: {from: geschlecht, values: {W: F, M: M}}
    ...   heart_failure: {sql: "icd like 'I50%'"}
    ... ''')
    >>> found.columns["creatinine"].source, found.columns["sex"].values
    ('krea', {'W': 'F', 'M': 'M'})

The file says what the columns are here, not what some study wants: the study's schema names the unit wanted, so one file serves
every study of the table. Studies' variables that it does not name are columns of the same name. Nothing in it is sent.
"""

import re
from collections.abc import Mapping as Map
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pydantic
import yaml
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from collegium.data import units
from collegium.errors import DataError
from collegium.study.places import places
from collegium.study.schema import Part

FOLDER, VERSION = "mappings", 1
TOKENS = {"YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d", "hh": "%H", "mm": "%M", "ss": "%S"}
RANGE = re.compile(r"(?P<low>[A-Za-z]?\d[\d.]*)\.\.(?P<high>[A-Za-z]?\d[\d.]*)")


class Words(yaml.SafeLoader):
    """YAML in which every scalar is the text that was written: `no`, `1` and `0.10` are codes here, not truth values and numbers."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML has it


def listed(value: Any) -> Any:
    """One text where a list is wanted."""
    return (value,) if isinstance(value, str) else value


def check_numbers(decimal: str) -> str:
    """A decimal sign is a point or a comma."""
    if decimal not in ("", ".", ","):
        raise ValueError(f"`decimal` is {decimal[:5]!r}; wanted '.' or ','")
    return decimal


def check_dates(styles: tuple[str, ...]) -> tuple[str, ...]:
    """Styles that can be read, and of which no two read one text as two days."""
    order: dict[str, str] = {}
    for style in styles:
        form = strptime(style)
        plain = re.sub(r"%[dm]", "%", form)
        if order.setdefault(plain, form) != form:
            raise ValueError(f"{style!r} beside another order of day and month: 03/04 would be two dates; split the column when exporting")
    return styles


@cache
def strptime(style: str) -> str:
    """A style such as DD.MM.YYYY as programs write it. Raises `ValueError`."""
    parts = re.split(r"(YYYY|YY|MM|DD|hh|mm|ss)", style)
    if not {"MM", "DD"} < set(parts) or not {"YYYY", "YY"} & set(parts) or any(re.search(r"[A-SU-Za-z%]", part) for part in parts[::2]):
        raise ValueError(
            f"{style[:30]!r} is not a style of dates; wanted YYYY, MM and DD with what stands between, such as DD.MM.YYYY hh:mm"
        )
    return "".join(TOKENS.get(part, part) for part in parts)


def check_codes(values: dict[str, str]) -> dict[str, str]:
    """A range of codes has two ends of one form, the lower first."""
    for code in values:
        if ".." in code and not (ends := RANGE.fullmatch(code)):
            raise ValueError(f"{code[:30]!r} is not a range of codes; wanted two ends such as I20..I25 or 250..250.99")
        if ".." in code and ends and (ends["low"][0].isalpha() != ends["high"][0].isalpha() or ends["low"] > ends["high"]):
            raise ValueError(f"the range {code[:30]!r} holds no code: its ends are in the wrong order or of two forms")
    return values


def check_unit(unit: str) -> str:
    """A unit is one that can be converted."""
    try:
        if unit:
            units.parsed(unit)
    except DataError as e:
        raise ValueError(f"{e}; {e.hint}") from None
    return unit


Texts = Annotated[tuple[str, ...], BeforeValidator(listed)]
Dates = Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(check_dates)]
Decimal = Annotated[str, AfterValidator(check_numbers)]


class Rule(Part, populate_by_name=True):
    """Where one variable comes from: a column, a span between two dates, or an expression; then its unit, its words."""

    source: str = Field(default="", alias="from")
    until: str = ""
    sql: str = ""
    unit: Annotated[str, AfterValidator(check_unit)] = ""
    of: str = ""
    values: Annotated[dict[str, str], AfterValidator(check_codes)] = Field(default_factory=dict)
    others: str | None = None
    missing: Texts = ()
    decimal: Decimal = ""
    dates: Dates = ()

    @model_validator(mode="after")
    def consistent(self) -> "Rule":
        if bool(self.source) == bool(self.sql):
            raise ValueError("wanted either `from`, a column of this table, or `sql`, an expression over its columns")
        if self.until and (self.sql or self.values or self.unit):
            raise ValueError("`until` makes the time from one date to another: it stands with `from` and nothing else")
        if self.of and not self.unit:
            raise ValueError("`of` names the substance whose `unit` is to be converted; there is no `unit`")
        return self


class Mapping(Part):
    """The whole file: how missing values, numbers and dates are written in this table, and a rule for each variable."""

    mapping: int = VERSION
    about: str = ""
    missing: Texts = ()
    decimal: Decimal = ""
    dates: Dates = ()
    columns: dict[str, Rule] = Field(min_length=1)

    _lines: Map[str, int] = PrivateAttr(default_factory=dict)
    _where: str = PrivateAttr("the mapping")

    def at(self, name: str, field: str = "") -> str:
        """Where a variable's rule stands, for an error."""
        line = self._lines.get(f"columns.{name}.{field}") or self._lines.get(f"columns.{name}", 0)
        return f"{self._where}{f' line {line}' if line else ''}: {name}"

    @model_validator(mode="after")
    def consistent(self) -> "Mapping":
        if self.mapping != VERSION:
            raise ValueError(f"this file has version {self.mapping}, this program reads {VERSION}: install the newer one")
        return self


def read(document: str | bytes, where: str = "the mapping") -> Mapping:
    """A mapping from YAML text. Raises `DataError` that names line and field."""
    try:
        root = yaml.compose(document, Loader=yaml.SafeLoader)
        found = yaml.load(document, Loader=Words)  # noqa: S506 - a SafeLoader that keeps codes as they were written
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise DataError(
            f"{where}{line}: not YAML: {getattr(e, 'problem', None) or 'it cannot be read'}", hint="put texts with : or # in quotes"
        ) from None
    if not isinstance(found, dict):
        raise DataError(
            f"{where}: a mapping of fields is wanted, found {type(found).__name__}", hint="begin with `mapping: 1` and `columns:`"
        )
    lines = places(root)
    if double := twice(root):
        raise DataError(f"{where} line {double[1]}: {double[0]} stands twice", hint="leave one of them; the later would hide the earlier")
    try:
        made = Mapping.model_validate(found)
    except pydantic.ValidationError as e:
        raise refused(e, lines, where) from None
    made._lines, made._where = lines, where
    return made


def twice(node: Any, prefix: str = "") -> tuple[str, int] | None:
    """The first key that stands twice in one mapping of a composed document, and its line."""
    met = set[str]()
    for key, value in node.value if node is not None and node.id == "mapping" else ():
        name = f"{prefix}{key.value}"
        if name in met:
            return name, key.start_mark.line + 1
        met.add(name)
        if below := twice(value, f"{name}."):
            return below
    return None


def refused(error: pydantic.ValidationError, lines: Map[str, int], where: str) -> DataError:
    """The first fault of a file, at its line, with the nearest known name."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a slip of the pen explains what is missing
    path = [str(part) for part in first["loc"]]
    line = next((lines[at] for n in range(len(path), 0, -1) if (at := ".".join(path[:n])) in lines), 0)
    field = ".".join(part for part in path if part != "source" and not part.isdigit()) or "the file"
    at = f"{where} line {line}" if line else where
    cause = first.get("ctx", {}).get("error")
    if first["type"] == "extra_forbidden":
        known = sorted({(f.alias or name) for kind in (Rule, Mapping) for name, f in kind.model_fields.items()})
        near = get_close_matches(path[-1], known, 1)
        return DataError(f"{at}: {field} is not known", hint=f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}")
    says = str(cause) if isinstance(cause, Exception) else first["msg"]
    return DataError(f"{at}: {field}: {says}", hint="see the page on mappings, which has every field with an example")


def of(folder: Path, name: str) -> Mapping | None:
    """The mapping of a table, in the site's folder; none where the hospital wrote none. Raises `DataError`."""
    path = folder / FOLDER / f"{name}.yaml"
    return load(path) if path.exists() else None


def load(path: Path) -> Mapping:
    """The mapping of a file. Raises `DataError`."""
    try:
        return read(path.read_text(encoding="utf-8-sig"), path.name)
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path.name} cannot be read: {getattr(e, 'strerror', None) or 'it is not UTF-8'}", hint="check the path") from None
