"""DuckDB shut in with the files it was given."""

from pathlib import Path

import duckdb
import pytest

from collegium.data import duck


def test_the_connection_can_reach_nothing_but_its_file(tmp_path: Path):
    mine, other = tmp_path / "mi'ne.ndjson", tmp_path / "other.ndjson"
    for path in (mine, other):
        path.write_text('{"a": 1}\n')
    with duck.shut_in(mine) as link:
        assert link.execute("select count(*) from read_json(?)", [str(mine)]).fetchone() == (1,)
        for question in (
            f"select * from read_json('{other}')",
            f"copy (select 1) to '{tmp_path / 'out.csv'}'",
            "install httpfs",
            "load httpfs",
            "select * from read_csv('https://example.org/x.csv')",
            "set enable_external_access=true",
            "set memory_limit='100GB'",
            f"attach '{tmp_path / 'x.db'}'",
        ):
            with pytest.raises(duckdb.Error):
                link.execute(question)


def test_an_attached_database_is_read_and_not_written(tmp_path: Path):
    with duckdb.connect(str(tmp_path / "t.duckdb")) as made:
        made.execute("create table t as select 1 as a")
    with duck.shut_in(attach=tmp_path / "t.duckdb") as link:
        assert link.execute("select a from t").fetchall() == [(1,)]
        for question in ("insert into t values (2)", "drop table t", "create table collegium_site.u (a int)"):
            with pytest.raises(duckdb.Error):
                link.execute(question)


def test_what_memory_cannot_hold_goes_to_a_folder_that_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duck, "MEMORY", "60MB")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with duck.shut_in() as link:
        rows = duck.batches(link, "select md5(range::varchar) as a from range(3000000) order by a", ())
        first = next(rows)
        assert [*tmp_path.rglob("*temp*")]
        assert first.num_rows + sum(batch.num_rows for batch in rows) == 3000000
    assert [*tmp_path.iterdir()] == []
