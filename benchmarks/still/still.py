"""Takes the place of the tabular recipe in a benchmark: no training and no PyTorch, so that only Collegium itself is measured.

One epoch returns the weights as they came; more return values of the site's own.
"""

from typing import Any

import numpy as np

from collegium import tree as T
from collegium.algorithms.averaging import Learner, Pull
from collegium.study.manifest import Averaging, Study
from collegium.table import Table


def learner(study: Study) -> Learner:
    """What stands where training would."""
    moves = isinstance(study.method, Averaging) and study.method.local.epochs > 1

    def train(params: T.Tree, table: Table, pull: Pull, seed: int) -> tuple[T.Tree, int]:
        own = np.float32(seed % 1009 / 1009 - 0.5)
        return (T.map(lambda leaf: leaf + own, params) if moves else params), 1

    return Learner(train, lambda params, table: 0.0, lambda params, table: np.zeros(len(table)))


def clean(study: Study, table: Table) -> tuple[Table, dict[str, int]]:
    """All rows."""
    return table, {}


def template() -> dict[str, Any]:
    """None: a benchmark writes its own manifest."""
    return {}
