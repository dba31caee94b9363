"""A hospital's rows as a study's table: whatever `sources` opens, a CSV file or a database, gives the same Table.

Only the study's columns are read, a batch at a time, so the memory needed is that of those columns and not of the source.
Missing is an empty field, or one of `MISSING` unless the manifest lists that text as a category. What cannot be read for
certain is refused with its row number, never guessed: a decimal comma may be a thousands separator, "03/04" two dates.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from collegium.study.manifest import EXAMPLE, read as study_of
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "stays.csv")
    ...     _ = path.write_text("patient_id;age;sex;readmitted;ward\\na;71;F;1;2\\nb;?;M;0;3\\n")
    ...     table = read(path, study_of(EXAMPLE))
    >>> table["age"], table["sex"], table.patient
    (array([71., nan]), array(['F', 'M'], dtype='<U1'), array(['a', 'b'], dtype='<U1'))
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collegium.data import formats, sources
from collegium.data.place import Place, place_of
from collegium.errors import DataError
from collegium.study.manifest import Study
from collegium.study.schema import Variable
from collegium.table import Table

MISSING = frozenset({"", "?", ".", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A"})
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
INFINITE = r"^[+-]?[Ii]nf(inity)?$"
COMMA = r"^[+-]?(\d{1,3}([. ']\d{3})+|\d+),\d+$"
DATE = r"^(\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4})([T ].*)?$"
YES_NO = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0, "no": 0.0, "yes": 1.0, "f": 0.0, "t": 1.0, "n": 0.0, "y": 1.0}
Load: TypeAlias = Callable[[Sequence[str]], tuple[tuple[str, ...], formats.Batches]]  # a table: its header, and columns by name
WHOLE = re.compile(r"^(-?\d+)\.0$")  # how a whole number is written by software that keeps a column with gaps as decimals


class Odd(NamedTuple):
    """What stands in a column of numbers and is none; no value is kept, only how many and the first row, counted from 1."""

    commas: int = 0
    dates: int = 0
    other: int = 0
    row: int = 0
    undated: int = 0  # texts that should be dates, where a mapping makes a time of two
    order: int = 0  # times that would end before they begin

    @property
    def total(self) -> int:
        """How many in all."""
        return self.commas + self.dates + self.other + self.undated + self.order


class Found(NamedTuple):
    """What a file holds of a study's columns, before anything is refused."""

    table: Table
    header: tuple[str, ...]
    absent: tuple[str, ...]
    odd: Mapping[str, Odd]
    left_out: Mapping[str, int] = {}  # rows that were never taken in, by reason
    suspects: Mapping[str, str] = {}  # columns that seem to name patients, and why it seems so


def read(where: str | Path | Place, study: Study, *, patient: str = "") -> Table:
    """The study's columns of a place; `patient` is what this site calls the patient column. Raises `DataError` and `LinkError`.

    Numbers are float64 with NaN where missing, categories text with "", a binary variable that lists its two texts is text and
    otherwise 0, 1 or NaN. A variable with `required: false` that the place does not have is wholly missing.
    """
    found, called = scan(where, study, patient=patient), place_of(where).label
    for name in found.absent:
        if name not in study.variables or study.variables[name].required:
            says, hint = lacking(name, study, found.header)
            raise DataError(f"{called}: {f'column {name!r} ' if name in study.variables else ''}{says}", hint=hint)
    for name, odd in found.odd.items():
        says = f"column {name!r} {oddity(odd, study.variables[name])}"
        raise DataError(f"{called}: {says}", hint=way_out(odd))
    return found.table


def scan(where: str | Path | Place, study: Study, *, patient: str = "") -> Found:
    """Everything that can be told of a place without refusing it; a damaged file or a doubled column raises `DataError`."""
    place = place_of(where)
    return sources.patiently(lambda: gathered(partial(sources.load, place), study, place.label, patient=patient))


def gathered(load: Load, study: Study, where: str, *, patient: str = "") -> Found:
    """The same of whatever gives a header, and batches of the columns asked for; `where` is its name in errors."""
    columns: dict[str, Column] = {name: reader(v.kind, v.categories) for name, v in study.variables.items()}
    if study.holding.column:
        columns.setdefault(study.holding.column, Column(text, ("test", "validation")))
    who, called = Column(text, ()), patient or study.patient
    header, batches = load([*columns, *([called] if called else [])])
    for batch in batches:
        for name, values in batch.items():
            if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
                found = f"{where}: column {name!r} holds {values.type}"
                raise DataError(f"{found}; wanted one number or text a row", hint="write it out as columns of their own")
            if name in columns:
                columns[name].add(values)
            if name == called:
                who.add(values)
    rows = max((column.rows for column in (*columns.values(), who)), default=0)
    absent = [name for name in columns if name not in header] + ([called] if called and called not in header else [])
    values = {name: column.whole(rows) for name, column in columns.items()}
    odd = {name: column.odd for name, column in columns.items() if column.odd != NONE}
    return Found(Table(values, who.whole(rows) if called in header else None), header, tuple(absent), odd)


NONE = Odd()


def parsed(table: Table, study: Study) -> Found:
    """The same for a table that is in memory already: text that should be numbers is told, as in a file."""
    columns, values = {name: reader(v.kind, v.categories) for name, v in study.variables.items()}, dict(table.columns)
    for name, column in columns.items():
        if name in table and np.ndim(table[name]) == 1:
            raw = np.asarray(table[name])
            if column.parse is not number or raw.dtype.kind not in "fiub":
                words = [None if v is None or v != v else str(v) for v in raw.tolist()]
                column.add(pa.array(words, pa.string()) if raw.dtype.kind in "OU" else pa.array(raw))
                values[name] = column.whole(len(table))
            else:
                values[name] = raw.astype(np.float64)
    absent = [name for name in columns if name not in table]
    values |= {name: columns[name].whole(len(table)) for name in absent}
    if study.holding.column and study.holding.column not in table:
        absent.append(study.holding.column)
    odd = {name: column.odd for name, column in columns.items() if column.odd != NONE}
    who = None if table.patient is None else np.asarray(table.patient).astype(np.str_)
    return Found(Table(values, who), tuple(table.columns), tuple(absent), odd)


@dataclass
class Column:
    """One column while it is read: pieces as they come, texts as places in a list of those met."""

    parse: "Parse"
    known: Sequence[str]  # texts that are never missing, because the manifest lists them
    pieces: list[np.ndarray] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)
    odd: Odd = NONE
    rows: int = 0

    def add(self, values: Any) -> None:
        """Take the next batch."""
        self.pieces.append(self.parse(self, values))
        self.rows += len(values)

    def whole(self, rows: int) -> np.ndarray:
        """The column; wholly missing if the file has none such."""
        if self.parse is text:
            levels = np.array([*self.levels] or [""], np.str_)
            return levels[np.concatenate(self.pieces)] if self.rows else np.zeros(rows, np.str_)
        return np.concatenate(self.pieces) if self.rows else np.full(rows, np.nan)

    def note(self, wrong: Any, *, dates: bool = False) -> None:
        """Count texts that are no numbers: `wrong` is an array with null where all is well."""
        if wrong.null_count == len(wrong):
            return
        first = self.odd.row or self.rows + 1 + int(pc.index(pc.is_valid(wrong), True).as_py())
        commas = 0 if dates else count(wrong, COMMA)
        timed = len(wrong) - wrong.null_count if dates else count(wrong, DATE)
        rest = len(wrong) - wrong.null_count - commas - timed
        self.odd = Odd(self.odd.commas + commas, self.odd.dates + timed, self.odd.other + rest, first)


Parse = Callable[[Column, Any], np.ndarray]


def reader(kind: str, categories: Sequence[str]) -> Column:
    """How a variable's column is read."""
    if kind == "number":
        return Column(number, ())
    return Column(yes_no, ()) if kind == "binary" and not categories else Column(text, categories)


def number(column: Column, values: Any) -> np.ndarray:
    """A batch as float64; what is no number becomes NaN and is counted."""
    values = plain(values)
    if pa.types.is_temporal(values.type):
        column.note(values, dates=True)
        return np.full(len(values), np.nan)
    if not is_text(values.type):
        return np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64).copy()
    trimmed = pc.utf8_trim_whitespace(values)
    filled = pc.if_else(pc.is_in(trimmed, value_set=pa.array(sorted(MISSING), trimmed.type)), None, trimmed)
    good = pc.or_(pc.match_substring_regex(filled, NUMBER), pc.match_substring_regex(filled, INFINITE))
    column.note(pc.if_else(pc.fill_null(good, True), None, filled))
    cleaned = pc.if_else(pc.fill_null(good, False), filled, None)
    return np.array(pc.cast(cleaned, pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def text(column: Column, values: Any) -> np.ndarray:
    """A batch as places in the column's list of texts; missing is "", and 1.0 is "1"."""
    values = plain(values)
    if not is_text(values.type):
        values = written(values)
    coded = values.dictionary_encode() if not pa.types.is_dictionary(values.type) else values
    to = [column.levels.setdefault(tidy(word, column.known), len(column.levels)) for word in coded.dictionary.to_pylist()]
    none = column.levels.setdefault("", len(column.levels)) if coded.null_count else 0
    places = np.array([*to, none], np.int32)
    return places[np.asarray(pc.fill_null(coded.indices, len(to)).to_numpy(zero_copy_only=False), np.int32)]


def yes_no(column: Column, values: Any) -> np.ndarray:
    """A batch of a binary variable without texts of its own: 1, 0, true, false, yes, no in any case; other numbers stay."""
    told = Column(text, ())
    places = text(told, values)
    known = {word: YES_NO.get(word.casefold(), np.nan) for word in told.levels}
    strange = [word for word, value in known.items() if word and np.isnan(value)]
    for word in strange:
        known[word] = float(word) if re.match(NUMBER, word) else np.nan
    wrong = np.isin(places, [told.levels[word] for word in strange if np.isnan(known[word])])
    column.note(pa.array(["text" if odd else None for odd in wrong.tolist()], pa.string()))
    return np.array([*known.values(), np.nan])[places] if told.levels else np.zeros(0)


def plain(values: Any) -> Any:
    """One array of a plain type: chunks joined, a dictionary written out, decimals as floats."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return pc.cast(values, pa.float64()) if pa.types.is_decimal(values.type) else values


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def written(values: Any) -> Any:
    """Numbers, dates and truth values as a text file would have them; a day without its midnight."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if pa.types.is_temporal(values.type):
        return pc.replace_substring_regex(pc.cast(values, pa.string()), r"[T ]00:00:00(\.0+)?Z?$", "")
    return pc.cast(values, pa.string())


def texts(values: Any) -> Any:
    """A batch as an Arrow array of text, whatever type it had; whole numbers without the .0 of software that keeps them as decimals."""
    values = plain(values)
    return pc.replace_substring_regex(pc.cast(values if is_text(values.type) else written(values), pa.string()), r"^(-?\d+)\.0$", r"\1")


def tidy(word: str, known: Sequence[str]) -> str:
    """A category's text as the study means it."""
    word = word.strip()
    if word in known:
        return word
    return "" if word in MISSING else WHOLE.sub(r"\1", word)


def count(wrong: Any, pattern: str) -> int:
    """How many texts have a form."""
    return int(pc.sum(pc.cast(pc.match_substring_regex(pc.cast(wrong, pa.string()), pattern), pa.int64())).as_py() or 0)


def oddity(odd: Odd, variable: Variable) -> str:
    """What stands in a column of numbers and is none, in words."""
    wanted = f"a number{f' of {variable.unit}' if variable.unit else ''}" if variable.kind == "number" else "0 or 1"
    if odd.undated or odd.order:
        says = f"two dates give no time in {odd.undated} rows" if odd.undated else f"its time ends before it begins in {odd.order} rows"
        return f"is made of dates: {says}, first in row {odd.row}"
    if odd.commas:
        found = f"numbers with a decimal comma in {odd.commas} rows"
    elif odd.dates:
        found = f"dates in {odd.dates} rows"
    else:
        found = f"text in {odd.other} rows"
    return f"holds {found}, first in row {odd.row}; wanted {wanted}"


def way_out(odd: Odd) -> str:
    """What to do about it."""
    if odd.undated:
        return "name every style that the column has in `dates` of the mapping, such as [DD.MM.YYYY, DD.MM.YY]; ISO dates need none"
    if odd.order:
        return "see whether `from` and `until` of the mapping are the right way round, and the dates of these rows"
    if odd.commas:
        return (
            "say so in the table's mapping (decimal: ','), or export with a decimal point and no thousands separators: 1,234 could be both"
        )
    if odd.dates:
        return "make it a number in the table's mapping, such as age from the date of birth: {from: born, until: admitted}"
    return f"leave missing values empty or write NA (also known: {' '.join(sorted(MISSING - {''}))}), or declare it as a category"


def lacking(name: str, study: Study, header: Sequence[str]) -> tuple[str, str]:
    """What to say of a column that a table must have and has not, and what to do about it."""
    near, has = nearest(name, header), listed(header)
    if name in study.variables:
        return f"is not in the table{near}", f"name it as in the manifest; it has {has}"
    if name == study.holding.column:
        return f"there is no column {name!r}, which says who is held out{near}", f"name it as in the manifest; it has {has}"
    called = "data add --patient COLUMN, or `from: COLUMN` under its name in the table's mapping"
    way_out = f"name it as in the manifest, or say how it is called here: {called}; it has {has}"
    return f"there is no column {name!r}, which says whose row it is{near}", way_out


def nearest(name: str, header: Sequence[str]) -> str:
    """The column that was probably meant, as the end of a sentence."""
    folded = {column.casefold().strip(): column for column in header}
    match = difflib.get_close_matches(name.casefold(), folded, 1, 0.6)
    return f"; did you mean {folded[match[0]]!r}?" if match else ""


def listed(header: Sequence[str]) -> str:
    """A file's columns for a message, at most twenty."""
    more = f" and {len(header) - 20} more" if len(header) > 20 else ""
    return f"the columns {', '.join(header[:20])}{more}" if header else "no columns"
