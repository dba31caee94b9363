"""Quality as sums and the comparison with each site's own model, for the laws."""

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.compare import compare
from collegium.algorithms.glm import glm
from collegium.algorithms.metrics import evaluate
from collegium.table import Table
from tests.laws.examples import Example

FIT = {"fit": {"params": {"w": np.array([0.8, -0.4])}}}
START = {"params": {"w": np.zeros(2)}, "unused": {}}


def judged(rng: np.random.Generator) -> Table:
    """Two columns, an outcome of every kind that goes with them, and what each row is for."""
    x = rng.normal(size=(400, 2))
    eta = x @ (1.0, -0.5) + rng.normal(0, 0.5, 400)
    time = rng.exponential(np.exp(-eta)).round(2)
    part = rng.choice(np.array([0, 1, 2], np.int8), 400, p=[0.3, 0.1, 0.6])
    event = (rng.random(400) < 0.7).astype(float)
    return Table({"x": x, "eta": eta, "time": time, "event": event, "part": part})


def outcome(task: str):
    def table(rng: np.random.Generator) -> Table:
        t = judged(rng)
        y = {"binary": (t["eta"] > 0.3).astype(float), "multiclass": np.digitize(t["eta"], [-0.5, 0.5]).astype(float)}.get(
            task, 140 + t["eta"]
        )
        y[5] = np.nan
        return t.with_columns(y=y)

    return table


def linear(params, table: Table) -> np.ndarray:
    return table["x"] @ np.asarray(params["w"])


def chance(params, table: Table) -> np.ndarray:
    return 1 / (1 + np.exp(-linear(params, table)))


def classes(params, table: Table) -> np.ndarray:
    z = np.exp(np.stack([-linear(params, table), np.zeros(len(table)), linear(params, table)], 1))
    return z / z.sum(1, keepdims=True)


def climb() -> Algorithm:
    """Logistic regression by plain gradient steps: the smallest inner algorithm there is."""

    def local(shared, table, memory):
        t = table.where((table["part"] == 0) & np.isfinite(table["y"]))
        return {"gradient": t["x"].T @ (t["y"] - chance(shared["params"], t)), "rows": np.array(len(t))}, memory

    def apply(state, total):
        return {**state, "params": {"w": state["params"]["w"] + total["gradient"] / max(int(total["rows"]), 1)}}

    return Algorithm(lambda given: START, local, apply)


SCORES = {"binary": chance, "multiclass": classes, "regression": linear, "survival": linear}

EXAMPLES = [
    *(Example("metrics.evaluate", evaluate(t, s, classes=3), outcome(t), t, given=lambda table: FIT) for t, s in SCORES.items()),
    Example(
        "compare.compare",
        compare(climb(), chance, task="binary", rounds=5),
        outcome("binary"),
        exact=False,  # what a site can learn alone depends on how the rows are dealt
        given=lambda table: FIT,
    ),
    Example(
        "compare.compare",
        compare(
            glm(width=2), lambda params, table: chance({"w": np.asarray(params["coef"])[-2:]}, table), task="binary", rounds=20, key=""
        ),
        outcome("binary"),
        "glm",
        exact=False,
        given=lambda table: {"fit": {"coef": np.array([0.0, 0.8, -0.4])}},
    ),
]
