"""Files on their way to the disk while they are written, so that the last `fsync` finds little left to do."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

STEP = 32 << 20  # bytes that may wait in memory before the disk is set to work
WRITERS = ThreadPoolExecutor(4, thread_name_prefix="collegium-writeback")  # they wait for the disk, nothing else


class Writeback:
    """One open file. It is kept open for as long as the disk works on it, whatever its owner does."""

    def __init__(self, handle: int) -> None:
        self.handle = os.dup(handle)
        self.behind = 0  # bytes written since the disk was last set to work
        self.working: Future[None] | None = None
        self.lock = threading.Lock()  # two chunks of a file may come at once, and no failure of the disk may be overlooked

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)

    def wrote(self, count: int) -> None:
        """So many more bytes are written: time to set the disk to work, unless it is at it or has refused."""
        with self.lock:
            self.behind += count
            if self.behind >= STEP and (self.working is None or (self.working.done() and not self.working.exception())):
                self.behind, self.working = 0, WRITERS.submit(self.sync)

    def finish(self) -> None:
        """Return when all is on the disk. Raises `OSError` if any of it is not: the system tells of a lost page only once."""
        working, self.working = self.working, None
        if working:
            working.result()
        self.sync()

    def sync(self) -> None:
        """Bring to the disk what is written so far."""
        os.fdatasync(self.handle)
