"""What a round costs when nobody trains: 8 sites, 1,000 parameters; over HTTPS between real processes, and in one process.

Beside each figure over HTTPS stands a bare loop in which the same number of bytes goes to 8 processes and back, measured in turn
with it. The sites are those of `collegium site serve`; only the recipe is replaced by one that returns the weights it got.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import bare, peers
from benchmarks.federation import Federation, federation, study, weights
from benchmarks.measure import Relay, Row, family, free_port, machine, median_ms, pss_mb, say, show
from benchmarks.still import still
from collegium import tree as T
from collegium.algorithms.averaging import averaging
from collegium.engine.run import Stage
from collegium.simulation.local import walk
from collegium.study import manifest, plan
from collegium.table import Table

SITES = [f"site{n}" for n in range(8)]
HIDDEN = (333,)  # over one variable: 1,000 parameters in four arrays
WARM = 20  # rounds before a clock is read


def over_https(tries: int, rounds: int) -> Iterator[Row]:
    """Time, memory and bytes of a round between real processes."""
    memories = []
    for apart in (True, False):
        port = free_port()
        relay = Relay(port)
        say(f"round: counting bytes and memory, {'each process by itself' if apart else 'sites share code'}")
        with tempfile.TemporaryDirectory() as folder, federation(Path(folder), SITES, port=port, dialled=relay.port, apart=apart) as found:
            memory, up, down = counted(found, relay, rounds)
            memories.append(memory)
    with tempfile.TemporaryDirectory() as folder, federation(Path(folder), SITES) as found:
        times: dict[str, list[float]] = {"https": [], "tls": [], "tcp": []}
        for number in range(tries):
            say(f"round: try {number + 1} of {tries}")
            for name in ("tls", "tcp"):
                times[name].append(median_ms(bare.rounds(len(SITES), down, up, rounds, tls=name == "tls")))
            times["https"].append(timed(found, rounds))
    took, tls, tcp = (statistics.median(times[name]) for name in ("https", "tls", "tcp"))
    yield Row("round, 8 sites over HTTPS, beside a bare TLS loop", took, "ms", tls, memory, "at most 20 ms")
    yield Row("round, 8 sites over HTTPS, beside a bare TCP loop", took, "ms", tcp, memory)
    yield Row("memory of coordinator, 8 agents, 8 workers (PSS)", memory, "MB", peak_mb=memory, bar="at most 250 MB")
    yield Row("the same where each process loads its own code", memories[0], "MB", peak_mb=memories[0])
    yield Row("bytes of a round and site, beside its parameters", up + down, "B", 2 * 4 * weights(HIDDEN))


def counted(found: Federation, relay: Relay, rounds: int) -> tuple[float, int, int]:
    """Memory of all processes at work in MB, and the bytes that a site sends and gets in a round."""
    run = found.start(study(HIDDEN, rounds + WARM, len(SITES), moves=False))
    place, memory = [0, 0], []
    while place[0] != 1 or place[1] < WARM:
        place = found.stands(run)[1]
    at, up, down = place[1], relay.up, relay.down
    while place[1] < rounds:
        memory.append(pss_mb(family(*found.pids)))
        time.sleep(0.2)
        place = found.stands(run)[1]
    up, down, done = relay.up - up, relay.down - down, max(1, place[1] - at)
    found.watch(run, every_s=0.2, limit_s=120)
    return max(memory), up // done // len(SITES), down // done // len(SITES)


def timed(found: Federation, rounds: int) -> float:
    """Milliseconds a round, between two looks at a run that is under way."""
    run = found.start(study(HIDDEN, rounds + WARM, len(SITES), moves=False))
    seen = [(when, place) for when, place in found.watch(run, every_s=0.1, limit_s=300) if place[0] == 1 and place[1] >= WARM]
    (began, first), (ended, last) = seen[0], next(each for each in reversed(seen) if each[1][1] < rounds + WARM)
    took: float = 1e3 * (ended - began) / (last[1] - first[1])
    return took


def in_process(tries: int, rounds: int) -> Iterator[Row]:
    """Time of a round of the simulation: 1,000 parameters as one array, and as the whole study that the sites above run."""
    say("round: in process")
    table = Table({"x": np.arange(20.0), "y": np.arange(20.0) % 2})
    read = manifest.read(study(HIDDEN, rounds, len(SITES), moves=False))
    learner = still.learner(read)
    plain = [Stage("fit", averaging(learner.train, learner.loss), rounds, table.where(np.zeros(0, int)))]
    given = {"first": {"params": {"w": np.linspace(-1, 1, weights(HIDDEN), dtype=np.float32)}}}
    whole, ready = plan.stages(read, learner), plan.rows(read, table)
    times: dict[str, list[float]] = {"plain": [], "study": [], "bare": []}
    for _ in range(tries):
        times["plain"].append(walked(plain, table, given))
        times["study"].append(walked(whole, ready, {}))
        times["bare"].append(median_ms(bare_sum(given["first"]["params"]["w"], rounds)))
    alone = min(times["bare"])
    yield Row("round in one process, beside a bare sum in NumPy", statistics.median(times["plain"]), "ms", alone, bar="at most 0.5 ms")
    yield Row("round of a whole study in one process", statistics.median(times["study"]), "ms", alone)


def walked(stages: list[Stage], table: Table, given: Mapping[str, T.Tree]) -> float:
    """The median time between two closed rounds of the last stage, in milliseconds."""
    moments: list[float] = []
    walk(
        stages, dict.fromkeys(SITES, table), given=given,
        watch=lambda run: moments.append(time.perf_counter()) if run.place.stage == len(stages) - 1 else None,
    )  # fmt: skip
    return median_ms(np.diff(moments).tolist())


def bare_sum(start: np.ndarray, rounds: int) -> Iterator[float]:
    """Seconds of rounds that are nothing but arithmetic: every site's change times its rows, summed and divided."""
    params = start.copy()
    for _ in range(rounds):
        began = time.perf_counter()
        total = np.zeros_like(params)
        for _ in SITES:
            total += (params - params) * np.float32(20)
        params = params + total / np.float32(20 * len(SITES))
        yield time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that it runs")
    parser.add_argument("--in-process", action="store_true", help="only the simulation")
    peers.option(parser)
    arguments = parser.parse_args()
    say(f"round: on {machine()}")
    tries, rounds = (1, 60) if arguments.quick else (5, 300)

    def rows() -> Iterator[Row]:
        yield from in_process(tries, rounds)
        if not arguments.in_process:
            yield from over_https(tries, rounds)
        if arguments.peers:
            yield from peers.small(arguments.peers, 2 if arguments.quick else len(SITES), weights(HIDDEN), 1 if arguments.quick else 3)

    show(rows(), as_json=arguments.json)


if __name__ == "__main__":
    main()
