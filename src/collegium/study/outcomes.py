"""Outcomes as an algorithm wants them, by what an earlier stage found of them: a number standardised, a time by its interval."""

from collections.abc import Callable
from typing import Any

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.table import Table


def standardised(inner: Algorithm, stage: str = "outcome") -> Algorithm:
    """Run `inner` on an outcome with mean 0 and spread 1: a learning rate then fits any unit."""

    def scale(given: T.Tree) -> T.Tree:
        return {name: given["numbers"][name][0] for name in ("mean", "sd")}

    def change(found: T.Tree, table: Table) -> Table:
        return table.with_columns(y=(np.asarray(table["y"], np.float64) - found["mean"]) / found["sd"])

    return changed(inner, stage, "scale", scale, change)


def timed(inner: Algorithm, stage: str = "times") -> Algorithm:
    """Run `inner` on rows that know the interval of their time, as `when`."""

    def change(found: T.Tree, table: Table) -> Table:
        edges = np.asarray(found["edges"])[0, : int(np.asarray(found["count"])[0])]
        return table.with_columns(when=np.searchsorted(edges, np.asarray(table["time"], np.float64), side="right"))

    return changed(inner, stage, "times", lambda found: found, change)


def changed(
    inner: Algorithm, stage: str, name: str, keep: Callable[[T.Tree], T.Tree], change: Callable[[T.Tree, Table], Table]
) -> Algorithm:  # fmt: skip
    """Run `inner` on rows changed by what a stage found, of which the state keeps a part under `name`; its own is under `inner`."""

    def wrap(found: T.Tree, state: T.Tree) -> T.Tree:
        out: dict[str, Any] = {name: found, "inner": state}
        return out | ({"progress": state["progress"]} if "progress" in state else {})

    return Algorithm(
        lambda given: wrap(keep(given[stage]), inner.init(given)),
        lambda shared, table, memory: inner.local(shared["inner"], change(shared[name], table), memory),
        lambda state, total: wrap(state[name], inner.apply(state["inner"], total)),
        lambda state: inner.done(state["inner"]),
        lambda state: {name: state[name], "inner": inner.share(state["inner"])},
        lambda state: inner.result(state["inner"]),
        inner.name,
    )
