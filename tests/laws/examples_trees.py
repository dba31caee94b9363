"""Boosted trees of every loss, and the bins that they stand on, for the laws: k sites give the very bits of one."""

import numpy as np

from collegium.algorithms.cuts import ROUNDS, cuts
from collegium.algorithms.forest import Shape, binned
from collegium.algorithms.splits import Rules
from collegium.algorithms.trees import trees
from collegium.table import Table
from tests.laws.examples import COLUMNS, Example, patients, prepared

SHAPE = Shape(np.array([9, 4, 6]), np.array([False, False, True]))
RULES = Rules(least=5, hessian=0.1)


def binned_rows(task: str):
    """Three columns as bin numbers, an outcome of every kind, patients with several rows."""

    def table(rng: np.random.Generator) -> Table:
        x = np.stack([rng.integers(0, width, 400) for width in SHAPE.widths.tolist()], axis=1).astype(np.uint16)
        eta = 0.4 * x[:, 0] - 1.5 + (x[:, 2] == 3) + rng.normal(0, 0.5, 400)
        y = {"binary": (eta > 0).astype(float), "multiclass": np.digitize(eta, [-0.5, 0.8]).astype(float)}.get(task, eta)
        y[3] = np.nan
        part = rng.choice(np.array([0, 1, 2], np.int8), 400, p=[0.7, 0.2, 0.1])
        when, event = rng.integers(0, 128, 400), (rng.random(400) < 0.6).astype(float)
        time = when + 0.5
        return Table(
            {"x": x, "y": y, "time": time, "event": event, "when": when, "part": part}, np.array([f"p{k // 2}" for k in range(400)])
        )

    return table


def cut_up(table: Table):
    """What the stages `features` and `bins` find in all rows."""
    stage = cuts(COLUMNS, bins=8)
    state = stage.init({})
    for _ in range(ROUNDS):
        state = stage.apply(state, stage.local(stage.share(state), table, {})[0])
    return {**prepared(table), "bins": stage.result(state)}


def one(task: str, note: str = "", **knobs):
    algorithm = trees(task, **{"steps": 5, "depth": 3, "rules": RULES, "shape": SHAPE, "classes": 3, "seed": 5, **knobs})
    return Example("trees.trees", algorithm, binned_rows(task), note or task, rounds=60, rtol=0, atol=0)


EXAMPLES = [
    Example("cuts.cuts", cuts(COLUMNS, bins=8), patients, rtol=0, atol=0),
    Example("forest.binned", binned(trees("binary", steps=4, depth=3, rules=RULES), COLUMNS), patients, given=cut_up, rtol=0, atol=0),
    one("binary"),
    one("multiclass"),
    one("regression"),
    one("survival"),
    one("binary", "deep", depth=6, steps=2, patience=0),
    one("binary", "stumps", depth=1),
    one("binary", "side by side, on shares", parallel=2, rows=0.7, columns=0.6),
    one("regression", "monotone", monotone={0: 1, 1: -1}),
]
