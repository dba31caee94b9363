"""What a table one would like to see first says: counts, means, spreads, histograms, cross tables, correlations.

Every sum here is of whole numbers (raw values travel as `limbs`), so k hospitals give the very bits that one hospital with
all rows would, and no range of values needs to be declared. Missing values are left out and counted. All rows are described,
those held out for tests too. What the coordinator sees of small groups it may not publish: see `suppress`.

    >>> table = Table({"age": np.array([40.0, 70.0, np.nan]), "sex": np.array(["F", "M", "M"])})
    >>> step = crosstab("sex", "age", row_levels=("F", "M"), column_levels=("40", "70"))
    >>> step.apply(step.init({}), step.local(step.init({}), table, {})[0])["counts"]
    array([[1, 0, 0],
           [0, 1, 0],
           [0, 0, 0]])
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.columns import joined, limbs, numbers, places, texts
from collegium.errors import StudyError
from collegium.table import Table
from collegium.tree import Tree


def counts(columns: Sequence[str]) -> Algorithm:
    """How many rows, patients, present and missing values, in one round.

    A patient who was in two hospitals counts twice. Result: `rows`, `patients`, and by column `present`, `missing`.
    """

    def local(table: Table) -> Tree:
        blank = np.array([int(absent(table, name).sum()) for name in columns], np.int64)
        alone = {"rows": np.array(len(table)), "patients": np.array(table.patients())}
        return alone | {"present": len(table) - blank, "missing": blank}

    zero = {"rows": np.array(0), "patients": np.array(0)}
    return _one_round("counts", zero | {name: np.zeros(len(columns), np.int64) for name in ("present", "missing")}, local)


def absent(table: Table, name: str) -> np.ndarray:
    """Which rows miss a value of this column, whatever it holds."""
    column = np.asarray(table[name])
    return np.asarray(np.isnan(numbers(table, [name])[:, 0]) if column.dtype.kind in "fiub" else texts(table, name) == "")


def _one_round(name: str, zero: Tree, local: Callable[[Table], Tree], finish: Callable[[Tree], Tree] = dict) -> Algorithm:
    """An algorithm whose answer is one sum; `zero` is that sum before anyone has answered."""

    def apply(state: Tree, total: Tree) -> Tree:
        return {"step": np.array(1), **total}

    def result(state: Tree) -> Tree:
        return finish({key: value for key, value in state.items() if key != "step"})

    begin = {"step": np.array(0), **zero}
    return Algorithm(lambda given: begin, lambda s, t, m: (local(t), m), apply, lambda s: bool(s["step"] == 1), result=result, name=name)


def moments(columns: Sequence[str]) -> Algorithm:
    """Mean, variance and standard deviation of each column, in two rounds (Chan, Golub and LeVeque 1983).

    Round 1 sums the values, round 2 the squares around the common mean: nothing cancels. The variance divides by n - 1.
    Result, each (columns,): `n`, `missing`, `mean`, `variance`, `sd`; zeros where a column has too few values.
    """
    k = len(columns)

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        x = numbers(table, columns)
        return first_sums(x) if shared["step"] == 0 else centred_squares(x, shared["mean"]), memory

    def apply(state: Tree, total: Tree) -> Tree:
        return settle(state, total)

    def result(state: Tree) -> Tree:
        return {name: state[name] for name in ("n", "missing", "mean", "variance")} | {"sd": np.sqrt(state["variance"])}

    return Algorithm(lambda given: start(k), local, apply, lambda s: bool(s["step"] == 2), result=result, name="moments")


def start(k: int) -> dict[str, Any]:
    """The state of two-round moments of k columns."""
    none = np.zeros(k, np.int64)
    return {"step": np.array(0), "n": none, "missing": none, "mean": np.zeros(k), "variance": np.zeros(k)}


def first_sums(x: np.ndarray) -> dict[str, Any]:
    """Round 1: how many and how much."""
    seen = ~np.isnan(x)
    nothing = limbs(np.zeros((0, x.shape[1])))
    return {"n": seen.sum(0), "missing": (~seen).sum(0), "sums": limbs(np.where(seen, x, 0.0)), "squares": nothing}


def centred_squares(x: np.ndarray, mean: np.ndarray) -> dict[str, Any]:
    """Round 2: the squares around the common mean."""
    return T.zeros_like(first_sums(x)) | {"squares": limbs(np.nan_to_num(x - mean) ** 2)}


def settle(state: Tree, total: Tree) -> dict[str, Any]:
    """What the two rounds make of the state."""
    if state["step"] == 0:
        mean = joined(total["sums"]) / np.maximum(total["n"], 1)
        return {**state, "step": np.array(1), "n": total["n"], "missing": total["missing"], "mean": mean}
    return {**state, "step": np.array(2), "variance": joined(total["squares"]) / np.maximum(state["n"] - 1, 1)}


def correlation(columns: Sequence[str]) -> Algorithm:
    """Pearson's correlation of each pair of columns over the rows that have both, in three rounds.

    Two rounds find centres and spreads; the third sums products of standardised values, which are centred once more for
    each pair, because the rows that have both need not share the mean of either. Result: `correlation` and `n`, both
    (columns, columns), and `mean`, `sd`; a correlation is 0 where fewer than three rows have both or one does not vary.
    """
    k = len(columns)
    names = ("pairs", "products", "singles", "powers")

    def init(given: Tree) -> Tree:
        return {**start(k), "pairs": np.zeros((k, k), np.int64), "correlation": np.eye(k)}

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        x, step = numbers(table, columns), int(shared["step"])
        update = first_sums(x) if step == 0 else centred_squares(x, shared["mean"]) if step == 1 else T.zeros_like(first_sums(x))
        rows = x if step == 2 else x[:0]
        seen = (~np.isnan(rows)).astype(np.float64)
        u = np.nan_to_num((rows - shared["mean"]) / spread(shared))
        sums = (seen.T @ seen, u.T @ u, u.T @ seen, (u**2).T @ seen)
        return update | {name: limbs(value[None]) for name, value in zip(names, sums, strict=True)}, memory

    def apply(state: Tree, total: Tree) -> Tree:
        if state["step"] < 2:
            return settle(state, total)
        n, product, single, power = (joined(total[name]) for name in names)
        many = np.maximum(n, 1)
        around = np.maximum(power - single**2 / many, 0)
        size = np.sqrt(around * around.T)
        fair = (n > 2) & (size > 1e-12 * many)
        r = np.where(fair, (product - single * single.T / many) / np.where(fair, size, 1), 0.0)
        return {**state, "step": np.array(3), "pairs": n.astype(np.int64), "correlation": np.clip(r, -1, 1)}

    def result(state: Tree) -> Tree:
        return {"correlation": state["correlation"], "n": state["pairs"], "mean": state["mean"], "sd": np.sqrt(state["variance"])}

    return Algorithm(init, local, apply, lambda s: bool(s["step"] == 3), result=result, name="correlation")


def spread(state: Tree) -> np.ndarray:
    """The standard deviations, 1 where a column does not vary beyond the rounding of its mean."""
    sd = np.sqrt(state["variance"])
    return np.where(sd > 1e-12 * np.abs(state["mean"]), sd, 1.0)


def histograms(edges: Mapping[str, Sequence[float]]) -> Algorithm:
    """How many values of each column lie between given edges, in one round.

    A bin holds its lower edge, the last one both (as `numpy.histogram`). Result, by column: `edges`, `counts`, `below`,
    `above`, `missing`.
    """
    borders = {name: np.asarray(e, np.float64) for name, e in edges.items()}
    for name, e in borders.items():
        if "/" in name or e.ndim != 1 or len(e) < 2 or not (np.isfinite(e).all() and (np.diff(e) > 0).all()):
            raise StudyError(f"edges of {name!r} are {e.tolist()}; wanted two or more rising numbers, and no '/' in the name")

    def local(table: Table) -> Tree:
        return {name: binned(numbers(table, [name])[:, 0], e) for name, e in borders.items()}

    def finish(total: Tree) -> Tree:
        out: dict[str, Any] = {}
        for name, e in borders.items():
            n = np.asarray(total[name])
            out[name] = {"edges": e, "counts": n[1:-2], "below": n[0], "above": n[-2], "missing": n[-1]}
        return out

    return _one_round("histograms", {name: np.zeros(len(e) + 2, np.int64) for name, e in borders.items()}, local, finish)


def binned(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts below, in each bin, above, and missing."""
    seen = x[~np.isnan(x)]
    at = np.where(seen == edges[-1], len(edges) - 1, np.searchsorted(edges, seen, "right"))
    return np.append(np.bincount(at, minlength=len(edges) + 1), len(x) - len(seen)).astype(np.int64)


def crosstab(rows: str, columns: str, *, row_levels: Sequence[str], column_levels: Sequence[str]) -> Algorithm:
    """How often each category of one column meets each of another, in one round.

    Only declared categories have a cell of their own: a text that nobody declared never leaves a hospital. Result: `counts`
    (row levels + other, column levels + other), and `missing`, the rows that lack either.
    """
    shape = (len(row_levels) + 1, len(column_levels) + 1)

    def local(table: Table) -> Tree:
        a, b = places(texts(table, rows), row_levels), places(texts(table, columns), column_levels)
        seen = (a < shape[0]) & (b < shape[1])
        cells = np.bincount(a[seen] * shape[1] + b[seen], minlength=shape[0] * shape[1]).astype(np.int64)
        return {"counts": cells.reshape(shape), "missing": np.array(int((~seen).sum()))}

    return _one_round("crosstab", {"counts": np.zeros(shape, np.int64), "missing": np.array(0)}, local)


def suppress(counts: np.ndarray, k: int = 10) -> np.ndarray:
    """Counts for display, with -1 for each from 1 to k - 1: few enough that a reader may know who they are.

    Zeros stay. A hidden cell beside a published margin can be worked out; whoever publishes margins must hide a second cell
    in its row and column.

    >>> suppress(np.array([0, 3, 10]))
    array([ 0, -1, 10])
    """
    counts = np.asarray(counts)
    return np.where((counts > 0) & (counts < k), -1, counts)
