"""Gradients and hessians against differences of the loss, and hazards against the partial likelihood written out."""

import numpy as np
import pytest

from collegium.algorithms.losses import at_risk, loss_of, summed_hazard
from collegium.errors import RunError
from collegium.table import Table

ROWS = 60
RNG = np.random.default_rng(4)
WHEN = RNG.integers(0, 20, ROWS)
TABLE = {
    "binary": Table({"y": (RNG.random(ROWS) < 0.4).astype(float)}),
    "multiclass": Table({"y": RNG.integers(0, 3, ROWS).astype(float)}),
    "regression": Table({"y": RNG.normal(size=ROWS)}),
    "survival": Table({"time": WHEN + 0.5, "event": (RNG.random(ROWS) < 0.6).astype(float), "when": WHEN}),
}


def hazard_of(margin: np.ndarray) -> np.ndarray:
    risk = np.bincount(WHEN, at_risk(margin[:, 0]), 20)
    return summed_hazard(risk, np.bincount(WHEN, TABLE["survival"]["event"], 20))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_gradients_are_the_slope_of_the_loss(task: str):
    loss, table = loss_of(task, 3), TABLE[task]
    margin, none = RNG.normal(size=(ROWS, loss.outputs)), np.zeros((1, 2))
    gradient, hessian = loss.slopes(table, margin, none)
    for output in range(loss.outputs):
        step = np.zeros_like(margin)
        step[:, output] = 1e-5
        up, down = (loss.value(table, margin + s * step, none) for s in (1, -1))
        np.testing.assert_allclose(gradient[:, output], (up - down) / 2e-5, atol=1e-6)
        bend = (loss.slopes(table, margin + step, none)[0] - loss.slopes(table, margin - step, none)[0])[:, output] / 2e-5
        np.testing.assert_allclose(hessian[:, output], 2 * bend if task == "multiclass" else bend, atol=1e-6)


def partial(margin: np.ndarray) -> float:
    """Minus Breslow's partial log-likelihood, written out."""
    event, out = TABLE["survival"]["event"], 0.0
    for i in np.flatnonzero(event).tolist():
        out -= margin[i, 0] - np.log(np.exp(margin[WHEN[i] <= WHEN, 0]).sum())
    return out


def test_survival_gradients_are_the_slope_of_the_partial_likelihood():
    margin = RNG.normal(size=(ROWS, 1))
    gradient, hessian = loss_of("survival").slopes(TABLE["survival"], margin, hazard_of(margin))
    for row in range(0, ROWS, 7):
        step = np.zeros_like(margin)
        step[row] = 1e-4
        up, down, here = partial(margin + step), partial(margin - step), partial(margin)
        assert gradient[row, 0] == pytest.approx((up - down) / 2e-4, abs=1e-5)
        assert hessian[row, 0] == pytest.approx((up - 2 * here + down) / 1e-8, abs=1e-3)


@pytest.mark.parametrize("task", ["binary", "multiclass", "survival"])
def test_one_outcome_only_is_refused_and_so_is_nobody(task: str):
    loss = loss_of(task, 3)
    only = np.eye(loss.outputs)[0] * (0 if task == "survival" else 50)
    with pytest.raises(RunError, match="nothing can be learned"):
        loss.begin(only, 50)
    with pytest.raises(RunError, match="no site has a training row"):
        loss.begin(np.zeros(loss.outputs), 0)


def test_a_sum_begins_from_what_is_usual():
    assert loss_of("binary").begin(np.array([20.0]), 80)[0] == pytest.approx(np.log(20 / 60))
    assert np.exp(loss_of("multiclass", 3).begin(np.array([10.0, 30.0, 0.0]), 40)[:2]).tolist() == pytest.approx([0.25, 0.75])
    assert loss_of("regression").begin(np.array([5.0]), 10)[0] == 0.5
