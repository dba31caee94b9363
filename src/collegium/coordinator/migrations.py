"""The database's shape as numbered steps: an old database becomes a new one, whole or not at all.

Each migration is a list of SQL statements, run in one transaction together with the new version number: killed at any
statement, the database is as it was before. A migration that was released is never edited; the next change is the next number.
`{blob}`, `{serial}` and `{number}` stand for what SQLite and PostgreSQL call differently.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, inspect, text

from collegium.errors import StorageError

WORDS = {
    "sqlite": {"blob": "BLOB", "serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "number": "INTEGER PRIMARY KEY"},
    "postgresql": {"blob": "BYTEA", "serial": "BIGSERIAL PRIMARY KEY", "number": "BIGINT PRIMARY KEY"},
}

FIRST = (
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE person (key TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, joined BIGINT NOT NULL)",
    """CREATE TABLE site (
        name TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, version TEXT NOT NULL, joined BIGINT NOT NULL, seen BIGINT NOT NULL)""",
    """CREATE TABLE invite (
        hash TEXT PRIMARY KEY, site TEXT NOT NULL, expires BIGINT NOT NULL, used BIGINT, key TEXT)""",
    "CREATE TABLE study (digest TEXT PRIMARY KEY, title TEXT NOT NULL, document TEXT NOT NULL, created BIGINT NOT NULL)",
    """CREATE TABLE run (
        id TEXT PRIMARY KEY, study TEXT NOT NULL REFERENCES study (digest), status TEXT NOT NULL, says TEXT NOT NULL,
        place TEXT NOT NULL, layout TEXT NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL, roster TEXT NOT NULL,
        tries BIGINT NOT NULL, created BIGINT NOT NULL, ended BIGINT, results TEXT NOT NULL, results_bytes BIGINT NOT NULL)""",
    """CREATE TABLE round (
        run TEXT NOT NULL REFERENCES run (id), stage BIGINT NOT NULL, number BIGINT NOT NULL, attempt BIGINT NOT NULL,
        phase TEXT NOT NULL, status TEXT NOT NULL, answered TEXT NOT NULL, figures TEXT NOT NULL,
        opened BIGINT NOT NULL, ended BIGINT, PRIMARY KEY (run, stage, number, attempt, phase))""",
    """CREATE TABLE upload (
        run TEXT NOT NULL REFERENCES run (id), stage BIGINT NOT NULL, number BIGINT NOT NULL, attempt BIGINT NOT NULL,
        phase TEXT NOT NULL, site TEXT NOT NULL, digest TEXT NOT NULL, nbytes BIGINT NOT NULL, body {blob},
        failure TEXT NOT NULL, says TEXT NOT NULL, final BIGINT NOT NULL,
        PRIMARY KEY (run, stage, number, attempt, phase, site))""",
    """CREATE TABLE frame (
        run TEXT NOT NULL REFERENCES run (id), digest TEXT NOT NULL, nbytes BIGINT NOT NULL, body {blob},
        PRIMARY KEY (run, digest))""",
    "CREATE INDEX frame_digest ON frame (digest)",
    """CREATE TABLE line (
        run TEXT NOT NULL REFERENCES run (id), site TEXT NOT NULL, document TEXT NOT NULL, at BIGINT NOT NULL,
        PRIMARY KEY (run, site))""",
    """CREATE TABLE event (
        id {serial}, at BIGINT NOT NULL, run TEXT NOT NULL, site TEXT NOT NULL, kind TEXT NOT NULL, says TEXT NOT NULL,
        figures TEXT NOT NULL)""",
    "CREATE INDEX event_run ON event (run, id)",
)
SECOND = (  # the tamper-evident log: `nodes` are the hashes of the subtrees that an entry completes
    """CREATE TABLE entry (
        seq {number}, at BIGINT NOT NULL, action TEXT NOT NULL, run TEXT NOT NULL, site TEXT NOT NULL, text TEXT NOT NULL,
        nodes {blob} NOT NULL)""",
    "CREATE INDEX entry_task ON entry (run, seq) WHERE action = 'task'",
)
THIRD = (
    "ALTER TABLE study ADD COLUMN lead TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE participant (
        study TEXT NOT NULL REFERENCES study (digest), number BIGINT NOT NULL, text TEXT NOT NULL, signature TEXT NOT NULL,
        PRIMARY KEY (study, number))""",
)
FOURTH = ("CREATE TABLE secure (run TEXT NOT NULL REFERENCES run (id), name TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, name))",)
FIFTH = ("ALTER TABLE run ADD COLUMN first TEXT NOT NULL DEFAULT ''",)
SIXTH = (  # a run's sites may be too many for one secure sum: each cohort has rows of its own
    "ALTER TABLE secure RENAME TO secure_before",
    """CREATE TABLE secure (
        run TEXT NOT NULL REFERENCES run (id), cohort BIGINT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (run, cohort, name))""",
    "INSERT INTO secure (run, cohort, name, text) SELECT run, 0, name, text FROM secure_before",
    "DROP TABLE secure_before",
)
MIGRATIONS: tuple[Sequence[str], ...] = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH)
VERSION = len(MIGRATIONS)


def version(connection: Connection) -> int:
    """How many migrations this database has seen; 0 for an empty one."""
    if not inspect(connection).has_table("schema_version"):
        return 0
    return int(connection.execute(text("SELECT max(version) FROM schema_version")).scalar() or 0)


def migrate(
    connection: Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS, before: Callable[[str], object] = lambda statement: None
) -> None:
    """Bring the database to the newest shape; the caller's transaction makes it all or nothing.

    `before` sees each statement: tests stop there. Raises `StorageError` for a database of a newer release.
    """
    now = version(connection)
    if now > len(migrations):
        raise StorageError(
            f"the database has shape {now}, this Collegium knows shapes up to {len(migrations)}", hint="install the newer release again"
        )
    words = WORDS[connection.dialect.name]
    steps = [statement for step in migrations[now:] for statement in step]
    if now == 0:
        steps.insert(0, "CREATE TABLE schema_version (version BIGINT NOT NULL)")
    if now < len(migrations):
        steps.append(f"INSERT INTO schema_version (version) VALUES ({len(migrations)})")
    for statement in steps:
        before(statement)
        connection.execute(text(statement.format_map(words)))
