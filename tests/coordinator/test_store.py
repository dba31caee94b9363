"""One writer, many jobs: together in one transaction, each with its own outcome; and no database made in silence."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text

from collegium.coordinator import store as s
from collegium.coordinator.store import Store, create, network_mounts, open_folder
from collegium.errors import ConflictError, NotFound, StorageError
from tests.coordinator.world import in_loop


@pytest.fixture
def store(tmp_path: Path):
    create(tmp_path)
    opened = open_folder(tmp_path)
    yield opened
    opened.close()


def put(name: str, value: str = ""):
    return lambda c: c.execute(s.setting.insert().values(name=name, value=value)).rowcount


def count(c: Connection) -> int:
    return int(c.execute(select(func.count()).select_from(s.setting)).scalar_one())


@in_loop
async def test_jobs_that_wait_together_are_one_transaction(tmp_path: Path):
    create(tmp_path)
    store = open_folder(tmp_path)
    begun = threading.Event()
    go = threading.Event()
    begins = []

    def slow(c: Connection) -> None:
        begun.set()
        go.wait(5)

    first = asyncio.ensure_future(store.commit(slow))
    await asyncio.to_thread(begun.wait, 5)
    original = store.transact
    store.transact = lambda batch: begins.append(len(batch)) or original(batch)  # type: ignore[method-assign]
    rest = [asyncio.ensure_future(store.commit(put(f"n{k}"))) for k in range(8)]
    await asyncio.sleep(0.05)
    go.set()
    await asyncio.gather(first, *rest)
    assert begins == [8]
    assert store.read(count) == 9  # and the mark of `open_folder`
    store.close()


@in_loop
async def test_a_job_that_fails_takes_no_other_with_it(tmp_path: Path):
    create(tmp_path)
    store = open_folder(tmp_path)

    def bad(c: Connection) -> None:
        put("half")(c)
        raise NotFound("nothing there")

    outcomes = await asyncio.gather(
        store.commit(put("a")), store.commit(bad), store.commit(put("a")), store.commit(put("b")), return_exceptions=True
    )
    assert [type(x) for x in outcomes] == [int, NotFound, ConflictError, int]
    names = store.read(lambda c: {row.name for row in c.execute(select(s.setting))})
    assert names == {"written", "a", "b"}
    store.close()


def test_a_writer_that_cannot_commit_tells_everybody(store: Store, tmp_path: Path):
    blocker = s.engine(f"sqlite:///{tmp_path / s.FILE}", "BEGIN IMMEDIATE")
    store.write(lambda c: c.exec_driver_sql("PRAGMA busy_timeout=10").fetchall())
    with blocker.begin(), pytest.raises(StorageError, match="locked"):
        store.write(put("late"))
    blocker.dispose()
    assert store.write(put("now")) == 1


def test_what_was_written_is_on_the_disk(store: Store):
    with store.writer.connect() as c:
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_missing_database_is_not_made_in_silence(tmp_path: Path):
    with pytest.raises(StorageError, match="no database"):
        open_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_database_is_not_made_over_another(tmp_path: Path):
    create(tmp_path)
    with pytest.raises(ConflictError):
        create(tmp_path)


def test_a_damaged_database_is_told(tmp_path: Path):
    (tmp_path / s.FILE).write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageError, match="cannot be read"):
        open_folder(tmp_path)


def test_a_read_only_database_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    create(tmp_path)
    made = s.engine
    monkeypatch.setattr(s, "engine", lambda url, begin: made(url.replace(".db", ".db?mode=ro&uri=true").replace("///", "///file:"), begin))
    with pytest.raises(StorageError, match="readonly"):
        open_folder(tmp_path)


def test_a_database_of_a_newer_release_is_refused(store: Store, tmp_path: Path):
    store.write(lambda c: c.execute(text("INSERT INTO schema_version VALUES (99)")).rowcount)
    with pytest.raises(StorageError, match="shape 99"):
        open_folder(tmp_path)


def test_a_network_file_system_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 2 0:3 / {tmp_path} rw - nfs4 server:/x rw\n4 5 0:6 / /elsewhere rw shared:1 - ext4 /dev/x rw\n")
    assert network_mounts(str(mounts)) == [tmp_path]
    assert network_mounts(str(tmp_path / "absent")) == []
    create(tmp_path)
    monkeypatch.setattr(s, "network_mounts", lambda: [tmp_path])
    with caplog.at_level(logging.WARNING):
        open_folder(tmp_path).close()
    assert "network file system" in caplog.text


@in_loop
async def test_a_closed_store_refuses_instead_of_waiting_for_ever(tmp_path: Path):
    create(tmp_path)
    store = open_folder(tmp_path)
    store.close()
    for attempt in (lambda: asyncio.to_thread(store.write, put("late")), lambda: store.commit(put("late"))):
        with pytest.raises(StorageError, match="stopping"):
            await attempt()
