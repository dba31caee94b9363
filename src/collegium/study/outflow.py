"""What a study sends out of a hospital: every array of every step, how many bits, how often; before anything has run.

The shapes are found as the coordinator finds them, by a dry run on an empty table. What later steps send depends on what the
first one finds (which categories are frequent, which values are missing): where that is not known yet, everything is taken to be
there that a site may send, so these are the most.

>>> from collegium.study import manifest
>>> for step in steps(manifest.read(manifest.EXAMPLE), sites=3):
...     print(step.name, step.rounds, "x", step.nbytes, "bytes;", step.arrays[0].name, step.arrays[0].shape, step.arrays[0].bits)
Prepare the variables 2 x 128 bytes; categories/sex (4,) 64
Fit the model 20 x 72 bytes; check/loss () 64
Compare and test 2 x 75952 bytes; pooled/chance (1, 256) 64
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.engine import run as course
from collegium.engine.run import Run, Stage
from collegium.errors import CollegiumError
from collegium.study.manifest import Cox, Study
from collegium.study.plan import stages

STEPS = {
    "features": "Prepare the variables",
    "outcome": "Prepare the outcome",
    "bins": "Find the bins",
    "times": "Find the times",
    "fit": "Fit the model",
    "compare": "Compare and test",
    "counts": "Count",
    "moments": "Means",
    "quantiles": "Quantiles",
    "histograms": "Histograms",
    "categories": "Categories",
    "correlations": "Correlations",
    "grid": "Make the time grid",
    "concordance": "Test on the same rows",
    "survival": "Survival curves",
}
SENT = {
    "features": "for each variable: how many values, how many missing, sum, squares around the common mean; rows of each category",
    "outcome": "the same for the outcome: count, sum, and squares around the common mean",
    "averaging": "how much each number of the model changed in training, times rows; rows, steps, the error on the checking patients",
    "glm": "sums over patients: slope and curvature of the likelihood for each variable and each pair, and the likelihood",
    "bins": "for each number: how many patients lie between limits, first coarse and then finer ones",
    "times": "how many patients are followed up until when, between limits",
    "trees": "for each part of a growing tree, and each bin of each variable: how many rows, and the sums of their gradients and hessians,"
    " which say which way estimates are wrong and how surely; a bin of a small part may hold few rows. Once the outcomes; for each tree"
    " also the error on the checking patients",
    "cox": "sums over patients at risk in the hospital: slope and curvature of the partial likelihood; then, by interval of time, how many "
    "leave and the sum of their relative risks",
    "pooled": "for each interval of time: how many leave it and how many with the event, the sums of their relative risks, and of these "
    "times each variable; then sums over patients of products of variables",
    "grid": "for each cell of the time grid: how many have the event, and how many are followed no further",
    "concordance": "how many patients have which risk and leave in which span of time, with the event and without",
    "survival": "for each group and cell of the time grid: how many have the event, and how many are followed no further; in how far "
    "the groups' events differ from each other in the hospital",
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

    stage: str  # as the plan calls it
    name: str  # for people
    held: str  # what the arrays hold, in words
    rounds: int  # at most
    arrays: tuple[Array, ...] = ()
    numbers: int | None = None  # entries of one update; None where its size cannot be told
    nbytes: int | None = None  # of one round
    ranging: int = 0  # bytes sent once before the first round, to tell how large the numbers are; 0 where none is needed

    @property
    def sums(self) -> int | None:
        """Bytes of all updates of this stage, at most."""
        return None if self.nbytes is None else self.rounds * self.nbytes

    @property
    def whole(self) -> int | None:
        """Bytes that leave in this stage, at most."""
        return None if self.sums is None else self.sums + self.ranging


def added(sizes: Sequence[int | None]) -> int | None:
    """All of them together; None if one cannot be told, for a size is not made up.

    >>> added([20, 22]), added([20, None])
    (42, None)
    """
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def worded(study: Study, stage: str) -> tuple[str, str]:
    """A stage's name for people, and what its update holds."""
    kind = study.method.kind if stage == "fit" else stage.split(" ")[0]
    kind = study.method.risk_sets if stage == "fit" and isinstance(study.method, Cox) and study.method.risk_sets == "pooled" else kind
    return STEPS.get(stage) or f"Cross table: {stage.removeprefix('cross ')}", SENT[kind]


def steps(study: Study, *, sites: int, found: Mapping[str, T.Tree] | None = None) -> list[Step]:
    """What a hospital sends, stage by stage: what it was after the stages whose results are `found`, or else the most there can be.

    Raises `StudyError` for a study that cannot be planned.
    """
    plan, given = stages(study), dict(found or {})
    out = []
    for at, stage in enumerate(plan):
        run = entered(plan, at, given, sites, study.privacy.verified)
        name, held = worded(study, stage.name)
        out.append(Step(stage.name, name, held, stage.rounds, *(sizes(run, study.privacy.verified) if run else ())))
        if run and found is None:
            given[stage.name] = fullest(study, stage, run.state)
    return out


def entered(plan: Sequence[Stage], at: int, given: Mapping[str, T.Tree], sites: int, verified: bool) -> Run | None:
    """The start of a stage; None where what it needs is not known, or holds no usable column: there is no such update."""
    if not all(before.name in given for before in plan[:at]):
        return None
    try:
        return course.enter(plan, at, given, sites, verified)
    except CollegiumError:
        return None


def sizes(run: Run, verified: bool) -> tuple[tuple[Array, ...], int, int, int]:
    """The arrays of an update, its entries, its bytes, and those of the ranging round before it."""
    sent = course.sent(run.target, verified)
    arrays = tuple(Array(leaf.name, leaf.shape, leaf.bits) for leaf in sent.leaves)
    return arrays, sent.entries, sent.nbytes, run.layout.nbytes if run.place.phase == "range" else 0


def fullest(study: Study, stage: Stage, state: T.Tree) -> Any:
    """What later stages are given, as if every category were frequent, and every variable sometimes missing where it may be."""
    result = stage.algorithm.result(state)
    if stage.name == "bins":
        return {**result, "count": np.full_like(result["count"], result["edges"].shape[1])}
    if stage.name not in ("features", "outcome"):
        return result
    gaps = not study.exact  # which leaves rows with a gap out
    numbers, categories = result["numbers"], result.get("categories", {})
    full = {name: filled(one, listed=bool(study.variables[name].categories), gaps=gaps) for name, one in categories.items()}
    flags = {"numbers": {**numbers, "flag": np.full_like(numbers["flag"], gaps)}}
    return {**result, **flags, **({"categories": full} if full else {})}


def filled(one: T.Tree, *, listed: bool, gaps: bool) -> T.Tree:
    """A category all of whose levels are kept. Others are then left in an open vocabulary only: what a list lacks counts as missing."""
    return {**one, "kept": np.arange(len(one["kept"])), "flag": np.array([not listed, gaps], np.int64)}
