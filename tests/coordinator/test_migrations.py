"""An old database becomes a new one whole or not at all, wherever it is stopped."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect

from collegium.coordinator import migrations
from collegium.coordinator.migrations import MIGRATIONS, VERSION, migrate, version
from collegium.coordinator.store import TABLES, engine
from collegium.errors import StorageError

NEXT = (*MIGRATIONS, ("ALTER TABLE site ADD COLUMN note TEXT", "CREATE TABLE extra (id {serial}, body {blob})", "DROP TABLE line"))


def shape(connection: Connection) -> dict[str, set[str]]:
    found = inspect(connection)
    return {name: {c["name"] for c in found.get_columns(name)} for name in found.get_table_names() if not name.startswith("sqlite_")}


def test_the_tables_are_those_that_the_code_names(tmp_path: Path):
    made = engine(f"sqlite:///{tmp_path / 'x.db'}", "BEGIN IMMEDIATE")
    with made.begin() as c:
        migrate(c)
        found = shape(c)
        assert version(c) == VERSION
    assert found.pop("schema_version") == {"version"}
    assert found == {t.name: {c.name for c in t.columns} for t in TABLES}
    made.dispose()


@pytest.mark.parametrize("start", range(len(NEXT)))
def test_killed_at_any_statement_it_is_old_or_new(tmp_path: Path, start: int):
    steps = 0
    for stop in range(100):
        made = engine(f"sqlite:///{tmp_path / f'{start}-{stop}.db'}", "BEGIN IMMEDIATE")
        if start:
            with made.begin() as c:
                migrate(c, NEXT[:start])
        with made.connect() as c:
            before = shape(c)
        left = [stop]

        def die(statement: str, left: list[int] = left) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1

        try:
            with made.begin() as c:
                migrate(c, NEXT, die)
        except KeyboardInterrupt:
            with made.connect() as c:
                assert (shape(c), version(c)) == (before, start)
            with made.begin() as c:
                migrate(c, NEXT)
            steps += 1
        with made.connect() as c:
            assert version(c) == len(NEXT)
            assert "extra" in shape(c)
            assert "line" not in shape(c)
        made.dispose()
        if left[0]:
            break
    assert steps == sum(len(step) for step in NEXT[start:]) + 1 + (start == 0)


def test_a_newer_shape_is_refused(tmp_path: Path):
    made = engine(f"sqlite:///{tmp_path / 'x.db'}", "BEGIN IMMEDIATE")
    with made.begin() as c:
        migrate(c, NEXT)
    with made.begin() as c, pytest.raises(StorageError, match=f"shape {len(NEXT)}"):
        migrate(c)
    made.dispose()


def test_every_dialect_has_every_word():
    kinds = {frozenset(words) for words in migrations.WORDS.values()}
    assert len(kinds) == 1
