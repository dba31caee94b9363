"""A table seen through its mapping: the study's variables, computed from the hospital's own columns as they stream by.

    >>> from collegium.data.mapping import read
    >>> from collegium.study.schema import Variable
    >>> def table(columns):  # what every reader of a file or a database gives: its header, and batches of the columns asked for
    ...     rows = {"krea": pa.array(["1,1", "0,8", "hoch"]), "sex": pa.array(["W", "M", "9"])}
    ...     return tuple(rows), iter([{name: rows[name] for name in columns}])
    >>> rules = read("{decimal: ',', columns: {creatinine: {from: krea, unit: mg/dL}, sex: {from: sex, values: {W: F, '9': ''}}}}")
    >>> wanted = {"creatinine": Variable(kind="number", unit="umol/L"), "sex": Variable(kind="category", categories=("F", "M"))}
    >>> notes = {}
    >>> header, batches = mapped(table, rules, wanted, notes)(["creatinine", "sex"])
    >>> [batch["creatinine"].to_pylist() for batch in batches], notes["creatinine"].other
    ([[97.2..., 70.7..., None]], 1)

The work is done by DuckDB, shut in: it sees the rows handed to it and no file, no network, no variable of this program; an
expression that takes too much memory or time ends this reading and nothing else. What cannot be read becomes missing and is
counted with the row where it was met first; no message holds a value.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collegium.data import files, units
from collegium.data.expression import MEMORY, Expression, literal, moment, numeric, quoted, shut_in, understood
from collegium.data.files import COMMA, DATE, MISSING, Load, Odd, nearest
from collegium.data.formats import Batches
from collegium.data.mapping import Mapping as Rules
from collegium.data.mapping import Rule
from collegium.errors import DataError
from collegium.study.schema import Variable

ROWS, SECONDS = 1 << 16, 120.0  # rows of an answer at a time; how long it may compute on one batch
NUMBER_OF = "the number of the row"  # a column that no table has
SPANS = {  # unit wanted -> from one moment to another: whole years as birthdays count them, days as calendars do
    "a": "date_sub('year', {a}, {b})", "mo": "date_sub('month', {a}, {b})", "wk": "date_diff('day', {a}, {b}) / 7.0",
    "d": "date_diff('day', {a}, {b})", "h": "date_diff('second', {a}, {b}) / 3600.0", "min": "date_diff('second', {a}, {b}) / 60.0",
}  # fmt: skip
COMMAS, DATES, OTHER, UNDATED, ORDER = range(1, 6)  # what can be wrong with a value; 0 is nothing


class Step(NamedTuple):
    """One variable as SQL: texts first, then its value, then what is wrong with it."""

    texts: Mapping[str, str]
    value: str
    fault: str = "0"
    reads: frozenset[str] = frozenset()


def mapped(load: Load, rules: Rules, variables: Mapping[str, Variable], notes: dict[str, Odd]) -> Load:
    """The same table with the variables of its mapping as columns; what cannot be read is added to `notes` while it streams.

    Columns that the mapping does not name stay as they are. Raises `DataError` with file, line and variable for a rule that does
    not fit the table or the study.
    """

    def loaded(columns: Sequence[str]) -> tuple[tuple[str, ...], Batches]:
        header, _ = load([])
        names = (*rules.columns, *(name for name in header if name not in rules.columns))
        chosen = [name for name in dict.fromkeys(columns) if name in names]
        if not any(name in rules.columns for name in chosen):
            return names, load(chosen)[1]
        reads = {name: read_by(rules, name, header) for name in chosen if name in rules.columns}
        needed = dict.fromkeys([*(c for one in reads.values() for c in one), *(name for name in chosen if name not in reads)])
        apart(rules, needed)
        return names, computed(load([*needed] or [*header[:1]])[1], rules, variables, chosen, notes)

    return loaded


def read_by(rules: Rules, name: str, header: Sequence[str]) -> list[str]:
    """The hospital's columns that a rule reads. Raises `DataError` for one that is not there."""
    rule, folded = rules.columns[name], {column.casefold(): column for column in header}
    if rule.sql:
        return [folded[word.casefold()] for word in expression(rules, name).columns if word.casefold() in folded]
    for field, column in (("from", rule.source), ("until", rule.until)):
        if column and column not in header:
            raise DataError(
                f"{rules.at(name, field)}: there is no column {column!r}{nearest(column, header)}", hint=f"it has {files.listed(header)}"
            )
    return [column for column in (rule.source, rule.until) if column]


def apart(rules: Rules, needed: Mapping[str, Any]) -> None:
    """SQL does not tell A from a: two columns that differ only there cannot be read together."""
    met: dict[str, str] = {}
    for column in needed:
        if met.setdefault(column.casefold(), column) != column:
            raise DataError(f"{rules._where}: the columns {met[column.casefold()]!r} and {column!r} differ only in case", hint="rename one")


def expression(rules: Rules, name: str) -> Expression:
    """A rule's expression. Raises `DataError` at its line."""
    try:
        return understood(rules.columns[name].sql)
    except DataError as e:
        raise DataError(f"{rules.at(name, 'sql')}: {e}", hint=e.hint) from None


def computed(batches: Batches, rules: Rules, variables: Mapping[str, Variable], chosen: Sequence[str], notes: dict[str, Odd]) -> Batches:
    """The variables, a batch at a time. Raises `DataError`."""
    import duckdb

    held: list[BaseException] = []
    around = any(rules.columns[name].sql and expression(rules, name).looks_around for name in chosen if name in rules.columns)
    rows = arrow(batches, held, numbered=around)
    at = 0
    with shut_in(rules.decimal, rules.dates) as link:
        try:
            link.register("raw", rows)
            names, query = question(rules, variables, chosen, rows.schema)
            answer = link.sql(f"{query} order by {quoted(NUMBER_OF)}" if around else query).to_arrow_reader(ROWS)
            while (batch := patiently(link, answer)) is not None:
                for position, name in enumerate(names, len(chosen)):
                    notes[name] = noted(notes.get(name, files.NONE), batch.column(position), at)
                at += len(batch)
                yield {name: batch.column(position) for position, name in enumerate(chosen)}
        except (duckdb.Error, pa.ArrowException, OSError) as e:  # an error of DuckDB is an OSError once it has passed through Arrow
            raise held[0] if held else meaning(rules, e) from None


def arrow(batches: Batches, held: list[BaseException], *, numbered: bool) -> Any:
    """Batches as one stream for DuckDB; an error of the reader behind it is kept, since DuckDB would only quote it.

    An expression over other rows sorts them: with `numbered` rows they can be put back into their order.
    """
    batches = counted(batches) if numbered else batches
    first = next(batches, {})
    schema = pa.schema([(name, local(values).type) for name, values in first.items()])

    def stream() -> Iterator[Any]:
        try:
            for batch in chain([first] if first else [], batches):
                yield pa.record_batch([pa.array(local(values)) for values in batch.values()], schema=schema)
        except Exception as e:
            held.append(e)
            raise

    return pa.RecordBatchReader.from_batches(schema, stream())


def counted(batches: Batches) -> Batches:
    """The batches with the number of each row."""
    start = 0
    for batch in batches:
        many = len(next(iter(batch.values()), ()))
        yield {**batch, NUMBER_OF: pa.array(np.arange(start, start + many))}
        start += many


def local(values: Any) -> Any:
    """One plain array; moments as the clocks of their own time zone showed them, whatever zone this machine is in."""
    values = files.plain(values)
    return pc.local_timestamp(values) if pa.types.is_timestamp(values.type) and values.type.tz else values


def patiently(link: Any, answer: Any) -> Any:
    """The next batch; an expression that takes longer than `SECONDS` on it is interrupted."""
    timer = threading.Timer(SECONDS, link.interrupt)
    timer.start()
    try:
        return next(answer, None)
    finally:
        timer.cancel()


def noted(odd: Odd, faults: Any, at: int) -> Odd:
    """What was wrong until now and in this batch, and the row where something was first, counted from 1."""
    found = np.asarray(faults.to_numpy(zero_copy_only=False), np.int64)
    if not found.any():
        return odd
    counts = np.bincount(found, minlength=ORDER + 1)
    first = odd.row or at + 1 + int(np.argmax(found > 0))
    return Odd(
        odd.commas + int(counts[COMMAS]), odd.dates + int(counts[DATES]), odd.other + int(counts[OTHER]), first,
        odd.undated + int(counts[UNDATED]), odd.order + int(counts[ORDER]),
    )  # fmt: skip


def question(rules: Rules, variables: Mapping[str, Variable], chosen: Sequence[str], schema: Any) -> tuple[list[str], str]:
    """The names of the variables with faults to count, and the query: texts inside, values around them, faults outermost."""
    steps = {name: step(rules, name, variables.get(name), schema, at) for at, name in enumerate(chosen) if name in rules.columns}
    texts = [f"{sql} as {alias}" for one in steps.values() for alias, sql in one.texts.items()]
    values = [f"{one.value} as v{at}" for at, name in enumerate(chosen) if (one := steps.get(name))]
    outer = [f"v{at} as {quoted(name)}" if name in steps else quoted(name) for at, name in enumerate(chosen)]
    faulty = [(at, name) for at, name in enumerate(chosen) if name in steps and steps[name].fault != "0"]
    outer += [f"cast({steps[name].fault} as utinyint)" for _, name in faulty]
    query = f"select {', '.join(outer)} from (select *, {', '.join(values)} from (select *, {', '.join(texts)} from raw))"
    return [name for _, name in faulty], query


def step(rules: Rules, name: str, variable: Variable | None, schema: Any, at: int) -> Step:
    """One variable's SQL. Raises `DataError` for units that do not meet."""
    rule = rules.columns[name]
    if rule.until:
        return span(rules, name, variable, schema, at)
    if rule.sql:
        found = expression(rules, name)
        whole = f"cast({found.text if found.looks_around else f'try({found.text})'} as varchar)"
    else:
        whole = written(schema, rule.source)
    texts = {f"t{at}": known(rules, rule, whole, variable)}
    value = coded(rule, variable, f"t{at}")
    if variable is None or variable.kind != "number":
        return Step(texts, value)
    typed = bool(rule.sql) or not files.is_text(schema.field(rule.source).type)
    decimal = "." if typed else rule.decimal or rules.decimal
    number, way = numeric(value, decimal), converted(rules, name, rule, variable)
    scaled = number if way.same else f"{number} * {way.factor!r} + {way.add!r}"
    kind = f"case when regexp_matches({value}, {literal(COMMA)}) then {COMMAS} when regexp_matches({value}, {literal(DATE)}) then {DATES}"
    return Step(texts, scaled, f"case when v{at} is not null or {value} is null then 0 else {kind} else {OTHER} end end")


def span(rules: Rules, name: str, variable: Variable | None, schema: Any, at: int) -> Step:
    """The time between two dates, in the unit that the study wants."""
    rule = rules.columns[name]
    unit = units.code(variable.unit) if variable else ""
    if variable is None or variable.kind != "number" or unit not in SPANS:
        wanted = ", ".join(units.SPOKEN.get(one, one) for one in SPANS)
        raise DataError(
            f"{rules.at(name, 'until')}: a time between two dates, and the study wants {said(variable)}",
            hint=f"a number in one of {wanted}",
        )
    ends = {f"t{at}": rule.source, f"u{at}": rule.until}
    texts = {alias: known(rules, rule, written(schema, column), None) for alias, column in ends.items()}
    styles = rule.dates or rules.dates
    b = moment(f"u{at}", styles)
    a = moment(f"t{at}", styles, before=b)
    length = f"case when {b} >= {a} then cast({SPANS[unit].format(a=a, b=b)} as double) end"
    empty = f"t{at} is null or u{at} is null or v{at} is not null"
    return Step(texts, length, f"case when {empty} then 0 when {a} is null or {b} is null then {UNDATED} else {ORDER} end")


def said(variable: Variable | None) -> str:
    """What a study wants, in a word."""
    return "text" if variable is None else f"a {variable.kind}" + (f" in {variable.unit}" if variable.unit else "")


def written(schema: Any, column: str) -> str:
    """A column as trimmed text; whole numbers without the .0 that software gives a column with gaps."""
    text, kind = f"trim(cast({quoted(column)} as varchar))", schema.field(column).type
    if pa.types.is_timestamp(kind):  # fractions of a second and time zones are of no use here
        return f"strftime(cast({quoted(column)} as timestamp), '%Y-%m-%d %H:%M:%S')"
    return rf"regexp_replace({text}, '^(-?\d+)\.0$', '\1')" if pa.types.is_floating(kind) else text


def known(rules: Rules, rule: Rule, text: str, variable: Variable | None) -> str:
    """A text, or null where it says that there is none; what the mapping or the study lists is never that."""
    kept = {*rule.values, *(variable.categories if variable and not rule.values else ())}
    gone = ", ".join(literal(word) for word in sorted((MISSING | {*rules.missing, *rule.missing}) - kept | {""}))
    return f"case when {text} in ({gone}) then null else {text} end"


def coded(rule: Rule, variable: Variable | None, text: str) -> str:
    """A text after the mapping's words: exact codes first, then groups and ranges in the order of the file."""
    exact = [(code, word) for code, word in rule.values.items() if not code.endswith("*") and ".." not in code]
    groups = [(code, word) for code, word in rule.values.items() if code.endswith("*") or ".." in code]
    tests = [(f"{text} = {literal(code)}", word) for code, word in exact] + [(within(text, code), word) for code, word in groups]
    if rule.sql and variable and variable.kind == "binary" and variable.categories:
        tests += [(f"{text} = 'false'", variable.categories[0]), (f"{text} = 'true'", variable.categories[1])]
    if not tests and rule.others is None:
        return text
    cases = " ".join(f"when {test} then {literal(word) if word else 'null'}" for test, word in tests)
    rest = text if rule.others is None else f"case when {text} is not null then {literal(rule.others)} end"
    return f"case {cases} else {rest} end" if cases else rest


def within(text: str, code: str) -> str:
    """Whether a text is in a group of codes (`I50*`) or in a range of them, its ends with all below them (`390..459`)."""
    if code.endswith("*"):
        return f"starts_with({text}, {literal(code[:-1])})"
    low, high = code.split("..", 1) if code.count("..") == 1 else code.rsplit("..", 1)
    if low[0].isalpha():
        return f"({text} >= {literal(low)} and ({text} <= {literal(high)} or starts_with({text}, {literal(high)})))"
    number, end = f"try_cast({text} as double)", float(high)
    return f"({number} >= {float(low)!r} and {number} {f'< {end + 1!r}' if '.' not in high else f'<= {end!r}'})"


def converted(rules: Rules, name: str, rule: Rule, variable: Variable) -> units.Conversion:
    """From the unit here to the one wanted. Raises `DataError`."""
    if not rule.unit:
        return units.Conversion(1.0)
    if not variable.unit:
        raise DataError(
            f"{rules.at(name, 'unit')}: the values are in {rule.unit}, and the study names no unit", hint="ask its lead which unit is meant"
        )
    try:
        return units.conversion(rule.unit, variable.unit, rule.of or units.substance(name))
    except DataError as e:
        raise DataError(f"{rules.at(name, 'unit')}: {e}", hint=e.hint) from None


def meaning(rules: Rules, error: Exception) -> DataError:
    """What DuckDB's error means here: of its own words only those that were said before any row was read."""
    kind, _, text = str(error).partition(" Error: ")
    if kind in ("Binder", "Catalog", "Parser"):
        return DataError(
            f"{rules._where}: {text.splitlines()[0]}", hint="mend the expression after `sql`; columns are named as in the table"
        )
    if kind == "INTERRUPT":
        return DataError(
            f"{rules._where}: an expression took longer than {SECONDS:.0f} s", hint="simplify it, or compute it when exporting"
        )
    if kind == "Out of Memory":
        return DataError(
            f"{rules._where}: an expression needs more than {MEMORY}", hint="look at fewer other rows, or compute it when exporting"
        )
    return DataError(f"{rules._where}: an expression failed on a row", hint="use try_cast in place of cast, and nullif before a division")
