"""What boosted trees follow downhill: each row's gradient and hessian of a loss, and where the sum of trees begins.

Binary: logistic loss. Multi-class: softmax; the hessian is 2 p (1 - p), an upper bound that keeps steps safe where classes pull
at each other. Regression: half the squared error, of an outcome with mean 0 and spread 1. Survival: the partial likelihood of Cox
(1972) with Breslow's ties, times grouped into common intervals; a patient's gradient needs what all hospitals' patients at risk
add up to, so each step begins with a round that sums exp(margin) and events by interval.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from collegium.errors import RunError
from collegium.table import Table

Pair = tuple[np.ndarray, np.ndarray]
STEEPEST = 512.0  # a gradient or a loss beyond it counts as it: its sum must stay a whole number that a float holds
HIGHEST = 9.0  # a survival margin's exponent: patients beyond it count as at risk as one e^9 times the mean
INTERVALS = 128  # times of a survival outcome, at most


class Loss(NamedTuple):
    """What differs between the tasks. Margins are (rows, outputs); `hazard` (intervals, 2) is used by survival only."""

    outputs: int
    known: Callable[[Table], np.ndarray]  # (rows,) bool: an outcome to learn from
    counted: Callable[[Table], np.ndarray]  # (rows, outputs): what is averaged to begin with
    begin: Callable[[np.ndarray, int], np.ndarray]  # (sums of it, rows) -> margins to begin with; raises `RunError`
    slopes: Callable[[Table, np.ndarray, np.ndarray], Pair]  # (rows, margins, hazard) -> gradients, hessians
    value: Callable[[Table, np.ndarray, np.ndarray], np.ndarray]  # the loss of each row
    timed: bool = False  # each step begins with a round that sums who is at risk


def outcome(table: Table) -> np.ndarray:
    """The outcome as numbers."""
    return np.asarray(table["y"], np.float64)


def loss_of(task: str, classes: int = 2) -> Loss:
    """The loss of a task: binary, multiclass, regression or survival."""
    return {"binary": binary, "multiclass": lambda: softmax(classes), "regression": squares, "survival": cox}[task]()


def same(rows: int) -> RunError:
    """Nothing to learn."""
    return RunError(f"all {rows} rows have the same outcome, so nothing can be learned", hint="check the outcome's definition")


def nobody() -> RunError:
    """Nobody to learn from."""
    return RunError("no site has a training row with a known outcome", hint="check the outcome's mapping and the cohort")


def sigmoid(x: np.ndarray) -> np.ndarray:
    """A probability from log odds."""
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def binary() -> Loss:
    """Logistic loss of 0 and 1."""

    def begin(sums: np.ndarray, rows: int) -> np.ndarray:
        if not rows:
            raise nobody()
        if not 0 < sums[0] < rows:
            raise same(rows)
        return np.asarray(np.log(sums / (rows - sums)))

    def slopes(table: Table, margin: np.ndarray, hazard: np.ndarray) -> Pair:
        p = sigmoid(margin)
        return p - outcome(table)[:, None], p * (1 - p)

    def value(table: Table, margin: np.ndarray, hazard: np.ndarray) -> np.ndarray:
        return np.asarray(np.logaddexp(0, margin[:, 0]) - outcome(table) * margin[:, 0])

    return Loss(1, lambda t: np.isin(outcome(t), (0, 1)), lambda t: outcome(t)[:, None], begin, slopes, value)


def softmax(classes: int) -> Loss:
    """Cross entropy of a class among several."""

    def chosen(table: Table) -> np.ndarray:
        return np.asarray(outcome(table)[:, None] == np.arange(classes))

    def begin(sums: np.ndarray, rows: int) -> np.ndarray:
        if not rows:
            raise nobody()
        if (sums > 0).sum() < 2:
            raise same(rows)
        return np.asarray(np.log(np.maximum(sums, 0.5) / rows))

    def chances(margin: np.ndarray) -> np.ndarray:
        odds = np.exp(margin - margin.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def slopes(table: Table, margin: np.ndarray, hazard: np.ndarray) -> Pair:
        p = chances(margin)
        return p - chosen(table), 2 * p * (1 - p)

    def value(table: Table, margin: np.ndarray, hazard: np.ndarray) -> np.ndarray:
        return np.asarray(-np.log(np.maximum(np.where(chosen(table), chances(margin), 0).sum(1), 1e-30)))

    return Loss(classes, lambda t: np.isin(outcome(t), np.arange(classes)), chosen, begin, slopes, value)


def squares() -> Loss:
    """Half the squared error."""

    def begin(sums: np.ndarray, rows: int) -> np.ndarray:
        if not rows:
            raise nobody()
        return sums / rows

    def slopes(table: Table, margin: np.ndarray, hazard: np.ndarray) -> Pair:
        return margin - outcome(table)[:, None], np.ones_like(margin)

    def value(table: Table, margin: np.ndarray, hazard: np.ndarray) -> np.ndarray:
        return np.asarray(np.minimum(0.5 * (margin[:, 0] - outcome(table)) ** 2, STEEPEST))

    return Loss(1, lambda t: np.isfinite(outcome(t)), lambda t: outcome(t)[:, None], begin, slopes, value)


def cox() -> Loss:
    """Minus the partial log-likelihood, given the summed hazard up to each row's interval `when` (Breslow)."""

    def begin(sums: np.ndarray, rows: int) -> np.ndarray:
        if not rows:
            raise nobody()
        if not sums[0]:
            raise RunError(f"none of the {rows} rows has an event, so nothing can be learned", hint="check the event's definition")
        return np.zeros(1)

    def events(table: Table) -> np.ndarray:
        return np.asarray(table["event"], np.float64)

    def slopes(table: Table, margin: np.ndarray, hazard: np.ndarray) -> Pair:
        risk, until = at_risk(margin[:, 0]), hazard[table["when"]]
        gradient = risk * until[:, 0] - events(table)
        return gradient[:, None], np.maximum(risk * until[:, 0] - risk**2 * until[:, 1], 0)[:, None]

    def value(table: Table, margin: np.ndarray, hazard: np.ndarray) -> np.ndarray:
        held = np.clip(margin[:, 0], -HIGHEST, HIGHEST)  # of the training patients' hazard: above nought whatever the margin
        return np.asarray(np.clip(at_risk(held) * hazard[table["when"], 0] - events(table) * held + HIGHEST, 0, STEEPEST))

    return Loss(
        1, lambda t: np.isfinite(t["time"]) & np.isin(t["event"], (0, 1)), lambda t: events(t)[:, None], begin, slopes, value, timed=True
    )


def at_risk(margin: np.ndarray) -> np.ndarray:
    """How much a patient counts among those at risk."""
    return np.asarray(np.exp(np.clip(margin, -HIGHEST, HIGHEST)))


def summed_hazard(risk: np.ndarray, events: np.ndarray) -> np.ndarray:
    """(intervals, 2): the events up to each interval, divided by all that is at risk in theirs, and by its square.

    >>> summed_hazard(np.array([1.0, 1.0, 2.0]), np.array([1, 0, 1]))[:, 0]
    array([0.25, 0.25, 0.75])
    """
    whole = np.maximum(risk[::-1].cumsum()[::-1], 1e-9)
    return np.stack([(events / whole).cumsum(), (events / whole**2).cumsum()], axis=1)
