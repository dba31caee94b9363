"""A coordinator's folder as whoever works in it reads it: its key, what it was founded with, and that it is one process's alone."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
from collections.abc import Iterator
from pathlib import Path

from collegium import identity
from collegium.errors import ConflictError, StorageError
from collegium.identity import Key

IDENTITY, OPERATOR, SETTINGS, LOCK = "identity.key", "operator.key", "coordinator.json", "lock"


def read_key(path: Path) -> Key:
    """A key from its file. Raises `StorageError`."""
    try:
        return identity.key(bytes.fromhex(path.read_text().strip()))
    except (OSError, ValueError) as e:
        raise StorageError(f"the key {path} cannot be read: {e}", hint="restore it from your backup") from None


def key(folder: Path) -> Key:
    """The coordinator's own key."""
    return read_key(folder / IDENTITY)


def settings(folder: Path) -> dict[str, str]:
    """Title and address, as they were founded."""
    found = json.loads((folder / SETTINGS).read_text())
    return {"title": str(found["title"]), "url": str(found["url"])}


def refuse_unfounded(folder: Path) -> None:
    """Raise `StorageError` where no coordinator was founded."""
    if not (folder / SETTINGS).exists():
        raise StorageError(f"{folder} is not a coordinator's folder", hint="`collegium coordinator init` makes one")


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone, until it ends. Raises `ConflictError` where another coordinator has it.

    The database would survive two of them, for each step is a compare-and-set; but each would tell the sites its own view of a run.
    """
    refuse_unfounded(folder)
    try:
        held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as e:
        raise StorageError(f"{folder / LOCK} cannot be opened: {e.strerror}", hint="check the disk's space and permissions") from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"a coordinator already serves {folder} (process {os.pread(held, 16, 0).decode()})",
                hint="stop that one first, or found another in a folder of its own",
            ) from None
        os.truncate(held, 0)
        os.pwrite(held, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(held)


def version() -> str:
    """The release that runs."""
    return importlib.metadata.version("collegium")
