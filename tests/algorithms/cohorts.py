"""Small made-up cohorts whose scores stand in a column, and the quality that the engine finds in them."""

import numpy as np

from collegium.algorithms.metrics import evaluate
from collegium.simulation.local import simulate
from collegium.table import Table


def stored(params, table):
    return table["p"]


def binary(n, seed=0, gap=1.2, prevalence=0.3):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < prevalence).astype(float)
    return Table({"y": y, "p": 1 / (1 + np.exp(-(gap * y + rng.normal(size=n) - 1.5)))})


def survival(n, seed=0, scale=1000.0):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    event_at, censored_at = rng.exponential(scale * np.exp(-risk)), rng.exponential(2 * scale, n)
    return Table({"time": np.minimum(event_at, censored_at), "event": (event_at <= censored_at).astype(float), "p": risk})


def split(table, k):
    return {str(i): table.where(np.arange(i, len(table), k)) for i in range(k)}


def quality(task, sites, score=stored, params=None, **options):
    sites = sites if isinstance(sites, dict) else {"only": sites}
    return simulate(evaluate(task, score, **options), sites, given={"fit": {"params": params or {}}})


TASKS = {
    "binary": lambda n: binary(n),
    "multiclass": lambda n: Table({"y": np.arange(n) % 3.0, "p": np.random.default_rng(0).dirichlet(np.ones(3), n)}),
    "regression": lambda n: Table({"y": np.linspace(1, 9, n), "p": np.linspace(2, 8, n)}),
    "survival": lambda n: survival(n),
}
