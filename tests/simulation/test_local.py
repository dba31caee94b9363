"""Whole federations in one process."""

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.engine.run import Stage
from collegium.simulation.local import simulate, walk
from collegium.table import Table


def remembering():
    """Counts its own calls in the memory, and adds up what it drew from its seed."""

    def local(shared, table, memory):
        calls = int(memory.get("calls", 0)) + 1
        return {"seed": np.array(int(memory["seed"]) % 1000), "x": np.array(float(calls))}, {"calls": np.array(calls)}

    return Algorithm(lambda given: {"sum": np.array(0.0)}, local, lambda state, total: {"sum": total["x"], "seed": total["seed"]})


SITES = {"a": Table({"x": np.ones(2)}), "b": Table({"x": np.ones(3)})}


def test_each_site_keeps_its_memory_by_stage_and_its_seed():
    stages = [Stage("one", remembering(), 3, SITES["a"].where([])), Stage("two", remembering(), 2, SITES["a"].where([]))]
    seen = []
    run, memory = walk(stages, SITES, seed=5, watch=lambda run: seen.append(run.place))
    assert int(memory["a"]["one"]["calls"]) == 3  # ranging and summing are one call
    assert int(memory["b"]["two"]["calls"]) == 2
    assert memory["a"]["one"]["seed"] == memory["a"]["two"]["seed"] != memory["b"]["one"]["seed"]
    assert run.over
    assert run.results["one"]["sum"] == 6
    assert len(seen) == 3 + 2 + 2 * 1  # and one ranging round a stage


def test_the_same_seed_gives_the_same_bytes():
    first, again, other = (simulate(remembering(), SITES, rounds=2, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first["seed"] != other["seed"]
