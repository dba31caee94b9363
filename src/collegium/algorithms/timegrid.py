"""Times on a grid that all hospitals share, cut so that no interval is about a few patients.

Patients of different hospitals can be compared in time only on common intervals. A study declares cells of one width; this
stage counts, by sums, who leaves in each (has the event, or is followed no further), and joins neighbouring cells until in
each interval `fewest` patients have the event, and nobody or as many are censored. An interval begins with a cell that has an
event: whoever is censored before the next event was still at risk at this one, so with `fewest` of 1 nothing is lost, and the
intervals are the distinct times of events. That tells times of single patients to all sites, so it is a choice that a manifest
has to give a reason for.

    >>> table = Table({"time": np.array([1.0, 2.0, 2.0, 5.0, 4.0]), "event": np.array([1.0, 0.0, 1.0, 1.0, 0.0])})
    >>> step = timegrid(5, fewest=1)
    >>> step.result(step.apply(step.init({}), step.local({}, table, {})[0]))["group"]
    array([[-1,  0,  1,  1,  1,  2]])
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.columns import places, texts, training
from collegium.errors import DataError, RunError, StudyError
from collegium.table import Table
from collegium.tree import Tree

FEWEST = 10  # patients who leave in an interval, at least: of fewer nothing is released
MOST = 1_000_000  # cells of all strata


class Leaving(NamedTuple):
    """A site's training rows of a survival study."""

    cell: np.ndarray  # the cell of the grid in which each leaves
    event: np.ndarray  # 1 for the event, 0 where it was not seen
    stratum: np.ndarray  # a place among the strata


def timegrid(cells: int, *, width: float = 1.0, strata: Sequence[str] = (), fewest: int = FEWEST, guarded: bool = False) -> Algorithm:
    """Intervals that are the same at every hospital, in one round of counts.

    Cell 0 holds times up to 0, cell c those above (c-1) x `width` and up to c x `width`. Table columns: `time`, `event`
    and, with `strata`, `stratum`. Result: `group` (strata, cells + 1), the interval of each cell, -1 before the first event;
    by interval `end` (the time at which it ends), `stratum`, and `ahead`, the estimated share of patients who had the event
    before it began: the scale of time on which proportionality is tested. `guarded` stops the run where a stratum as a whole is about
    fewer than `fewest`, because sums by interval are going to be asked for.
    """
    size = room(cells, strata)

    def init(given: Tree) -> Tree:
        blank = np.zeros(size, np.int64)
        return {"step": np.array(0), "group": np.arange(size[0] * size[1]).reshape(size), "events": blank, "censored": blank}

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        counts = counted(training(table), cells, width, strata)
        return {"events": counts[..., 0], "censored": counts[..., 1]}, memory

    def apply(state: Tree, total: Tree) -> Tree:
        group = np.full(size, -1)
        for at in range(size[0]):
            cut = joined(total["events"][at], total["censored"][at], fewest)
            if guarded:
                guard(total["events"][at], total["censored"][at][cut >= 0], fewest, strata[at] if strata else "")
            group[at] = np.where(cut < 0, -1, cut + group.max() + 1)
        return {"step": np.array(1), "group": group, **total}

    def result(state: Tree) -> Tree:
        return settled(state["group"], state["events"], state["censored"], width)

    def share(state: Tree) -> Tree:
        return {"step": state["step"]}

    return Algorithm(init, local, apply, lambda s: bool(s["step"] == 1), share, result, "time grid")


def guard(events: np.ndarray, censored: np.ndarray, fewest: int, stratum: str) -> None:
    """Raise `RunError` for a stratum whose sums would be about a few patients."""
    if events.any() and not enough(int(events.sum()), int(censored.sum()), fewest):
        where = f"stratum {stratum!r}" if stratum else "the study"
        raise RunError(
            f"in {where} fewer than {fewest} patients have the event, or are censored later: sums over risk sets would be about a few",
            hint="join categories of the strata, keep risk sets within sites (risk_sets: site), or lower `fewest` and say why",
        )


def room(cells: int, strata: Sequence[str]) -> tuple[int, int]:
    """The shape of counts by stratum and cell. Raises `StudyError`."""
    size = (max(len(strata), 1), cells + 1)
    if cells < 1 or size[0] * size[1] > MOST:
        raise StudyError(
            f"the time grid has {size[0] * size[1]:,} cells; wanted up to {MOST:,}",
            hint="declare a `high` of the time variable that follow-up reaches, or a wider `grid`",
        )
    return size


def counted(table: Table, cells: int, width: float, strata: Sequence[str]) -> np.ndarray:
    """How many have the event, and how many are followed no further, (strata, cells + 1, 2). Raises `DataError`."""
    rows, size = leaving(table, cells, width, strata), room(cells, strata)
    at = (rows.stratum * size[1] + rows.cell) * 2 + (rows.event == 0)
    return np.bincount(at, minlength=2 * size[0] * size[1]).reshape(*size, 2).astype(np.int64)


def leaving(table: Table, cells: int, width: float, strata: Sequence[str]) -> Leaving:
    """A site's rows on the grid. Raises `DataError` for times and events that are none."""
    time, event = timed(table)
    cell = np.clip(np.ceil(time / width - 1e-9), 0, None).astype(np.int64)
    if (cell > cells).any():
        n = int((cell > cells).sum())
        raise DataError(f"column 'time' lies beyond the grid, which ends at {cells * width:g}, in {n} rows", hint="raise its `high`")
    return Leaving(cell, event, stratum(table, strata))


def timed(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Times and events, checked. Raises `DataError`."""
    time, event = np.asarray(table["time"], np.float64), np.asarray(table["event"], np.float64)
    if not (time >= 0).all() or not np.isfinite(time).all():
        raise DataError("column 'time' holds missing or negative values", hint="count from the start of follow-up")
    if not np.isin(event, (0, 1)).all():
        raise DataError("column 'event' holds other values than 0 and 1")
    return time, event.astype(np.int64)


def stratum(table: Table, strata: Sequence[str]) -> np.ndarray:
    """The place of each row's stratum; all rows are in one where there are none. Raises `DataError`."""
    if not strata:
        return np.zeros(len(table), np.int64)
    at = places(texts(table, "stratum"), strata)
    if (at >= len(strata)).any():
        raise DataError(f"column 'stratum' holds other values than {', '.join(strata)} in {int((at >= len(strata)).sum())} rows")
    return at


def enough(events: int, censored: int, fewest: int) -> bool:
    """Whether the events of an interval, and those censored in it, are `fewest` or more: sums of either are about so many."""
    return events >= fewest and (censored == 0 or censored >= fewest)


def joined(events: np.ndarray, censored: np.ndarray, fewest: int) -> np.ndarray:
    """The interval of each cell: as short as can be, with an event in its first cell and `enough` in it; -1 before the first event.

    What remains at the end belongs to the interval before it, and so on until there is enough.

    >>> joined(np.array([0, 1, 0, 1, 1, 1]), np.array([1, 0, 2, 0, 0, 0]), 2).tolist()
    [-1, 0, 0, 0, 1, 1]
    """
    starts: list[int] = []
    had, left, cells = np.append(0, events.cumsum()), np.append(0, censored.cumsum()), np.flatnonzero(events).tolist()

    def full(start: int, stop: int) -> bool:
        return enough(int(had[stop] - had[start]), int(left[stop] - left[start]), fewest)

    for at in cells:
        if not starts or full(starts[-1], at):
            starts.append(at)
    while len(starts) > 1 and not full(starts[-1], len(events)):
        starts.pop()
    return np.searchsorted(starts, np.arange(len(events)), side="right") - 1


def settled(group: np.ndarray, events: np.ndarray, censored: np.ndarray, width: float) -> dict[str, np.ndarray]:
    """What the rest of a study is told of the intervals."""
    size = int(group.max(initial=-1)) + 1
    end, home, ahead = np.zeros(size), np.zeros(size, np.int64), np.zeros(size)
    for at, line in enumerate(group):
        inside = line >= 0
        end[line[inside]] = np.flatnonzero(inside) * width  # the last cell of each is written last
        home[line[inside]] = at
        had, left = (np.bincount(line[inside], counts[at][inside], minlength=size) for counts in (events, events + censored))
        mine = np.unique(line[inside])
        risk = left[mine][::-1].cumsum()[::-1]
        free = np.cumprod(1 - had[mine] / np.maximum(risk, 1))
        ahead[mine] = 1 - np.concatenate([[1.0], free[:-1]])
    return {"group": group, "end": end, "stratum": home, "ahead": ahead}
