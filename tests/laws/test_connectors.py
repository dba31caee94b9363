"""Laws of the connectors: one table written in any format is read as the same Table, and only its own columns are read."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collegium.data.files import read
from collegium.data.formats import FORMATS
from collegium.study import manifest
from collegium.table import Table

STUDY = manifest.read(manifest.EXAMPLE)
Row = dict[str, object]
NAMES = ("patient_id", "age", "sex", "readmitted", "ward")


def write_csv(path: Path, rows: list[Row], separator: str = ",", encoding: str = "utf8") -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(NAMES)
    writer.writerows([["" if row[name] is None else row[name] for name in NAMES] for row in rows])
    raw = file.getvalue().encode(encoding)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def write_parquet(path: Path, rows: list[Row]) -> None:
    kinds = {"patient_id": pa.string(), "age": pa.float64(), "sex": pa.string(), "readmitted": pa.int64(), "ward": pa.string()}
    pq.write_table(pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()}), path)


def write_ndjson(path: Path, rows: list[Row]) -> None:
    text = "".join(json.dumps({name: value for name, value in row.items() if value is not None or index % 2}) + "\n"
                   for index, row in enumerate(rows))  # fmt: skip
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_excel(path: Path, rows: list[Row]) -> None:
    book = openpyxl.Workbook()
    book.active.append(NAMES)
    for row in rows:
        book.active.append([row[name] for name in NAMES])
    book.save(path)


WRITERS: dict[str, Callable[[Path, list[Row]], None]] = {
    "t.csv": write_csv,
    "t.csv.gz": write_csv,
    "t.tsv": lambda path, rows: write_csv(path, rows, "\t"),
    "t.txt": lambda path, rows: write_csv(path, rows, "|"),
    "t.data": lambda path, rows: write_csv(path, rows, ";"),
    "bom.csv": lambda path, rows: write_csv(path, rows, ";", "utf-8-sig"),
    "latin.csv": lambda path, rows: write_csv(path, rows, ";", "latin-1"),
    "wide.csv": lambda path, rows: write_csv(path, rows, "\t", "utf-16"),
    "t.parquet": write_parquet,
    "t.pq": write_parquet,
    "t.ndjson": write_ndjson,
    "t.jsonl": write_ndjson,
    "t.ndjson.gz": write_ndjson,
    "t.xlsx": write_excel,
    "t.xlsm": write_excel,
}

ROWS: list[Row] = [
    {"patient_id": "007", "age": 71.0, "sex": "F", "readmitted": 1, "ward": "Köln, 2"},
    {"patient_id": "é", "age": 0.1 + 0.2, "sex": "M", "readmitted": 0, "ward": 'a "b"'},
    {"patient_id": "007", "age": None, "sex": None, "readmitted": None, "ward": None},
    {"patient_id": "x y", "age": 1e-300, "sex": "F", "readmitted": 0, "ward": "two\nlines"},
]


def equal(a: Table, b: Table) -> None:
    assert a.columns.keys() == b.columns.keys()
    for name in a.columns:
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype.kind == b[name].dtype.kind
    np.testing.assert_array_equal(a.patient, b.patient)


def test_every_format_is_under_the_law():
    assert set(FORMATS) == {f".{name.split('.')[1]}" for name in WRITERS}


@pytest.mark.parametrize("name", WRITERS)
def test_one_table_from_every_format(name: str, tmp_path: Path):
    WRITERS[name](tmp_path / name, ROWS)
    got = read(tmp_path / name, STUDY)
    assert "ward" not in got
    np.testing.assert_allclose(got["age"], [71.0, 0.1 + 0.2, np.nan, 1e-300], rtol=1e-15)  # Excel keeps sixteen digits
    assert got["sex"].tolist() == ["F", "M", "", "F"]
    np.testing.assert_array_equal(got["readmitted"], [1.0, 0.0, np.nan, 0.0])
    assert got.patient.tolist() == ["007", "é", "007", "x y"]


@pytest.mark.parametrize("name", [name for name in WRITERS if "json" not in name])  # a file without a line has no header
def test_a_table_without_rows_keeps_its_columns(name: str, tmp_path: Path):
    WRITERS[name](tmp_path / name, [])
    got = read(tmp_path / name, STUDY)
    assert (len(got), sorted(got.columns)) == (0, ["age", "readmitted", "sex"])


words = st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
patients, truths = st.text("ab7é", min_size=1, max_size=3), st.none() | st.sampled_from([0, 1])
row = st.fixed_dictionaries({"patient_id": patients, "age": numbers, "sex": words, "readmitted": truths, "ward": words})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(row, min_size=1, max_size=8))
def test_any_table_is_the_same_from_csv_parquet_and_ndjson(tmp_path: Path, rows: list[Row]):
    full = [{"patient_id": "a", "age": 1.0, "sex": "F", "readmitted": 1, "ward": "w"}, *rows]
    tables = []
    for name in ("t.csv", "t.parquet", "t.ndjson"):
        WRITERS[name](tmp_path / name, full)
        tables.append(read(tmp_path / name, STUDY))
    equal(tables[0], tables[1])
    equal(tables[0], tables[2])
