"""Frames of arrays, by the digest of their bytes: small ones travel into the database, large ones are files.

A file is written under another name, fsynced and renamed, so that under a digest there are the whole bytes or nothing. While
runs go on, the last file that nobody wants is written over by the next: to find new pages costs more than to fill them.
Frames are read and written a block at a time: a model may be larger than memory.
"""

import contextlib
import os
import queue
import threading
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import numpy as np

from collegium import tree as T
from collegium import wire
from collegium.coordinator.writeback import Writeback
from collegium.errors import NotFound, StorageError

SMALL = 1 << 20  # frames and vectors up to this many bytes go into the database and into messages
MARGIN = 64 << 20  # bytes left free on the disk, for the database and the log
AHEAD = 2  # pieces of a frame that are made before they can be written
IN_MEMORY = 8 << 20  # bytes of a large frame's small leaves that are read at once


@dataclass(frozen=True)
class Frame:
    """A frame that is kept: its bytes, or None if they are in the file of this digest."""

    digest: str
    nbytes: int
    body: bytes | None


class File:
    """An open file, read by position from any thread; closed when nobody reads it any more."""

    def __init__(self, path: Path) -> None:
        try:
            self.handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise NotFound(f"there is no file {path.name} in {path.parent}") from None
        found = os.fstat(self.handle)
        self.size, self.inode = found.st_size, found.st_ino

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes. Raises `StorageError` where the file ends before."""
        out = os.pread(self.handle, count, offset)
        while len(out) < count:
            more = os.pread(self.handle, count - len(out), offset + len(out))
            if not more:
                raise StorageError(f"a kept file ends at byte {offset + len(out)}, {offset + count} were wanted: it is damaged")
            out += more
        return out

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)


def free_bytes(folder: Path) -> int:
    """How much the disk under `folder` can still take."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Blobs:
    """The files of one folder. `free` tells the space left: an argument, so that a full disk can be rehearsed."""

    def __init__(self, folder: Path, *, free: Callable[[Path], int] = free_bytes) -> None:
        self.folder, self.free = folder, free
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.lock, self.pins = threading.Lock(), Counter[str]()
        self.spare, self.readers = self.folder / "tmp-spare", weakref.WeakSet[File]()

    def path(self, digest: str) -> Path:
        """Where the frame of this digest lies."""
        return self.folder / digest

    def room_for(self, nbytes: int) -> None:
        """Raise `StorageError` unless `nbytes` more fit, with a margin."""
        if nbytes and self.free(self.folder) < nbytes + MARGIN:
            self.tidy()
        if nbytes and (left := self.free(self.folder)) < nbytes + MARGIN:
            raise StorageError(
                f"the coordinator's disk has {left >> 20} MiB left, {(nbytes + MARGIN) >> 20} MiB are needed",
                hint="free some space: the run goes on by itself, and nothing is lost",
            )

    def write(self, tree: T.Tree) -> Frame:
        """Keep a tree: in the returned value if it is small, else in a file, which is pinned until `unpin`."""
        nbytes = wire.header(tree)[1]
        if nbytes <= SMALL:
            body = b"".join(wire.encode(tree))
            return Frame(blake3.blake3(body).hexdigest(), nbytes, body)
        self.room_for(nbytes)
        return self.put(wire.encode(tree), nbytes)

    def keep(self, pieces: Iterable[bytes], nbytes: int) -> Frame:
        """Keep bytes that are no tree: in the returned value if they are few, else in a file, as `write` does."""
        if nbytes <= SMALL:
            body = b"".join(pieces)
            return Frame(blake3.blake3(body).hexdigest(), nbytes, body)
        self.room_for(nbytes)
        return self.put(pieces, nbytes)

    def put(self, pieces: Iterable[Any], nbytes: int) -> Frame:
        """Write a file of `nbytes` from its pieces; its name is its digest."""
        draft, hasher = self.folder / f"tmp-{uuid.uuid4().hex}", blake3.blake3()
        try:
            with complaints(), draft.open("r+b" if self.reused(draft) else "xb", buffering=0) as out:
                disk = Writeback(out.fileno())
                for piece in ahead(pieces):
                    hasher.update(piece)
                    write_all(out.fileno(), piece)
                    disk.wrote(len(piece))
                out.truncate()
                disk.finish()
            digest = hasher.hexdigest()
            with self.lock, complaints():
                self.pins[digest] += 1  # before it has its name: a sweep that runs now must not take it
                draft.rename(self.path(digest))
                sync_folder(self.folder)
        finally:
            draft.unlink(missing_ok=True)
        return Frame(digest, nbytes, None)

    def reused(self, draft: Path) -> bool:
        """Make the spare file this draft, if there is one and nobody reads it any more."""
        with self.lock:
            if not self.spare.exists() or self.spare.stat().st_ino in {file.inode for file in self.readers}:
                return False
            self.spare.rename(draft)
        return True

    def unpin(self, frames: Iterable[Frame]) -> None:
        """These frames are in the database now, or given up: a sweep may judge them."""
        with self.lock:
            self.pins.subtract(frame.digest for frame in frames if frame.body is None)
            self.pins += Counter()  # forgets those at zero

    def open(self, digest: str) -> File:
        """The file of this digest, to be read."""
        with self.lock:
            self.readers.add(file := File(self.path(digest)))
        return file

    def load(self, frame: Frame) -> dict[str, Any]:
        """The frame's leaves by name: statistics in memory, and weights (float32) too while they are few; else read when used."""
        if frame.body is not None:
            return T.flatten(wire.decode(frame.body))
        file = self.open(frame.digest)
        if file.size != frame.nbytes:
            raise StorageError(f"the file {frame.digest[:16]} has {file.size} bytes, {frame.nbytes} were written: it is damaged")
        leaves, budget = T.flatten(wire.load(file.read, file.size)), IN_MEMORY
        for name, leaf in sorted(leaves.items(), key=lambda item: T.size(item[1])):
            budget -= T.size(leaf) * leaf.dtype.itemsize
            if budget >= 0 or leaf.dtype != np.float32:
                leaves[name] = np.asarray(leaf)
        return leaves

    def sweep(self, digests: Iterable[str], wanted: Callable[[str], bool]) -> None:
        """Remove files that no run wants and no writer holds; the last of them is the spare one."""
        with self.lock:
            for digest in digests:
                if not self.pins[digest] and not wanted(digest):
                    with contextlib.suppress(FileNotFoundError):
                        self.path(digest).replace(self.spare)

    def tidy(self) -> None:
        """Remove the spare file: no run goes on that would write over it."""
        with self.lock:
            self.spare.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The digests of all files here; half-written ones are removed. Call it before anybody writes."""
        for draft in self.folder.glob("tmp-*"):
            draft.unlink()
        return [path.name for path in self.folder.iterdir()]


def ahead(pieces: Iterable[Any]) -> Iterator[Any]:
    """The same pieces, each made while the one before it is digested and written: adding up and writing need a core each."""
    made: queue.Queue[Any] = queue.Queue(AHEAD)
    given_up = threading.Event()

    def make() -> None:
        try:
            for piece in pieces:
                made.put(piece)
                if given_up.is_set():
                    return
        except BaseException as e:
            made.put(e)
        else:
            made.put(None)

    maker = threading.Thread(target=make, name="collegium-ahead", daemon=True)
    maker.start()
    try:
        while (piece := made.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        given_up.set()
        while maker.is_alive():
            with contextlib.suppress(queue.Empty):
                made.get(timeout=0.05)


def write_all(handle: int, piece: Any) -> None:
    """Write every byte: the system may take fewer than it was given."""
    view = memoryview(piece).cast("B")
    while view:
        view = view[os.write(handle, view) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def complaints() -> Iterator[None]:
    """The system's complaints about a disk, as `StorageError`."""
    try:
        yield
    except OSError as e:
        raise StorageError(f"the coordinator's disk refused to write: {e.strerror}", hint="free some space; nothing is lost") from e
