"""Whether predicted risks come true: calibration curve, intercept and slope from sums over score bins."""

from typing import Any

import numpy as np

GROUPS = 10


def calibration(positive: np.ndarray, negative: np.ndarray, chance: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """The calibration curve in at most ten groups, calibration in the large, and the slope (Cox 1958; Van Calster 2016).

    `chance` and `logits` are the sums of predicted probabilities and their logits per bin, lowest bin first. Intercept and
    slope come from a binned logistic regression: Newton steps on the bins' mean logits, no further round. Good is 0 and 1;
    a slope below 1 says that predictions are too extreme. Both are left out where the data do not determine them.

    >>> x = np.array([-1.0, 0.0, 1.0]); p = 1 / (1 + np.exp(-x))
    >>> found = calibration(1000 * p, 1000 * (1 - p), 1000 * p, 1000 * x)
    >>> round(float(found["slope"]), 6), round(abs(float(found["intercept"])), 6)
    (1.0, 0.0)
    """
    rows = positive + negative
    middle = (np.cumsum(rows) - rows / 2) / max(float(rows.sum()), 1.0)
    starts = np.unique((middle * GROUPS).astype(int), return_index=True)[1]  # whole bins only, so that no group is small
    held = np.maximum(np.add.reduceat(rows, starts), 1)
    out: dict[str, Any] = {
        "predicted": np.add.reduceat(chance, starts) / held,
        "observed": np.add.reduceat(positive, starts) / held,
        "rows": held.astype(np.int64),
    }
    if not positive.sum() or not negative.sum():
        return out
    full = rows > 0
    x, y, n = logits[full] / rows[full], positive[full].astype(np.float64), rows[full].astype(np.float64)
    for name, design, offset in (("intercept", np.ones((len(x), 1)), x), ("slope", np.stack([np.ones_like(x), x], 1), 0 * x)):
        if (fit := logistic(design, y, n, offset)) is not None:
            out[name], out[name + "_error"] = np.array(fit[0][-1]), np.array(fit[1][-1])
    return out


def logistic(x: np.ndarray, y: np.ndarray, n: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Coefficients and standard errors of `y` of `n` on `x`; None where no finite, unique answer exists."""
    beta = np.zeros(x.shape[1])
    hessian = np.eye(len(beta))
    for _ in range(50):
        p = (1 + np.tanh((x @ beta + offset) / 2)) / 2
        hessian = (x.T * (n * p * (1 - p))) @ x
        if np.linalg.eigvalsh(hessian)[0] < 1e-9 * max(1.0, float(np.trace(hessian))):
            return None
        step = np.linalg.solve(hessian, x.T @ (y - n * p))
        beta = beta + step * min(1.0, 5 / (float(np.abs(step).max()) + 1e-300))  # no step longer than 5 on the logit scale
        if np.abs(step).max() < 1e-10:
            return beta, np.sqrt(np.diag(np.linalg.inv(hessian)))
    return None
