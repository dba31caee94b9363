"""The coordinator's database: one writer that commits in groups, and as many readers as ask.

Whatever has to be written is a function of a connection, `work(connection)`. All that wait at one moment become one
transaction, so eight sites that answer together cost one `fsync`; each caller hears of it after the commit. SQLite in WAL
mode with `synchronous=FULL`: what was acknowledged survives a power cut. The SQL is also PostgreSQL's.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, TableClause, column, create_engine, event, table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError, SQLAlchemyError

from collegium.coordinator import migrations
from collegium.errors import ConflictError, StorageError

log = logging.getLogger("collegium.coordinator.store")
T = TypeVar("T")
Work = Callable[[Connection], T]
FILE = "collegium.db"
GROUP = 256  # jobs in one transaction at most
PLACE = ("run", "stage", "number", "attempt", "phase")


def named(name: str, *columns: str) -> TableClause:
    """A table by name; its types are in `migrations`."""
    return table(name, *(column(each) for each in columns))


setting = named("setting", "name", "value")
person = named("person", "key", "name", "role", "joined")
site = named("site", "name", "key", "version", "joined", "seen")
invite = named("invite", "hash", "site", "expires", "used", "key")
study = named("study", "digest", "title", "document", "created", "lead")
participant = named("participant", "study", "number", "text", "signature")
run = named(
    "run", "id", "study", "status", "says", "place", "layout", "target", "state", "roster", "tries", "created", "ended",
    "results", "results_bytes", "first",
)  # fmt: skip
round = named("round", *PLACE, "status", "answered", "figures", "opened", "ended")
upload = named("upload", *PLACE, "site", "digest", "nbytes", "body", "failure", "says", "final")
frame = named("frame", "run", "digest", "nbytes", "body")
line = named("line", "run", "site", "document", "at")
secure = named("secure", "run", "cohort", "name", "text")
happened = named("event", "id", "at", "run", "site", "kind", "says", "figures")
entry = named("entry", "seq", "at", "action", "run", "site", "text", "nodes")
TABLES = (setting, person, site, invite, study, participant, run, round, upload, frame, line, secure, happened, entry)


def insert_new(connection: Connection, into: TableClause) -> Any:
    """An INSERT that does nothing where the row is there already; its `rowcount` tells which."""
    return inserting(connection.dialect.name, into)


def inserting(dialect: str, into: TableClause) -> Any:
    """The same, for a kind of database."""
    kind: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return kind(into).on_conflict_do_nothing()


class Job(NamedTuple):
    """Something to write, and who waits for it: `done(outcome, error)`."""

    work: Work[Any]
    done: Callable[[Any, Exception | None], None]
    loop: asyncio.AbstractEventLoop | None


class Store:
    """A database that is there: `commit` and `write` change it, `read` asks it."""

    def __init__(self, url: str) -> None:
        self.reader, self.writer = engine(url, "BEGIN"), engine(url, "BEGIN IMMEDIATE")
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.closed = False
        self.thread = threading.Thread(target=self.serve, name="collegium-writer", daemon=True)
        self.thread.start()

    def read(self, query: Work[T]) -> T:
        """What `query(connection)` finds, as of one moment."""
        try:
            with self.reader.begin() as connection:
                return query(connection)
        except DatabaseError as e:
            raise storage(e) from e

    def write(self, work: Work[T]) -> T:
        """Commit and wait, from any thread but the event loop's."""
        waiting: Future[T] = Future()
        self.put(Job(work, lambda outcome, error: settle(waiting, outcome, error), None))
        return waiting.result()

    async def commit(self, work: Work[T]) -> T:
        """Commit and wait, in the event loop. `work` may be called more than once, and must do nothing but SQL."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()
        self.put(Job(work, lambda outcome, error: settle(waiting, outcome, error), loop))
        return await waiting

    def put(self, job: Job) -> None:
        """Hand a job to the writer. Raises `StorageError` once the store is closed: nobody would ever answer."""
        if self.closed:
            raise StorageError("the coordinator is stopping; nothing more is written")
        self.jobs.put(job)

    def serve(self) -> None:
        """The writer's thread: take all that wait, commit them together, tell each. It has one connection for all its life."""
        self.connection = self.writer.connect()
        while job := self.jobs.get():
            batch = [job]
            while len(batch) < GROUP and not self.jobs.empty():
                if (more := self.jobs.get()) is None:
                    self.jobs.put(None)  # closing: after this batch
                    break
                batch.append(more)
            tell(self.transact(batch))
        self.connection.close()
        self.writer.dispose()

    def transact(self, batch: list[Job]) -> list[tuple[Job, Any, Exception | None]]:
        """One transaction of many jobs. A job that raises is taken out and the others start again."""
        failed: list[tuple[Job, Any, Exception | None]] = []
        while batch:
            done: list[tuple[Job, Any, Exception | None]] = []
            try:
                with self.connection.begin():
                    for job in batch:
                        done.append((job, job.work(self.connection), None))
            except Exception as e:
                if len(done) == len(batch) or isinstance(e, OperationalError):  # not one job's fault: the disk, a lock, the commit
                    return failed + [(job, None, storage(e)) for job in batch]
                failed.append((batch.pop(len(done)), None, clash(e)))
                continue
            return failed + done
        return failed

    def close(self) -> None:
        """Finish what waits, then let go of the files."""
        self.closed = True
        self.jobs.put(None)
        self.thread.join(timeout=5)
        self.reader.dispose()


def settle(waiting: Any, outcome: Any, error: Exception | None) -> None:
    """Give a future its outcome, unless nobody waits for it any more."""
    if waiting.cancelled():
        return
    if error is None:
        waiting.set_result(outcome)
    else:
        waiting.set_exception(error)


def tell(outcomes: Iterable[tuple[Job, Any, Exception | None]]) -> None:
    """Tell everybody; an event loop is woken once for a whole group."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Job, Any, Exception | None]]] = {}
    for job, outcome, error in outcomes:
        if job.loop is None:
            job.done(outcome, error)
        else:
            loops.setdefault(job.loop, []).append((job, outcome, error))
    for loop, mine in loops.items():
        try:
            loop.call_soon_threadsafe(tell_here, mine)
        except RuntimeError:  # the loop is closed: nobody is left to tell, and the commit stands
            log.info("a commit ended after its event loop")


def tell_here(outcomes: list[tuple[Job, Any, Exception | None]]) -> None:
    """Tell those who wait in this event loop."""
    for job, outcome, error in outcomes:
        job.done(outcome, error)


def clash(error: Exception) -> Exception:
    """A broken uniqueness in our words; other errors as they are."""
    return ConflictError(f"the database refused a row: {error.orig}") if isinstance(error, IntegrityError) else error


def storage(error: Exception) -> StorageError:
    """A database's complaint in our words."""
    said = getattr(error, "orig", error)
    return StorageError(f"the database cannot be read or written: {said}", hint="check the disk's space and permissions; nothing is lost")


def engine(url: str, begin: str) -> Engine:
    """Connections of one kind; on SQLite, transactions start as `begin` says."""
    made = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if made.dialect.name != "sqlite":
        return made

    @event.listens_for(made, "connect")
    def connected(raw: Any, record: Any) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves: the driver would start a transaction late
        # secure_delete: an update that has been added must not linger in free pages
        for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def began(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return made


def create(folder: Path) -> None:
    """A new, empty database in the newest shape."""
    path = folder / FILE
    if path.exists():
        raise ConflictError(f"there is a database already: {path}")
    made = engine(f"sqlite:///{path}", "BEGIN IMMEDIATE")
    with made.begin() as connection:
        migrations.migrate(connection)
    made.dispose()
    path.chmod(0o600)


def open_folder(folder: Path) -> Store:
    """The store of a coordinator's folder, brought to the newest shape.

    Raises `StorageError` if it is missing, cannot be written or is of a newer release: an empty database is never made in
    silence where an old one should be.
    """
    path = folder / FILE
    if not path.is_file():
        raise StorageError(f"there is no database at {path}", hint="`collegium coordinator init` makes one; or restore your backup there")
    for mount in network_mounts():
        if path.resolve().is_relative_to(mount):
            log.warning("the database lies on a network file system (%s), where SQLite cannot lock safely: move it to a local disk", mount)
    made = engine(f"sqlite:///{path}", "BEGIN IMMEDIATE")
    try:
        with made.begin() as connection:
            migrations.migrate(connection)
            connection.execute(setting.delete().where(setting.c.name == "written"))  # a read-only file says so here, not in a round
            connection.execute(setting.insert().values(name="written", value="yes"))
    except SQLAlchemyError as e:
        raise storage(e) from e
    finally:
        made.dispose()
    return Store(f"sqlite:///{path}")


def network_mounts(table: str = "/proc/self/mountinfo") -> list[Path]:
    """Where network file systems are mounted, as far as this system tells."""
    try:
        rows = [row.split() for row in Path(table).read_text().splitlines()]
    except OSError:
        return []
    remote = ("nfs", "cifs", "smb", "ceph", "gluster", "lustre", "fuse.sshfs", "9p")
    return [Path(row[4]) for row in rows if row[row.index("-") + 1].startswith(remote)]
