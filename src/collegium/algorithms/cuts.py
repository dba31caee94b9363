"""Where to cut each number into bins that hold enough patients, found by three rounds of counts: common to all hospitals.

Round 1 counts patients on a coarse grid that suits any unit, rounds 2 and 3 on as many cells again, dealt to where the patients
are: so an age of 71 and one of 72 come apart, and so do platelets of 2.6e5 and 2.7e5, or concentrations of 1e-7.
Cuts are quantiles of those counts (a value that many patients share has a bin of its own), each a short decimal, and each exact
in single precision, so that whoever uses the model elsewhere puts every value on the same side. A patient with several rows counts
by the first of them.

    >>> table = Table({"age": np.repeat([40.0, 50.0, 60.0, np.nan], 30), "same": np.full(120, 7.0)})
    >>> step = cuts([Column("age", "number"), Column("same", "number")], bins=8, least=20)
    >>> state = step.init({})
    >>> while not step.done(state):
    ...     state = step.apply(state, step.local(state, table, {})[0])
    >>> step.result(state)["count"], step.result(state)["edges"][0, :2]
    (array([2, 0]), array([45., 55.]))
"""

from collections.abc import Sequence

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.bins import PAST, REACH, first_rows, signed_log, tally
from collegium.algorithms.columns import numbers, training
from collegium.algorithms.features import Column
from collegium.algorithms.sketches import shortest
from collegium.errors import StudyError
from collegium.table import Table
from collegium.tree import Tree

CELLS = 1024  # of each grid
ROUNDS = 3
UNUSED = float(np.finfo(np.float32).max)  # fills up a fixed number of edges: nothing lies above it


def cuts(columns: Sequence[Column], *, bins: int = 32, least: int = 20) -> Algorithm:
    """At most `bins` bins for each column that is a number, each with at least `least` patients of all training rows.

    Result: `edges` float64 (numbers, bins - 1), rising, `UNUSED` where there are fewer, and `count` int64 (numbers,), how many
    are used. A value belongs to the bin above the edges that it reaches. Raises `StudyError` for less than two bins.
    """
    if bins < 2 or least < 1:
        raise StudyError(f"{bins} bins of at least {least} patients are asked for; wanted two bins or more, one patient or more")
    names = [c.name for c in columns if c.kind == "number"]
    k = len(names)

    def init(given: Tree) -> Tree:
        borders = np.tile(np.linspace(-REACH, REACH, CELLS + 1)[1:-1], (k, 1))
        edges = {"edges": np.full((k, bins - 1), UNUSED), "count": np.zeros(k, np.int64)}
        return {"step": np.array(0), "borders": borders, **edges}

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        rows = training(table)
        x = signed_log(numbers(rows, names))[first_rows(rows)]
        grid = np.zeros((k, CELLS), np.int64)
        for at in range(k):
            column = x[:, at]
            grid[at] = tally(shared["borders"][at], column[~np.isnan(column)])
        return {"grid": grid}, memory

    def apply(state: Tree, total: Tree) -> Tree:
        grid, borders = np.maximum(total["grid"], 0), state["borders"]
        if state["step"] < ROUNDS - 1:
            finer = [refined(b, counts) for b, counts in zip(borders, grid, strict=True)]
            return {**state, "step": state["step"] + 1, "borders": np.array(finer).reshape(k, CELLS - 1)}
        edges, count = np.full((k, bins - 1), UNUSED), np.zeros(k, np.int64)
        for at in range(k):
            found = chosen(borders[at], grid[at], bins, least)
            edges[at, : len(found)], count[at] = found, len(found)
        return {**state, "step": state["step"] + 1, "edges": edges, "count": count}

    def result(state: Tree) -> Tree:
        return {"edges": state["edges"], "count": state["count"]}

    return Algorithm(init, local, apply, lambda state: bool(state["step"] >= ROUNDS), result=result, name="cuts")


def refined(borders: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The borders of the next grid: each cell that anybody is in, cut into as many equal ones as its share of patients earns."""
    ends = np.concatenate([[-REACH], borders, [REACH]])
    held = np.flatnonzero(counts)
    spare = max(CELLS - 2 * len(held) - 2, 0)  # a cell between two that are held may be empty, and takes one too
    pieces = 1 + np.floor(counts[held] / max(int(counts.sum()), 1) * spare).astype(int)
    found = [np.linspace(ends[cell], ends[cell + 1], n + 1) for cell, n in zip(held.tolist(), pieces.tolist(), strict=True)]
    out = np.unique(np.concatenate(found)) if found else np.zeros(0)
    return np.concatenate([out[: CELLS - 1], np.full(max(CELLS - 1 - len(out), 0), PAST)])


def chosen(borders: np.ndarray, counts: np.ndarray, bins: int, least: int) -> np.ndarray:
    """Edges between cells so that bins are as even as the counts allow and hold `least` each; values, not grid coordinates."""
    held, left = np.flatnonzero(counts), int(counts.sum())
    edges: list[float] = []
    inside = 0
    for place, cell in enumerate(held.tolist()):
        size = max(least, -(-left // max(bins - len(edges), 1)))
        many = int(counts[cell]) >= size and inside >= least  # a value that many share begins a bin of its own
        if place and (inside >= size or many) and left - inside >= least and len(edges) < bins - 1:
            edges.append(between(borders, int(held[place - 1]), cell))
            left, inside = left - inside, 0
        inside += int(counts[cell])
    return np.unique(np.array(edges, np.float32)).astype(np.float64)


def between(borders: np.ndarray, below: int, above: int) -> float:
    """The shortest decimal above all of one cell and not above any of another."""
    low, high = (float(np.sinh(at / 0.4) / 1e3) for at in (borders[below], borders[above - 1]))
    return shortest(low, high) if low < high else high
