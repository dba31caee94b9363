"""Who stays free of the event: Kaplan-Meier curves and the log-rank test, from counts on a time grid that all hospitals share.

One round of whole numbers: in each group and cell of the grid, how many have the event and how many are followed no further.
From their sums the curve is that of pooled rows whose times are rounded up to the grid. Of a curve only points are kept
before which `fewest` patients are still followed, and between which `fewest` leave: no step is about a few.

    >>> rows = Table({"time": np.array([1.0, 2.0, 2.0, 3.0, 4.0]), "event": np.array([1.0, 1.0, 0.0, 1.0, 0.0])})
    >>> step = survival(4, fewest=1)
    >>> found = step.result(step.apply(step.init({}), step.local({}, rows, {})[0]))
    >>> found["time"], found["survival"].round(3)
    (array([1., 2., 3.]), array([0.8, 0.6, 0.3]))
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.columns import joined, limbs, training
from collegium.algorithms.newton import Z95, chance
from collegium.algorithms.partial import backwards
from collegium.algorithms.timegrid import FEWEST, counted, room
from collegium.table import Table
from collegium.tree import Tree

NEVER = -1.0  # the time of a median that no curve reaches


def survival(
    cells: int, *, width: float = 1.0, groups: Sequence[str] = (), fewest: int = FEWEST, horizon: float | None = None
) -> Algorithm:
    """Kaplan-Meier curves of each group (1958), their medians, restricted means and the log-rank test, in one round.

    Table columns: `time`, `event` and, with `groups`, `stratum`. Result, by group: `n`, `events`, `median`, `median_low`,
    `median_high` (-1: not reached), `mean`, `mean_se` (the mean time free of the event up to `horizon`, by default the last
    point that all curves have). By point of a curve: `group`, `time`, `survival`, `low`, `high` (95 %, log-log) and `at_risk`. With two
    groups or more `logrank` and, with sites as strata, `stratified`: each `chi2`, `df`, `p`.
    """
    size = room(cells, groups)
    k = size[0]

    def init(given: Tree) -> Tree:
        return {"step": np.array(0), "counts": np.zeros((*size, 2), np.int64), "apart": np.zeros((k + 1, k))}

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        counts = counted(training(table), cells, width, groups)
        return {"counts": counts, "apart": limbs(ranks(counts)[None])}, memory

    def apply(state: Tree, total: Tree) -> Tree:
        return {"step": np.array(1), "counts": total["counts"], "apart": joined(total["apart"])}

    def result(state: Tree) -> Tree:
        return told(state["counts"], state["apart"], width, fewest, horizon)

    return Algorithm(init, local, apply, lambda s: bool(s["step"] == 1), lambda s: {"step": s["step"]}, result, "survival")


def told(counts: np.ndarray, apart: np.ndarray, width: float, fewest: int, horizon: float | None) -> dict[str, Any]:
    """What is released of the counts (groups, cells, events and censored)."""
    events, left = counts[..., 0], counts.sum(-1)
    risk = left[:, ::-1].cumsum(1)[:, ::-1]
    curves = [curve(d, r) for d, r in zip(events, risk, strict=True)]
    shown = [points(d, n, r, fewest) for d, n, r in zip(events, left, risk, strict=True)]
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("group", "time", "survival", "low", "high", "at_risk")}
    for group, (at, (s, low, high, _)) in enumerate(zip(shown, curves, strict=True)):
        for name, values in zip(columns, (np.full(len(at), group), at * width, s[at], low[at], high[at], risk[group][at]), strict=True):
            columns[name].append(values)
    out: dict[str, Any] = {name: np.concatenate(values) for name, values in columns.items()}
    out |= {"n": left.sum(1), "events": events.sum(1)}
    for name, column in (("median", 0), ("median_low", 1), ("median_high", 2)):
        out[name] = np.array([first(one[column][at], at * width) for one, at in zip(curves, shown, strict=True)])
    reached = min((float(at[-1]) * width if len(at) else 0.0) for at in shown)
    end = reached if horizon is None else min(horizon, reached)
    means = np.array([area(one[0], one[3], width, end) for one in curves])
    out |= {"horizon": np.array(end), "mean": means[:, 0], "mean_se": means[:, 1]}
    if len(counts) > 1:
        out |= {"logrank": logrank(ranks(counts)), "stratified": logrank(apart)}
    return out


def curve(events: np.ndarray, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The share still free of the event after each cell, its 95 % limits, and the terms of Greenwood's sum (1926).

    The limits are those of log(-log S) (Kalbfleisch and Prentice 2002, section 1.4): they stay between 0 and 1.
    """
    free = np.cumprod(1 - events / np.maximum(risk, 1))
    left = risk - events
    terms = np.where(left > 0, events / np.maximum(risk * left, 1), 0.0)
    inside = (free > 0) & (free < 1)
    log = np.log(np.where(inside, free, 0.5))
    reach = np.exp(Z95 * np.sqrt(terms.cumsum()) / -log)
    low, high = (np.where(inside, np.exp(log * by), free) for by in (reach, 1 / reach))
    return free, low, high, terms


def points(events: np.ndarray, left: np.ndarray, risk: np.ndarray, fewest: int) -> np.ndarray:
    """Cells with an event that may be told: `fewest` are still followed before each, and as many leave between two.

    They leave after one and up to the other, whom the step of the curve is about, and also from one until before the other:
    the numbers at risk tell those.

    >>> points(np.array([0, 1, 1, 0, 1]), np.array([0, 1, 1, 1, 2]), np.array([5, 5, 4, 3, 2]), 2).tolist()
    [2, 4]
    """
    kept: list[int] = []
    gone, before, still = left.cumsum(), 0, None
    for at in np.flatnonzero(events).tolist():
        if gone[at] - before >= fewest and risk[at] >= fewest and (still is None or still - risk[at] >= fewest):
            kept.append(at)
            before, still = int(gone[at]), int(risk[at])
    return np.array(kept, np.int64)


def first(curve: np.ndarray, times: np.ndarray) -> float:
    """The first point at which a curve is at one half or below."""
    reached = np.flatnonzero(curve <= 0.5)
    return float(times[reached[0]]) if len(reached) else NEVER


def area(free: np.ndarray, terms: np.ndarray, width: float, end: float) -> tuple[float, float]:
    """The mean time free of the event up to `end`, and its standard error (Klein and Moeschberger 2003, section 4.5)."""
    edges = np.minimum(np.arange(len(free) + 1) * width, end)
    pieces = free * np.diff(edges)
    rest = pieces[::-1].cumsum()[::-1]  # the area from each cell's time on
    return float(pieces.sum()), math.sqrt(float((rest**2 * terms).sum()))


def ranks(counts: np.ndarray) -> np.ndarray:
    """Observed less expected events of each group, and below it their covariance (groups + 1, groups) (Mantel 1966)."""
    left = counts.sum(-1).astype(np.float64)
    risk = backwards(left.T, np.zeros(left.shape[1], np.int64))
    many, had = risk.sum(1), counts[..., 0].sum(0)
    kept = (had > 0) & (many > 0)
    risk, many, had = risk[kept], many[kept], had[kept]
    share = risk / many[:, None]
    by = had * (many - had) / np.maximum(many - 1, 1)
    covariance = np.diag((share * by[:, None]).sum(0)) - share.T @ (share * by[:, None])
    return np.concatenate([(counts[..., 0].sum(1) - had @ share)[None], covariance])


def logrank(apart: np.ndarray) -> dict[str, np.ndarray]:
    """The log-rank test: how far the groups' events are from what no difference would give."""
    score, covariance = apart[0, :-1], apart[1:-1, :-1]
    chi2 = max(float(score @ np.linalg.pinv(covariance, rcond=1e-10, hermitian=True) @ score), 0.0)
    return {"chi2": np.array(chi2), "df": np.array(len(score)), "p": np.array(chance(chi2, len(score)))}
