"""One task at a site."""

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.engine import task
from collegium.engine.messages import Place
from collegium.privacy import ring
from collegium.table import Table


def echo(shared, table, memory):
    return {"sum": np.array(float(np.sum(table["x"])))}, {"calls": np.array(int(memory.get("calls", 0)) + 1)}


ALGORITHM = Algorithm(lambda given: {}, echo, lambda state, total: total)


def test_the_seed_stays_in_the_memory():
    change, after = task.update(ALGORITHM, {}, Table({"x": np.ones(3)}), {"seed": task.seed(1, "leeds")})
    assert change["sum"] == 3
    assert after["calls"] == 1
    assert after["seed"] == task.seed(1, "leeds")
    assert "seed" not in task.update(ALGORITHM, {}, Table({"x": np.ones(3)}), {})[1]


def test_sites_and_studies_have_seeds_of_their_own():
    seeds = {int(task.seed(study, site)) for study in (1, 2) for site in ("a", "b", "ab", "ba", "")}
    assert len(seeds) == 10
    assert all(0 <= s < 2**61 for s in seeds)


def test_both_phases_come_from_one_update():
    change = {"w": np.array([0.75, -3.0])}
    plain = ring.plain(change, 2)
    asked = ring.ranging(plain)
    first = np.concatenate([b.view(np.uint8) for b in task.vector(change, asked, Place(0, 1, 1, "range"), 7)])
    counts = ring.decode(lambda at, size: first.tobytes()[at : at + size], asked)[0]["ranges"]
    assert counts.sum() == 1
    assert np.flatnonzero(counts[0]) + ring.LOWEST == 2  # 3 lies below 2**2
    second = task.frame(task.vector(change, ring.settle(plain, counts), Place(0, 1, 1, "sum"), 7), plain.nbytes)
    assert len(second) == plain.nbytes
