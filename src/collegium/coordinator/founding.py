"""A coordinator's folder: its key, its operator's key, its certificate and its database, made once and never over another."""

import contextlib
import datetime
import errno
import fcntl
import importlib.metadata
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from collegium import identity
from collegium.coordinator import certificate, logbook, store
from collegium.errors import ConflictError, StorageError, StudyError
from collegium.identity import Key

IDENTITY, OPERATOR, SETTINGS, LOCK = "identity.key", "operator.key", "coordinator.json", "lock"


def init(folder: Path, url: str, title: str, *, hosts: Sequence[str] = ()) -> Key:
    """Found a coordinator in `folder`, which sites will reach at `url`; returns its key. Refuses to overwrite anything.

    `hosts` are further names and addresses for its certificate. The folder appears whole or not at all.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConflictError(f"{folder} is not empty", hint="choose another folder; nothing is ever overwritten")
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query:
        raise StudyError(f"{url!r} is not the address of a coordinator", hint="for example https://hub.example:8443")
    draft = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        draft.mkdir(mode=0o700, parents=True)
        made, operator = keep_key(draft / IDENTITY), keep_key(draft / OPERATOR)
        names = {"title": title, "url": url.rstrip("/"), "hosts": json.dumps([*hosts])}
        settings_text = json.dumps({"collegium": 1, "title": title, "url": url.rstrip("/"), "public": made.public}, indent=1)
        certificate.write(draft / SETTINGS, settings_text.encode())
        certificate.ensure(draft, made, [parts.hostname, *hosts], datetime.datetime.now(datetime.UTC))
        store.create(draft)
        begun = store.open_folder(draft)
        now = int(datetime.datetime.now(datetime.UTC).timestamp())
        begun.write(lambda c: [c.execute(store.setting.insert().values(name=name, value=value)) for name, value in names.items()])
        begun.write(lambda c: c.execute(store.person.insert().values(key=operator.public, name="operator", role="operator", joined=now)))
        keys = {"key": made.public, "operator": operator.public}
        begun.write(lambda c: logbook.append(c, now, "operator", "founded", **keys))
        begun.close()
        put(draft, folder)
    except OSError as e:
        raise StorageError(f"{folder} cannot be made: {e.strerror}", hint="check the disk's space and permissions") from e
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return made


def put(draft: Path, folder: Path) -> None:
    """The draft in the folder's place; where the folder is a disk of its own, such as a container's, file by file."""
    try:
        draft.rename(folder)
    except OSError as e:
        if e.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        for path in sorted(draft.iterdir(), key=lambda path: path.name == SETTINGS):  # the settings say that it is whole
            shutil.move(path, folder / path.name)


def keep_key(path: Path) -> Key:
    """A new key, its 32 secret bytes in a private file, in hex."""
    seed = os.urandom(32)
    certificate.write(path, seed.hex().encode() + b"\n")
    return identity.key(seed)


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
