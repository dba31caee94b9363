"""Gradient boosting by summed histograms: the trees that pooled rows would grow, split for split.

A site adds up, for each bin of each column, its rows' gradients, hessians and number; the coordinator chooses the splits from
the total (Chen and Guestrin 2016, algorithm 1, with histograms as Ke et al. 2017). Gradients are rounded to whole multiples of
2^-24 before they are added, so sums are exact: three hospitals grow the very trees of one. A level of a tree takes one round, and
only the smaller child of each split is asked: the larger one is the difference to its parent. The first round counts outcomes.

    >>> x, y = np.array([[0], [0], [0], [1], [1], [1]] * 9), np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0] * 9)
    >>> boost = trees("binary", steps=50, depth=1, patience=0, rules=Rules(hessian=0.0), shape=Shape(np.array([3]), np.array([False])))
    >>> state = boost.init({})
    >>> while not boost.done(state):
    ...     state = boost.apply(state, boost.local(boost.share(state), Table({"x": x, "y": y}), {})[0])
    >>> margins(boost.result(state)["params"], np.array([[0], [1]])).ravel().round(1)
    array([-0.7,  0.7])

At the site nothing is kept but the margin of each row, and that could be computed again from the trees.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.averaging import HELD_OUT, TRAINING, VALIDATION
from collegium.algorithms.forest import Shape, leaves, margins
from collegium.algorithms.growing import CHECK, DONE, LOOK, RISK, Grower
from collegium.algorithms.losses import INTERVALS, STEEPEST, Loss, at_risk, loss_of
from collegium.algorithms.splits import UNIT, Rules
from collegium.errors import StudyError
from collegium.table import Table
from collegium.tree import Tree

PLAIN = Rules()
CHUNK = 1 << 20  # rows whose whole-number gradients a float adds up without rounding


def trees(
    task: str,
    *,
    steps: int = 100,
    depth: int = 4,
    rate: float = 0.1,
    parallel: int = 1,
    rows: float = 1.0,
    columns: float = 1.0,
    patience: int = 10,
    rules: Rules = PLAIN,
    monotone: Mapping[int, int] | None = None,
    classes: int = 2,
    seed: int = 0,
    shape: Shape | None = None,
) -> Algorithm:
    """Boosted trees on bin numbers `x`, as `forest.binned` makes them; `y`, or `time` and `event`, is the outcome.

    Each of `steps` steps grows `parallel` trees for each output side by side, down to `depth` levels, on a share `rows` of the
    patients and a share `columns` of the columns, and adds their mean times `rate`. `monotone` says of a column's place 1 (rises
    only) or -1. `patience` steps without a better loss on the validation rows (part 1) end the run, and the trees after the best
    are dropped; 0 keeps all. `shape` comes from `binned` where it is not given. Result: `params` (see `forest.margins`), `gain`
    and `uses` of each column, `rounds`.
    """
    if not (steps >= 1 and 1 <= depth <= 12 and parallel >= 1 and 0 < rows <= 1 and 0 < columns <= 1 and rate > 0):
        raise StudyError(f"{steps} steps of {parallel} trees of depth {depth} are asked for, on shares {rows} and {columns}, rate {rate}")
    loss = loss_of(task, classes)
    grower = Grower(loss, steps, depth, rate, parallel, rows, columns, patience, rules, dict(monotone or {}), seed)

    def init(given: Tree) -> Tree:
        if shape is None and "binned" not in given:
            raise StudyError("trees do not know the bins of x: give `shape`, or wrap them in `binned`")
        return grower.start(shape or Shape(np.asarray(given["binned"]["widths"]), np.asarray(given["binned"]["category"])))

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        return answer(loss, shared, table, memory, depth, parallel, rows, seed)

    return Algorithm(init, local, grower.apply, lambda s: bool(s["phase"] == DONE), share, result, "trees")


def share(state: Tree) -> Tree:
    """What a site needs: the trees so far, and which nodes to add up."""
    return {name: state[name] for name in ("phase", "level", "widths", "hazard", "trees", "growing", "ask", "use")}


def result(state: Tree) -> Tree:
    """The model up to its best step."""
    kept = state["kept"]
    whole = {name: np.asarray(leaf) for name, leaf in state["trees"].items()}
    stop = int(kept["best"]) if int(kept["since"]) > 0 else len(whole["feature"])
    params = {name: leaf if name == "base" else leaf[:stop] for name, leaf in whole.items()}
    asked, gain = params["feature"], np.asarray(kept["gain"])[:stop]
    found = [np.bincount(asked[asked >= 0], weights, len(state["widths"])) for weights in (gain[asked >= 0], None)]
    return {"params": params, "gain": found[0], "uses": found[1].astype(np.int64), "rounds": state["round"]}


# At the site -----------------------------------------------------------------------------------------------------------------


def answer(
    loss: Loss, shared: Tree, table: Table, memory: Tree, depth: int, parallel: int, share: float, seed: int
) -> tuple[Tree, Tree]:  # fmt: skip
    """A site's sums for one round, and its rows' margins."""
    widths, slots = np.asarray(shared["widths"]), np.asarray(shared["ask"]).shape
    update = silence(loss, slots, int(widths.sum()))
    known = loss.known(table) if len(table) else np.zeros(0, bool)
    part = np.asarray(table["part"]) if "part" in table else np.full(len(table), TRAINING)
    part = np.where(known, part, HELD_OUT)
    x, step, phase = np.asarray(table["x"]), len(shared["trees"]["feature"]), int(shared["phase"])
    margin = caught_up(shared["trees"], x, memory)
    kept: dict[str, Any] = {"margin": margin, "trees": np.array(step)}
    if share < 1:  # names are read once, and not at every level
        kept["who"] = memory["who"] if "who" in memory and len(memory["who"]) == len(x) else known_by(table)
    if phase == LOOK:
        mine = table.where(part == TRAINING)
        update["outcome"], update["rows"] = whole(loss.counted(mine)).sum(0), np.array(len(mine))
    elif phase == RISK:
        mine = part == TRAINING
        for at, amount in ((0, whole(at_risk(margin[mine, 0]))), (1, np.asarray(table["event"])[mine])):
            update["risk"][at] = np.bincount(np.asarray(table["when"])[mine], amount, INTERVALS).astype(np.int64)
    else:
        hazard = np.asarray(shared["hazard"])
        if int(shared["level"]) == 0:
            update["check"] = checked(loss, table.where(part == VALIDATION), margin[part == VALIDATION], hazard)
        samples = np.tile(part == TRAINING, (parallel, 1))
        for sample in range(parallel if share < 1 else 0):
            samples[sample] &= drawn(kept["who"], share, (seed, step, sample))
        fill(update["sums"], loss, shared, table, samples, margin)
    return update, kept


def silence(loss: Loss, slots: tuple[int, ...], bins: int) -> dict[str, Any]:
    """An update that adds nothing; every round sends all of it."""
    whole: dict[str, Any] = {"outcome": np.zeros(loss.outputs, np.int64), "rows": np.array(0)}
    whole["check"] = {"loss": np.array(0), "rows": np.array(0)}
    whole |= {"risk": np.zeros((2, INTERVALS), np.int64)} if loss.timed else {}
    return whole | {"sums": np.zeros((*slots, bins, 3), np.int64)}


def whole(values: np.ndarray, unit: float = UNIT) -> np.ndarray:
    """Numbers as whole multiples of 1 / `unit`."""
    return np.asarray(np.rint(np.asarray(values, np.float64) * unit).astype(np.int64))


def caught_up(trees: Tree, x: np.ndarray, memory: Tree) -> np.ndarray:
    """Each row's margin under the trees so far: from what the site remembers, or from the first tree on."""
    done = int(memory.get("trees", -1))
    fits = "margin" in memory and len(memory["margin"]) == len(x) and 0 < done <= len(trees["feature"])
    return margins(trees, x, done, np.asarray(memory["margin"])) if fits else margins(trees, x)


def checked(loss: Loss, rows: Table, margin: np.ndarray, hazard: np.ndarray) -> dict[str, np.ndarray]:
    """The loss of the validation rows."""
    if not len(rows):
        return {"loss": np.array(0), "rows": np.array(0)}
    return {"loss": whole(np.clip(loss.value(rows, margin, hazard), 0, STEEPEST), CHECK).sum(), "rows": np.array(len(rows))}


def fill(sums: np.ndarray, loss: Loss, shared: Tree, table: Table, mine: np.ndarray, margin: np.ndarray) -> None:
    """Add up gradients, hessians and rows of each node that is asked, bin by bin; `mine` are the rows of each sample."""
    if not mine.any():
        return
    x, growing = np.asarray(table["x"]), shared["growing"]
    found = [np.clip(part, -STEEPEST, STEEPEST) for part in loss.slopes(table, margin, np.asarray(shared["hazard"]))]
    starts = np.concatenate([[0], np.cumsum(shared["widths"])])
    for tree, asked in enumerate(np.asarray(shared["ask"])):
        at = leaves(np.asarray(growing["feature"])[tree], np.asarray(growing["left"])[tree], x)
        slot_of = np.full(2 * growing["feature"].shape[1] + 1, -1)
        slot_of[asked[asked >= 0]] = np.flatnonzero(asked >= 0)
        slot = slot_of[at]
        output, sample = divmod(tree, len(mine))
        chosen, use = mine[sample] & (slot >= 0), np.flatnonzero(np.asarray(shared["use"])[sample])
        for first in range(0, int(chosen.sum()), CHUNK):
            rows = np.flatnonzero(chosen)[first : first + CHUNK]
            weights = [np.rint(part[rows, output] * UNIT) for part in found]
            place = slot[rows]
            for column in use:
                width = int(starts[column + 1] - starts[column])
                cell = place * width + x[rows, column]
                for what, weight in enumerate((*weights, None)):
                    counted = np.bincount(cell, weight, len(asked) * width).reshape(len(asked), width)
                    sums[tree, :, starts[column] : starts[column + 1], what] += counted.astype(np.int64)


def known_by(table: Table) -> np.ndarray:
    """A number for each row, the same for all of a patient, made of the name."""
    names = np.arange(len(table)).astype(str) if table.patient is None else np.asarray(table.patient).astype(str)
    letters = np.ascontiguousarray(names).view(np.uint32).reshape(len(names), names.itemsize // 4)
    mixed = np.zeros(len(names), np.uint64)
    for letter in letters.T:
        mixed = np.where(letter > 0, mix(mixed ^ letter.astype(np.uint64)), mixed)  # a name reads the same in a wider column
    return mixed


def drawn(who: np.ndarray, share: float, key: tuple[int, ...]) -> np.ndarray:
    """A share of the patients, drawn by name: wherever a patient's rows are, the same tree learns from them."""
    salt = np.zeros(1, np.uint64)
    for part in np.array(key, np.uint64):
        salt = mix(salt + part)
    return np.asarray(mix(np.asarray(who) ^ salt) < np.uint64(min(int(share * 2**64), 2**64 - 1)))


def mix(x: np.ndarray) -> np.ndarray:
    """Every bit of the outcome hangs on every bit of `x` (uint64; SplitMix64, Steele, Lea and Flood 2014, figure 16)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
