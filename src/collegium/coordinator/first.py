"""First weights that a researcher brings for a run: received in pieces, held to their digest, given to the run that begins.

A piece goes where the last one ended, or nowhere: the answer always says how far the file has come, so a sender whose line was
cut goes on from there. The file is only on its way: the run keeps what it needs of it in frames of its own.
"""

import re
import threading
from collections.abc import Mapping
from pathlib import Path

import blake3

from collegium import tree as T
from collegium import wire
from collegium.coordinator.blobs import Blobs, File, complaints, write_all
from collegium.coordinator.means import Plan
from collegium.errors import FrameError, NotFound
from collegium.study.manifest import Study

STEP = 4 << 20


class First:
    """The folder of weights on their way in. One thread at a time changes it."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs, self.folder, self.lock = blobs, blobs.folder.parent / "first", threading.Lock()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for left in self.folder.iterdir():  # of an earlier start: nobody goes on with it
            left.unlink()

    def path(self, digest: str) -> Path:
        """Where the file of this digest comes in. Raises `FrameError` for what is no digest."""
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise FrameError(f"a file is named by its digest, 64 hexadecimal digits; found {digest[:20]!r}")
        return self.folder / digest

    def receive(self, digest: str, at: int, of: int, piece: bytes) -> int:
        """Add the piece that starts at byte `at` of a file of `of` bytes; how many bytes are here now."""
        path = self.path(digest)
        if at + len(piece) > of or not piece:
            raise FrameError(f"a piece of {len(piece)} bytes from byte {at} does not lie in a file of {of} bytes")
        with self.lock, complaints():
            here = path.stat().st_size if path.exists() else 0
            if here == at:
                self.blobs.room_for(of - at)
                with path.open("ab", buffering=0) as out:
                    write_all(out.fileno(), piece)
                here += len(piece)
        return here

    def take(self, digest: str, study: Study, plan: Plan) -> Mapping[str, T.Tree]:
        """What came, checked against the study by its plan, its arrays still in the file.

        Raises `NotFound`, `FrameError` for a file that is not whole, `StudyError` that names the first leaf at fault.
        """
        path = self.path(digest)
        with self.lock:
            try:
                file = File(path)
            except NotFound:
                raise NotFound(f"no first weights {digest[:16]} have been uploaded", hint="upload them, then start the run") from None
        whole = blake3.blake3()
        for at in range(0, file.size, STEP):
            whole.update(file.read(at, min(STEP, file.size - at)))
        if whole.hexdigest() != digest:
            self.forget(digest)
            raise FrameError(
                f"of the first weights {digest[:16]} {file.size} bytes are here, and they are not the file", hint="upload it again"
            )
        return plan(study, wire.load(file.read, file.size))[1]

    def forget(self, digest: str) -> None:
        """A run has taken it: the file goes."""
        with self.lock:
            self.path(digest).unlink(missing_ok=True)
