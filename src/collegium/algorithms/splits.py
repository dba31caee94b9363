"""The best split of each node of a tree, from sums over bins: what the coordinator does between two rounds of boosting.

A split of a node with gradient G and hessian H into left and right gains  GL^2/(HL + l2) + GR^2/(HR + l2) - G^2/(H + l2)  (Chen
and Guestrin 2016, eq. 7, doubled). Categories are sorted by G / (H + smooth) before they are cut, which finds the best of all
subsets (Fisher 1958; for boosting Ke et al. 2017); missing values try both sides. Bounds keep a column's effect monotone: as in
XGBoost, both children of a constrained split stay on their side of the middle between them.
"""

from typing import NamedTuple

import numpy as np

from collegium.algorithms.forest import Shape

UNIT = 2.0**24  # gradients and hessians are whole multiples of its inverse, so that any order of adding gives the same sum
GRADIENT, HESSIAN, ROWS = 0, 1, 2  # what a bin holds
BOUND = 1e30  # a leaf without a bound


class Rules(NamedTuple):
    """What makes a split worth having."""

    l2: float = 1.0
    least: int = 20  # rows in a child
    hessian: float = 1.0  # in a child
    gain: float = 0.0  # to be exceeded
    smooth: float = 10.0  # added to the hessian where categories are compared


class Splits(NamedTuple):
    """The best split of each node; column -1 where there is none."""

    feature: np.ndarray  # (nodes,)
    left: np.ndarray  # (nodes, bins) bool: which bins go left
    gain: np.ndarray  # (nodes,)
    sums: np.ndarray  # (nodes, 2, 3): gradient, hessian, rows of left and right


def real(sums: np.ndarray) -> np.ndarray:
    """Sums of whole numbers as gradients, hessians and rows, float64."""
    out = sums.astype(np.float64)
    out[..., :ROWS] /= UNIT
    return out


def weight(sums: np.ndarray, l2: float | np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The Newton step -G / (H + l2) of a leaf, kept between its bounds (..., 2)."""
    step = -sums[..., GRADIENT] / np.maximum(sums[..., HESSIAN] + l2, 1e-12)
    return np.asarray(np.clip(step, bounds[..., 0], bounds[..., 1]))


def worth(sums: np.ndarray, l2: np.ndarray, step: np.ndarray) -> np.ndarray:
    """By how much twice the loss falls with a leaf's step: G^2 / (H + l2) where no bound holds it back."""
    return np.asarray(-(2 * sums[..., GRADIENT] * step + (sums[..., HESSIAN] + l2) * step**2))


def best(histogram: np.ndarray, shape: Shape, allowed: np.ndarray, monotone: np.ndarray, bounds: np.ndarray, rules: Rules) -> Splits:
    """The best split of each node.

    `histogram` int64 (nodes, bins, 3) over the bins of `shape`; `allowed` bool (nodes, columns); `monotone` (columns,) 1 where
    estimates may only rise with a number, -1 where they may only fall; `bounds` (nodes, 2) on the nodes' leaves.
    """
    nodes, order = len(histogram), sorted_bins(histogram, shape, rules)
    placed = np.take_along_axis(histogram, order[..., None], 1)
    whole = histogram[:, : int(shape.widths[0])].sum(1)
    lost = placed[:, shape.last][:, shape.owner]  # of each place's column
    upto = placed.cumsum(1)
    upto -= (upto - placed)[:, shape.starts][:, shape.owner]
    sums = np.stack([np.stack([side, whole[:, None] - side], 2) for side in (upto, upto + lost)], 1)  # node, missing left, place, side
    gain = gains(real(sums), real(whole), shape, monotone, bounds, rules)
    apart = np.ones(shape.total, bool)
    apart[shape.last] = False  # nothing ends there
    fine = (sums[..., ROWS] >= rules.least).all(-1) & (apart & allowed[:, shape.owner])[:, None]
    fine &= (sums[..., HESSIAN] >= rules.hessian * UNIT).all(-1) & (gain > rules.gain)
    gain = np.where(fine, gain, -np.inf).reshape(nodes, -1)
    top = gain.argmax(1)
    with_lost, place = np.divmod(top, shape.total)
    each = np.arange(nodes)
    feature = np.where(np.isfinite(gain[each, top]), shape.owner[place], -1)
    parts = sums[each, with_lost, place]
    untold = lost[each, place, ROWS] == 0  # nobody was missing: whoever is later goes with the many
    lost_left = np.where(untold, parts[:, 0, ROWS] >= parts[:, 1, ROWS], with_lost == 1)
    return Splits(feature, sides(order, shape, feature, place, lost_left), np.where(feature >= 0, gain[each, top], 0.0), parts)


def sorted_bins(histogram: np.ndarray, shape: Shape, rules: Rules) -> np.ndarray:
    """(nodes, bins): in which order each column's bins are cut; numbers as they are, categories by their gradients."""
    order = np.tile(np.arange(shape.total), (len(histogram), 1))
    for column in np.flatnonzero(shape.category):
        first, last = int(shape.starts[column]), int(shape.last[column])
        found = real(histogram[:, first:last])
        key = found[..., GRADIENT] / (found[..., HESSIAN] + max(rules.smooth, 1e-12))
        order[:, first:last] = first + np.argsort(key, axis=1, kind="stable")
    return order


def gains(
    sums: np.ndarray, whole: np.ndarray, shape: Shape, monotone: np.ndarray, bounds: np.ndarray, rules: Rules
) -> np.ndarray:  # fmt: skip
    """(nodes, 2, bins): what each cut would gain; nothing where it breaks a rule of monotony."""
    l2 = rules.l2 + np.where(shape.category, rules.smooth, 0.0)[shape.owner]
    steps = weight(sums, l2[:, None], bounds[:, None, None, None])
    before = worth(whole[:, None], l2, weight(whole[:, None], l2, bounds[:, None]))
    found = worth(sums, l2[:, None], steps).sum(-1) - before[:, None]
    wrong = monotone[shape.owner] * (steps[..., 0] - steps[..., 1]) > 0
    return np.asarray(np.where(wrong, -np.inf, found))


def sides(order: np.ndarray, shape: Shape, feature: np.ndarray, place: np.ndarray, lost_left: np.ndarray) -> np.ndarray:
    """(nodes, widest column) bool: the bins of each node's column that go left."""
    out = np.zeros((len(order), int(shape.widths.max(initial=1))), bool)
    for node in np.flatnonzero(feature >= 0):
        first = int(shape.starts[feature[node]])
        out[node, order[node, first : place[node] + 1] - first] = True
        out[node, int(shape.widths[feature[node]]) - 1] = lost_left[node]
    return out
