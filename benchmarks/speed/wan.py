"""What training costs over hospitals' lines: 8 sites with 1 GiB of weights, each on a line of 100 Mbit/s and 50 ms each way.

Secure sums, in 32 bits a weight and in 16 bits both ways; every site returns values of its own. Three rounds are measured, after a
first that also asks for ranges; the hours of a hundred are extrapolated from their mean. The bare figure is what the line alone
needs for a site's weights, down and up. All sites share this machine's processors and its disk, which hospitals do not.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.federation import Federation, federation, study, weights
from benchmarks.line import Line, measured
from benchmarks.measure import Row, free_port, machine, say, show

SITES = [f"site{n}" for n in range(8)]
SIZES = {16: (2048, 2044), 64: (4096, 4092), 256: (8192, 8188), 1024: (8192,) * 5}  # MiB of float32 weights: the layers that hold them
MBIT, DELAY_S = 100.0, 0.05  # each way
FIRST, MEASURED, EXTRAPOLATED = 2, 3, 100  # the first round that counts, how many do, and how many are spoken of
BARS = {32: "at most 6 h", 16: "at most 3 h"}
LIMIT_S = 3600.0


def timed(found: Federation, lines: list[Line], hidden: tuple[int, ...], bits: int) -> tuple[list[float], float]:
    """Seconds of each measured round, and the bytes that a site sent and got in one."""
    manifest = study(hidden, FIRST + MEASURED, len(SITES), moves=True, title=f"wan {bits} {time.monotonic()}", secure=True)
    manifest["method"]["bits"] = bits
    run, end = found.start(manifest), time.monotonic() + LIMIT_S
    moments: dict[int, tuple[float, int]] = {}
    while len(moments) <= MEASURED:
        stage, number, *_ = found.stands(run)[1]
        if stage == 1 and number >= FIRST and number not in moments:
            moments[number] = time.perf_counter(), sum(line.up.passed + line.down.passed for line in lines)
            say(f"wan: {bits} bits, round {number} begins")
        if time.monotonic() > end:
            raise TimeoutError(f"the measured rounds were not over after {LIMIT_S:.0f} s")
        time.sleep(0.1)
    found.ask("POST", f"/v1/runs/{run}/stop", {})
    (_, passed), (_, all_passed) = moments[FIRST], moments[FIRST + MEASURED]
    return [after - before for (before, _), (after, _) in pairwise(moments.values())], (all_passed - passed) / MEASURED / len(SITES)


def rows(mib: int, which: list[int]) -> Iterator[Row]:
    """The line by itself, and a round and a hundred of each width."""
    hidden, size = SIZES[mib], f"8 sites x {mib} MiB of float32"
    rate, trip_s = measured(MBIT, DELAY_S)
    yield Row("a line by itself", rate, "Mbit/s", MBIT)
    yield Row("a line by itself, there and back", 1e3 * trip_s, "ms", 2e3 * DELAY_S)
    for bits in which:
        port = free_port()
        lines = [Line(port, mbit=MBIT, delay_s=DELAY_S) for _ in SITES]
        calls = {name: line.port for name, line in zip(SITES, lines, strict=True)}
        say(f"wan: {size}, {bits} bits a weight both ways, {MBIT:g} Mbit/s and {1e3 * DELAY_S:g} ms each way")
        with tempfile.TemporaryDirectory() as folder, federation(Path(folder), SITES, port=port, lines=calls) as found:
            times, nbytes = timed(found, lines, hidden, bits)
        alone = 2 * weights(hidden) * bits / 8 / (MBIT * 125_000)
        took, spread = statistics.mean(times), f"{min(times):.1f} to {max(times):.1f} s"
        yield Row(f"round, {size}, {bits} bits ({spread})", took, "s", alone)
        yield Row(
            f"{EXTRAPOLATED} such rounds, extrapolated", took * EXTRAPOLATED / 3600, "h", alone * EXTRAPOLATED / 3600, bar=bar(mib, bits)
        )
        yield Row("bytes of a site and round on the wire, for each weight", nbytes / weights(hidden), "B", 2 * bits / 8)
        for line in lines:
            line.close()


def bar(mib: int, bits: int) -> str:
    """What is promised of 1 GiB; nothing is of another size."""
    return BARS[bits] if mib == 1024 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--mib", type=int, choices=SIZES, default=1024, help="MiB of float32 weights (1024 needs 30 GB of disk)")
    parser.add_argument("--bits", type=int, choices=BARS, action="append", help="only this width")
    parser.add_argument("--quick", action="store_true", help="16 MiB, to see that it runs")
    arguments = parser.parse_args()
    say(f"wan: on {machine()}")
    show(rows(16 if arguments.quick else arguments.mib, arguments.bits or [*BARS]), as_json=arguments.json)


if __name__ == "__main__":
    main()
