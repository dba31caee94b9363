"""The agent's side of a worker: start it, ask it, hold it still, end it.

The worker gets the site's table and no secret: a fresh process with a small environment of its own, without the agent's open
files. Should it die, it is started again and asked the same; the answer has the same bytes.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from collegium.errors import RunError
from collegium.site.frames import Message, receive, send

KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES",
        "COLLEGIUM_DATABASE_PASSWORD", "PGPASSFILE")  # fmt: skip  # of the hospital's own database
KERNELS = ("OPENBLAS_CORETYPE", "MKL_CBWR", "ATEN_CPU_CAPABILITY")  # whose arithmetic: the last digits of a sum depend on it


class Process(Protocol):
    """A child process."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


class Child(NamedTuple):
    """A started worker and the two ends of its pipes."""

    process: Process
    to: int
    back: int


Start = Callable[[Path, int], Child]  # (log file, threads) -> a worker


class WorkerDied(RunError):
    """The worker ended in the middle of a task."""


def spawn(log: Path, threads: int) -> Child:
    """A worker as a fresh process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "collegium.site.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0, start_new_session=True,
            env=environment(os.environ, threads),
        )  # fmt: skip
    assert process.stdin
    assert process.stdout
    to, back = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
    process.stdin.close()
    process.stdout.close()
    return Child(process, to, back)


def environment(ours: Mapping[str, str], threads: int) -> dict[str, str]:
    """What a worker is told of the machine: no proxy and so no password, and how many threads it may use."""
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: ours[name] for name in KEPT + KERNELS if name in ours} | dict.fromkeys(pools, str(threads)) | {"MALLOC_ARENA_MAX": "1"}


class Worker:
    """A warm worker on one study."""

    def __init__(self, opening: dict[str, Any], log: Path, *, threads: int = 1, start: Start = spawn) -> None:
        self.opening, self.log, self.threads, self.start = opening, log, threads, start
        self.child: Child | None = None

    def open(self) -> dict[str, Any]:
        """Start, read the table and say how many rows it has; or what failed."""
        self.child = self.start(self.log, self.threads)
        return self.exchange(self.opening, b"").says

    def ask(self, task: dict[str, Any], payload: Any = b"") -> Message:
        """The answer to one task. Raises `WorkerDied`; the next call starts another worker."""
        if self.child is None and "failure" in (told := self.open()):
            return Message(told, memoryview(b""))
        return self.exchange(task, payload)

    def exchange(self, says: dict[str, Any], payload: Any) -> Message:
        """One message there and one back."""
        assert self.child is not None
        try:
            send(self.child.to, says, payload)
            answer = receive(self.child.back)
        except OSError:
            answer = None
        if answer is None:
            self.end()
            raise WorkerDied("the worker ended in the middle of a task", hint=f"see {self.log}; too little memory is the usual cause")
        return answer

    def hold(self, still: bool) -> None:
        """Stop the worker where it is, or let it go on."""
        child = self.child
        if child is not None and child.process.poll() is None:
            os.kill(child.process.pid, signal.SIGSTOP if still else signal.SIGCONT)

    def kill(self) -> None:
        """End the process from another thread; who waits for its answer hears of it."""
        child = self.child
        if child is not None and child.process.poll() is None:
            os.kill(child.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """End the worker now, and let go of its pipes. What it was computing is computed again when it is asked for."""
        self.kill()
        child, self.child = self.child, None
        if child is None:
            return
        child.process.wait()
        os.close(child.to)
        os.close(child.back)
