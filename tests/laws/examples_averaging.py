"""Federated averaging in all its kinds, for the laws."""

import numpy as np

from collegium import tree as T
from collegium.algorithms.averaging import Optimizer, averaging
from collegium.algorithms.coarse import coarse
from collegium.algorithms.optimizers import adaptive, sgd
from collegium.table import Table
from tests.laws.examples import Example

FIRST = {"first": {"params": {"w": np.array([0.1, 0.0, -0.1], np.float32)}}}


def train(params, table, pull, seed):
    """Full-batch gradient steps; an odd number at large sites, so that FedNova has something to do."""
    w, steps = np.array(params["w"]), 3 + len(table) % 3
    for _ in range(steps):
        error = 1 / (1 + np.exp(-table["x"] @ w)) - table["y"]
        w = (w - 0.3 * (table["x"].T @ error / len(table) + pull.mu * (w - params["w"]))).astype(np.float32)
    return {"w": w}, steps


def loss(params, table):
    z = table["x"] @ params["w"]
    return float(np.sum(np.logaddexp(0, z) - table["y"] * z))


def rows(rng: np.random.Generator) -> Table:
    x = rng.normal(size=(240, 3))
    y = (rng.random(240) < 1 / (1 + np.exp(-x @ (1.0, -1.0, 0.5)))).astype(float)
    return Table({"x": x, "y": y, "part": rng.choice(np.array([0, 1, 2], np.int8), 240, p=[0.7, 0.2, 0.1])})


def one(note, **knobs):
    algorithm = averaging(train, loss, **knobs)
    # k sites train k models, which is not what one site would: averaging is exact in its sums only
    return Example("averaging.averaging", algorithm, rows, note, exact=False, rounds=6, given=lambda table: FIRST)


EXAMPLES = [
    one("FedAvg", patience=3),
    one("FedProx", mu=0.5),
    one("FedNova", normalise=True),
    one("FedAvgM", optimizer=sgd(1.0, 0.5)),
    one("FedAdam", optimizer=adaptive("adam", 0.1)),
    one("FedYogi", optimizer=adaptive("yogi", 0.1)),
    one("FedAdagrad", optimizer=adaptive("adagrad", 0.1)),
    one("FedAvg")._replace(factory="coarse.coarse", algorithm=coarse(averaging(train, loss))),
    one("an optimiser of one's own", optimizer=Optimizer(T.zeros_like, lambda delta, state: (T.add(delta, state), delta))),
]
