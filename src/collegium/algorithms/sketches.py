"""Quantiles from counts: by bisection, as exact as is asked for, or by a fixed grid in one round.

No hospital sends a value. In a bisection it answers "how many are at most t?", and stops being asked when fewer than
`fewest` rows lie in the bracket that is left: from there on, an answer would be about single patients. The grid sends a
histogram whose bins grow with the value, so that a quantile is known to within a share of itself (DDSketch, Masson, Rim and
Lee 2019), and grids of all hospitals add up to the grid of all rows. Either way k hospitals get what pooled rows would.

    >>> table = Table({"stay": np.arange(1.0, 102.0)})
    >>> step = quantiles(["stay"], [0.5, 0.9], fewest=1)
    >>> state = step.init({})
    >>> while not step.done(state):
    ...     state = step.apply(state, step.local(state, table, {})[0])
    >>> step.result(state)["value"]
    array([[51., 91.]])
"""

from collections.abc import Sequence

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.columns import LARGEST, numbers
from collegium.errors import StudyError
from collegium.table import Table
from collegium.tree import Tree

TINY = 1e-12  # values below this size are taken for zero


def quantiles(columns: Sequence[str], q: Sequence[float], *, tol: float = 1e-6, fewest: int = 10) -> Algorithm:
    """The `q` quantiles of all columns at once: the least value that a share q of the rows does not exceed.

    Each round halves every bracket, first among the powers of two and then among the digits, so no bounds need to be known;
    about thirty rounds reach a relative width of `tol`. Result: `value`, `low` and `high` (columns, quantiles), with the
    quantile above `low` and at most `high`, and `n`, `missing` (columns,). The value is the shortest decimal in the bracket.
    """
    share = np.asarray(q, np.float64)
    if not ((share > 0) & (share <= 1)).all():
        raise StudyError(f"quantiles {share.tolist()} are asked for; wanted shares above 0, up to 1")
    shape = (len(columns), len(share))

    def init(given: Tree) -> Tree:
        none = np.zeros(len(columns), np.int64)
        ends = {"low": np.full(shape, rank(np.array(-2 * LARGEST))), "high": np.full(shape, rank(np.array(LARGEST)))}
        return {"n": none, "missing": none, **ends, "under": np.zeros(shape, np.int64), "upto": np.full(shape, -1)}

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        x, at = numbers(table, columns), number(middle(shared))
        below = np.array([(x[:, [c]] <= at[c]).sum(0) for c in range(shape[0])], np.int64).reshape(shape)
        missing = np.isnan(x).sum(0)
        return {"n": len(x) - missing, "missing": missing, "below": below}, memory

    def apply(state: Tree, total: Tree) -> Tree:
        n, at, open_ = total["n"], middle(state), ~closed(state, tol, fewest)
        wanted = np.maximum(np.ceil(share * n[:, None] - 1e-9), 1)
        upto = np.where(state["upto"] < 0, n[:, None], state["upto"])
        left, right = open_ & (total["below"] >= wanted), open_ & (total["below"] < wanted)
        out = {"n": n, "missing": total["missing"], "low": np.where(right, at, state["low"]), "high": np.where(left, at, state["high"])}
        return out | {"under": np.where(right, total["below"], state["under"]), "upto": np.where(left, total["below"], upto)}

    def result(state: Tree) -> Tree:
        low, high = number(state["low"]), number(state["high"])
        value = [shortest(a, b) for a, b in zip(low.ravel().tolist(), high.ravel().tolist(), strict=True)]
        seen = (state["n"] > 0)[:, None]
        found = {"value": np.array(value).reshape(shape), "low": low, "high": high}
        return {name: np.where(seen, v, 0.0) for name, v in found.items()} | {"n": state["n"], "missing": state["missing"]}

    return Algorithm(init, local, apply, lambda s: bool(closed(s, tol, fewest).all()), result=result, name="quantiles")


def rank(value: np.ndarray) -> np.ndarray:
    """A float's place among all floats: an int64 that grows as the float does."""
    bits = np.asarray(value, np.float64).view(np.int64)
    return np.where(bits >= 0, bits, bits ^ np.int64(2**63 - 1))


def number(place: np.ndarray) -> np.ndarray:
    """The float of that place."""
    place = np.asarray(place, np.int64)
    return np.asarray(np.where(place >= 0, place, place ^ np.int64(2**63 - 1)).view(np.float64))


def middle(state: Tree) -> np.ndarray:
    """The float half-way between the ends of each bracket, in places; the difference of places may leave an int64."""
    low, high = state["low"], state["high"]
    return np.asarray((low >> 1) + (high >> 1) + (low & high & 1))


def closed(state: Tree, tol: float, fewest: int) -> np.ndarray:
    """Which brackets are narrow enough, or hold too few rows to ask on."""
    low, high = number(state["low"]), number(state["high"])
    size = np.maximum(np.abs(low), np.abs(high))
    narrow = (high - low <= tol * size) | (size < TINY) | (middle(state) == state["low"])
    return np.asarray((state["upto"] >= 0) & (narrow | (state["upto"] - state["under"] < fewest)))


def shortest(low: float, high: float) -> float:
    """The decimal with the fewest digits above `low`, at most `high`: what was written down, if the bracket is narrow."""
    if low < 0 <= high or max(abs(low), abs(high)) < TINY:
        return 0.0
    for digits in range(1, 17):
        value = float(f"{(low + high) / 2:.{digits}g}")
        if low < value <= high:
            return value
    return high


def sketch(columns: Sequence[str], *, error: float = 0.01, smallest: float = 1e-6, largest: float = 1e9) -> Algorithm:
    """A histogram of each column from which any quantile is read to within a share `error` of itself, in one round.

    Values below `smallest` in size are taken for zero, those above `largest` for `largest`. Bins may hold single patients:
    publish the quantiles that `read` gives, not the grid. Result: `grid` int64 (columns, bins), `n`, `missing`, `error`,
    `smallest`; the bins run from the most negative to the most positive values, zero in the middle.
    """
    if not (0 < error < 1 and 0 < smallest < largest <= LARGEST):
        raise StudyError(f"a grid from {smallest:g} to {largest:g} with error {error:g} is asked for; wanted 0 < error < 1, rising ends")
    half = int(np.ceil(np.log(largest / smallest) / growth(error)))

    def init(given: Tree) -> Tree:
        none = np.zeros(len(columns), np.int64)
        fixed = {"error": np.array(error), "smallest": np.array(smallest), "step": np.array(0)}
        return {"grid": np.zeros((len(columns), 2 * half + 1), np.int64), "n": none, "missing": none, **fixed}

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        x = numbers(table, columns)
        seen = ~np.isnan(x)
        size = np.maximum(np.abs(np.nan_to_num(x)), smallest / 2)
        place = np.where(size < smallest, 0, np.clip(np.ceil(np.log(size / smallest) / growth(error)), 1, half))
        at = (np.sign(np.nan_to_num(x)) * place).astype(np.int64) + half
        grid = [np.bincount(at[seen[:, c], c], minlength=2 * half + 1) for c in range(len(columns))]
        shape = len(columns), 2 * half + 1
        return {"grid": np.array(grid, np.int64).reshape(shape), "n": seen.sum(0), "missing": (~seen).sum(0)}, memory

    def apply(state: Tree, total: Tree) -> Tree:
        return {**state, **total, "step": np.array(1)}

    def result(state: Tree) -> Tree:
        return {name: value for name, value in state.items() if name != "step"}

    return Algorithm(init, local, apply, lambda s: bool(s["step"] == 1), result=result, name="sketch")


def growth(error: float) -> float:
    """The logarithm of how much wider each bin is than the last."""
    return float(np.log1p(error) - np.log1p(-error))


def read(result: Tree, q: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of a sketch, and how far each may be off; both (columns, quantiles), zero for a column without values."""
    grid, smallest, error = np.asarray(result["grid"]), float(result["smallest"]), float(result["error"])
    half, upto = grid.shape[1] // 2, grid.cumsum(1)
    wanted = np.maximum(np.ceil(np.asarray(q, np.float64) * np.asarray(result["n"])[:, None] - 1e-9), 1)
    place = (upto[:, None, :] < wanted[:, :, None]).sum(2) - half
    size = smallest * np.exp(growth(error) * np.abs(place)) * (1 - error)  # as far from the bin's lower as its upper end
    seen = (np.asarray(result["n"]) > 0)[:, None]
    value = np.where(seen & (place != 0), np.sign(place) * size, 0.0)
    return value, np.where(seen, np.where(place == 0, smallest, error / (1 - error) * size), 0.0)
