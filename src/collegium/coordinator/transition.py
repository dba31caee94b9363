"""From the answers of one round to the run's next place: add up, take the course's next step, keep it. Runs in a thread.

Nothing here changes the run: the place that comes out counts only once `driver` has committed it.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.coordinator import records, states
from collegium.coordinator.blobs import SMALL, Frame
from collegium.coordinator.live import Live, Member, Shown, figures
from collegium.coordinator.means import Means
from collegium.coordinator.secure import Sums
from collegium.coordinator.spool import operation
from collegium.coordinator.states import Kept
from collegium.engine import run as course
from collegium.engine.fold import fold_bytes, folded
from collegium.engine.run import Run, Stage
from collegium.errors import CollegiumError
from collegium.privacy import ring
from collegium.privacy.masks import Mask
from collegium.privacy.ring import TRAILER, Layout

Read = Callable[[int, int], Any]
PIECE = 1 << 20  # bytes of a sum that are in memory at once


class Next(NamedTuple):
    """What a closed round leads to; `kept` is the place it came from when the run is over."""

    kept: Kept
    roster: dict[str, Member]
    figures: dict[str, Any]
    results: Frame | None  # the run is over
    shown: tuple[Shown, ...] = ()  # the sums that the sites check

    @property
    def new(self) -> tuple[Frame, ...]:
        """Frames written for it."""
        return ((self.results,) if self.results else self.kept.new) + tuple(each.frame for each in self.shown)


def following(means: Means, live: Live, sites: frozenset[str]) -> Next:
    """Sum these sites' updates and find the run's next place. Raises `RunError` when the course ends badly."""
    run, number = live.kept.run, live.place.stage
    read = total(means, live, sites)
    means.reached("folded", run.place)
    stages, seen = watched(live.stages, number)
    after = course.close(run, stages, read, len(sites))
    used = run.place.phase == "sum" and (after.over or after.place[:2] != run.place[:2])
    left = live.round.left if live.round else frozenset()
    roster = {
        name: Member(run.place if used and name in sites else was.counted, live.reasons.get(name, "") if name in left else was.left)
        for name, was in live.roster.items()
    }
    measured = {"answered": len(sites), "asked": len(live.active), **clipping(read, run.layout), "progress": figures(seen())}
    shown = tuple(published(means, live))
    if after.over:
        return Next(live.kept, roster, measured, states.finish(after, live.given, means.blobs), shown)
    return Next(states.keep(after, live.stages, live.kept, means.blobs), roster, measured, None, shown)


def published(means: Means, live: Live) -> Iterator[Shown]:
    """Each cohort's sum, kept for its sites to fetch and to check, where the study wants that."""
    layout = live.kept.run.layout
    for sums in live.secure.each if live.secure and live.study.privacy.verified else ():
        if sums.unmask is not None:
            read = total(means, live, sums.survivors, sums.unmask)
            pieces = (read(at, min(PIECE, layout.nbytes - at)) for at in range(0, layout.nbytes, PIECE))
            epoch, index = sums.machine.stand.epoch, int(sums.machine.round["index"])
            yield Shown(sums.number, epoch, index, live.place, means.blobs.keep(pieces, layout.nbytes))


def total(means: Means, live: Live, sites: frozenset[str], masks: Sequence[Mask] | None = None) -> Read:
    """The sum of these sites' vectors: in memory if it is small, else added up piece by piece while the next state is written.

    `masks` are those that are left on it; where they are not given, those of all sites of the round.
    """
    layout, place = live.kept.run.layout, live.place
    masks = masks if masks is not None else live.secure.unmask if live.secure else ()
    if layout.nbytes <= SMALL:
        if sites <= live.held.keys():
            whole = fold_bytes(layout, [live.held[site] for site in sorted(sites)], masks)
        else:
            whole = means.store.read(lambda c: fold_bytes(layout, records.bodies(c, live.id, place, sites), masks))
        return lambda at, count: whole[at : at + count]
    return folded(layout, [means.spool.file(operation(live.id, place, site)).read for site in sorted(sites)], masks)


def misfits(means: Means, live: Live) -> list[Sums]:
    """The cohorts whose sums hold a vector that cannot have been encoded as it was asked."""
    layout, phase = live.kept.run.layout, live.place.phase
    out = []
    for sums in live.secure.each if live.secure else ():
        if sums.unmask is not None:
            read = total(means, live, sums.survivors, sums.unmask)
            if not ring.wellformed(read, layout, len(sums.survivors), phase):
                out.append(sums)
    return out


def watched(stages: Any, number: int) -> tuple[list[Stage], Callable[[], T.Tree | None]]:
    """The stages, one of which tells the last state it made: the course itself has moved on by the time a stage ends."""
    last: list[T.Tree] = []
    stage = stages[number]

    def apply(state: T.Tree, total: T.Tree) -> T.Tree:
        last[:] = [stage.algorithm.apply(state, total)]
        return last[0]

    spied = stage._replace(algorithm=stage.algorithm._replace(apply=apply))
    return [*stages[:number], spied, *stages[number + 1 :]], lambda: last[0] if last else None


def clipping(read: Read, layout: Layout) -> dict[str, float]:
    """The share of numbers that were cut to their range, of all that were added."""
    clipped, sites = np.frombuffer(read(layout.nbytes - TRAILER, TRAILER), "<u8").tolist()
    return {"clipped": clipped / max(layout.entries * sites, 1)}


def so_far(means: Means, live: Live) -> Frame | None:
    """What a run that ends early has learned: the results of its finished stages, and of the present one if it has any."""
    run: Run = live.kept.run
    results = dict(run.results)
    if run.place.round > 1:
        with contextlib.suppress(CollegiumError, ArithmeticError, LookupError, ValueError):
            results[live.stage.name] = live.stage.algorithm.result(run.state)
    if not results.keys() - live.given.keys():
        return None
    with contextlib.suppress(CollegiumError):  # the disk may be full, which must not keep a run from ending
        return states.finish(replace(run, results=results), live.given, means.blobs)
    return None
