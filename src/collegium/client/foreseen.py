"""What a study would ask of each hospital before anybody is asked: its steps, what leaves, how much at most.

    >>> from collegium.study import manifest
    >>> study = manifest.read(manifest.EXAMPLE)
    >>> for step in foreseen(study, sites=4):
    ...     print(step.name, step.numbers, step.nbytes, step.rounds)
    Prepare the variables 14 128 2
    Fit the model 10 72 20
    Compare and test 9492 75952 2

The first step's size follows from the study. That of a later one depends on what the steps before it find, such as which
categories are frequent enough to be kept; so it is found from made-up rows in which all are, and is the most there can be.
"""

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collegium import tree as T
from collegium.engine.run import Stage
from collegium.errors import CollegiumError
from collegium.simulation.local import simulate
from collegium.study.manifest import Glm, Study
from collegium.study.plan import rows, stages
from collegium.study.report.document import Record
from collegium.study.report.privacy import messages
from collegium.study.schema import Variable
from collegium.table import Table

PREPARING = ("features", "outcome", "categories")
EACH = 40  # made-up rows of each level: more than ten of them are for training, whoever is held out
OPEN = 70  # levels of a category whose levels the study does not list: more than are ever kept


class Step(NamedTuple):
    """One stage: what an update holds, how many numbers and bytes it has at most, and how many rounds there are at most."""

    name: str
    holds: str
    numbers: int | None
    nbytes: int | None
    rounds: int


def foreseen(study: Study, sites: int) -> list[Step]:
    """The steps of a study over so many sites, with the most that one of them sends in a round."""
    known = Record(study, imagined(study, stages(study)), facts={"sites": sites})
    return [Step(one.stage, one.held, one.numbers, one.nbytes, one.most) for one in messages(known)]


def whole(steps: Sequence[Step]) -> int | None:
    """The most that one hospital sends over all rounds, in bytes; None if a step's size cannot be told."""
    sizes = [step.nbytes for step in steps]
    return None if None in sizes else sum((step.nbytes or 0) * step.rounds for step in steps)


def imagined(study: Study, plan: Sequence[Stage]) -> dict[str, T.Tree]:
    """Results in the largest shapes that each step can give; nothing for one whose shapes cannot be told."""
    table, results = rows(study, made_up(study)), dict[str, T.Tree]()
    for stage in plan:
        results[stage.name] = {}
        with contextlib.suppress(CollegiumError, ArithmeticError, LookupError, ValueError):  # as at the coordinator: `so_far`
            if stage.name in PREPARING:
                results[stage.name] = simulate(stage.algorithm, {"made up": table}, rounds=stage.rounds, given=results)
            else:
                results[stage.name] = stage.algorithm.result(stage.algorithm.init(results))
    return results


def made_up(study: Study) -> Table:
    """Rows in which every level of every category is frequent, and so is missing wherever a study of this kind allows it."""
    gaps = not isinstance(study.method, Glm)  # which leaves rows with a gap out
    outcome = study.outcome.columns if study.outcome else ()
    found = {name: list(values(v, gaps=gaps and name not in outcome)) for name, v in study.variables.items()}
    count = EACH * max(map(len, found.values()))
    columns = {name: np.array([one[at % len(one)] for at in range(count)]) for name, one in found.items()}
    if study.holding.column:
        columns[study.holding.column] = np.full(count, "train")
    return Table(columns, np.arange(count).astype(np.str_))


def values(variable: Variable, *, gaps: bool) -> Sequence[str | float]:
    """Every value that makes a difference."""
    if variable.kind == "number":
        return [1.0, 2.0, *([np.nan] * gaps)]
    if variable.kind == "binary" and not variable.categories:
        return [0.0, 1.0, *([np.nan] * gaps)]
    return [*(variable.categories or [f"code {at}" for at in range(OPEN)]), *([""] * gaps)]
