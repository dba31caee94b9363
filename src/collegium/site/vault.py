"""The site's secrets of its secure sums: rows that are written and destroyed together, on the disk before anything is said of them.

One small database for each study, readable by the agent's user alone. What is destroyed is overwritten (`secure_delete`), and the
write-ahead log, which holds the pages of before, is emptied after each change that destroys something, and at each start. Who
opens it has it alone: two runs of one study that each went on from what they had read would use a key twice.
"""

import contextlib
import os
import sqlite3
from collections.abc import Collection, Mapping
from pathlib import Path

from collegium.errors import StorageError


class Vault:
    """The rows of one study. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):  # no second handle on a file that is there: to close it would undo SQLite's lock
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self.connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as e:
            raise damaged(path, e) from None
        try:
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                self.connection.execute(f"PRAGMA {pragma}")
            self.connection.execute("CREATE TABLE IF NOT EXISTS row (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID")
            self.wipe()
        except sqlite3.Error as e:
            self.connection.close()
            raise damaged(path, e) from None

    def rows(self) -> dict[str, str]:
        """All rows."""
        try:
            return dict(self.connection.execute("SELECT name, text FROM row"))
        except sqlite3.Error as e:
            raise damaged(self.path, e) from None

    def change(self, rows: Mapping[str, str], forget: Collection[str] = ()) -> None:
        """Write rows and destroy others: all of it, or nothing where the disk is full. Raises `StorageError`."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                soiled = bool(forget) or any(
                    self.connection.execute("SELECT 1 FROM row WHERE name = ?", (name,)).fetchone() for name in rows
                )
                self.connection.executemany("DELETE FROM row WHERE name = ?", [(name,) for name in forget])
                self.connection.executemany("INSERT OR REPLACE INTO row VALUES (?, ?)", list(rows.items()))
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as e:
            raise damaged(self.path, e) from None
        if soiled:
            self.wipe()

    def wipe(self) -> None:
        """Empty the write-ahead log. Where the disk has no room for that the change still stands, and the next one wipes both."""
        with contextlib.suppress(sqlite3.OperationalError):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()


def damaged(path: Path, error: Exception) -> StorageError:
    """The disk's complaint in our words."""
    way_out = "make room on the disk, or give the agent's user the right"
    if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY":
        way_out = "another run of the study has it: this one goes on when that one is over"
    elif type(error) is sqlite3.DatabaseError:  # no database, or one with torn pages; what is busy, full or read-only is a subclass
        way_out = "move the file away: this site then takes part again from the next epoch of keys"
    return StorageError(f"{path} cannot be read or written: {error}", hint=way_out)
