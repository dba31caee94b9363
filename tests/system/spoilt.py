"""Sites that spoil things on purpose, as real processes: workers that lie, clocks that are wrong, disks that are full.

`python -m tests.system.spoilt site FOLDER LIE` is an agent whose workers tell that lie, `... worker LIE` is such a worker; a lie
is `NAME:STAGE:ROUND` and is told from there on.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import pytest

from collegium import tree as T
from collegium.engine.messages import Task
from collegium.site import agent, pipe, worker
from collegium.table import Table

Answer = Callable[..., tuple[dict[str, Any], Any]]
honest: Answer = worker.Bench.answer


def longer(bench: worker.Bench, task: Task, state: Any, *more: Any) -> tuple[dict[str, Any], Any]:
    """Eight bytes more than the round asks for."""
    return told(bytes(honest(bench, task, state, *more)[1]) + bytes(8))


def crowd(bench: worker.Bench, task: Task, state: Any, *more: Any) -> tuple[dict[str, Any], Any]:
    """A vector that says it holds two sites, and so would spoil everybody's sum."""
    return told(bytes(honest(bench, task, state, *more)[1])[:-8] + (2).to_bytes(8, "little"))


def told(vector: bytes) -> tuple[dict[str, Any], bytes]:
    return {"digest": blake3.blake3(vector).hexdigest(), "nbytes": len(vector), "line": {}}, vector


def shape(bench: worker.Bench, task: Task, state: Any, *more: Any) -> tuple[dict[str, Any], Any]:
    """An update of which one array has an entry too many."""
    return twisted(bench, task, state, more, lambda values: np.append(values, 0.0))


def nan(bench: worker.Bench, task: Task, state: Any, *more: Any) -> tuple[dict[str, Any], Any]:
    """An update of which one array holds numbers that are none."""
    return twisted(bench, task, state, more, lambda values: np.full_like(values, np.nan))


def twisted(bench: worker.Bench, task: Task, state: Any, more: Any, twist: Callable[[Any], Any]) -> tuple[dict[str, Any], Any]:
    stage = bench.stages[task.place.stage]

    def local(shared: T.Tree, table: Table, memory: T.Tree) -> tuple[T.Tree, T.Tree]:
        change, after = stage.algorithm.local(shared, table, memory)
        flat = T.flatten(change)
        name = next(name for name, leaf in sorted(flat.items()) if np.ndim(leaf) == 1 and leaf.dtype.kind == "f")
        return T.unflatten(flat | {name: twist(flat[name])}), after

    false = stage._replace(algorithm=stage.algorithm._replace(local=local))
    honestly, bench.stages = bench.stages, [false if each is stage else each for each in bench.stages]
    try:
        return honest(bench, task, state, *more)
    finally:
        bench.stages = honestly


LIES: dict[str, Answer] = {"longer": longer, "crowd": crowd, "shape": shape, "nan": nan}


def liar(lie: str) -> None:
    """A worker's life: honest until the place that `LIE:STAGE:ROUND` names, lying from there on."""
    name, stage, number = lie.split(":")

    def answer(bench: worker.Bench, task: Task, state: Any, *more: Any) -> tuple[dict[str, Any], Any]:
        return (LIES[name] if task.place[:2] >= (int(stage), int(number)) else honest)(bench, task, state, *more)

    worker.Bench.answer = answer  # type: ignore[method-assign]  # that is the lie
    worker.main()


def site_process(folder: str, lie: str) -> None:
    def start(log: Path, threads: int) -> pipe.Child:
        return with_arguments(log, threads, ["-m", "tests.system.spoilt", "worker", lie])

    agent.serve(Path(folder), environ={}, version="test", start=start)


def with_arguments(log: Path, threads: int, arguments: list[str]) -> pipe.Child:
    """A worker started as `pipe.spawn` does, but as another program."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0,
            start_new_session=True, env=pipe.environment(os.environ, threads),
        )  # fmt: skip
    assert process.stdin
    assert process.stdout
    to, back = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
    process.stdin.close()
    process.stdout.close()
    return pipe.Child(process, to, back)


# Clocks ----------------------------------------------------------------------------------------------------------------------

SHIFTED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long off(void) { const char *s = getenv("CLOCK_OFF_S"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int found = real(id, t);
    if (!found && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += off();
    return found;
}
time_t time(time_t *out) {
    struct timespec t; clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
int gettimeofday(struct timeval *out, void *zone) {
    struct timespec t; clock_gettime(CLOCK_REALTIME, &t);
    out->tv_sec = t.tv_sec; out->tv_usec = t.tv_nsec / 1000;
    return 0;
}
"""


def clock(folder: Path, seconds: int) -> dict[str, str]:
    """What a process must be told so that its clock, TLS's included, is off by so many seconds. Skips without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler here to make a clock that is off")
    library = folder / "clock.so"
    if not library.exists():
        (folder / "clock.c").write_text(SHIFTED)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, folder / "clock.c", "-ldl"], check=True, timeout=60)
    return {"LD_PRELOAD": str(library), "CLOCK_OFF_S": str(seconds)}


# Disks -----------------------------------------------------------------------------------------------------------------------


class Disk:
    """A small disk of its own under a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ballast = folder, folder / "ballast"

    def fill(self, *, leave: int = 0) -> None:
        """Leave so many bytes free."""
        found = os.statvfs(self.folder)
        room = found.f_bavail * found.f_frsize - leave
        with self.ballast.open("ab") as out:
            os.posix_fallocate(out.fileno(), out.tell(), room)

    def free(self) -> None:
        self.ballast.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk]:
    """Mount a disk of that size under `folder`. Skips where this user may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, timeout=10)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=10)


if __name__ == "__main__":
    {"site": site_process, "worker": liar}[sys.argv[1]](*sys.argv[2:])
