"""Time until an event, for the laws: the grid, Cox's model and survival curves."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from collegium.algorithms.cox import cox
from collegium.algorithms.survival import survival
from collegium.algorithms.timegrid import timegrid
from collegium.table import Table
from tests.laws.examples import Example

CELLS, ARMS = 40, ("drug", "placebo")


def followed(rng: np.random.Generator, rows: int = 240) -> Table:
    """A ready matrix in odd units, whole times with ties, censoring, and two arms."""
    x = rng.normal(size=(rows, 3)) * (1, 30, 1e-3) + (0, 2000, 0)
    arm = rng.choice(np.array(ARMS), rows)
    risk = 0.7 * x[:, 0] - 0.02 * (x[:, 1] - 2000) + 0.8 * (arm == "drug")
    time, end = rng.exponential(12 * np.exp(-risk)), rng.uniform(1, 30, rows)
    part = (np.arange(rows) % 6 == 0).astype(np.int8) * 2
    return Table({"x": x, "time": np.ceil(np.minimum(time, end)), "event": (time <= end).astype(float), "stratum": arm, "part": part})


def gridded(table: Table, strata: tuple[str, ...] = (), fewest: int = 1) -> Mapping[str, Any]:
    """What the stage `grid` finds in all rows."""
    step = timegrid(CELLS, strata=strata, fewest=fewest)
    state = step.init({})
    return {"grid": step.result(step.apply(state, step.local(step.share(state), table, {})[0]))}


def pooled(**settings: Any):
    return cox(risk_sets="pooled", width=3, **settings)


EXAMPLES = [
    Example("timegrid.timegrid", timegrid(CELLS), followed),
    Example("timegrid.timegrid", timegrid(CELLS, strata=ARMS, fewest=1), followed, "every time, by arm"),
    Example("survival.survival", survival(CELLS, fewest=5), followed),
    # Sites are the strata of one of its tests: that one depends on who is where
    Example("survival.survival", survival(CELLS, groups=ARMS), followed, "two arms", exact=False),
    Example("cox.cox", pooled(fewest=1), followed, "pooled, Efron", given=gridded),
    Example("cox.cox", pooled(ties="breslow", ridge=1.0), followed, "pooled, Breslow, ridge", given=partial(gridded, fewest=10)),
    Example("cox.cox", pooled(strata=ARMS, fewest=1), followed, "pooled, by arm", given=partial(gridded, strata=ARMS)),
    # Risk sets of the sites' own are other ones for every cut
    Example("cox.cox", cox(width=3), followed, "stratified by site", exact=False, given=partial(gridded, fewest=10)),
    Example("cox.cox", cox(width=3, strata=ARMS), followed, "by site and arm", exact=False, given=partial(gridded, strata=ARMS)),
]
