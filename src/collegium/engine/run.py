"""One run of a study as a pure course: stages, their rounds, and what a closed round leads to.

`begin` gives the first place; `close` takes the summed vector of the round that just closed and gives the next one. The
coordinator and the simulation walk the same course, which is why they end with the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.engine.messages import Place
from collegium.errors import RunError
from collegium.privacy import ring, tags
from collegium.privacy.ring import Layout
from collegium.table import Table

TOLERATED = 1000  # a sum may have one clipped entry in so many
RANGINGS = 3  # with how many ranges one round may be tried before the run stops


class Stage(NamedTuple):
    """One computation of a study's plan; `like` is an empty table of the site's columns, which tells an update's shapes."""

    name: str
    algorithm: Algorithm
    rounds: int
    like: Table
    bits: int = 32  # of a weight (float32) in a sum: 32 or 16


@dataclass(frozen=True)
class Run:
    """Where a run stands: everything the coordinator carries from one round to the next."""

    place: Place
    state: T.Tree
    layout: Layout  # of the vector asked for now, with its tags where sites check the sum
    target: Layout  # of the update itself; its scales are known once the ranging round has closed
    results: Mapping[str, T.Tree] = field(default_factory=dict)
    over: bool = False
    ranged: int = 1  # with how many ranges the present round has been tried: a round asked again for want of answers keeps its own


def begin(stages: Sequence[Stage], sites: int, given: Mapping[str, T.Tree] | None = None, *, verified: bool = False) -> Run:
    """The first place of a run over `sites` sites; `given` holds results that come with the study, such as first weights.

    Where it is `verified`, every vector has room for the tags by which sites check the sum (`privacy.tags`).
    """
    return enter(stages, 0, dict(given or {}), sites, verified)


def enter(stages: Sequence[Stage], number: int, results: Mapping[str, T.Tree], sites: int, verified: bool) -> Run:
    """The start of a stage: its first state, and a ranging round if its update holds floats."""
    stage = stages[number]
    state = stage.algorithm.init(results)
    blank, _ = stage.algorithm.local(stage.algorithm.share(state), stage.like, {"seed": np.array(0)})
    target = ring.plain(blank, sites, short=stage.bits == ring.SHORT)
    asked = ring.ranging(target)
    return Run(Place(number, 1, 1, "range" if asked else "sum"), state, sent(asked or target, verified), target, results)


def sent(layout: Layout, verified: bool) -> Layout:
    """A layout as it is asked for."""
    return tags.extended(layout) if verified else layout


def shared(run: Run, stages: Sequence[Stage]) -> T.Tree:
    """What sites are sent."""
    return stages[run.place.stage].algorithm.share(run.state)


def again(run: Run) -> Run:
    """The same round asked once more, after it was abandoned."""
    return replace(run, place=run.place._replace(attempt=run.place.attempt + 1))


def close(run: Run, stages: Sequence[Stage], read: Callable[[int, int], Any], answered: int) -> Run:
    """The place after a round whose summed vector `read(offset, bytes)` gives.

    Raises `RunError` if the sum is not of exactly `answered` sites, or if values keep growing beyond their range.
    """
    total, clipped, sites = ring.decode(read, run.layout)
    verified = total.pop(tags.LEAF.name, None) is not None
    stage = stages[run.place.stage]
    where = f"stage {stage.name!r}, round {run.place.round}"
    if sites != answered:
        raise RunError(f"{where}: the sum holds {sites} sites, {answered} were added", hint="an update was damaged; start the run again")
    if run.place.phase == "range":
        target = ring.settle(run.target, total["ranges"])
        return replace(run, place=run.place._replace(phase="sum"), layout=sent(target, verified), target=target)
    if clipped * TOLERATED > run.layout.entries * sites:
        return widen(run, where, clipped, sites, verified)
    state = stage.algorithm.apply(run.state, total)
    if not stage.algorithm.done(state) and run.place.round < stage.rounds:
        return replace(run, place=Place(run.place.stage, run.place.round + 1, 1, "sum"), state=state, ranged=1)
    results = {**run.results, stage.name: stage.algorithm.result(state)}
    if run.place.stage + 1 < len(stages):
        return enter(stages, run.place.stage + 1, results, run.target.sites, verified)
    return replace(run, state=state, results=results, over=True)


def widen(run: Run, where: str, clipped: int, sites: int, verified: bool) -> Run:
    """Values outgrew their range: nothing of this sum is used; the round is ranged and asked again, a few times at most."""
    asked = ring.ranging(run.target)
    if run.ranged >= RANGINGS or asked is None:
        share = 100 * clipped / (run.layout.entries * sites)
        raise RunError(
            f"{where}: {share:.2g} % of the numbers were larger than the range of this stage, at most 0.1 % may be",
            hint="training diverges: lower the learning rate, or check the sites' data for extreme values; the best model so far is kept",
        )
    place = run.place._replace(attempt=run.place.attempt + 1, phase="range")
    return replace(run, place=place, layout=sent(asked, verified), ranged=run.ranged + 1)
