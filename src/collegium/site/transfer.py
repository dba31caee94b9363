"""Large things, resumed where they were cut: updates go up in chunks, models come down into a cache that is named by content.

A chunk is the unit that is sent again after a cut. A download goes on at the byte where it broke. Nothing is believed but
the BLAKE3 digest of the whole.
"""

import errno
import hashlib
import http.client
import mmap
import os
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import blake3

from collegium import identity
from collegium.errors import StorageError
from collegium.identity import CHUNK
from collegium.site.dial import HopError
from collegium.site.link import BYTES, Link, Stopped, broken

PIECE = 1 << 20
PART, OVER = ".part", ".over"  # of a download that was cut; of one that is being written over an earlier file
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES)


def operation(run: str, place: Iterable[Any], site: str) -> str:
    """The name of an upload, which follows from what it is: the same upload after a restart has the same name."""
    return hashlib.sha256("|".join([run, *map(str, place), site]).encode()).hexdigest()


def upload(link: Link, op: str, run: str, file: Path, digests: Sequence[str]) -> int:
    """Bring a file to the coordinator, chunk by chunk, only those that are missing there; returns the chunks sent.

    `digests` are those of the chunks: whoever wrote the file hashed it on the way, so that it is not read twice. Two chunks are on
    their way at once: while one waits for its answer the line carries the other.
    """
    sent = 0
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as whole, memoryview(whole) as view:

        def put(number: int) -> None:
            nonlocal sent
            with view[number * CHUNK : (number + 1) * CHUNK] as chunk:
                link.call("PUT", f"/v1/uploads/{op}/{number}", query=f"run={run}", body=chunk, kind=BYTES, digest=digests[number])
            sent += 1

        def missing() -> int:
            here = set(link.call("GET", f"/v1/uploads/{op}", query=f"run={run}").json()["chunks"])
            abreast(put, [number for number in range(len(digests)) if number not in here])
            return sent

        return link.steadily(missing)


def abreast(do: Callable[[int], None], numbers: Sequence[int]) -> None:
    """Do something for each number, two at a time. After an error nothing new is begun, what is under way ends, and it is raised."""
    left, errors = iter(numbers), list[BaseException]()

    def some() -> None:
        while not errors and (number := next(left, None)) is not None:
            try:
                do(number)
            except BaseException as e:
                errors.append(e)

    other = threading.Thread(target=some, name="collegium-upload", daemon=True)
    if len(numbers) > 1:
        other.start()
    some()
    if len(numbers) > 1:
        other.join()
    if errors:
        raise errors[0]


class Cache:
    """One blob at a time, by the digest of its bytes. A file that an earlier process left is hashed once before it is believed.

    The next blob is written over the file of the one before: its pages need not be found again, which costs more than to fill them.
    So a cache is one run's own, and whoever maps a file of it lets go of it, or reads no more of it, before the next is fetched.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.known = folder, ""

    def fetch(self, link: Link, digest: str, nbytes: int) -> Path:
        """The blob as a file, downloaded unless it is here; any other is gone then."""
        path = self.folder / digest
        if digest != self.known:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.known = ""
            if not (path.exists() and path.stat().st_size == nbytes and hashed(path).hexdigest() == digest):
                self.clear(path)
                link.steadily(lambda: download(link, digest, nbytes, path))
            self.known = digest
        return path

    def clear(self, path: Path) -> None:
        """Leave of the folder what has come of the wanted blob, else one file to write it over."""
        part, over = path.with_name(path.name + PART), path.with_name(path.name + OVER)
        for other in self.folder.iterdir():
            if other not in (part, over):
                if part.exists() or over.exists():
                    other.unlink()
                else:
                    os.replace(other, over)


def hashed(path: Path) -> blake3.blake3:
    """The running digest of a file's bytes."""
    running, buffer = blake3.blake3(), memoryview(bytearray(PIECE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            running.update(buffer[:count])
    return running


def download(link: Link, digest: str, nbytes: int, path: Path) -> None:
    """Bring a blob here, going on with the part that an earlier try left. Raises `LinkError`."""
    part = path.with_name(path.name + PART)
    at = part.stat().st_size if part.exists() else 0
    running = hashed(part) if at else blake3.blake3()
    if at < nbytes or not part.exists():
        at = receive(link, digest, nbytes, part, at, running)
    if at < nbytes:
        raise HopError("http", f"a download of {nbytes} bytes was cut at {at}; it goes on there")
    if at > nbytes or running.hexdigest() != digest:
        part.unlink()
        raise HopError("content", f"a download of {nbytes} bytes was altered on the way: its digest is not the one asked for")
    os.replace(part, path)  # without fsync: a file that a power cut left short is found out by its digest and fetched again


def receive(link: Link, digest: str, nbytes: int, part: Path, at: int, running: blake3.blake3) -> int:
    """Add what comes to `part`; returns how many bytes it holds."""
    route = f"/v1/blobs/{digest}"
    signature, headers = link.sign("GET", route, "", identity.digest(b""), BYTES)
    connection, _ = link.take()
    whole = False
    try:
        with link.ask(connection, "GET", route, b"", headers | ({"range": f"bytes={at}-"} if at else {})) as response:
            if response.status not in (200, 206):
                link.refused(response.status, dict(response.getheaders()), response.read(PIECE), signature)
                return at  # signed again by the next try
            if response.status == 200 and at:  # a gateway dropped the range: all of it comes again
                at = 0
                running.reset()
            at = appended(response, part, at, nbytes, running)
            whole = at == nbytes and response.isclosed()
    except (OSError, http.client.HTTPException) as e:
        if link.stop.is_set():
            raise Stopped from None
        if isinstance(e, OSError) and not isinstance(e, ssl.SSLError) and e.errno in DISK:
            raise StorageError(f"{part} cannot be written: {e.strerror}", hint="make room on the disk; then it goes on by itself") from None
        raise broken(e, link.dialler) from None
    finally:
        (link.rest if whole else link.drop)(connection)
    return at


def appended(response: http.client.HTTPResponse, part: Path, at: int, nbytes: int, running: blake3.blake3) -> int:
    """Write what comes to a file from `at` on; returns where it ends.

    A file that is written over keeps a name of its own meanwhile: after a `kill -9` nobody takes its length for what has come.
    """
    over = part.with_suffix(OVER)
    draft = over if over.exists() and not part.exists() else part
    with draft.open("r+b" if draft.exists() else "xb", buffering=0) as file:
        file.seek(at)
        buffer = memoryview(bytearray(min(PIECE, max(nbytes - at, 1))))
        try:
            while at <= nbytes and (count := response.readinto(buffer)):
                piece = buffer[:count]
                running.update(piece)
                while piece:
                    piece = piece[file.write(piece) :]
                at += count
        finally:
            file.truncate(at)
            os.replace(draft, part)
    return at
