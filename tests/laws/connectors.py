"""How a table is written for each connector, by other programs than ours: what `test_connectors` holds all of them against."""

import csv
import datetime
import gzip
import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import duckdb
import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from collegium.data.place import Place
from tests import servers


@dataclass(frozen=True)
class Connector:
    """A kind of source: how a table is written as one, and what cannot be expected of it."""

    write: Callable[[Path, pa.Table, "Asked"], Place]
    cannot: frozenset[str] = frozenset()  # names of cases that its own form rules out
    file: bool = True  # whether it is a file that can be cut, moved and looked at


Asked = Callable[[], servers.Server]  # a PostgreSQL server, started when it is first wanted


def texts(table: pa.Table) -> list[list[str]]:
    """The cells as text programs write them."""
    return [["" if value is None else said(value) for value in row.values()] for row in table.to_pylist()] if table.num_columns else []


def said(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    return repr(value) if isinstance(value, float) else str(value)


def delimited(name: str, separator: str = ",", encoding: str = "utf8") -> Callable[[Path, pa.Table, Asked], Place]:
    def write(folder: Path, table: pa.Table, ask: Asked) -> Place:
        file = io.StringIO(newline="")
        csv.writer(file, delimiter=separator).writerows([table.column_names, *unnamed(table)])
        raw = file.getvalue().encode(encoding)
        (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return Place(str(folder / name))

    return write


def unnamed(table: pa.Table) -> list[list[str]]:
    """The same where names stand twice."""
    return texts(table.rename_columns([str(n) for n in range(table.num_columns)]))


def ndjson(name: str) -> Callable[[Path, pa.Table, Asked], Place]:
    def write(folder: Path, table: pa.Table, ask: Asked) -> Place:
        lines = []
        for at, row in enumerate(table.to_pylist()):
            kept = {key: value for key, value in row.items() if value is not None or at % 2 or at == 0}  # a field may be left out
            lines.append(json.dumps(kept, default=said, ensure_ascii=bool(at % 3)) + "\n")
        raw = "".join(lines).encode()
        (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return Place(str(folder / name))

    return write


def parquet(folder: Path, table: pa.Table, ask: Asked) -> Place:
    pq.write_table(table, folder / "t.parquet", row_group_size=5000)
    return Place(str(folder / "t.parquet"))


def excel(folder: Path, table: pa.Table, ask: Asked) -> Place:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(table.column_names)
    columns = [column.to_pylist() for column in table.columns]
    for row in zip(*columns, strict=True):
        sheet.append([cell(value) for value in row])
    book.save(folder / "t.xlsx")
    return Place(str(folder / "t.xlsx"))


def cell(value: Any) -> Any:
    """As a person types it: a text is a text, also where it looks like a formula; Excel knows no time zones."""
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.isoformat(" ")
    if isinstance(value, str) and value.startswith("="):
        return "'" + value
    return value


def sqlite(folder: Path, table: pa.Table, ask: Asked) -> Place:
    path = folder / "t.sqlite"
    with closing(sqlite3.connect(path)) as link:
        places = ", ".join("?" * table.num_columns)
        names = [f"c{n}" for n in range(table.num_columns)]
        link.execute(f"create table t ({', '.join(names)})")
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        link.executemany(f"insert into t values ({places})", ([native(value) for value in row] for row in rows))
        link.commit()
    return Place(str(path), query=renamed(table, names))


def native(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else said(value)


def renamed(table: pa.Table, names: list[str]) -> str:
    """A query that gives columns their names, which may stand twice."""
    listed = ", ".join('{} as "{}"'.format(name, title.replace('"', '""')) for name, title in zip(names, table.column_names, strict=True))
    return f"select {listed} from t"


def duck(folder: Path, table: pa.Table, ask: Asked) -> Place:
    names = [f"c{n}" for n in range(table.num_columns)]
    with duckdb.connect(str(folder / "t.duckdb")) as link:
        link.register("given", table.rename_columns(names))
        link.execute("create table t as select * from given")
    return Place(str(folder / "t.duckdb"), query=renamed(table, names))


def postgresql(folder: Path, table: pa.Table, ask: Asked) -> Place:
    from adbc_driver_postgresql import dbapi

    server, name = ask(), f"t{abs(hash(str(folder)))}"
    names = [f"c{n}" for n in range(table.num_columns)]
    address = server.address().replace("@", f":{servers.QUOTED}@")
    with dbapi.connect(address) as link, link.cursor() as cursor:
        cursor.adbc_ingest(name, table.rename_columns(names), mode="replace")
        link.commit()
    secret = folder.parent / "secret"
    secret.write_text(servers.PASSWORD)
    secret.chmod(0o600)
    return Place(server.address(), query=renamed(table, names).replace(" from t", f" from {name}"), password_file=str(secret))


def h5ad(folder: Path, table: pa.Table, ask: Asked) -> Place:
    frame = pd.DataFrame({name: series(table.column(name)) for name in table.column_names})
    frame.index = [f"cell{n}" for n in range(table.num_rows)]
    anndata.AnnData(np.zeros((table.num_rows, 1), np.float32), frame, pd.DataFrame(index=["gene"])).write_h5ad(folder / "t.h5ad")
    return Place(str(folder / "t.h5ad"))


def series(column: pa.ChunkedArray) -> Any:
    """A column as pandas has it for AnnData, which knows no dates and no decimals."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pd.array(column.to_pylist(), dtype="boolean" if pa.types.is_boolean(kind) else "Int64")
    if pa.types.is_floating(kind):
        return column.to_numpy()
    return pd.Categorical([None if value is None else said(value) for value in column.to_pylist()])


SHEET = frozenset({"whole numbers of any size", "numbers with all their digits", "small and huge numbers", "many rows"})
CASE = "names that differ in case"  # to SQLite and DuckDB these are one name
CONNECTORS: dict[str, Connector] = {
    "csv": Connector(delimited("t.csv")),
    "csv.gz": Connector(delimited("t.csv.gz")),
    "tsv": Connector(delimited("t.tsv", "\t", "utf-8-sig")),
    "txt": Connector(delimited("t.txt", "|", "utf-16")),
    "parquet": Connector(parquet),
    # a file without a line has no header; a name that stands twice in an object is one name
    "ndjson": Connector(ndjson("t.ndjson"), frozenset({"no rows", "a column twice", CASE})),
    "jsonl.gz": Connector(ndjson("t.jsonl.gz"), frozenset({"no rows", "a column twice", CASE})),
    "xlsx": Connector(excel, SHEET),  # Excel keeps sixteen digits, and writing it takes a minute
    "sqlite": Connector(sqlite, frozenset({CASE})),
    "duckdb": Connector(duck, frozenset({CASE})),
    "postgresql": Connector(postgresql, file=False),
    "h5ad": Connector(h5ad, frozenset({"a column twice"})),  # nobody can write that
}
