"""OMOP CDM 5.3 and 5.4, wherever it lies: PostgreSQL, a DuckDB or SQLite file, a folder of CSV or Parquet files.

Versions differ in a few names and hospitals in what they fill; `prelude` makes of whatever is there the same tables with the same
columns, null where a hospital has none. `omop.sql` goes on from those.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collegium.data import duck, formats, sql
from collegium.data.place import Place
from collegium.errors import DataError

KEY, DAY, TEXT = "bigint", "date", "varchar"
# Table -> column -> its type, and the name it had before 5.4. The first three tables must be there.
TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "person": {
        "person_id": (KEY,), "gender_concept_id": (KEY,), "year_of_birth": ("integer",), "month_of_birth": ("integer",),
        "day_of_birth": ("integer",),
    },
    "visit_occurrence": {
        "visit_occurrence_id": (KEY,), "person_id": (KEY,), "visit_concept_id": (KEY,), "visit_start_date": (DAY,),
        "visit_end_date": (DAY,), "admitted_from_concept_id": (KEY, "admitting_source_concept_id"),
        "discharged_to_concept_id": (KEY, "discharge_to_concept_id"),
    },
    "condition_occurrence": {
        "person_id": (KEY,), "visit_occurrence_id": (KEY,), "condition_concept_id": (KEY,), "condition_source_concept_id": (KEY,),
        "condition_source_value": (TEXT,), "condition_start_date": (DAY,), "condition_type_concept_id": (KEY,),
        "condition_status_concept_id": (KEY,),
    },
    "drug_exposure": {
        "person_id": (KEY,), "visit_occurrence_id": (KEY,), "drug_concept_id": (KEY,), "drug_exposure_start_date": (DAY,),
    },
    "procedure_occurrence": {"person_id": (KEY,), "visit_occurrence_id": (KEY,), "procedure_date": (DAY,)},
    "measurement": {
        "person_id": (KEY,), "visit_occurrence_id": (KEY,), "measurement_concept_id": (KEY,), "measurement_date": (DAY,),
        "value_as_number": ("double precision",),
    },
    "death": {"person_id": (KEY,), "death_date": (DAY,)},
    "concept": {"concept_id": (KEY,), "vocabulary_id": (TEXT,), "concept_code": (TEXT,)},
    "concept_ancestor": {"ancestor_concept_id": (KEY,), "descendant_concept_id": (KEY,)},
}  # fmt: skip
REQUIRED = {
    "person": ("person_id", "year_of_birth"),
    "visit_occurrence": ("visit_occurrence_id", "person_id", "visit_concept_id", "visit_start_date", "visit_end_date"),
    "condition_occurrence": ("person_id", "condition_concept_id", "condition_start_date"),
}
ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet")
Tables = Mapping[str, tuple[str, frozenset[str]]]  # table -> what to select from, and its columns in small letters


def prelude(place: Place) -> str:
    """The tables omop_* as the beginning of a query. Raises `DataError` naming what the database lacks."""
    found = tables(place)
    for table, columns in REQUIRED.items():
        if table not in found:
            raise DataError(f"{place.label} has no table {table!r}: no OMOP CDM is there", hint="check the place, and --schema")
        if lacks := [name for name in columns if name not in found[table][1]]:
            raise DataError(f"{place.label}: table {table!r} has no column {lacks[0]!r}", hint="wanted OMOP CDM 5.3 or 5.4")
    return ",\n".join(uniform(table, *found.get(table, ("", frozenset()))) for table in TABLES)


def uniform(table: str, origin: str, has: frozenset[str]) -> str:
    """One table with all the columns that are asked for."""
    columns = []
    for name, (kind, *former) in TABLES[table].items():
        there = next((one for one in (name, *former) if one in has), "null")
        columns.append(f"cast({there} as {kind}) as {name}")
    return f"omop_{table} as (select {', '.join(columns)} {f'from {origin}' if origin else 'where false'})"


def tables(place: Place) -> Tables:
    """The OMOP tables that are there."""
    if Path(place.path).is_dir():
        return {table: (scan(path), columns_of(path)) for table, path in files(place).items()}
    if place.kind == "sqlite":
        found = grouped(
            place, "select m.name, p.name from sqlite_master m join pragma_table_info(m.name) p where m.type in ('table', 'view')"
        )
        return {table: (duck.name(f"omop.{table}"), has) for table, has in found.items()}
    schema = duck.quoted(place.schema) if place.schema else "current_schema()"
    catalog = " and table_catalog = 'collegium_site'" if place.kind == "duckdb" else ""
    found = grouped(place, f"select table_name, column_name from information_schema.columns where table_schema = {schema}{catalog}")
    prefix = f"{duck.name(place.schema)}." if place.schema else ""
    return {table: (f"{prefix}{table}", has) for table, has in found.items()}


def grouped(place: Place, question: str) -> dict[str, frozenset[str]]:
    """Pairs of table and column, by table, in small letters."""
    found: dict[str, set[str]] = {}
    answer = sql.answers(place, question)
    next(answer)
    for batch in answer:
        for table, column in zip(*(values.to_pylist() for values in batch.columns), strict=True):
            found.setdefault(str(table).lower(), set()).add(str(column).lower())
    return {table: frozenset(columns) for table, columns in found.items() if table in TABLES}


def files(place: Place) -> dict[str, Path]:
    """The files of a folder that are OMOP tables, whatever the case of their names."""
    there = {path.name.lower(): path for path in sorted(Path(place.path).iterdir()) if path.is_file()}
    named = {table: next((there[table + end] for end in ENDINGS if table + end in there), None) for table in TABLES}
    return {table: path for table, path in named.items() if path is not None}


def scan(path: Path) -> str:
    """A file as something to select from; the columns of text are given their types by `uniform`."""
    if path.suffix == ".parquet":
        return f"read_parquet({duck.quoted(path)})"
    return f"read_csv({duck.quoted(path)}, header=true, all_varchar=true, nullstr='')"


def columns_of(path: Path) -> frozenset[str]:
    """The names of a file's columns."""
    return frozenset(name.lower() for name in formats.load(path, [])[0])


@contextmanager
def opened(place: Place) -> Iterator[Any]:
    """DuckDB with the tables of a folder or of an SQLite file at hand; it reads nothing else."""
    if Path(place.path).is_dir():
        with duck.shut_in(*files(place).values()) as link:
            yield link
        return
    with duck.shut_in() as link:
        for table, (origin, has) in tables(place).items():
            wanted = [one for name, (_, *former) in TABLES[table].items() for one in (name, *former) if one in has]
            copied(link, origin, place._replace(view="", table=table), wanted)
        yield link


def copied(link: Any, origin: str, place: Place, wanted: list[str]) -> None:
    """Copy some columns of one table into DuckDB, batch by batch."""
    import pyarrow as pa

    listed = ", ".join(f"{name} {TEXT}" for name in wanted)
    link.execute(f"create temp table {origin} ({listed})")
    header, _ = sql.load(place, [])
    names = [next(name for name in header if name.lower() == one) for one in wanted]
    _, batches = sql.load(place, names)
    for batch in batches:
        link.register("arrived", pa.table([batch[name] for name in names], names=wanted))
        link.execute(f"insert into {origin} select * from arrived")
        link.unregister("arrived")
