"""Tables of a hospital's databases: PostgreSQL and SQLite over ADBC, and DuckDB files; read only, streamed, columns asked for alone.

Rows come in the order of the columns read, so that two readings of the same rows are the same table. Nothing is written: the
session is read-only at the server, SQLite and DuckDB files are opened for reading. A password comes from a file, from the
environment or from PostgreSQL's own .pgpass, and stands in no message. A database that goes away is a `LinkError`: the
reading may be tried again from its beginning (`sources.patiently`), since the half that came counts for nothing.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import pyarrow as pa

from collegium.data import duck, formats
from collegium.data.duck import name
from collegium.data.place import LOCAL, Place
from collegium.errors import CollegiumError, DataError, LinkError

PASSWORD = "COLLEGIUM_DATABASE_PASSWORD"
# Asked of libpq: a server that is gone is noticed within a minute, and the session cannot write whatever the query says.
SETTINGS = {
    "connect_timeout": "10", "keepalives_idle": "20", "keepalives_interval": "10", "keepalives_count": "3",
    "options": "-c default_transaction_read_only=on", "application_name": "collegium",
}  # fmt: skip
BATCH = {"postgresql": ("adbc.postgresql.batch_size_hint_bytes", 4 << 20), "sqlite": ("adbc.sqlite.query.batch_rows", 1 << 14)}
SAYS = {  # what an SQLSTATE means for the person who wrote the query; the server's own sentence may quote a patient's value
    "42P01": ("has no such table", "check the table, the query and --schema"),
    "3F000": ("has no such schema", "check --schema"),
    "42703": ("has no such column in the query", "check the names in the query"),
    "42501": ("does not let this user read the table", "ask its administrator for the right to SELECT"),
    "42601": ("does not understand the query", "try the query in psql; it is one SELECT without a semicolon"),
    "25006": ("was asked to write, and is opened for reading only", "the query is one SELECT"),
}
REFUSED = ("authentication", "password", "pg_hba", "role", "does not exist", "permission", "certificate", "SSL")


def load(place: Place, columns: Sequence[str]) -> tuple[tuple[str, ...], Iterator[Any]]:
    """The names of all columns, and the values of those asked for. Raises `DataError`, and `LinkError` if it cannot be reached."""
    origin = asked_of(place)
    schema = next(answers(place, f"select * from {origin} limit 0"))
    header = called(place, schema)
    formats.once(place.label, header, columns, anycase=place.kind in LOCAL)
    return header, rows(place, origin, [field for field, name in zip(schema, header, strict=True) if name in columns])


def called(place: Place, schema: Any) -> tuple[str, ...]:
    """The names of all columns; SQLite and DuckDB give a name that stands twice in a query another one outside it."""
    if place.table or place.kind not in LOCAL:
        return tuple(schema.names)
    return tuple(next(answers(place, place.query)).names)


def rows(place: Place, origin: str, wanted: Sequence[Any]) -> Iterator[Any]:
    """The batches of some columns, in the order of their values."""
    if not wanted:
        return
    listed = ", ".join(f"{plain(place.kind, field)} as {name(field.name)}" for field in wanted)
    order = ", ".join(map(str, range(1, len(wanted) + 1)))
    answer = answers(place, f"select {listed} from {origin} order by {order}")
    next(answer)
    for batch in answer:
        yield {field.name: empty_is_none(place, batch.column(at)) for at, field in enumerate(wanted)}


def asked_of(place: Place) -> str:
    """The table or the query of a place as something to select from. Raises `DataError`."""
    if bool(place.query) == bool(place.table):
        raise DataError(f"{place.label}: wanted either a table or a query", hint="data add NAME ADDRESS --table TABLE, or --query SQL")
    if place.table:
        return ".".join(name(part) for part in (place.schema, place.table) if part)
    return f"({place.query.strip().rstrip(';')}\n) as asked"


def plain(kind: str, field: Any) -> str:
    """A column as a number, a date or text, whatever type the database has it in.

    SQLite gives each value a type of its own, so all of it is asked for as text, with every digit of its numbers.
    """
    column = name(field.name)
    if kind == "sqlite":
        return f"coalesce(case typeof({column}) when 'real' then printf('%!.17g', {column}) else cast({column} as text) end, '')"
    odd = isinstance(field.type, pa.BaseExtensionType) or pa.types.is_interval(field.type) or pa.types.is_time(field.type)
    return f"cast({column} as text)" if odd else column


def empty_is_none(place: Place, values: Any) -> Any:
    """SQLite's missing values came as empty text, since its driver takes a column's type from its first rows."""
    import pyarrow.compute as pc

    if place.kind != "sqlite":
        return values
    values = pc.cast(values, pa.string())
    return pc.if_else(pc.equal(values, ""), None, values)


def answers(place: Place, question: str) -> Iterator[Any]:
    """First the schema of an answer, then its batches. Raises `DataError` and `LinkError`."""
    with ExitStack() as stack:
        reader = stack.enter_context(reading(place, question))
        yield reader.schema
        while True:
            with told(place):
                batch = next(reader, None)
            if batch is None:
                return
            yield batch


@contextmanager
def reading(place: Place, question: str) -> Iterator[Any]:
    """The stream of an answer, and the connection for as long as it is read."""
    if place.kind == "duckdb":
        with file_of(place), told(place), duck.shut_in(attach=Path(place.path)) as link:
            yield link.sql(question).to_arrow_reader(duck.ROWS)
        return
    option, size = BATCH[place.kind]
    with told(place):
        link = postgresql(place) if place.kind == "postgresql" else sqlite(place)
    with link, link.cursor() as cursor:
        with told(place):
            cursor.adbc_statement.set_options(**{option: str(size)})
            cursor.execute(question)
            reader = cursor.fetch_record_batch()
        yield reader


def postgresql(place: Place) -> Any:
    """A connection to a PostgreSQL server."""
    from adbc_driver_postgresql import dbapi

    return dbapi.connect(address(place))


def address(place: Place) -> str:
    """The address as the driver wants it: with the password and with `SETTINGS`. It is shown nowhere."""
    parts = urlsplit(place.path)
    secret = password(place)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user}:{quote(secret, safe='')}@{host}" if secret and at else parts.netloc
    kept = [part for part in parts.query.split("&") if part and not part.startswith("options=")]
    given = {part.partition("=")[0] for part in kept}
    more = [f"{key}={quote(value, safe='')}" for key, value in SETTINGS.items() if key not in given]
    return urlunsplit((parts.scheme, netloc, parts.path, "&".join([*kept, *more]), ""))


def password(place: Place) -> str:
    """The password of a database, or "" where PostgreSQL is to find one by itself. Raises `DataError`."""
    if not place.password_file:
        return os.environ.get(PASSWORD, "")
    path = Path(place.password_file)
    try:
        if path.stat().st_mode & 0o077:
            raise DataError(f"{path} holds a password and can be read by other users", hint=f"chmod 600 {path}")
        return path.read_text(encoding="utf8").rstrip("\r\n")
    except OSError as e:
        raise DataError(f"the password file {path} cannot be read: {e.strerror}", hint="check --password-file") from None


def sqlite(place: Place) -> Any:
    """A connection to an SQLite file, for reading."""
    from adbc_driver_sqlite import dbapi

    with file_of(place):
        return dbapi.connect(f"file:{quote(place.path)}?mode=ro")


@contextmanager
def file_of(place: Place) -> Iterator[None]:
    """Refuse a database file that is not there before a driver makes one."""
    path = Path(place.path)
    if not path.is_file():
        raise DataError(f"there is no file {path.name!r} in {str(path.parent)!r}", hint="check the path, and that the agent may read it")
    yield


@contextmanager
def told(place: Place) -> Iterator[None]:
    """Put a driver's error into words that quote no value."""
    import duckdb
    from adbc_driver_manager import dbapi

    try:
        yield
    except (dbapi.Error, duckdb.Error, pa.ArrowException, OSError) as e:
        raise meaning(place, e) from None


def meaning(place: Place, error: Exception) -> CollegiumError:
    """What an error of a driver means here."""
    text, state = str(error), getattr(error, "sqlstate", None) or ""
    if state in SAYS:
        says, hint = SAYS[state]
        return DataError(f"{place.label} {says}", hint=hint)
    if place.kind == "postgresql" and not state and "ERROR:" not in text:
        return unreachable(place, text)
    if place.kind == "postgresql" and state[:2] in ("08", "53", "57"):
        return LinkError(f"{place.label} broke off", hint=f"ask its administrator (SQLSTATE {state})")
    if missing := re.search(r"no such (table|column)|(?:Table|Column) with name|Referenced column", text):
        return DataError(f"{place.label} has no such {(missing[1] or missing[0].split()[0]).lower().replace('referenced', 'column')}",
                         hint="check --table or the names in the query")  # fmt: skip
    if re.search(r"locked|Conflicting lock|Could not set lock", text):
        return LinkError(f"{place.label} is locked by a program that writes to it", hint="try again when that program has ended")
    if re.search(r"malformed|not a database|not a valid DuckDB|corrupt", text):
        return DataError(f"{place.label}: the file is damaged or no {place.kind} database", hint="copy it again from where it was made")
    if "readonly" in text or "read-only" in text:
        return DataError(f"{place.label} {SAYS['25006'][0]}", hint=SAYS["25006"][1])
    kind = f"SQLSTATE {state}" if state else type(error).__name__
    return DataError(f"{place.label}: the query fails ({kind})", hint="try the query there; a cast or a division may fail on some row")


def unreachable(place: Place, text: str) -> CollegiumError:
    """A server that cannot be reached, one that lets nobody in, or one that is gone in the middle."""
    if any(word in text for word in REFUSED):
        return DataError(
            f"{place.label} does not let this user in, or is not there",
            hint=f"check the name of the database, the user, and the password: --password-file, {PASSWORD} or .pgpass",
        )
    if "connect" in text and "terminating" not in text and "closed the connection" not in text:
        return LinkError(f"{place.label} cannot be reached", hint="check the host, the port and the hospital's network; it is tried again")
    return LinkError(f"{place.label} went away while its rows were read", hint="it is read again from the beginning; nothing was counted")
