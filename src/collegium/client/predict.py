"""A joint model's estimates for a table in memory."""

import numpy as np

from collegium import tree as T
from collegium.algorithms.features import encode
from collegium.algorithms.glm import FAMILIES
from collegium.study import layers
from collegium.study.manifest import Glm, Study
from collegium.study.plan import column
from collegium.table import Table


def scores(study: Study, trees: T.Tree, table: Table) -> np.ndarray:
    """A probability, class probabilities or a value for each row."""
    chosen = [column(name, study.variables[name]) for name in study.features]
    x = encode(table, chosen, trees["features"], reference=isinstance(study.method, Glm))
    params = trees["fit"]["params"]
    if isinstance(study.method, Glm):
        coef = np.asarray(params["coef"])
        return np.asarray(FAMILIES[study.method.family].mean(coef[0] + x @ coef[1:]))
    task = study.outcome.task if study.outcome else "regression"
    found = layers.scores(layers.forward(params, x), task)
    if task == "regression":
        scale = trees["outcome"]["numbers"]
        found = found * scale["sd"][0] + scale["mean"][0]
    return found
