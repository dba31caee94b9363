"""What large weights cost: time, bytes on the wire and the coordinator's memory, when every site returns values of its own.

Beside the time stands a bare TLS loop that moves the same bytes down and up between as many processes, measured in turn with it.
The last figures send 2 GiB of weights through a coordinator that may use 1 GB of memory, and compare the result's bytes.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import bare, peers
from benchmarks.federation import Federation, federation, study, weights
from benchmarks.measure import MB, MIB, Relay, Row, free_port, machine, reset_peak, sampled, say, show, status_mib, wait_for

SIZES = {4: (1024, 1020), 64: (4096, 4092), 256: (8192, 8188), 2048: (8192,) * 9}  # MiB of weights: the layers that hold them
LIMIT = 1_000_000_000  # bytes of memory for the coordinator of the last figures
LIMIT_S = 1800.0
WATCH_S = 0.1  # between two looks at where a run stands: each costs the machine some milliseconds, a round of this size seconds


class Done(NamedTuple):
    """What one run showed."""

    rounds_s: list[float]  # between the moments at which two successive places were first seen
    growth_mib: float  # the coordinator's peak over what it used when idle, as the kernel counted both
    anonymous_mib: float  # the largest anonymous memory that was seen: what no file can give back
    results: str  # digest of the frame of results


def run(found: Federation, size: int, rounds: int) -> Done:
    """A run over all sites of a model of `size` MiB."""
    pid = found.coordinator.pid
    idle = status_mib(pid, "VmRSS")
    reset_peak(pid)
    with sampled(lambda: status_mib(pid, "RssAnon")) as anonymous:
        name = found.start(study(SIZES[size], rounds, len(found.sites), moves=True))
        seen = found.watch(name, every_s=WATCH_S, limit_s=LIMIT_S)
    starts: dict[tuple[Any, ...], float] = {}
    for when, place in seen:
        starts.setdefault((place[0], place[1]), when)
    moments = [when for place, when in sorted(starts.items()) if place[0] == 1]
    times = [after - before for before, after in pairwise(moments[1:])]  # the first also asks for ranges
    results = found.ask("GET", f"/v1/runs/{name}")["results"]
    return Done(times, status_mib(pid, "VmHWM") - idle, max(anonymous), str(results))


def names(sites: int) -> list[str]:
    """What the sites are called."""
    return [f"site{n}" for n in range(sites)]


def timed(size: int, sites: int, tries: int) -> Iterator[Row]:
    """Time of a round beside a bare TLS loop, and the coordinator's memory."""
    nbytes = 4 * weights(SIZES[size])
    took, alone, growth = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder, federation(Path(folder), names(sites)) as found:
        for number in range(tries):
            say(f"payload: {sites} sites, {size} MiB, try {number + 1} of {tries}")
            alone += bare.rounds(sites, nbytes, nbytes, 2, tls=True)
            done = run(found, size, 4)
            took += done.rounds_s
            growth = max(growth, done.growth_mib)
    value = statistics.median(took)
    name = f"round, {sites} sites x {size} MiB, beside a bare TLS loop"
    yield Row(name, value, "s", statistics.median(alone), growth * MIB / MB, "at most 2.5 x")
    yield growth_row(sites, size, growth)


def growth_row(sites: int, size: int, mib: float) -> Row:
    """The coordinator's memory; `bare` is one model, which it need not hold."""
    return Row(f"coordinator's memory over idle, {sites} sites x {size} MiB", mib, "MiB", size, mib * MIB / MB, "at most 150 MiB")


def more_sites(size: int, sites: int) -> Iterator[Row]:
    """The coordinator's memory with more sites."""
    say(f"payload: {sites} sites, {size} MiB")
    with tempfile.TemporaryDirectory() as folder, federation(Path(folder), names(sites)) as found:
        yield growth_row(sites, size, run(found, size, 2).growth_mib)


def wire(size: int, sites: int) -> Iterator[Row]:
    """Bytes that pass between the sites and the coordinator in a round, beside two models for each site."""
    say(f"payload: counting bytes, {sites} sites, {size} MiB")
    rounds, port, model = 2, free_port(), 4 * weights(SIZES[size])
    relay = Relay(port)
    with tempfile.TemporaryDirectory() as folder, federation(Path(folder), names(sites), port=port, dialled=relay.port) as found:
        run(found, size, rounds)
        settled(relay, sites * model * (rounds + 1))
    final = sites * model  # when a run has finished, each site fetches the model that it leaves
    passed = (relay.up + relay.down - final) / rounds
    yield Row(f"bytes on the wire of a round, {sites} sites x {size} MiB", passed / MB, "MB", 2 * final / MB, bar="2 x sites x model")


def settled(relay: Relay, down: int) -> None:
    """Wait until the sites have fetched the finished model too."""
    wait_for("the finished model", lambda: relay.down >= down, limit_s=300)


def limited(size: int, sites: int) -> Iterator[Row]:
    """The same run with and without a limit of the coordinator's memory: its peak, and whether the results are the same bytes."""
    digests, growth = [], []
    with memory_limit(LIMIT) as (how, before):
        for label, first in (("no limit", "pass"), (how, before)):
            say(f"payload: {sites} sites, {size} MiB, coordinator with {label}")
            with tempfile.TemporaryDirectory() as folder, federation(Path(folder), names(sites), before=first) as found:
                done = run(found, size, 2)
            digests.append(done.results)
            growth.append(done)
    name = f"{size} MiB through a coordinator limited to {LIMIT // MB} MB"
    yield Row(f"{name} ({how}), peak of anonymous memory", growth[1].anonymous_mib, "MiB", size, growth[1].growth_mib * MIB / MB)
    yield Row(f"{name}, bytes as without a limit (1 = yes)", float(digests[0] == digests[1] != "None"), "", bar="1")


@contextmanager
def memory_limit(nbytes: int) -> Iterator[tuple[str, str]]:
    """How memory is limited here, and the Python line by which a process puts itself under that limit.

    A control group of the kernel counts everything, the page cache included. Where this user may not make one, RLIMIT_DATA
    stands in: it limits what the process itself allocates, but not the files that the kernel caches for it.
    """
    for kind, root, file in (
        ("", Path("/sys/fs/cgroup"), "memory.max"),
        ("memory", Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    ):
        group = root / own_group(kind).lstrip("/") / f"collegium-bench-{os.getpid()}"
        if not (group.parent / "cgroup.procs").exists():
            continue
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / file).exists():  # else the group is without the memory controller
                (group / file).write_text(str(nbytes))
                yield f"cgroup {file}", f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')"
                return
        finally:
            group.rmdir()
    yield "RLIMIT_DATA", f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({nbytes}, {nbytes}))"


def own_group(kind: str) -> str:
    """The control group of this process in one hierarchy; the unified one has no name."""
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    return next((path for _, controllers, path in lines if kind in controllers.split(",")), "/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="a small model, to see that it runs")
    parser.add_argument("--sixteen", action="store_true", help="also 16 sites x 256 MiB: needs 24 GB of memory and 30 GB of disk")
    parser.add_argument("--no-limit", action="store_true", help="leave out the 2 GiB: they need 12 GB of memory and 25 GB of disk")
    peers.option(parser)
    arguments = parser.parse_args()
    say(f"payload: on {machine()}")

    def rows() -> Iterator[Row]:
        sites, size = (2, 4) if arguments.quick else (4, 256)
        yield from timed(size, sites, 1 if arguments.quick else 3)
        yield from wire(size, sites)
        if not arguments.quick:
            yield from more_sites(64, 4)
            yield from more_sites(64, 16)
        if arguments.sixteen:
            yield from more_sites(256, 16)
        if not arguments.no_limit:
            yield from limited(size if arguments.quick else 2048, 2)
        if arguments.peers:
            yield from peers.large(arguments.peers, sites, size, weights(SIZES[size]), 1 if arguments.quick else 3)

    show(rows(), as_json=arguments.json)


if __name__ == "__main__":
    main()
