"""Large uploads on their way in: chunks of 4 MiB, in any order, resumed after a cut or a crash on either side.

A chunk counts as here once its digest held and is noted beside the file. After a crash each noted chunk is read and digested
again before it counts, so no chunk needs an `fsync` of its own; the whole is fsynced once, before its row is committed. The
file of a round that is over is written over by the next one, and removed when the run ends.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import blake3

from collegium.coordinator.blobs import Blobs, File, complaints, sync_folder
from collegium.coordinator.writeback import Writeback
from collegium.engine.messages import Place
from collegium.errors import ConflictError, FrameError, StorageError, UpdateError
from collegium.identity import CHUNK, vector_digest

MANY = 512  # pieces handed to the system at once


def operation(run: str, place: Place, site: str) -> str:
    """The name of one site's upload at one place: derived, so that a retry meets what it left."""
    return hashlib.sha256(f"{run}|{place.stage}|{place.round}|{place.attempt}|{place.phase}|{site}".encode()).hexdigest()


class Upload:
    """One vector being received. Its methods block on the disk; one thread at a time may call them."""

    def __init__(self, path: Path, nbytes: int) -> None:
        self.path, self.nbytes = path, nbytes
        self.notes = path.with_suffix(".have")
        self.chunks: dict[int, str] = {}
        self.gone = False  # its round is over
        self.sealed = ""  # the digest of the whole, once it is safe on the disk
        with complaints():
            known = path.exists()
            self.handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            if known:
                self.recall()
            else:
                os.posix_fallocate(self.handle, 0, nbytes)
            self.disk = Writeback(self.handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)

    @property
    def count(self) -> int:
        """How many chunks the whole has."""
        return -(-self.nbytes // CHUNK)

    def span(self, k: int) -> tuple[int, int]:
        """Where chunk `k` starts, and how long it is."""
        if not 0 <= k < self.count:
            raise UpdateError(f"chunk {k} does not exist: the update has {self.nbytes} bytes, so chunks 0 to {self.count - 1}")
        return k * CHUNK, min(CHUNK, self.nbytes - k * CHUNK)

    def recall(self) -> None:
        """Count again what was noted before a restart and is whole on the disk."""
        noted = self.notes.read_text().splitlines() if self.notes.exists() else []
        for text in noted:
            k, _, digest = text.partition(" ")
            if k.isdecimal() and int(k) < self.count and blake3.blake3(os.pread(self.handle, CHUNK, int(k) * CHUNK)).hexdigest() == digest:
                self.chunks[int(k)] = digest

    def receive(self, k: int) -> "Chunk":
        """Start on chunk `k`; what was there of it before no longer counts."""
        start, nbytes = self.span(k)
        self.sealed = ""
        self.chunks.pop(k, None)
        return Chunk(self, k, start, nbytes)

    def seal(self) -> str:
        """Make the whole safe on the disk and give its digest. Raises `UpdateError` if chunks are missing."""
        if missing := [k for k in range(self.count) if k not in self.chunks]:
            raise UpdateError(f"chunk {missing[0]} of {self.count} is not here; upload it, then answer again")
        try:
            with complaints():
                self.disk.finish()
                sync_folder(self.path.parent)
        except StorageError:  # nobody knows which bytes are lost: all come again
            self.forget()
            raise
        return vector_digest(self.chunks[k] for k in range(self.count))

    def forget(self) -> None:
        """None of the chunks counts any more."""
        with contextlib.suppress(OSError):
            self.notes.unlink(missing_ok=True)
        self.chunks.clear()

    def tail(self, count: int) -> bytes:
        """The last bytes."""
        return os.pread(self.handle, count, self.nbytes - count)

    def drop(self) -> None:
        """Forget everything received; a chunk that is still coming leaves no trace."""
        self.gone = True
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


class Chunk:
    """One chunk being received, piece by piece."""

    def __init__(self, upload: Upload, k: int, start: int, nbytes: int) -> None:
        self.upload, self.k, self.start, self.nbytes = upload, k, start, nbytes
        self.at, self.own = 0, blake3.blake3()

    def write(self, pieces: Sequence[Any]) -> None:
        """Add the next bytes. Raises `FrameError` when they are more than the chunk has."""
        if self.at + sum(map(len, pieces)) > self.nbytes:
            raise FrameError(f"chunk {self.k} is longer than its {self.nbytes} bytes")
        for piece in pieces:
            self.own.update(piece)
        with complaints():
            before, self.at = self.at, write_at(self.upload.handle, pieces, self.start + self.at) - self.start
            self.upload.disk.wrote(self.at - before)

    def finish(self, digest: str, rest: Sequence[Any] = ()) -> None:
        """Add the last bytes; the chunk is here if it is whole and has this digest, else `FrameError`."""
        self.write(rest)
        if self.at != self.nbytes:
            raise FrameError(f"chunk {self.k} ended after {self.at} of {self.nbytes} bytes", hint="send it again")
        if self.own.hexdigest() != digest:
            raise FrameError(f"chunk {self.k} is not what its signature says: it was altered on the way", hint="send it again")
        upload = self.upload
        if upload.gone:
            raise ConflictError("the round of this upload is over", hint="ask for work: the next task says what counted")
        with complaints(), upload.notes.open("a") as notes:
            notes.write(f"{self.k} {digest}\n")
        upload.chunks[self.k] = digest


def write_at(handle: int, pieces: Sequence[Any], at: int) -> int:
    """Write pieces one after the other from byte `at` on; returns where they end. The system may take fewer than it was given."""
    left = [memoryview(piece) for piece in pieces if len(piece)]
    while left:
        done = os.pwritev(handle, left[:MANY], at)
        at += done
        while left and done >= len(left[0]):
            done -= len(left.pop(0))
        if done:
            left[0] = left[0][done:]
    return at


class Spool:
    """The folder of uploads that are not yet added."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self.folder, self.blobs = folder, blobs
        folder.mkdir(mode=0o700, exist_ok=True)
        self.open: dict[str, Upload] = {}
        self.spare: list[Path] = []  # files of rounds that are over

    def upload(self, op: str, nbytes: int) -> Upload:
        """The upload of this name, as far as it came."""
        if op not in self.open:
            if not (self.folder / op).exists() and not self.reuse(self.folder / op, nbytes):
                self.blobs.room_for(nbytes)
            self.open[op] = Upload(self.folder / op, nbytes)
        return self.open[op]

    def reuse(self, path: Path, nbytes: int) -> bool:
        """Give a file of an earlier round to a new upload of its size: to write over pages is many times cheaper than to find new ones."""
        for spare in self.spare:
            if spare.stat().st_size == nbytes:
                self.spare.remove(spare)
                spare.rename(path)
                return True
        return False

    def file(self, op: str) -> File:
        """A committed upload, to be read."""
        return File(self.folder / op)

    def drop(self, ops: Iterable[str], *, spare: bool = False) -> None:
        """Forget uploads whose round is over; with `spare` their files serve the next round, which writes over them."""
        for op in ops:
            held, path = self.open.pop(op, None), self.folder / op
            if held and held.sealed and spare and path.exists():
                self.spare.append(path.replace(self.folder / f"spare-{op}"))
            if held:
                held.drop()
            for left in (path, self.folder / f"{op}.have"):
                left.unlink(missing_ok=True)
        while self.spare and not spare:
            self.spare.pop().unlink(missing_ok=True)

    def keep_only(self, ops: Iterable[str]) -> None:
        """Remove what belongs to no open round: half-done totals, rounds closed just before a crash."""
        wanted = set(ops)
        for path in self.folder.iterdir():
            if path.stem not in wanted:
                path.unlink()
