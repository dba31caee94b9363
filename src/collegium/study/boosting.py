"""The stages of boosted trees: categories, bins, trees, and the proof of benefit on held-out patients."""

from collections.abc import Sequence

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.compare import compare
from collegium.algorithms.cuts import ROUNDS, cuts
from collegium.algorithms.features import Column, features
from collegium.algorithms.forest import binned, margins
from collegium.algorithms.losses import INTERVALS
from collegium.algorithms.splits import Rules
from collegium.algorithms.trees import trees
from collegium.engine.run import Stage
from collegium.study import layers
from collegium.study.manifest import Study, Trees
from collegium.study.outcomes import standardised, timed
from collegium.table import Table

DIRECTION = {"up": 1, "down": -1}


def stages(study: Study, method: Trees, columns: Sequence[Column], empty: Table) -> list[Stage]:
    """The computations in order; `empty` tells the shapes of a site's rows."""
    task = study.outcome.task if study.outcome else "regression"
    fit, rounds = boost(study, method, columns, task), longest(method, task)
    out = [
        Stage("features", features(columns), 2, empty),
        Stage("bins", cuts(columns, bins=method.bins, least=method.least), ROUNDS, empty),
    ]
    if task == "regression":
        out.append(Stage("outcome", features([Column("y", "number")]), 2, empty))
    if task == "survival":
        out.append(Stage("times", cuts([Column("time", "number")], bins=INTERVALS, least=method.least), ROUNDS, empty))
    inside = {"regression": standardised, "survival": timed}.get(task, plainly)
    out.append(Stage("fit", binned(inside(fit), columns), rounds, empty))
    if study.holding.test or study.holding.column:
        sheet = compare(fit, lambda params, rows: scores(params, rows["x"], task), task=task, rounds=rounds, classes=classes(study))
        out.append(Stage("compare", binned(inside(sheet), columns), 2, empty))
    return out


def plainly(inner: Algorithm) -> Algorithm:
    """An outcome that is used as it is."""
    return inner


def boost(study: Study, method: Trees, columns: Sequence[Column], task: str) -> Algorithm:
    """The trees as the manifest wants them."""
    rules = Rules(float(method.l2), method.least, float(method.hessian), float(method.gain), float(method.smooth))
    return trees(
        task,
        steps=method.trees,
        depth=method.depth,
        rate=float(method.learning_rate),
        parallel=method.parallel,
        rows=float(method.rows),
        columns=float(method.columns),
        patience=method.patience,
        rules=rules,
        monotone={at: DIRECTION[method.monotone[c.name]] for at, c in enumerate(columns) if c.name in method.monotone},
        classes=classes(study),
        seed=study.seed,
    )


def longest(method: Trees, task: str) -> int:
    """Rounds at most: one that counts outcomes, then a round a level, and for survival one more a step."""
    return 1 + method.trees * (method.depth + (task == "survival"))


def classes(study: Study) -> int:
    """How many classes the outcome has."""
    return max(layers.outputs(study), 2)


def scores(params: T.Tree, x: np.ndarray, task: str) -> np.ndarray:
    """What people read of rows in bins: a probability, one for each class, a value, or a log hazard."""
    return layers.scores(margins(params, np.asarray(x)), task)
