"""Databases: PostgreSQL on a real server, SQLite and DuckDB files."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from collegium.data import files, sources, sql
from collegium.data.place import Place
from collegium.errors import DataError, LinkError
from collegium.study import manifest
from tests import servers

STUDY = manifest.read(manifest.EXAMPLE)
SECRET = "Mustermann"


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.postgresql() as running:
        running.psql("""
            create schema ward; create role reader login password 'r'; grant usage on schema ward to reader;
            create table ward."Stays 1" (patient_id uuid, age numeric(5, 2), sex char(3), readmitted boolean, note text, seen timestamptz);
            insert into ward."Stays 1" values ('00000000-0000-0000-0000-000000000001', 71.5, 'F', true, 'Mustermann', now()),
                ('00000000-0000-0000-0000-000000000002', null, null, null, null, null);
            create sequence counter; create table big as select g as id, repeat('x', 100) as filling from generate_series(1, 600000) g;
        """)
        yield running


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(servers.PASSWORD + "\n")
    path.chmod(0o600)
    return str(path)


def whole(place: Place, *columns: str) -> dict[str, list[object]]:
    out: dict[str, list[object]] = {}
    for batch in sources.load(place, columns)[1]:
        for name, values in batch.items():
            out.setdefault(name, []).extend(values.to_pylist())
    return out


def test_a_table_of_postgresql_is_a_study_table(server: servers.Server, secret: str):
    table = files.read(Place(server.address(), table="Stays 1", schema="ward", password_file=secret), STUDY)
    assert table.patient.tolist() == [f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2)]
    assert table["age"].tolist()[0] == 71.5
    assert table["sex"].tolist() == ["F", ""]
    assert table["readmitted"].tolist()[0] == 1


def test_the_password_comes_from_the_environment(server: servers.Server, monkeypatch: pytest.MonkeyPatch):
    place = Place(server.address(), query="select 1 as a;")
    monkeypatch.setenv(sql.PASSWORD, servers.PASSWORD)
    assert whole(place, "a") == {"a": [1]}
    monkeypatch.setenv(sql.PASSWORD, SECRET)
    with pytest.raises(DataError, match="does not let this user in") as caught:
        whole(place, "a")
    assert SECRET not in str(caught.value) + caught.value.hint


def test_a_password_file_that_others_can_read_is_refused(server: servers.Server, secret: str):
    Path(secret).chmod(0o644)
    with pytest.raises(DataError, match="can be read by other users"):
        whole(Place(server.address(), table="big", password_file=secret), "id")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        whole(Place(server.address(), table="big", password_file=secret + "x"), "id")


TYPES = """select 1.10::numeric as n, '{"a": 1}'::json as j, '1.2.3.4'::inet as i, interval '1 day' as d, time '10:00' as t,
    date '2020-01-02' as day, 9007199254740993::bigint as big, point(1, 2) as p, 'NaN'::float8 as nan, timestamp '2020-01-02 03:04' as s"""


def test_types_that_arrow_knows_otherwise_come_as_text(server: servers.Server, secret: str):
    got = {name: str(values[0]) for name, values in whole(Place(server.address(), query=TYPES, password_file=secret), *"njidtp",
           "day", "big", "nan", "s").items()}  # fmt: skip
    assert got == {
        "n": "1.10", "j": '{"a": 1}', "i": "1.2.3.4/32", "d": "1 day", "t": "10:00:00", "day": "2020-01-02",
        "big": "9007199254740993", "p": "(1,2)", "nan": "nan", "s": "2020-01-02 03:04:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select * from nope", "has no such table"),
        ("select nope from big", "has no such column in the query"),
        ("selekt", "does not understand the query"),
        ("with gone as (delete from big returning id) select id from gone", r"the query fails \(SQLSTATE 0A000\)"),
        (f"select cast('{SECRET}' as integer) as id", r"the query fails \(SQLSTATE 22P02\)"),
        ("select 1 / (2000 - id) as id from big", "the query fails"),
        ("select id from big; drop table big", "does not understand the query"),
        ("select nextval('counter') as id", "was asked to write"),
    ],
)
def test_what_a_query_does_wrong_is_told_without_a_value(server: servers.Server, secret: str, query: str, says: str):
    with pytest.raises(DataError, match=says) as caught:
        whole(Place(server.address(), query=query, password_file=secret), "id")
    assert SECRET not in str(caught.value) + caught.value.hint
    assert caught.value.hint
    assert caught.value.__cause__ is None
    assert server.psql("select count(*) from big").strip() == "600000"


def test_a_reader_without_rights_is_told(server: servers.Server, tmp_path: Path):
    path = tmp_path / "password"
    path.write_text("r")
    path.chmod(0o600)
    with pytest.raises(DataError, match="does not let this user read the table"):
        whole(Place(server.address(user="reader"), table="big", password_file=str(path)), "id")


def test_a_server_that_is_not_there_can_be_asked_again(secret: str):
    with pytest.raises(LinkError, match=r"database 'clinic' at 127\.0\.0\.1 cannot be reached"):
        whole(Place("postgresql://reader@127.0.0.1:1/clinic", table="big", password_file=secret), "id")


def test_rows_are_streamed(server: servers.Server, secret: str):
    _, batches = sources.load(Place(server.address(), table="big", password_file=secret), ["id", "filling"])
    sizes = [(batch["id"].nbytes + batch["filling"].nbytes, len(batch["id"])) for batch in batches]
    assert sum(rows for _, rows in sizes) == 600000
    assert max(size for size, _ in sizes) < 16 << 20


def cut(server: servers.Server) -> None:
    server.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'collegium'")


def test_a_server_that_goes_away_in_the_middle_is_a_clear_error(server: servers.Server, secret: str):
    _, batches = sources.load(Place(server.address(), table="big", password_file=secret), ["id", "filling"])
    next(batches)
    cut(server)
    with pytest.raises(LinkError, match="went away while its rows were read"):
        list(batches)


def test_and_it_is_read_again_from_the_beginning(server: servers.Server, secret: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "WAITS", (0.1, 0.1, 0.1))
    seen, load = [], sources.load

    def cut_once(where: Place, columns: list[str]) -> tuple[tuple[str, ...], Iterator[object]]:
        header, batches = load(where, columns)
        seen.append(where)

        def broken() -> Iterator[object]:
            yield next(batches)
            if len(seen) == 1:
                cut(server)
            yield from batches

        return header, broken()

    monkeypatch.setattr(sources, "load", cut_once)
    query = "select id as patient_id, id % 90 as age, 'F' as sex, id % 2 as readmitted from big"
    table = files.read(Place(server.address(), query=query, password_file=secret), STUDY)
    assert (len(seen), len(table), table.patients()) == (2, 600000, 600000)


def test_a_server_that_restarts_is_waited_for(server: servers.Server, secret: str):
    server.control("stop", "-m", "immediate")
    back = threading.Thread(target=lambda: (time.sleep(0.5), server.control("start")))
    back.start()
    try:
        read = lambda: whole(Place(server.address(), query="select 7 as id", password_file=secret), "id")
        assert sources.patiently(read, (1.0, 2.0, 4.0)) == {"id": [7]}
    finally:
        back.join()


# SQLite and DuckDB


@pytest.fixture
def lite(tmp_path: Path) -> Place:
    path = tmp_path / "with space?.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute("create table t (a, b integer, c real)")
        made.executemany("insert into t values (?, ?, ?)", [(None, 1, 0.1 + 0.2)] * 20000 + [("x", 2**62, None), (7, None, 1e300)])
        made.commit()
    return Place(str(path), table="t")


def test_a_column_of_sqlite_may_hold_anything(lite: Place):
    got = whole(lite, "a", "b", "c")
    assert sorted({str(value) for value in got["a"]}) == ["7", "None", "x"]
    assert {float(value) for value in got["c"] if value} == {0.1 + 0.2, 1e300}
    assert str(2**62) in got["b"]


def test_sqlite_is_not_written(lite: Place):
    before = Path(lite.path).read_bytes()
    with pytest.raises(DataError):
        whole(lite._replace(table="", query="delete from t returning a"), "a")
    assert Path(lite.path).read_bytes() == before
    assert [path.name for path in Path(lite.path).parent.iterdir()] == [Path(lite.path).name]


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_file_database_that_is_missing_damaged_or_without_the_table(tmp_path: Path, kind: str):
    place = Place(str(tmp_path / f"x.{kind}"), table="t")
    with pytest.raises(DataError, match=f"no file 'x.{kind}'"):
        whole(place, "a")
    assert [*tmp_path.iterdir()] == []
    (tmp_path / f"x.{kind}").write_bytes(b"no database at all" * 1000)
    with pytest.raises(DataError, match=f"damaged or no {kind} database"):
        whole(place, "a")
    (tmp_path / f"x.{kind}").unlink()
    (sqlite3 if kind == "sqlite" else duckdb).connect(place.path).close()
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(place.path)) as made:
            made.execute("create table u (a)")
    with pytest.raises(DataError, match="has no such table"):
        whole(place, "a")


def test_a_duckdb_file_is_read(tmp_path: Path):
    with duckdb.connect(str(tmp_path / "t.duckdb")) as made:
        made.execute("create schema w; create table w.t as select range as a, md5(range::varchar) as b from range(100000)")
    place = Place(str(tmp_path / "t.duckdb"), table="t", schema="w")
    assert whole(place, "a")["a"] == list(range(100000))
    assert whole(place._replace(table="", schema="", query="select count(*) as n from w.t"), "n") == {"n": [100000]}


def test_either_a_table_or_a_query(lite: Place):
    for place in (lite._replace(query="select 1"), lite._replace(table="")):
        with pytest.raises(DataError, match="either a table or a query"):
            whole(place, "a")
