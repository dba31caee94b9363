"""What has left this hospital: one line for everything, written and flushed before it goes, each bound to the line before.

A line that was changed, taken out or put in breaks the chain, and `verify` says where. Nothing here is sent anywhere.
"""

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from collegium.canonical import canonical
from collegium.errors import IdentityError, StorageError

START = "0" * 64


def sealed(entry: dict[str, Any]) -> str:
    """The hash of an entry, which covers the hash of the one before it."""
    return hashlib.sha256(canonical({name: value for name, value in entry.items() if name != "hash"})).hexdigest()


class Ledger:
    """The site's record, open for writing; one process at a time."""

    def __init__(self, path: Path, *, now: Any = time.time) -> None:
        self.path, self.now, self.lock = path, now, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.number, self.last, self.forms = 0, START, set[str]()
        self.resume()

    def resume(self) -> None:
        """Find the end of the chain; cut off a line that a crash left unfinished: what it told of had not left yet."""
        end, last = 0, b""
        for line in lines(self.path):
            if not line.endswith(b"\n"):
                os.ftruncate(self.file, end)
                break
            end += len(line)
            last = line
            if b'"what":"form"' in line:
                self.forms.add(json.loads(line)["form"])
        if last:
            entry = json.loads(last)
            self.number, self.last = entry["n"], entry["hash"]

    def append(self, what: str, **facts: Any) -> None:
        """Record something that is about to leave, on the disk before this returns. Raises `StorageError`."""
        with self.lock:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now()))
            entry = {"n": self.number + 1, "time": stamp, "what": what, **facts, "before": self.last}
            entry["hash"] = sealed(entry)
            line = canonical(entry) + b"\n"
            at = os.fstat(self.file).st_size
            try:
                if os.write(self.file, line) < len(line):
                    raise OSError(28, "no space left on device")
                os.fdatasync(self.file)
            except OSError as e:
                os.ftruncate(self.file, at)
                raise StorageError(f"{self.path} cannot be written: {e.strerror}; nothing was sent", hint="make room on the disk") from None
            self.number, self.last = entry["n"], entry["hash"]

    def form(self, layout: dict[str, Any]) -> str:
        """The digest of a vector's form; names and shapes are written out the first time the form is used."""
        digest = hashlib.sha256(canonical(layout)).hexdigest()[:16]
        if digest not in self.forms:
            leaves = [[name, kind, shape, *short] for name, kind, shape, _, *short in layout["leaves"]]
            self.append("form", form=digest, leaves=leaves)
            self.forms.add(digest)
        return digest

    def close(self) -> None:
        os.close(self.file)


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, the last one perhaps unfinished."""
    if path.exists():
        with path.open("rb") as file:
            yield from file


def entries(path: Path, *, after: int = 0) -> Iterator[dict[str, Any]]:
    """What has left, in order. Raises `IdentityError` at the first line that does not fit the chain."""
    last, number = START, 0
    for line in lines(path):
        if not line.endswith(b"\n"):
            return  # being written now
        try:
            entry = json.loads(line)
            sound = entry["n"] == number + 1 and entry["before"] == last and entry["hash"] == sealed(entry)
        except (ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            raise IdentityError(f"{path}, line {number + 1}: the chain is broken, the record was changed", hint="compare it with a backup")
        number, last = entry["n"], entry["hash"]
        if number > after:
            yield entry


def left(path: Path, run: str, place: Sequence[Any]) -> set[str]:
    """The digests of what has left in one round, "" for a failure: read from the file."""
    found, named = set(), run.encode()
    for line in lines(path):
        if named in line and line.endswith(b"\n"):
            entry = json.loads(line)
            if entry["what"] in ("sum", "failure") and entry["run"] == run and entry["place"] == list(place):
                found.add(str(entry.get("digest", "")))
    return found


def verify(path: Path) -> int:
    """How many entries the record has, all of them in an unbroken chain. Raises `IdentityError`."""
    return sum(1 for _ in entries(path))
