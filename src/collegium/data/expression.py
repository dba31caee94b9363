"""One SQL expression of a hospital's mapping: what it may be, and the DuckDB that computes it, shut in.

    >>> found = understood("number(weight) / (number(height) / 100) ** 2")
    >>> found.columns, found.looks_around
    (('weight', 'height'), False)
    >>> with shut_in() as link:
    ...     link.execute("select number(' 1.50'), date_of('2024-02-29')").fetchone()
    (1.5, datetime.datetime(2024, 2, 29, 0, 0))

DuckDB sees the rows that are handed to it and no file, no network and no variable of this program. What does not fit its memory
goes to a folder that ends with the reading.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from collegium.data.files import NUMBER
from collegium.data.mapping import strptime
from collegium.errors import DataError

MEMORY = "512MB"
ISO = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S")
CLOCKS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}  # written without brackets
GROUPED = r"^[+-]?\d{1,3}([. '’]\d{3})+,\d+$"  # 1.234,5


class Expression(NamedTuple):
    """An SQL expression as DuckDB understood it, the columns it names, and whether it looks at other rows."""

    text: str
    columns: tuple[str, ...]
    looks_around: bool


@cache
def understood(sql: str) -> Expression:
    """An expression by its text. Raises `DataError` for anything but one expression over columns that gives the same tomorrow."""
    import duckdb

    with shut_in() as link:
        try:
            text = str(duckdb.SQLExpression(sql))
            found = json.loads(link.execute("select json_serialize_sql(?)", [f"select {text}"]).fetchall()[0][0])
            statement = found["statements"][0]["node"]
            alone = (len(found["statements"]), len(statement["select_list"]), statement["from_table"]["type"]) == (1, 1, "EMPTY")
        except (duckdb.Error, KeyError):
            alone = False
        if not alone:
            raise DataError("this is not one SQL expression", hint="write what stands between SELECT and FROM, once")
        fickle = link.execute("select distinct lower(function_name) from duckdb_functions() where stability <> 'CONSISTENT'").fetchall()
    nodes = list(inside(statement["select_list"]))
    classes = {str(node.get("class", "")) for node in nodes}
    if bad := classes & {"SUBQUERY", "STAR"}:
        what = "a query of its own" if "SUBQUERY" in bad else "*"
        raise DataError(f"{what} cannot stand in it", hint="an expression sees the columns of its own row, by name")
    columns = tuple(dict.fromkeys(node["column_names"][-1] for node in nodes if node.get("class") == "COLUMN_REF"))
    called = {str(node.get("function_name") or "").lower() for node in nodes} & {name for (name,) in fickle}
    if moving := called | (CLOCKS & {column.lower() for column in columns}):
        raise DataError(f"{min(moving)} is something else each time", hint="studies must find the same rows again: use columns alone")
    return Expression(text, columns, "WINDOW" in classes)


def inside(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a parsed expression."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for part in node if isinstance(node, list) else ():
        yield from inside(part)


def numeric(text: str, decimal: str) -> str:
    """A text as a number, or null: 1.234 is none where commas are decimal, since it could be a thousand or one."""
    if decimal != ",":
        grouped = f" when regexp_matches({text}, '^[+-]?\\d{{1,3}}([, ]\\d{{3}})+\\.\\d+$')" if decimal else ""
        bare = f"{grouped} then try_cast(regexp_replace({text}, '[, ]', '', 'g') as double)" if grouped else ""
        return f"case when regexp_matches({text}, {literal(NUMBER)}) then try_cast({text} as double){bare} end"
    plain = f"regexp_matches({text}, '^[+-]?\\d*,?\\d+([eE][+-]?\\d+)?$')"
    whole = f"replace(regexp_replace({text}, '[. ''’]', '', 'g'), ',', '.')"
    return f"case when {plain} or regexp_matches({text}, {literal(GROUPED)}) then try_cast({whole} as double) end"


def moment(text: str, styles: Sequence[str], before: str = "") -> str:
    """A text as a moment, or null: in one of the styles named, or as ISO 8601, which is like no other.

    A year of two digits is of this century or the last; with `before`, a moment that it cannot be after, it is the last one there is.
    """
    short = [literal(form) for style in styles if "%y" in (form := strptime(style))]
    long = ", ".join(literal(form) for form in dict.fromkeys([*(strptime(style) for style in styles if "YYYY" in style), *ISO]))
    four = rf"case when regexp_matches({text}, '\d{{4}}') then try_strptime({text}, [{long}]) end"
    if not short:
        return four
    two = f"try_strptime({text}, [{', '.join(short)}])"
    two = f"case when {two} > {before} then {two} - interval 100 year else {two} end" if before else two
    return f"coalesce({four}, {two})"


@contextmanager
def shut_in(decimal: str = "", styles: Sequence[str] = ()) -> Iterator[Any]:
    """A DuckDB connection that sees only what is handed to it; for expressions `number(x)` and `date_of(x)` read as the mapping says."""
    import duckdb

    text = "trim(cast(x as varchar))"
    closed: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "threads": 1,
    }
    with TemporaryDirectory(prefix="collegium-") as spill, duckdb.connect(":memory:", config=closed) as link:
        link.execute(f"set temp_directory={literal(spill)}; set memory_limit='{MEMORY}'; set python_enable_replacements=false")
        link.execute(f"create temp macro number(x) as {numeric(text, decimal)}")
        link.execute(f"create temp macro date_of(x) as {moment(text, styles)}")
        link.execute("set enable_external_access=false; set lock_configuration=true")
        yield link


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'
