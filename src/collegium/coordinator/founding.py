"""Founding a coordinator: its key, its operator's key, its certificate and its database, made once and never over another."""

import datetime
import errno
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from collegium import identity
from collegium.coordinator import certificate, logbook, store
from collegium.coordinator.home import IDENTITY, OPERATOR, SETTINGS
from collegium.errors import ConflictError, StorageError, StudyError
from collegium.identity import Key


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
