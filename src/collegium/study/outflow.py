"""What a study sends out of a hospital: every array of every step, how many bits, how often; before anything has run.

The shapes are found as the coordinator finds them, by a dry run on an empty table. What later steps send depends on what the
first one finds (which categories are frequent, which values are missing): here each may be there, so these are the most.

>>> from collegium.study import manifest
>>> for step in steps(manifest.read(manifest.EXAMPLE), sites=3):
...     print(step.name, step.rounds, "x", step.nbytes, "bytes;", step.arrays[0].name, step.arrays[0].shape, step.arrays[0].bits)
Prepare the variables 2 x 128 bytes; categories/sex (4,) 64
Fit the model 20 x 80 bytes; check/loss () 64
Compare and test 2 x 75952 bytes; pooled/chance (1, 256) 64
"""

from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.engine import run as course
from collegium.engine.run import Stage
from collegium.errors import CollegiumError
from collegium.privacy import ring
from collegium.study.manifest import Study
from collegium.study.plan import stages

STEPS = {
    "features": "Prepare the variables",
    "outcome": "Prepare the outcome",
    "fit": "Fit the model",
    "compare": "Compare and test",
    "counts": "Count",
    "moments": "Means",
    "quantiles": "Quantiles",
    "histograms": "Histograms",
    "categories": "Categories",
    "correlations": "Correlations",
}
SENT = {
    "features": "for each variable: how many values, how many missing, sum, squares around the common mean; rows of each category",
    "outcome": "the same for the outcome: count, sum, and squares around the common mean",
    "averaging": "how much each number of the model changed in training, times rows; rows, steps, the error on the checking patients",
    "glm": "sums over patients: slope and curvature of the likelihood for each variable and each pair, and the likelihood",
    "compare": "how many held-out patients have which score, and the outcome; whether the hospital gained; both models' figures",
    "counts": "rows, patients, and for each variable how many values are there and how many missing",
    "moments": "for each number: how many, their sum, and the squares around the common mean",
    "quantiles": "for each number: how many rows are at or below a limit that is asked for, until fewer than 10 rows are left in between",
    "histograms": "for each number: how many rows lie between given limits",
    "categories": "how many rows each category has",
    "correlations": "for each pair of numbers: rows that have both, and sums of their products",
    "cross": "how many rows each pair of declared categories has",
}


class Array(NamedTuple):
    """One array of an update."""

    name: str
    shape: tuple[int, ...]
    bits: int  # of each entry, as it travels


class Step(NamedTuple):
    """One stage of a study, as it leaves a hospital."""

    name: str
    held: str  # what the arrays hold, in words
    arrays: tuple[Array, ...]
    rounds: int  # at most
    nbytes: int  # of one round
    ranging: int  # bytes sent once before the first round, to tell how large the numbers are; 0 where none is needed

    @property
    def numbers(self) -> int:
        """Entries of one update."""
        return sum(int(np.prod(array.shape, dtype=np.int64)) for array in self.arrays)

    @property
    def whole(self) -> int:
        """Bytes that leave in this stage, at most."""
        return self.rounds * self.nbytes + self.ranging


def worded(study: Study, stage: str) -> tuple[str, str]:
    """A stage's name for people, and what its update holds."""
    kind = study.method.kind if stage == "fit" else stage.split(" ")[0]
    return STEPS.get(stage) or f"Cross table: {stage.removeprefix('cross ')}", SENT[kind]


def steps(study: Study, *, sites: int) -> list[Step]:
    """What a hospital sends, stage by stage. Raises `StudyError` for a study that cannot be planned."""
    plan = stages(study)
    given: dict[str, T.Tree] = {}
    out = []
    for at, stage in enumerate(plan):
        name, held = worded(study, stage.name)
        try:
            run = course.enter(plan, at, given, sites)
        except CollegiumError:  # such as a study without any usable column: it has no such update
            out.append(Step(name, held, (), stage.rounds, 0, 0))
            break
        arrays = tuple(Array(leaf.name, leaf.shape, ring.BITS[leaf.dtype]) for leaf in run.target.leaves)
        first = run.layout.nbytes if run.place.phase == "range" else 0
        out.append(Step(name, held, arrays, stage.rounds, run.target.nbytes, first))
        given[stage.name] = fullest(stage, run.state)
    return out


def fullest(stage: Stage, state: T.Tree) -> Any:
    """What later stages are given, as if every category were frequent and every variable were sometimes missing."""
    found = stage.algorithm.result(state)
    if stage.name not in ("features", "outcome"):
        return found
    numbers, categories = found["numbers"], found.get("categories", {})
    wide = {
        name: {**one, "kept": np.arange(len(one["kept"])), "flag": np.ones_like(one["flag"])} for name, one in categories.items()
    }  # fmt: skip
    return {**found, "numbers": {**numbers, "flag": np.ones_like(numbers["flag"])}, **({"categories": wide} if wide else {})}
