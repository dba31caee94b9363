"""Can this table take part in this study, and what has to be mended? One light, one sentence and one way out for each finding.

    >>> from collegium.study.manifest import EXAMPLE, read as study_of
    >>> table = Table({"age": np.array([40.0, 71, 430]), "sex": np.array(["F", "M", "F"]), "readmitted": np.array([0.0, 1, 1])},
    ...               patient=np.array(["a", "b", "c"]))
    >>> report = check(table, study_of(EXAMPLE))
    >>> [(line.light, line.says) for line in report.lines if line.variable == "age"]
    [('amber', '1 value lies outside 0 to 120 years and counts as missing')]

Red stops this hospital and no other: `ready` then raises `DataError`. Amber is counted, said and lived with. A bad record stops
nothing: values that cannot be read, that lie out of range or that the manifest does not list become missing, rows without outcome
or patient are left out; red is a column of which more than a twentieth cannot be read, or half is impossible. The report is for
the hospital itself: it holds exact counts, and never a value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from collegium.data import files, units
from collegium.data.files import Found, Odd
from collegium.data.place import Place
from collegium.errors import DataError
from collegium.study.manifest import Study
from collegium.study.schema import Variable
from collegium.table import Table

Light = Literal["green", "amber", "red"]
LARGEST = 2.0**36  # what the sums of raw values take, see algorithms.columns
SMALL = 10  # patients: a figure about fewer says little, and says it about persons
SPOILT = 0.05  # share of a column that may be unreadable: above it, something is wrong with the column and not with a record
TELLS = 0.99  # AUROC of one column alone, from which on it is probably known only afterwards


class Line(NamedTuple):
    """One finding; `variable` is "" where it is about the whole table."""

    variable: str
    light: Light
    says: str
    way_out: str = ""


@dataclass(frozen=True)
class Report:
    """What was found in a table: its size, a line for each variable and problem, and what was left out or made missing."""

    rows: int
    patients: int
    lines: tuple[Line, ...]
    missing: Mapping[str, float] = field(default_factory=dict)  # share of rows, by variable, after cleaning
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows, by reason
    counts: Mapping[str, Mapping[str, int]] = field(
        default_factory=dict
    )  # by variable: rows that are known, unreadable, impossible, unlisted

    @property
    def light(self) -> Light:
        """The worst of all lines."""
        lights = {line.light for line in self.lines}
        return "red" if "red" in lights else "amber" if "amber" in lights else "green"

    @property
    def sentence(self) -> str:
        """The whole in one sentence."""
        size = f"{self.rows} rows of {self.patients} patients"
        bad = [line for line in self.lines if line.light == "red"]
        if bad:
            return f"This table cannot take part yet: {len(bad)} thing{'s' if len(bad) > 1 else ''} to mend ({size})."
        return f"This table can take part{', with reservations' if self.light == 'amber' else ''} ({size})."

    def document(self) -> dict[str, Any]:
        """As JSON, for the site's own console and `--json`."""
        lines = [line._asdict() for line in self.lines]
        return {**asdict(self), "lines": lines, "light": self.light, "sentence": self.sentence}


@dataclass
class Facts:
    """What is known of one variable's column, and the column as it will be used."""

    values: np.ndarray
    missing: int = 0
    outside: int = 0
    unknown: int = 0
    infinite: int = 0
    huge: int = 0
    levels: int = 0
    unit: str = ""


def check(source: Found | Table | str | Path | Place, study: Study, *, patient: str = "") -> Report:
    """The report on a table, or on a file whose patient column may be called otherwise. A file that cannot be read: `DataError`."""
    if not isinstance(source, Found):
        source = files.parsed(source, study) if isinstance(source, Table) else files.scan(source, study, patient=patient)
    return examined(source, study)[1]


def ready(table: Table, study: Study) -> Table:
    """The rows as the study may use them. Raises `DataError` by the first thing that has to be mended."""
    return cleaned(table, study)[0]


def cleaned(table: Table, study: Study) -> tuple[Table, Report]:
    """The rows as the study may use them, and what was left out or made missing. Raises `DataError`."""
    return passed(files.parsed(table, study), study)


def passed(found: Found, study: Study) -> tuple[Table, Report]:
    """The same for what was found in a file. Raises `DataError`."""
    clean, report = examined(found, study)
    red = [line for line in report.lines if line.light == "red"]
    if red:
        place = f"column {red[0].variable!r}: " if red[0].variable else ""
        more = f" ({len(red) - 1} more to mend: see the data check)" if len(red) > 1 else ""
        raise DataError(f"{place}{red[0].says}{more}", hint=red[0].way_out)
    return clean, report


def examined(found: Found, study: Study) -> tuple[Table, Report]:
    """The cleaned table and the report on it."""
    table, facts, lines = found.table, {}, list(of_table(found, study))
    for name, variable in study.variables.items():
        if name in found.absent:
            lines.append(absent(name, study, found.header))
            continue
        positive = study.outcome is not None and name == study.outcome.time
        facts[name] = looked(variable, np.asarray(table[name]), positive=positive, of=units.substance(name))
        aim = study.outcome is not None and name in study.outcome.columns
        told = list(of_variable(name, variable, facts[name], found.odd.get(name), outcome=aim))
        lines += told or [Line(name, "green", in_order(facts[name], len(table)))]
    clean = table.with_columns(**{name: fact.values for name, fact in facts.items()})
    known, left_out = kept(clean, study)
    clean = clean.where(known) if left_out else clean
    lines += [*of_outcome(clean, study), *telling(clean, study)] if len(clean) else []
    left_out = {**found.left_out, **left_out}
    lines += [Line("", "amber", f"{count} rows {reason} are left out") for reason, count in left_out.items()]
    share = {name: fact.missing / max(len(table), 1) for name, fact in facts.items()}
    counts = {name: counted(fact, found.odd.get(name)) for name, fact in facts.items()}
    return clean, Report(len(clean), clean.patients(), tuple(lines), share, left_out, counts)


def counted(facts: Facts, odd: Odd | None) -> dict[str, int]:
    """One column in figures."""
    wrong = facts.outside + facts.infinite + facts.huge
    unreadable = odd.total if odd else 0
    return {
        "known": len(facts.values) - facts.missing,
        "missing": facts.missing,
        "unreadable": unreadable,
        "impossible": wrong,
        "unlisted": facts.unknown,
    }


def looked(variable: Variable, values: np.ndarray, *, positive: bool, of: str = "") -> Facts:
    """One column: what is wrong becomes missing, and is counted."""
    if values.dtype.kind == "U":
        return looked_text(variable, values)
    infinite = np.isinf(values)
    huge = (np.abs(values) > LARGEST) & ~infinite
    low = float(variable.low) if variable.low is not None else 0.0 if positive else -np.inf
    high = float(variable.high) if variable.high is not None else np.inf
    outside = ((values < low) | (values > high)) & ~infinite
    if variable.kind == "binary":
        outside = ~np.isnan(values) & (values != 0) & (values != 1)
    known = ~np.isnan(values)
    given, unit = values[known & ~infinite], ""
    if outside.sum() > known.sum() / 2:
        unit = guessed(given, variable.unit, low, high, of)
    elif variable.unit == "%" and high > 1 and len(given) >= SMALL and given.min() >= 0 and given.max() <= 1:
        unit = "fractions"
    out = np.where(outside | infinite | huge, np.nan, values)
    levels = len(np.unique(out[~np.isnan(out)]))
    return Facts(out, int(np.isnan(out).sum()), int(outside.sum()), 0, int(infinite.sum()), int(huge.sum()), levels, unit)


def looked_text(variable: Variable, values: np.ndarray) -> Facts:
    """One column of categories. A binary variable with texts of its own may also come as 0 and 1."""
    found, at = np.unique(values, return_inverse=True)
    words = found.tolist()
    if variable.kind == "binary" and set(words) <= {"", "0", "1"} and not {"0", "1"} & set(variable.categories):
        words = [{"": "", "0": variable.categories[0], "1": variable.categories[1]}[word] for word in words]
    strange = np.array([bool(variable.categories) and bool(word) and word not in variable.categories for word in words], bool)
    unknown = int(strange[at].sum())
    kept = np.array([*("" if odd else word for word, odd in zip(words, strange.tolist(), strict=True)), ""], np.str_)[at.reshape(-1)]
    return Facts(kept, int((kept == "").sum()), 0, unknown, levels=len({*kept.tolist()} - {""}))


def guessed(values: np.ndarray, wanted: str, low: float, high: float, of: str) -> str:
    """The unit that nearly all values would fit in, if there is one."""
    for _, said, way in units.rivals(wanted, of):
        moved = way.apply(values)
        if ((moved >= low) & (moved <= high)).mean() >= 0.95:
            return said
    return ""


def of_table(found: Found, study: Study) -> Iterator[Line]:
    """Findings about the whole table."""
    if not len(found.table) and not set(study.variables) <= set(found.absent):  # else its rows were not looked at
        yield Line("", "red", "the table holds no rows", "check the export and its filter; a hospital without rows changes nothing")
    for name in found.absent:
        if name not in study.variables:
            yield Line("", "red", *files.lacking(name, study, found.header))
    for name, says in found.suspects.items():
        yield Line(name, "red", says, f"leave it out; if it names nobody: data check TABLE STUDY --waive {name} --because REASON")
    if study.patient and found.table.patient is None and study.patient not in found.absent:
        yield Line("", "red", "the table does not say whose row it is", f"give it the patients of column {study.patient!r}")
    if count := repeated(found.table):
        yield Line(
            "", "amber", f"{count} rows stand in the table twice", "see whether the export has joined tables, or has one row too many"
        )
    if 0 < (count := found.table.patients()) < SMALL:
        yield Line(
            "", "amber", f"the table holds {count} patients, fewer than {SMALL}", "add patients, or know that little can be learned here"
        )


def repeated(table: Table) -> int:
    """How many rows stand in the table already, with the same patient and the same values; none where nobody is named."""
    if table.patient is None or not len(table):
        return 0
    mixed = np.zeros(len(table), np.uint64)
    with np.errstate(over="ignore"):
        for column in (table.patient, *table.columns.values()):
            code = np.unique(np.asarray(column), return_inverse=True)[1].reshape(-1).astype(np.uint64)
            mixed = (mixed ^ code) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
    return len(table) - len(np.unique(mixed))


def absent(name: str, study: Study, header: tuple[str, ...]) -> Line:
    """A variable that the table does not have."""
    if not study.variables[name].required:
        return Line(name, "amber", "is not in the table; it may be absent, and is wholly missing here")
    return Line(name, "red", *files.lacking(name, study, header))


def of_variable(name: str, variable: Variable, facts: Facts, odd: Odd | None, *, outcome: bool) -> Iterator[Line]:
    """What is wrong with one column, worst first."""
    rows = len(facts.values)
    known = rows - facts.missing
    given = known + facts.outside + facts.unknown + facts.infinite + facts.huge
    if odd:
        light = spoilt(odd.total, given + odd.total)
        left = "; these count as missing" if light == "amber" else ""
        yield Line(name, light, files.oddity(odd, variable) + left, files.way_out(odd))
    for count, what, way in (
        (facts.infinite, "infinite values", "export them as missing, or mend the division"),
        (facts.huge, f"values beyond {LARGEST:.2g}", "mark codes such as 999e9 as missing, or use a larger unit"),
    ):
        if count:
            yield Line(name, spoilt(count, given), f"holds {what} in {count} rows; wanted numbers", way)
    if facts.outside or facts.unknown:
        wrong = facts.outside + facts.unknown
        fault = out_of_range(variable, wrong) if facts.outside else f"{things(wrong, 'value')} not among the listed categories"
        fit = f"; they would fit as {facts.unit}" if facts.unit else ""
        way = "check the unit and the codes of this column" if facts.outside else "map them to the listed categories, or leave them out"
        yield Line(
            name,
            "red" if given >= SMALL and wrong > given / 2 else "amber",
            f"{fault} and count{'s' if wrong == 1 else ''} as missing{fit}",
            way,
        )
    elif facts.unit:
        yield Line(name, "amber", "holds values from 0 to 1 only, where per cent is wanted", "multiply by 100 if they are fractions")
    if rows and not known and not (odd or facts.outside or facts.unknown):
        worst: Light = "red" if variable.required else "amber"
        yield Line(name, worst, "has no value in any row", "fill it, or ask for `required: false` in the manifest")
    elif rows and known and not outcome:
        yield from of_spread(name, variable, facts, known)


def spoilt(bad: int, given: int) -> Light:
    """A few records that cannot be read are counted and left behind; where they are many, the column is not what it should be."""
    return "red" if bad > SPOILT * given else "amber"


def of_spread(name: str, variable: Variable, facts: Facts, known: int) -> Iterator[Line]:
    """How a column to learn from is filled."""
    rows = len(facts.values)
    if facts.levels == 1:
        yield Line(
            name, "amber", "has the same value in every row that has one", "nothing to do: it adds no knowledge here, but may elsewhere"
        )
    if known < rows / 2:
        yield Line(name, "amber", f"is missing in {100 - 100 * known / rows:.0f} % of the rows", "fill it if the hospital has it")
    if variable.kind == "category" and not variable.categories and rows >= 50 and facts.levels > 0.5 * rows:
        says = "has a value of its own in most rows: is it a name or free text?"
        yield Line(name, "amber", says, "open categories are for codes, such as ICD-10; leave out what could name a person")


def out_of_range(variable: Variable, count: int) -> str:
    """How many values lie where none should."""
    if variable.kind == "binary":
        return f"{things(count, 'value')} neither 0 nor 1"
    low, high = variable.low, variable.high
    span = (
        f"{low} to {high}" if low is not None and high is not None else f"{high} and below" if high is not None else f"{low or 0} and above"
    )
    return f"{count} value{'s lie' if count != 1 else ' lies'} outside {span}{f' {variable.unit}' if variable.unit else ''}"


def things(count: int, noun: str) -> str:
    """A number of things that are."""
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


def in_order(facts: Facts, rows: int) -> str:
    """What is said of a column without a fault."""
    return "is in order" if not facts.missing else f"is in order; {100 * facts.missing / max(rows, 1):.1f} % are missing"


def kept(table: Table, study: Study) -> tuple[np.ndarray, dict[str, int]]:
    """Which rows can be used, and how many cannot, by reason."""
    known, left_out = np.ones(len(table), bool), {}
    if table.patient is not None and (nobody := np.asarray(table.patient) == "").any():
        known, left_out["without the name of a patient"] = known & ~nobody, int(nobody.sum())
    for name in study.outcome.columns if study.outcome else ():
        values = np.asarray(table[name]) if name in table else np.zeros(0)
        lacking = (np.isnan(values) if values.dtype.kind == "f" else values == "") & known if len(values) else ~known
        if lacking.any():
            known, left_out[f"without {name!r}"] = known & ~lacking, int(lacking.sum())
    return known, left_out


def of_outcome(table: Table, study: Study) -> Iterator[Line]:
    """Whether the outcome leaves anything to learn and to compare here."""
    if study.outcome is None or study.outcome.task == "regression":
        return
    name = study.outcome.event or study.outcome.target
    whose = np.arange(len(table)) if table.patient is None else table.patient
    values = np.asarray(table[name])
    counts = [len(np.unique(whose[values == level])) for level in np.unique(values)]
    wanted = len(study.variables[name].categories) or 2
    if len(counts) == 1:
        says = "is the same in every row: this hospital helps the joint model, but cannot be compared with its own"
        yield Line(name, "amber", says, "check the definition of the outcome, and the filter of the export")
    elif min(counts) < SMALL or len(counts) < wanted:
        says = f"one of its classes has fewer than {SMALL} patients"
        yield Line(name, "amber", says, "add patients, or know that figures of this hospital alone are uncertain")


def telling(table: Table, study: Study) -> Iterator[Line]:
    """Columns that tell a yes-or-no outcome nearly alone: usually something that was known only afterwards."""
    if study.outcome is None or study.outcome.task != "binary" or len(table) < 50:
        return
    target = np.asarray(table[study.outcome.target])
    level = (study.variables[study.outcome.target].categories or ("", "1"))[1]
    y = target == (1.0 if target.dtype.kind == "f" else level)
    for name in study.features:
        values = np.asarray(table[name]) if name in table else np.zeros(0)
        found, at = np.unique(values, return_inverse=True)
        if len(found) < 2 or y.all() or not y.any() or (values.dtype.kind == "U" and len(found) > len(table) / 20):
            continue
        yes, no = np.bincount(at, y), np.bincount(at, ~y)  # by level, in the order of numbers, or of each category's rate
        order = np.arange(len(found)) if values.dtype.kind == "f" else np.argsort(yes / (yes + no), kind="stable")
        yes, no = yes[order], no[order]
        area = float((yes * (np.cumsum(no) - no / 2)).sum() / (yes.sum() * no.sum()))
        if max(area, 1 - area) >= TELLS:
            says = f"tells the outcome almost alone (AUROC {max(area, 1 - area):.3f})"
            yield Line(name, "amber", says, "if it is known only after the outcome, leave it out of the study")
