"""What masks cost a round: 8 sites over HTTPS between real processes, secure sums beside plain ones, nobody training.

Both runs are of the same federation, in turn. The bare figure beside the secure one is what its masks alone cost: eight sites'
eight masks each, laid one after the other by one core over a vector of that size.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.federation import Federation, federation, study, weights
from benchmarks.measure import Row, machine, say, show
from collegium.privacy import masks
from collegium.privacy.masks import Mask
from collegium.privacy.ring import Layout, Leaf

SITES = [f"site{n}" for n in range(8)]
SIZES = {"1e3": (333,), "1e6": (999, 999), "1e7": (3160, 3160)}  # hidden layers over one variable
BARS = {"1e3": "at most 60 ms", "1e6": "at most 400 ms", "1e7": "at most plain + 1.2 x the masks, and 2.5 x plain"}


def timed(found: Federation, hidden: tuple[int, ...], rounds: int, *, secure: bool) -> float:
    """Milliseconds a round of training, between two looks at a run that is under way."""
    title = f"{'secure' if secure else 'plain'} {time.monotonic()}"
    run = found.start(study(hidden, rounds + 2, len(SITES), moves=False, title=title, secure=secure))
    seen = [(when, place) for when, place in found.watch(run, every_s=0.05, limit_s=550) if place[0] == 1 and place[1] >= 2]
    (began, first), (ended, last) = seen[0], next(each for each in reversed(seen) if each[1][1] < rounds + 2)
    took: float = 1e3 * (ended - began) / max(last[1] - first[1], 1)
    return took


def bare_masks(hidden: tuple[int, ...]) -> float:
    """Milliseconds in which one core lays the masks of all sites."""
    layout = Layout((Leaf("w", "float32", (weights(hidden),), -16),), len(SITES))
    vector = np.zeros(layout.nbytes, np.uint8)
    laid = [Mask(os.urandom(32), 1) for _ in SITES]
    began = time.perf_counter()
    for _ in SITES:
        masks.apply(vector, layout, laid)
    return 1e3 * (time.perf_counter() - began)


def rows(sizes: list[str], rounds: int, tries: int) -> Iterator[Row]:
    """A plain and a secure round of each size, and the speed of the masks."""
    with tempfile.TemporaryDirectory() as folder, federation(Path(folder), SITES) as found:
        for size in sizes:
            hidden, times = SIZES[size], {True: list[float](), False: list[float]()}
            for number in range(tries):
                say(f"secure: {size} parameters, try {number + 1} of {tries}")
                for secure in (False, True):
                    times[secure].append(timed(found, hidden, rounds, secure=secure))
            plain, hides, bare = statistics.median(times[False]), statistics.median(times[True]), bare_masks(hidden)
            yield Row(f"plain round, 8 sites x {size} parameters", plain, "ms")
            yield Row(f"secure round, 8 sites x {size} parameters, beside its masks alone", hides, "ms", bare, bar=BARS[size])
            yield Row(f"secure beside plain, {size} parameters", hides / plain, "x")
    laid = 4 * weights(SIZES["1e6"]) * len(SITES) ** 2 / bare_masks(SIZES["1e6"]) / 1e6
    yield Row("masks laid by one core", laid, "GB/s", bar="at least 2 GB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="few rounds of the smallest, to see that it runs")
    arguments = parser.parse_args()
    say(f"secure: on {machine()}")
    quick = arguments.quick
    show(rows(["1e3"] if quick else [*SIZES], 8 if quick else 20, 1 if quick else 3), as_json=arguments.json)


if __name__ == "__main__":
    main()
