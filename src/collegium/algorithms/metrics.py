"""How good a model is on patients it never saw, at all hospitals together: quality as sums over score bins.

`evaluate` takes two rounds. In the first each site counts its patients' scores on a fixed grid, outcomes left out; from the
sum the coordinator cuts edges expected to hold at least 20 patients each. In the second each site counts outcomes between
the edges. Bins with fewer than 10 patients are merged before anything is kept, and what cannot be computed is left out of
the result. `measure` is the exact figure of one site's own rows, for use at that site.

Intervals take rows as independent draws; with several rows to a patient they are too narrow (`measure` with
`roc.variance(influence, patient)` is not).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.bins import GRID, KEPT, REACH, cut, first_rows, logit, merge, signed_log, sketch, tally
from collegium.algorithms.calibration import calibration
from collegium.algorithms.concordance import concordance, concordance_binned
from collegium.algorithms.roc import Binned, auroc, auroc_binned, average_precision_binned, confusion, curve, interval
from collegium.table import Table
from collegium.tree import Tree

TASKS = ("binary", "multiclass", "regression", "survival")
METRICS = ("AUROC", "accuracy", "R2", "concordance")  # the figure `measure` gives, task by task
TIMES = 128  # time bins, and at most as many risk bins, of the concordance: its error bound shrinks with their number
COUNTS = ("positive", "negative", "known")  # rows of either class and patients, by score bin
LARGEST = 1e9  # a number beyond it counts as it: the sum of its squares must fit the engine's sums
Score = Callable[[Tree, Table], np.ndarray]  # (params, table) -> probabilities (n,) or (n, k), predictions (n,), risks (n,)


class Kind(NamedTuple):
    """What differs between the tasks; rows with a missing outcome or score are gone before any of this is called."""

    zeros: Mapping[str, np.ndarray]  # the second round's sums of an empty site; the first round sends them too, in one bin
    axes: Callable[[Table, np.ndarray], np.ndarray]  # -> (columns, n): what is sketched
    edges: Callable[[Tree], np.ndarray]  # the first round's total -> what the second round needs to know
    sums: Callable[[np.ndarray, Table, np.ndarray], dict[str, Any]]  # (edges, rows, scores) -> the second round's sums
    finish: Callable[[np.ndarray, Tree], dict[str, Any]]  # (edges, total) -> figures
    columns: int = 1


def evaluate(
    task: str,
    score: Score,
    *,
    bins: int = 256,
    classes: int = 2,
    thresholds: Sequence[float] = (0.1, 0.2, 0.5),
    fit: str = "fit",
    key: str = "params",
) -> Algorithm:
    """The quality of `given[fit][key]` on held-out rows (`part` == 2, or all rows without such a column), as sums.

    `score(params, table)` is what the model says of each row; `key=""` gives it the whole of an earlier result.
    `task` is binary (`y` 0/1), multiclass (`y` a class index below `classes`), regression (`y`) or survival (`time`,
    `event`). Each AUROC and concordance comes with `low` and `high` (95 %) and `error`, the most that binning can have
    moved it. More `bins` make the error smaller, down to 20 patients a bin: that of AUROC is at most about `1 / (2 * bins)`.

    >>> rows = Table({"y": np.array([0.0, 1.0] * 50), "p": np.array([0.2, 0.7] * 50)})
    >>> quality = evaluate("binary", lambda params, table: table["p"])
    >>> state = quality.init({"fit": {"params": {}}})
    >>> for _ in range(2):
    ...     state = quality.apply(state, quality.local(quality.share(state), rows, {})[0])
    >>> {name: float(x) for name, x in quality.result(state)["auroc"].items()}
    {'value': 1.0, 'low': 0.9288..., 'high': 1.0, 'error': 0.0}
    """
    kind = kind_of(task, bins, classes, thresholds)
    zero = {"sketch": np.zeros((kind.columns, len(GRID) - 1), np.int64), **kind.zeros}
    zero |= {name: np.zeros((), np.int64) for name in ("rows", "patients", "unscored")}

    def init(given: Tree) -> Tree:
        return {"round": np.array(1), "params": given[fit][key] if key else given[fit], "edges": kind.edges(zero)}

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        rows, scores, unscored = scored(task, score, shared.get("params", {}), held_out(table), classes)
        if not len(rows) and not unscored:
            return zero, memory
        first = first_rows(rows)
        sketches = zero["sketch"]
        if int(shared["round"]) == 1:
            sketches = np.stack([sketch(x[first]) for x in kind.axes(rows, scores)]) if kind.columns else sketches
        counts = {"rows": np.array(len(rows)), "patients": first.sum(), "unscored": np.array(unscored)}
        return {**kind.sums(shared["edges"], rows, scores), **counts, "sketch": sketches}, memory

    def apply(state: Tree, total: Tree) -> Tree:
        total = {name: np.asarray(x) for name, x in total.items()}
        total = {name: np.maximum(x, 0) if x.dtype.kind == "i" else x for name, x in total.items()}  # noise can make a count negative
        if int(state["round"]) == 1:
            return {**state, "round": np.array(2), "edges": kind.edges(total)}
        metrics: dict[str, Any] = {"task": np.array(TASKS.index(task))}
        if int(total["patients"]) >= KEPT:
            metrics |= {name: total[name] for name in ("rows", "patients", "unscored")} | kind.finish(state["edges"], total)
        watched: dict[str, Any] = {name: metrics[name]["value"] for name in ("auroc", "concordance") if name in metrics}
        watched |= {"r2": metrics["r2"]} if "r2" in metrics else {}
        return {**state, "round": np.array(3), "metrics": metrics, "progress": watched}

    def share(state: Tree) -> Tree:
        return {name: state[name] for name in ("round", "params", "edges") if name in state}  # no frame carries empty params

    def result(state: Tree) -> Tree:
        return dict(state.get("metrics", {"task": np.array(TASKS.index(task))}))

    return Algorithm(init, local, apply, done=lambda state: int(state["round"]) > 2, share=share, result=result, name="evaluate")


def kind_of(task: str, bins: int, classes: int, thresholds: Sequence[float]) -> Kind:
    """The sums that a task needs."""
    if task == "regression":
        return regression()
    if task == "survival":
        return survival(min(bins, TIMES))
    return classification(1 if task == "binary" else classes, bins, thresholds)


def held_out(table: Table) -> Table:
    """The rows kept for the final judgement."""
    return table.where(np.asarray(table["part"]) == 2) if "part" in table else table


def scored(task: str, score: Score, params: Tree, table: Table, classes: int = 2) -> tuple[Table, np.ndarray, int]:
    """The rows with a known outcome and a score, their scores (n,) or (n, k), and how many rows lack either."""
    if not len(table):
        return table, np.zeros((0, classes) if task == "multiclass" else 0), 0
    p = np.asarray(score(params, table), np.float64)
    if task == "multiclass":
        p = p.reshape(len(table), classes)
        good = np.isfinite(p).all(1)
    else:
        p = p.reshape(len(table), -1)[:, -1]  # of two columns the last is the chance of class 1
        good = ~np.isnan(p) if task == "survival" else np.isfinite(p)  # an endless hazard is still a rank
        p = np.clip(p, -1e300, 1e300)
    if task == "survival":
        good &= np.isfinite(table["time"]) & np.isin(table["event"], (0, 1))
    else:
        y = np.asarray(table["y"], np.float64)
        good &= np.isfinite(y) if task == "regression" else np.isin(y, np.arange(max(classes, 2)))
    return table.where(good), p[good], int((~good).sum())


def measure(task: str, table: Table, scores: np.ndarray) -> tuple[float, np.ndarray] | None:
    """The exact figure named in `METRICS` on one site's scored rows, and each row's influence on it.

    None where the rows cannot tell good from bad: one class only, a constant outcome, no two times to compare.

    >>> measure("multiclass", Table({"y": np.array([0.0, 1.0])}), np.array([[0.9, 0.1], [0.8, 0.2]]))[0]
    0.5
    """
    if task == "survival":
        value, influence = concordance(table["time"], table["event"], scores)
        return (value, influence) if influence.any() or comparable(table) else None
    y = np.asarray(table["y"], np.float64)
    n = len(y)
    if not n or (y == y[0]).all():
        return None
    if task == "binary":
        return auroc(y, scores)
    if task == "multiclass":
        hit = (scores.argmax(1) == y).astype(np.float64)
        return float(hit.mean()), (hit - hit.mean()) / np.sqrt(n * (n - 1))
    scale = float(np.abs(y).max())
    y, predicted = y / scale, np.clip(scores / scale, -1e150, 1e150)  # squares of anything a model may say stay finite
    error, spread = np.square(y - predicted), np.square(y - y.mean())
    r2 = 1 - float(error.sum() / spread.sum())
    return r2, -(error - (1 - r2) * spread) / spread.sum()


def comparable(table: Table) -> bool:
    """True if any patient had the event before another's time was up."""
    had = np.asarray(table["event"]) == 1
    if not had.any():
        return False
    first = np.asarray(table["time"])[had].min()
    return bool((table["time"] > first).any() or (~had & (table["time"] == first)).any())


def figure(found: Binned, pairs: int) -> dict[str, np.ndarray]:
    """A binned figure as leaves of a result."""
    low, high = interval(found.value, found.variance, pairs)
    return {name: np.array(x) for name, x in zip(("value", "low", "high", "error"), (found.value, low, high, found.error), strict=True)}


# Two classes or many: one column of probabilities, or one against the rest for each class ----------------------------------


def classification(columns: int, bins: int, thresholds: Sequence[float]) -> Kind:
    """AUROC, average precision, losses, calibration and confusion from outcomes counted per probability bin."""
    through = [float(x) for x in logit(np.array(thresholds))] if columns == 1 else []
    wide = np.zeros((columns, bins))
    zeros = {name: wide.astype(np.int64) for name in COUNTS} | {"chance": wide, "logits": wide, "losses": np.zeros(2), "right": np.array(0)}

    def axes(rows: Table, p: np.ndarray) -> np.ndarray:
        return logit(p.reshape(len(rows), columns).T)

    def local(edges: np.ndarray, rows: Table, p: np.ndarray) -> dict[str, Any]:
        y = np.asarray(rows["y"], np.float64) == (np.array([[1]]) if columns == 1 else np.arange(columns)[:, None])
        x, p, first = axes(rows, p), np.clip(p.reshape(len(rows), columns).T, 0, 1), first_rows(rows)
        found = {"positive": y, "negative": ~y, "known": np.broadcast_to(first, y.shape)}
        out: dict[str, Any] = {
            name: np.stack([tally(e, c[w]) for e, c, w in zip(edges, x, who, strict=True)]) for name, who in found.items()
        }
        for name, weights in (("chance", p), ("logits", x + REACH)):  # above zero: a sum that cancels would tell too small a range
            out[name] = np.stack([tally(e, c, w) for e, c, w in zip(edges, x, weights, strict=True)])
        chosen = p >= 0.5 if columns == 1 else np.arange(columns)[:, None] == p.argmax(0)
        sure = np.where(y, p, 1 - p if columns == 1 else 1)  # the probability given to what happened
        losses = np.array([np.square(p - y).sum(), -np.log(np.maximum(sure, np.finfo(np.float64).eps)).sum()])
        return out | {"losses": losses, "right": (chosen == y).all(0).sum()}

    def edges(total: Tree) -> np.ndarray:
        return np.stack([cut(counts, bins, through) for counts in total["sketch"]])

    def finish(edges: np.ndarray, total: Tree) -> dict[str, Any]:
        rows = int(total["rows"])
        out: dict[str, Any] = {"accuracy": total["right"] / rows, "brier": total["losses"][0] / rows, "log_loss": total["losses"][1] / rows}
        if columns == 1:
            return out | binary_figures(edges[0], {name: total[name][0] for name in zeros if total[name].ndim == 2}, thresholds)
        return out | one_against_rest(total)

    return Kind(zeros, axes, edges, local, finish, columns)


def one_against_rest(total: Tree) -> dict[str, Any]:
    """The mean over classes of each one's AUROC against all others, over the classes that anyone has."""
    found = []
    for positive, negative, known in zip(*(total[name] for name in COUNTS), strict=True):
        starts = merge(known)
        if positive.any() and negative.any():
            found.append(auroc_binned(np.add.reduceat(positive, starts), np.add.reduceat(negative, starts)))
    if not found:
        return {}
    mean = {name: np.array(np.mean([getattr(one, name) for one in found])) for name in ("value", "error")}
    return {"auroc": mean | {"classes": np.array(len(found))}}


def binary_figures(edges: np.ndarray, sums: Mapping[str, np.ndarray], thresholds: Sequence[float]) -> dict[str, Any]:
    """The figures of a binary score from its bins, after those with too few patients are merged."""
    starts = merge(sums["known"])
    positive, negative, chance, logits = (np.add.reduceat(sums[name], starts) for name in ("positive", "negative", "chance", "logits"))
    out: dict[str, Any] = {
        "positives": positive.sum(),
        "calibration": calibration(positive, negative, chance, logits - REACH * (positive + negative)),
    }
    if not positive.any() or not negative.any():
        return out
    out["auroc"] = figure(auroc_binned(positive, negative), int(min(positive.sum(), negative.sum())))
    precision, error = average_precision_binned(positive, negative)
    out["average_precision"] = {"value": np.array(precision), "error": np.array(error)}
    false, true = curve(positive, negative)
    out["roc"] = {"false_positive_rate": false, "true_positive_rate": true}
    if len(starts) > 1:  # each threshold asked for is answered at the nearest border that was kept, and says which
        borders = edges[starts[1:] - 1]
        nearest = np.abs(logit(np.array(thresholds))[:, None] - borders).argmin(1)
        used = (1 + np.tanh(borders[nearest] / 2)) / 2
        out["confusion"] = {"asked": np.array(thresholds, np.float64), "threshold": used} | confusion(positive, negative, nearest + 1)
    return out


# Numbers ---------------------------------------------------------------------------------------------------------------------


def regression() -> Kind:
    """R2, RMSE, MAE and calibration slope from moments: about zero in the first round, about the mean of `y` in the second.

    Moments about zero alone would lose the digits of a small spread around a large mean, such as sodium around 140.
    """
    zeros = {"outcome": np.zeros(2), "predicted": np.zeros(3), "errors": np.zeros(2)}  # apart: wild predictions spoil only their own

    def local(edges: np.ndarray, rows: Table, p: np.ndarray) -> dict[str, Any]:
        y, z = (np.clip(np.asarray(x, np.float64), -LARGEST, LARGEST) - edges[0] for x in (rows["y"], p))
        predicted = np.array([z.sum(), z @ z, y @ z])
        return {
            "outcome": np.array([y.sum(), y @ y]),
            "predicted": predicted,
            "errors": np.array([np.abs(y - z).sum(), np.square(y - z).sum()]),
        }

    def edges(total: Tree) -> np.ndarray:
        return np.array([float(total["outcome"][0]) / max(int(total["rows"]), 1)])

    def finish(edges: np.ndarray, total: Tree) -> dict[str, Any]:
        y, yy, z, zz, yz, gaps, squares = (float(x) / int(total["rows"]) for name in zeros for x in total[name])
        out = {"rmse": np.array(np.sqrt(max(squares, 0.0))), "mae": np.array(gaps), "bias": np.array(z - y)}
        if (spread := yy - y * y) > 1e-12 * float(edges[0]) ** 2:
            out["r2"] = np.array(1 - squares / spread)
        if (spread := zz - z * z) > 1e-12 * zz:
            out["slope"] = np.array((yz - y * z) / spread)
        return out

    return Kind(zeros, lambda rows, p: np.zeros((0, len(rows))), edges, local, finish, columns=0)


# Time until an event ---------------------------------------------------------------------------------------------------------


def survival(risks: int) -> Kind:
    """Concordance from events and censorings counted by time bin and risk bin; only the figure is kept, not the table."""
    table = np.zeros((TIMES, risks), np.int64)

    def axes(rows: Table, p: np.ndarray) -> np.ndarray:
        return np.stack([signed_log(np.asarray(rows["time"], np.float64)), signed_log(p)])

    def edges(total: Tree) -> np.ndarray:  # one array of both axes' edges: times, then risks
        return np.concatenate([cut(total["sketch"][0], TIMES), cut(total["sketch"][1], risks)])

    def local(known: np.ndarray, rows: Table, p: np.ndarray) -> dict[str, Any]:
        time, risk = axes(rows, p)
        cell = np.searchsorted(known[: TIMES - 1], time, side="right") * risks + np.searchsorted(known[TIMES - 1 :], risk, side="right")
        had = np.asarray(rows["event"]) == 1
        return {
            name: np.bincount(cell[who], minlength=table.size).reshape(table.shape) for name, who in (("events", had), ("censored", ~had))
        }

    def finish(known: np.ndarray, total: Tree) -> dict[str, Any]:
        found = concordance_binned(total["events"], total["censored"])
        events = total["events"].sum()
        out: dict[str, Any] = {"events": events}
        if found.error < 0.5:
            out["concordance"] = figure(found, max(int(events) // 2, 1))
        return out

    return Kind({"events": table, "censored": table}, axes, edges, local, finish, columns=2)
