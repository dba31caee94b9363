"""A study run in process, and its model put to rows that nobody trained on."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from collegium import recipes
from collegium import tree as T
from collegium.algorithms.averaging import Learner
from collegium.algorithms.features import encode
from collegium.algorithms.forest import codes
from collegium.algorithms.glm import FAMILIES
from collegium.algorithms.metrics import measure
from collegium.algorithms.roc import interval, variance
from collegium.simulation.local import Memory, walk
from collegium.simulation.secure import Sums
from collegium.study import boosting, manifest, plan
from collegium.study.manifest import Averaging, Glm, Study, Trees
from collegium.table import Table

Figure = tuple[float, float, float]  # value and its 95 % interval


class Model(NamedTuple):
    """A trained study."""

    study: Study
    results: Mapping[str, T.Tree]
    memory: Memory

    def scores(self, table: Table) -> np.ndarray:
        """What the model says of each row."""
        glm = isinstance(self.study.method, Glm)
        columns = [plan.column(name, self.study.variables[name]) for name in self.study.features]
        if isinstance(self.study.method, Trees) and self.study.outcome:
            return boosting.scores(self.results["fit"]["params"], codes(table, columns, self.results), self.study.outcome.task)
        x = encode(table, columns, self.results["features"], reference=glm)
        params = self.results["fit"]["params"]
        if isinstance(self.study.method, Glm):
            return FAMILIES[self.study.method.family].mean(params["coef"][0] + x @ params["coef"][1:])
        return learner(self.study).score(params, Table({"x": x}))


def read(document: Mapping[str, Any] | str, **method: Any) -> Study:
    """A study, with fields of its method replaced."""
    study = manifest.read(document)
    if not method:
        return study
    changed = {**study.model_dump(mode="json"), "method": {**study.method.model_dump(mode="json"), **method}}
    return manifest.read(changed)


@cache
def named(recipe: str, study: str) -> Learner:
    """One workplace a study, kept warm as at a site."""
    return recipes.find(recipe).learner(manifest.read(study))  # type: ignore[no-any-return]  # a module's attribute


def learner(study: Study) -> Learner:
    """The recipe's training and scoring."""
    assert isinstance(study.method, Averaging)
    return named(study.method.recipe, manifest.text(study))


def warm(study: Study) -> None:
    """Load what the study trains with, which a site does once and not every round."""
    if isinstance(study.method, Averaging):
        learner(study)


def train(
    study: Study,
    sites: Mapping[str, Table],
    *,
    first: T.Tree | None = None,
    sheet: bool = False,
    secure: bool = False,
) -> Model:
    """The study over these sites' rows, with given first weights; every sum under masks where it is `secure`."""
    stages = plan.stages(study, learner(study) if isinstance(study.method, Averaging) else None)
    stages = [stage for stage in stages if sheet or stage.name != "compare"]
    sums = Sums(manifest.digest(study), stages, [*sites]) if secure else None
    end, memory = walk(stages, sites, given={"first": {"params": first}} if first else {}, seed=study.seed, secure=sums)
    return Model(study, end.results, memory)


def held_out(table: Table) -> Table:
    """The rows kept for the test."""
    return table.where(np.asarray(table["part"]) == 2)


def accuracy(model: Model, *tables: Table) -> float:
    """The share of held-out rows on the right side of one half."""
    hits = [(model.scores(rows) >= 0.5) == (np.asarray(rows["y"]) == 1) for rows in map(held_out, tables)]
    return float(np.concatenate(hits).mean())


def auroc(model: Model, table: Table) -> Figure | None:
    """The exact area under the ROC curve on the held-out rows, with an interval that counts patients, not rows.

    None where fewer than two rows have the rarer outcome, as in the comparison sheet.
    """
    rows = held_out(table)
    ill = int((np.asarray(rows["y"]) == 1).sum())
    if min(ill, len(rows) - ill) < 2:
        return None
    value, influence = measure("binary", rows, model.scores(rows))  # type: ignore[misc]  # there are two outcomes
    return (value, *interval(value, variance(influence, rows.patient), min(ill, len(rows) - ill)))
