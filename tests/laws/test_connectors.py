"""The contract of the connectors: whatever a source is, the same table comes out of it, read alike, and fails alike.

Each case below is held against every connector; `connectors.py` says how they are written and what a form rules out.
"""

import datetime
import decimal
import gc
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collegium.data import files, formats, sources
from collegium.data.place import SUFFIXES, Place
from collegium.errors import CollegiumError, DataError
from collegium.study import manifest
from tests import servers
from tests.laws.connectors import CONNECTORS, Connector, said

STUDY = manifest.read(manifest.EXAMPLE)
SECRET = "Mustermann"
UTC = datetime.UTC


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.postgresql() as running:
        yield running


class Bench:
    """One connector at work in a folder."""

    def __init__(self, name: str, connector: Connector, folder: Path, request: pytest.FixtureRequest) -> None:
        self.name, self.connector, self.folder, self.request = name, connector, folder, request

    def put(self, **columns: Any) -> Place:
        """A table with these columns."""
        return self.table(pa.table({name: one if isinstance(one, pa.Array) else pa.array(one) for name, one in columns.items()}))

    def table(self, table: pa.Table) -> Place:
        return self.connector.write(self.folder, table, lambda: self.request.getfixturevalue("server"))


@pytest.fixture(params=CONNECTORS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    folder = tmp_path / "the hospital's Übung"
    folder.mkdir()
    return Bench(request.param, CONNECTORS[request.param], folder, request)


def got(place: Place, *columns: str) -> dict[str, list[str | None]]:
    """What is read, as a text file would have it: in the order of the rows, which for a database is that of the values."""
    out: dict[str, list[str | None]] = {}
    for batch in sources.load(place, columns)[1]:
        for name, values in batch.items():
            values = files.plain(values)
            words = values if files.is_text(values.type) else files.written(values)
            out.setdefault(name, []).extend(word.strip() or None if word is not None else None for word in words.to_pylist())
    return out


def rows_of(place: Place, *columns: str) -> list[tuple[str | None, ...]]:
    read = got(place, *columns)
    return sorted(zip(*(read[name] for name in columns), strict=True), key=str)


def test_every_kind_of_place_is_under_the_law():
    endings = {f".{name.split('.')[0]}" for name in CONNECTORS}
    assert set(formats.FORMATS) - endings == {".data", ".pq", ".xlsm"} - endings | ({".jsonl", ".ndjson"} - endings)
    assert set(SUFFIXES) - endings == {".sqlite3", ".db"}
    assert set(sources.READERS) == {"postgresql", "sqlite", "duckdb", "cells"}


def test_the_contract_has_forty_cases():
    behaviours = [name for name in globals() if name.startswith("test_") and "bench" in globals()[name].__code__.co_varnames[:2]]
    assert len(VALUES) + len(behaviours) - 1 >= 40


# Values: the column, and how a text file would have it (where that is not what `said` gives)

BIG, TINY = 2**62 + 1, 5e-324
LONG = "x" * 30000
VALUES: dict[str, tuple[Any, list[str | None] | None]] = {
    "whole numbers": ([3, -1, 0], None),
    "whole numbers of any size": ([BIG, -BIG, 2**53 + 1], None),
    "whole numbers with gaps": ([3, None, 0], None),
    "numbers with all their digits": ([0.1 + 0.2, 1 / 3, -2.5], None),
    "small and huge numbers": ([TINY, 1.7976931348623157e308, -1e-300], None),
    "numbers with gaps": ([1.5, None, 2.25], None),
    "decimals": (pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-3.25")], pa.decimal128(6, 2)), ["1.1", None, "-3.25"]),
    "text": (["a", "b", "c d"], None),
    "text with gaps": (["a", None, "c"], None),
    "empty text is missing": (["a", "", "c"], ["a", None, "c"]),
    "letters of Europe": (["Größe", "ŁÓDŹ", "Αθήνα"], None),
    "letters of the world": (["日本語", "עברית", "العربية"], None),
    "signs beyond the letters": (["👩🏽‍⚕️", "e\u0301", "\u202ertl\u202c"], None),
    "separators and quotes": (['a,b;c|d\te"f"', "'x'", 'say ""'], ['a,b;c|d\te"f"', "'x'", 'say ""']),
    "line ends inside": (["two\nlines", "x", "end"], None),
    "leading zeros": (["007", "0012", "1"], None),
    "text that looks like a number": (["1e5", "12", "0x10"], None),
    "text that looks like a date": (["2020-01-02", "3.4.2020", "May 5"], None),
    "text that means missing is left to the study": (["NA", "null", "?"], None),
    "text that is code": (["'; drop table t; --", "<script>", "${x} %s {y}"], None),
    "very long text": ([LONG, "a", "b"], None),
    "truth values": ([True, False, None], ["1", "0", None]),
    "days": ([datetime.date(2020, 2, 29), datetime.date(1931, 12, 31), None], None),
    "moments": (pa.array([1577934245, 0, None], pa.timestamp("s")), ["2020-01-02 03:04:05", "1970-01-01", None]),
    "moments with a time zone": (
        [datetime.datetime(2020, 1, 2, 23, 30, tzinfo=UTC), None, datetime.datetime(2020, 7, 1, 12, tzinfo=UTC)],
        ["2020-01-02 23:30:00", None, "2020-07-01 12:00:00"],
    ),
    "wholly missing": (pa.array([None, None, None], pa.string()), None),
    "one value": (["only"], None),
}  # fmt: skip
SPELT = {"True": "1", "False": "0", "true": "1", "false": "0", "1.0": "1", "0.0": "0"}


def meant(word: str | None, case: str) -> str | None:
    """The same value by whichever of its spellings a form uses."""
    if word is None:
        return None
    if case == "truth values":
        return SPELT.get(word, word)
    if case.startswith("moments"):
        return word.replace("T", " ").removesuffix("Z").removesuffix("+00:00").partition(".")[0].removesuffix(" 00:00:00")
    if case == "days":
        return word.partition(" 00:00")[0]
    number = case.startswith(("numbers", "small", "whole", "decimals"))
    return str(decimal.Decimal(word).normalize() if case.startswith(("whole", "decimals")) else float(word)) if number else word


@pytest.mark.parametrize("case", VALUES)
def test_values_come_through(bench: Bench, case: str):
    if case in bench.connector.cannot:
        pytest.skip("its form rules that out")
    column, wanted = VALUES[case]
    column = column if isinstance(column, pa.Array) else pa.array(column)
    words = wanted or [None if value is None else said(value) for value in column.to_pylist()]
    key = [f"k{n}" for n in range(len(column))]
    read = rows_of(bench.put(key=key, x=column), "key", "x")
    assert [meant(word, case) for _, word in read] == [meant(word, case) for word in words]


# Behaviour


@pytest.mark.slow
def test_a_type_is_not_taken_from_the_first_rows(bench: Bench):
    words = [None] * 20000 + ["text", "7"]
    if bench.name == "xlsx":
        words = words[-3000:]
    read = rows_of(bench.put(key=[f"{n:06}" for n in range(len(words))], x=pa.array(words, pa.string())), "key", "x")
    assert [word for _, word in read] == words


def test_no_rows(bench: Bench):
    if "no rows" in bench.connector.cannot:
        pytest.skip("its form rules that out")
    place = bench.put(a=pa.array([], pa.string()), b=pa.array([], pa.int64()))
    assert {"a", "b"} <= set(sources.load(place, [])[0])
    assert not any(got(place, "a", "b").values())


def test_the_header_is_in_the_order_of_the_source(bench: Bench):
    header, batches = sources.load(bench.put(zeta=[1], alpha=[2], mid=[4]), [])
    assert not any(batches)
    asked = [name for name in header if name in ("zeta", "alpha", "mid")]
    assert asked == (sorted(asked) if "json" in bench.name else ["zeta", "alpha", "mid"])


def test_only_the_columns_asked_for_come(bench: Bench):
    place = bench.put(a=[1, 2], b=["x", "y"], c=[3.5, 4.5])
    for asked in (["c"], ["b", "a"], ["a", "nope", "c"], ["a", "a"]):
        for batch in sources.load(place, asked)[1]:
            assert set(batch) == set(asked) - {"nope"}
    assert rows_of(place, "b", "a") == [("x", "1"), ("y", "2")]


def test_a_column_that_is_not_there_gives_nothing(bench: Bench):
    assert got(bench.put(a=[1, 2]), "nope") == {}


def test_names_of_columns_may_be_anything(bench: Bench):
    names = ["with space", 'qu"ote', "semi;colon", "Größe 日本", "select", "a.b", "x'y", "{z}", "100%", "-", "$1"]
    place = bench.table(pa.table({name: [f"v{at}"] for at, name in enumerate(names)}))
    assert {name: values[0] for name, values in got(place, *names).items()} == {name: f"v{at}" for at, name in enumerate(names)}


def test_upper_and_lower_case_are_different_columns(bench: Bench):
    place = bench.put(ID=["big"], id=["small"], other=["x"])
    if "names that differ in case" in bench.connector.cannot:  # then neither is taken for the other
        for name in ("ID", "id"):
            with pytest.raises(DataError, match=f"column '{name}' stands 2 times, in capitals and small letters"):
                sources.load(place, [name])
        assert rows_of(place, "other") == [("x",)]
    else:
        assert rows_of(place, "ID", "id") == [("big", "small")]


def test_a_column_twice(bench: Bench):
    if "a column twice" in bench.connector.cannot:
        pytest.skip("its form rules that out")
    place = bench.table(pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], ["a", "b", "a"]))
    assert rows_of(place, "b") == [("2",)]
    with pytest.raises(DataError, match="column 'a' stands 2 times") as caught:
        sources.load(place, ["b", "a"])
    assert caught.value.hint


@pytest.mark.slow
def test_many_columns(bench: Bench):
    place = bench.table(pa.table({f"column {n}": [str(n)] for n in range(COLUMNS)}))
    assert len(sources.load(place, [])[0]) in (COLUMNS, COLUMNS + 2)
    assert rows_of(place, "column 399", "column 0") == [("399", "0")]


MANY, COLUMNS = 40_000, 400


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Place]:
    """The large table of each connector, written once."""
    return {}


@pytest.fixture
def large(bench: Bench, written: dict[str, Place], tmp_path_factory: pytest.TempPathFactory) -> Place:
    if "many rows" in bench.connector.cannot:
        pytest.skip("its form rules that out")
    if bench.name not in written:
        bench.folder = tmp_path_factory.mktemp("large")
        order = random.Random(1).sample(range(MANY), MANY)
        written[bench.name] = bench.put(n=order, word=[f"{n % 97:04}" for n in order], filling=["x" * 40] * MANY)
    return written[bench.name]


@pytest.mark.slow
def test_every_row_comes_once(bench: Bench, large: Place):
    assert sorted(map(int, filter(None, got(large, "n")["n"]))) == list(range(MANY))


@pytest.mark.slow
def test_rows_come_in_batches_of_bounded_size(bench: Bench, large: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(formats, "BLOCK", 1 << 20)
    sizes = [(len(batch["n"]), sum(values.nbytes for values in batch.values())) for batch in sources.load(large, ["n", "word"])[1]]
    assert sum(rows for rows, _ in sizes) == MANY
    assert max(rows for rows, _ in sizes) <= 1 << 17
    assert max(size for _, size in sizes) <= 8 << 20


@pytest.mark.slow
def test_all_batches_have_the_same_columns_and_equal_lengths(bench: Bench, large: Place):
    for batch in sources.load(large, ["word", "n"])[1]:
        assert set(batch) == {"n", "word"}
        assert len(batch["n"]) == len(batch["word"])


@pytest.mark.slow
def test_the_same_rows_come_in_the_same_order(bench: Bench, large: Place):
    assert got(large, "word", "n") == got(large, "n", "word")


@pytest.mark.slow
def test_columns_of_a_row_stay_together(bench: Bench, large: Place):
    read = got(large, "n", "word")
    assert all(int(n or 0) % 97 == int(word or 0) for n, word in zip(read["n"], read["word"], strict=True))


@pytest.mark.slow
def test_two_readings_at_once_do_not_meet(bench: Bench, large: Place):
    one, two = sources.load(large, ["n"])[1], sources.load(large, ["word"])[1]
    first, second = next(one), next(two)
    rest = [batch["n"] for batch in one], [batch["word"] for batch in two]
    assert sum(map(len, (first["n"], *rest[0]))) == sum(map(len, (second["word"], *rest[1]))) == MANY


def handles() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
def test_nothing_stays_open_and_nothing_runs_on(bench: Bench, large: Place):
    got(large, "n")
    before, threads = handles(), threading.active_count()
    for _ in range(3):
        batches = sources.load(large, ["n"])[1]
        next(batches)
        batches.close()
        got(large, "word")
    assert (handles() - before, threading.active_count() - threads) == (0, 0)


def test_a_source_is_never_written(bench: Bench):
    place = bench.put(a=["x", "y"], b=[1, 2])
    before = {path.name: path.read_bytes() for path in bench.folder.iterdir()}
    for path in bench.folder.iterdir():
        path.chmod(0o400)
    bench.folder.chmod(0o500)
    try:
        assert rows_of(place, "a", "b") == [("x", "1"), ("y", "2")]
    finally:
        bench.folder.chmod(0o700)
    assert {path.name: path.read_bytes() for path in bench.folder.iterdir()} == before


def moved(place: Place, path: Path) -> Place:
    return place._replace(path=str(path))


def tried(read: Callable[[], int]) -> int | None:
    """How many rows a reading gave, or nothing where it ended in one of our errors, which shows no value."""
    try:
        return read()
    except CollegiumError as e:
        error = e
    return None if error.hint and SECRET not in str(error) + error.hint else -1


def told(read: Callable[[], object]) -> CollegiumError:
    """The error of a reading: it names the source, shows no value and says a way out."""
    with pytest.raises(CollegiumError) as caught:
        read()
    error = caught.value
    assert SECRET not in str(error) + error.hint
    assert error.__context__ is None or (error.__cause__ is None and error.__suppress_context__)
    assert error.hint
    return error


def test_a_source_that_is_not_there(bench: Bench):
    place = bench.put(a=[1])
    gone = moved(place, bench.folder / f"none{''.join(Path(place.path).suffixes)}")
    if not bench.connector.file:
        gone = moved(place, Path("x"))._replace(path="postgresql://steward@127.0.0.1:1/clinic")
    assert "none" in str(told(lambda: got(gone, "a"))) or not bench.connector.file
    assert not (bench.folder / "none.sqlite").exists()


def test_a_folder_in_the_place_of_a_file(bench: Bench):
    if not bench.connector.file:
        pytest.skip("it is no file")
    place = bench.put(a=[1])
    folder = bench.folder / f"folder{''.join(Path(place.path).suffixes)}"
    folder.mkdir()
    told(lambda: got(moved(place, folder), "a"))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_a_file_cut_short_is_never_half_a_table(bench: Bench, share: float):
    if not bench.connector.file:
        pytest.skip("it is no file")
    place = bench.put(key=[f"{n:05}" for n in range(3000)], name=[SECRET] * 3000, last=["z"] * 3000)
    path = Path(place.path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share) // 16 * 16 + 3])
    rows = tried(lambda: len(got(place, "key", "name", "last").get("key", [])))
    text = bench.name in ("csv", "tsv", "txt")  # may end anywhere; a row cut short has too few fields, or is whole
    assert rows is None or (0 <= rows < 3000 if text else rows == 3000)  # SQLite's last pages may hold no row


def test_a_file_of_another_kind(bench: Bench):
    if not bench.connector.file:
        pytest.skip("it is no file")
    place = bench.put(a=[1])
    noise = random.Random(3).randbytes(20000) if bench.name not in ("csv", "tsv", "txt") else b""
    Path(place.path).write_bytes(noise)
    told(lambda: got(place, "a"))


def test_a_source_that_goes_away_before_its_rows_are_read(bench: Bench):
    if not bench.connector.file:
        pytest.skip("tests/data/test_sql.py ends the server's session")
    place = bench.put(a=["x"] * 3000, b=[1] * 3000)
    _, batches = sources.load(place, ["a"])
    Path(place.path).unlink()
    assert tried(lambda: sum(len(batch["a"]) for batch in batches)) in (3000, None)  # it was open, or it is told


@pytest.mark.slow
def test_a_source_that_is_cut_while_its_rows_are_read(bench: Bench, large: Place, tmp_path: Path):
    if not bench.connector.file:
        pytest.skip("tests/data/test_sql.py ends the server's session")
    place = moved(large, Path(shutil.copy(large.path, tmp_path)))
    _, batches = sources.load(place, ["n", "filling"])
    rows = len(next(batches)["n"])
    Path(place.path).write_bytes(b"")
    rest = tried(lambda: sum(len(batch["n"]) for batch in batches))
    assert rest is None or rows + rest == MANY


def test_a_link_to_the_source_is_the_source(bench: Bench):
    if not bench.connector.file:
        pytest.skip("it is no file")
    place = bench.put(a=["x"])
    link = bench.folder / f"link{''.join(Path(place.path).suffixes)}"
    link.symlink_to(place.path)
    assert rows_of(moved(place, link), "a") == [("x",)]


# As a study's table

Row = dict[str, object]
KINDS = {"patient_id": pa.string(), "age": pa.float64(), "sex": pa.string(), "readmitted": pa.int64(), "ward": pa.string()}
ROWS: list[Row] = [
    {"patient_id": "007", "age": 71.0, "sex": "F", "readmitted": 1, "ward": "Köln, 2"},
    {"patient_id": "é", "age": 0.1 + 0.2, "sex": "M", "readmitted": 0, "ward": 'a "b"'},
    {"patient_id": "007", "age": None, "sex": None, "readmitted": None, "ward": None},
    {"patient_id": "x y", "age": 1e-300, "sex": "F", "readmitted": 0, "ward": "two\nlines"},
]


def study_table(rows: list[Row]) -> pa.Table:
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in KINDS.items()})


def test_one_study_table_from_every_source(bench: Bench):
    read = files.read(bench.table(study_table(ROWS)), STUDY)
    assert "ward" not in read
    order = np.lexsort([np.nan_to_num(read["age"], nan=1e9), read.patient])
    np.testing.assert_allclose(read["age"][order], [71.0, np.nan, 1e-300, 0.1 + 0.2], rtol=1e-15)  # Excel keeps sixteen digits
    assert read["sex"][order].tolist() == ["F", "", "F", "M"]
    np.testing.assert_array_equal(read["readmitted"][order], [1.0, np.nan, 0.0, 0.0])
    assert read.patient[order].tolist() == ["007", "007", "x y", "é"]


def test_a_column_that_the_study_wants_and_the_source_lacks(bench: Bench):
    place = bench.put(patient_id=["a"], Age=[SECRET], sex=["F"], readmitted=[1])
    error = told(lambda: files.read(place, STUDY))
    assert "column 'age' is not in the table; did you mean 'Age'?" in str(error)


def test_a_value_that_is_no_number_is_counted_and_not_shown(bench: Bench):
    place = bench.put(patient_id=["a", "b"], age=[SECRET, SECRET], sex=["F", "M"], readmitted=[1, 0])
    assert "column 'age' holds text in 2 rows, first in row 1; wanted a number" in str(told(lambda: files.read(place, STUDY)))


words = st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
patients, truths = st.text("ab7é", min_size=1, max_size=3), st.none() | st.sampled_from([0, 1])
row = st.fixed_dictionaries({"patient_id": patients, "age": numbers, "sex": words, "readmitted": truths, "ward": words})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(row, min_size=1, max_size=8))
def test_any_table_is_the_same_from_csv_parquet_and_ndjson(tmp_path: Path, rows: list[Row]):
    full = study_table([{"patient_id": "a", "age": 1.0, "sex": "F", "readmitted": 1, "ward": "w"}, *rows])
    first, *others = (
        files.read(CONNECTORS[name].write(tmp_path, full, servers.postgresql), STUDY) for name in ("csv", "parquet", "ndjson")
    )
    for other in others:
        assert first.columns.keys() == other.columns.keys()
        for name in first.columns:
            np.testing.assert_array_equal(first[name], other[name])
            assert first[name].dtype.kind == other[name].dtype.kind
        np.testing.assert_array_equal(first.patient, other.patient)
