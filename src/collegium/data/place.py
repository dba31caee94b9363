"""Where a hospital's table lies and how it is opened: a file, a folder or a database. Only this is kept, never a password.

>>> Place("postgresql://reader@db.hospital.example/clinic", table="stays").label
"database 'clinic' at db.hospital.example"
>>> Place("/export/stays.csv").label, Place("/export/omop.duckdb").kind
('stays.csv', 'duckdb')
"""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from collegium.errors import DataError

SUFFIXES = {".duckdb": "duckdb", ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite", ".h5ad": "cells"}
SCHEMES = {"postgresql": "postgresql", "postgres": "postgresql", "sqlite": "sqlite", "duckdb": "duckdb"}
LOCAL = ("sqlite", "duckdb")  # databases that are a file


class Place(NamedTuple):
    """A file, a folder or a database's address; of a database a table or a query, or a `view` such as omop/readmission."""

    path: str
    query: str = ""
    table: str = ""
    schema: str = ""
    view: str = ""
    panel: str = ""
    password_file: str = ""

    @property
    def kind(self) -> str:
        """What reads it: postgresql, sqlite, duckdb, cells or file."""
        return "postgresql" if "://" in self.path else SUFFIXES.get(Path(self.path).suffix.lower(), "file")

    @property
    def label(self) -> str:
        """How errors call it."""
        if "://" in self.path:
            address = urlsplit(self.path)
            return f"database {unquote(address.path.strip('/'))!r} at {address.hostname or 'this machine'}"
        return Path(self.path).name


def place_of(where: "str | Path | Place") -> Place:
    """The same as a place; a bare path is one."""
    return where if isinstance(where, Place) else Place(str(where))


def resolved(where: str) -> str:
    """The address as it is kept: absolute for a file. Raises `DataError` for a password in it, and for an unknown scheme."""
    if "://" not in where:
        return str(Path(where).expanduser().resolve())
    address = urlsplit(where)
    kind = SCHEMES.get(address.scheme, "")
    if not kind:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise DataError(f"addresses {address.scheme}:// are not read; wanted {known} or the path of a file")
    if kind in LOCAL:
        return resolved(unquote(address.path))
    secret = any(part.partition("=")[0] in ("password", "sslpassword") for part in address.query.split("&"))
    if address.password is not None or secret:
        raise DataError(
            "the address of the database holds a password, which would be kept and shown",
            hint="leave it out: --password-file FILE, COLLEGIUM_DATABASE_PASSWORD in the agent's environment, or PostgreSQL's .pgpass",
        )
    return where
