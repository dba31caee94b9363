"""Boosted trees as arrays: rows as bin numbers, and the sum of the leaves that they fall into.

Every column becomes small whole numbers: a number the bin that it lies in, a yes/no 0 or 1, a category its place among those
that training kept, then `other`; the last bin of each column means that the value is missing. A split says which bins of one
column go left, so numbers, categories and missing values are all asked in the same way.

    >>> table = Table({"age": np.array([30.0, 71.0, np.nan])})
    >>> bins = {"edges": np.array([[50.0, 70.0]]), "count": np.array([2])}
    >>> codes(table, [Column("age", "number")], {"bins": bins}).ravel().tolist()
    [0, 2, 3]
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.features import Column, kept_places, made, measured, values
from collegium.table import Table
from collegium.tree import Tree

MISSING = "is missing"


class Shape(NamedTuple):
    """The bins of all columns, one after the other."""

    widths: np.ndarray  # (columns,): bins of each, the missing one included
    category: np.ndarray  # (columns,) bool

    @property
    def starts(self) -> np.ndarray:
        """Where each column begins."""
        return np.concatenate([[0], np.cumsum(self.widths)[:-1]]).astype(np.int64)

    @property
    def total(self) -> int:
        """All bins."""
        return int(self.widths.sum())

    @property
    def owner(self) -> np.ndarray:
        """(total,): the column of each bin."""
        return np.repeat(np.arange(len(self.widths)), self.widths)

    @property
    def last(self) -> np.ndarray:
        """(columns,): the bin of missing values."""
        return np.asarray(self.starts + self.widths - 1)


def shape(columns: Sequence[Column], found: Tree) -> Shape:
    """The bins that the stages `features` and `bins` found, by column in the given order."""
    numbers = iter(np.asarray(found["bins"]["count"]).tolist())
    widths = [
        len(np.asarray(found["features"]["categories"][c.name]["kept"])) + 2
        if c.kind == "category"
        else (next(numbers) + 2 if c.kind == "number" else 3)
        for c in columns
    ]
    return Shape(np.array(widths, np.int64), np.array([c.kind == "category" for c in columns], bool))


def codes(table: Table, columns: Sequence[Column], found: Tree) -> np.ndarray:
    """The bin of each value, (rows, columns), column by column in memory. Raises `DataError` as `features.values` does."""
    x = values(table, columns)
    plain = {c.name: x[:, at] for at, c in enumerate(measured(columns))}
    numbers = iter(zip(np.asarray(found["bins"]["edges"]), np.asarray(found["bins"]["count"]).tolist(), strict=True))
    out = np.zeros((len(table), len(columns)), np.uint16, order="F")
    for at, c in enumerate(columns):
        if c.kind == "category":
            out[:, at] = places(table, c, found["features"])
        elif c.kind == "binary":
            out[:, at] = np.where(np.isnan(plain[c.name]), 2, plain[c.name])
        else:
            edges, count = next(numbers)
            value = plain[c.name].astype(np.float32)  # as programs that know single precision only will compare it
            inside = np.searchsorted(edges[:count].astype(np.float32), value, side="right")
            out[:, at] = np.where(np.isnan(value), count + 1, inside)
    return out


def places(table: Table, c: Column, prepared: Tree) -> np.ndarray:
    """A category's place among those kept, then `other`, then missing."""
    kept = np.asarray(prepared["categories"][c.name]["kept"])
    order = np.full(int(max(kept.max(initial=-1), 0)) + 3, len(kept))  # by what `kept_places` says; -1 and -2 are its end
    order[kept[kept >= 0]] = np.flatnonzero(kept >= 0)
    order[-1], order[-2] = len(kept) + 1, len(kept)
    return np.asarray(order[kept_places(table, c, prepared)])


def binned(inner: Algorithm, columns: Sequence[Column]) -> Algorithm:
    """Run `inner` on a table whose raw columns have become `x`, bin numbers (rows, columns), by the stages `features` and `bins`.

    `inner.init` finds `given["binned"]`: `widths` and `category`, as in `Shape`.
    """

    def told(found: Tree) -> Tree:
        known = shape(columns, found)
        return {"binned": {"widths": known.widths, "category": known.category}}

    return made(
        inner,
        columns,
        {"features": "features", "bins": "bins"},
        lambda table, found: codes(table, columns, found),
        told,
        lambda found: [c.name for c in columns],
    )


def packed(left: np.ndarray) -> np.ndarray:
    """Which bins go left, (..., bins) bool, as bits."""
    return np.packbits(left, axis=-1)


def leaves(feature: np.ndarray, left: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The node, counted by levels from the root 0, that each row of `x` reaches in one tree, as far as it has grown.

    `feature` (inner nodes,) is the column asked, -1 where nothing is; `left` (inner nodes, bytes) the packed bins that go left.
    """
    at = np.zeros(len(x), np.int64)
    rows = np.arange(len(x))
    table = np.unpackbits(left, axis=1)
    for _ in range((len(feature) + 1).bit_length() - 1):
        asked = np.append(feature, -1)[np.minimum(at, len(feature))]
        onwards = 2 * at + 2 - table[np.minimum(at, len(feature) - 1), x[rows, asked]]
        at = np.where(asked >= 0, onwards, at)
    return at


def margins(params: Tree, x: np.ndarray, start: int = 0, so_far: np.ndarray | None = None) -> np.ndarray:
    """The sum of the leaves, (rows, outputs): log odds, class scores or values; from step `start` on, added to `so_far`.

    `params`: `base` (outputs,), `feature` (steps, trees, inner nodes), `left` (steps, trees, inner nodes, bytes) and `value`
    (steps, trees, nodes); the trees of a step stand by output, equally many for each.
    """
    base, feature = np.asarray(params["base"], np.float64), np.asarray(params["feature"])
    left, value = np.asarray(params["left"]), np.asarray(params["value"])
    out = np.tile(base, (len(x), 1)) if so_far is None else np.array(so_far)
    each = max(feature.shape[1] // len(base), 1)
    for step in range(start, len(feature)):
        for tree in range(feature.shape[1]):
            out[:, tree // each] += value[step, tree][leaves(feature[step, tree], left[step, tree], x)]
    return out


def described(params: Tree) -> bool:
    """Whether these are boosted trees."""
    return params.keys() >= {"base", "feature", "left", "value"}


def importance(columns: Sequence[Column], fit: Tree) -> list[tuple[str, float, int]]:
    """Each column's share of all that splits gained, and how often it was asked; the most important first."""
    gain, uses = np.asarray(fit["gain"], np.float64), np.asarray(fit["uses"])
    whole = max(float(gain.sum()), 1e-300)
    found: list[tuple[str, float, int]] = [(c.name, float(gain[at]) / whole, int(uses[at])) for at, c in enumerate(columns)]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def empty(steps: int, trees: int, depth: int, bins: int) -> dict[str, Any]:
    """So many trees of which none asks anything."""
    inner, width = 2**depth - 1, -(-bins // 8)
    return {
        "feature": np.full((steps, trees, inner), -1, np.int16),
        "left": np.zeros((steps, trees, inner, width), np.uint8),
        "value": np.zeros((steps, trees, 2 * inner + 1)),
    }
