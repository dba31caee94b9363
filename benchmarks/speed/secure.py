"""What masks cost a round: 8 sites over HTTPS between real processes, secure sums beside plain ones, nobody training.

Both runs are of the same federation, in turn. The bare figure beside the secure one is what its masks alone cost: eight sites'
eight masks each, laid one after the other by one core over a vector of that size. Of the coordinator's memory the growth is given, the
kernel's own peak over what it used when idle, less that of a plain run. Keys are set up by all sites' and the coordinator's machines
in one process, one after the other.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.federation import Federation, federation, study, weights
from benchmarks.measure import Row, machine, reset_peak, say, show, status_mib
from collegium.privacy import masks
from collegium.privacy.masks import Mask
from collegium.privacy.ring import Layout, Leaf
from collegium.privacy.secagg_stand import Open
from collegium.simulation.secure import Cohort

SIZES = {"1e3": (333,), "1e6": (999, 999), "1e7": (3160, 3160)}  # hidden layers over one variable
BARS = {"1e3": "at most 60 ms", "1e6": "at most 400 ms", "1e7": "at most plain + 1.2 x the masks, and 2.5 x plain"}
SMALL_MEMORY = "at most 64 MiB"


class Seen(NamedTuple):
    """What one run showed."""

    ms: float  # a round of training, between two looks at a run that is under way
    growth_mib: float  # of the coordinator's memory


def names(sites: int) -> list[str]:
    """What the sites are called."""
    return [f"site{n}" for n in range(sites)]


def timed(found: Federation, hidden: tuple[int, ...], rounds: int, *, secure: bool) -> Seen:
    """One run."""
    title, pid = f"{'secure' if secure else 'plain'} {time.monotonic()}", found.coordinator.pid
    idle = status_mib(pid, "VmRSS")
    reset_peak(pid)
    run = found.start(study(hidden, rounds + 2, len(found.sites), moves=False, title=title, secure=secure))
    seen = [(when, place) for when, place in found.watch(run, every_s=0.05, limit_s=550) if place[0] == 1 and place[1] >= 2]
    (began, first), (ended, last) = seen[0], next(each for each in reversed(seen) if each[1][1] < rounds + 2)
    return Seen(1e3 * (ended - began) / max(last[1] - first[1], 1), status_mib(pid, "VmHWM") - idle)


def bare_masks(hidden: tuple[int, ...], sites: int) -> float:
    """Milliseconds in which one core lays the masks of all sites."""
    layout = Layout((Leaf("w", "float32", (weights(hidden),), -16),), sites)
    vector = np.zeros(layout.nbytes, np.uint8)
    laid = [Mask(os.urandom(32), 1) for _ in range(sites)]
    began = time.perf_counter()
    for _ in range(sites):
        masks.apply(vector, layout, laid)
    return 1e3 * (time.perf_counter() - began)


def compared(sizes: list[str], sites: int, rounds: int, tries: int, *, memory: str) -> Iterator[Row]:
    """A plain and a secure round of each size; for the size that `memory` names, also the coordinator's."""
    with tempfile.TemporaryDirectory() as folder, federation(Path(folder), names(sites)) as found:
        for size in sizes:
            hidden, runs = SIZES[size], {True: list[Seen](), False: list[Seen]()}
            for number in range(tries):
                say(f"secure: {sites} sites x {size} parameters, try {number + 1} of {tries}")
                for secure in (False, True):
                    runs[secure].append(timed(found, hidden, rounds, secure=secure))
            plain, hides = (statistics.median(each.ms for each in runs[secure]) for secure in (False, True))
            bar, bare = BARS[size] if sites == 8 else "", bare_masks(hidden, sites)
            yield Row(f"plain round, {sites} sites x {size} parameters", plain, "ms")
            yield Row(f"secure round, {sites} sites x {size} parameters, beside its masks alone", hides, "ms", bare, bar=bar)
            yield Row(f"secure beside plain, {sites} sites x {size} parameters", hides / plain, "x")
            if size == memory:
                more = max(each.growth_mib for each in runs[True]) - max(each.growth_mib for each in runs[False])
                name = f"coordinator's memory beyond plain, {sites} sites x {size} parameters"
                yield Row(name, max(more, 0.0), "MiB", bar=SMALL_MEMORY)


def setup(sites: int, rounds: int) -> Row:
    """Seconds of processor time in which keys for so many rounds are made, dealt and checked, a site."""
    cohort = Cohort("a benchmark", names(sites), curious=False, rounds=rounds, verified=False)
    began = time.process_time()
    cohort.happens(Open())
    cohort.talk()
    took = (time.process_time() - began) / sites
    return Row(f"keys of {sites} sites for {rounds} rounds, processor time a site", took, "s", bar="at most 0.5 s")


def rows(*, quick: bool) -> Iterator[Row]:
    """All rows of this benchmark."""
    yield from compared(["1e3"] if quick else [*SIZES], 8, 8 if quick else 20, 1 if quick else 3, memory="1e3" if quick else "1e7")
    if not quick:
        yield from compared(["1e6"], 16, 10, 1, memory="1e6")
    laid = 4 * weights(SIZES["1e6"]) * 64 / bare_masks(SIZES["1e6"], 8) / 1e6
    yield Row("masks laid and added by one core", laid, "GB/s", bar="at least 2 GB/s")
    yield setup(8 if quick else 64, 4 if quick else 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="few rounds of the smallest, to see that it runs")
    arguments = parser.parse_args()
    say(f"secure: on {machine()}")
    show(rows(quick=arguments.quick), as_json=arguments.json)


if __name__ == "__main__":
    main()
