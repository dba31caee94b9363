"""Outcomes changed by what a stage found of them, whatever the inner algorithm is."""

import numpy as np

from collegium.algorithms.statistics import moments
from collegium.study.outcomes import standardised, timed
from collegium.table import Table


def test_a_number_has_mean_nought_and_spread_one():
    table = Table({"y": np.array([10.0, 14.0, 18.0])})
    found = {"outcome": {"numbers": {"mean": np.array([14.0]), "sd": np.array([4.0])}}}
    step = standardised(moments(["y"]))
    state = step.init(found)
    while not step.done(state):
        state = step.apply(state, step.local(step.share(state), table, {})[0])
    assert step.result(state)["mean"].tolist() == [0.0]
    assert state["scale"] == {"mean": 14.0, "sd": 4.0}


def test_a_time_has_its_interval():
    seen = []
    inner = moments(["time"])._replace(local=lambda shared, table, memory: (seen.append(table["when"].tolist()), memory))
    step = timed(inner)
    found = {"times": {"edges": np.array([[2.0, 5.0, 9e9]]), "count": np.array([2])}}
    step.local(step.share(step.init(found)), Table({"time": np.array([1.0, 2.0, 4.9, 5.0, 100.0])}), {})
    assert seen == [[0, 1, 1, 2, 2]]
