"""The partial likelihood's derivatives, against differences of the plain formula."""

import numpy as np
import pytest

from collegium.algorithms.partial import Followed, backwards, curve, expected, forwards, outer, steps, summed

RNG = np.random.default_rng(3)
N, P = 60, 2
X, EVENT = RNG.normal(size=(N, P)), (RNG.random(N) < 0.7).astype(int)
SLOT = RNG.integers(0, 16, N)  # eight times in each of two strata
HOME = np.repeat([0, 1], 8)


def plain(b: np.ndarray, efron: bool, by: np.ndarray) -> float:
    """The log-likelihood, event by event; `by` interval weighs it."""
    total = 0.0
    for k in np.unique(SLOT[EVENT == 1]):
        tied = [at for at, (slot, had) in enumerate(zip(SLOT, EVENT, strict=True)) if slot == k and had]
        risk = sum(np.exp(x @ b) for x, slot in zip(X, SLOT, strict=True) if slot // 8 == k // 8 and slot >= k)
        mine = np.exp(X[tied] @ b).sum()
        for at in range(len(tied)):
            total -= by[k] * np.log(risk - (at / len(tied) * mine if efron else 0.0))
        total += by[k] * (X[tied] @ b).sum()
    return total


def ours(b: np.ndarray, efron: bool, scale: np.ndarray):
    weight, had = np.exp(X @ b), EVENT == 1
    sums = np.column_stack([weight, X * weight[:, None]])
    risk = backwards(summed(SLOT, sums, 16), HOME)
    deaths = summed(SLOT[had], sums[had], 16) if efron else None
    found = steps(risk[:, 0], None if deaths is None else deaths[:, 0], np.bincount(SLOT[had], minlength=16))
    d1 = None if deaths is None else deaths[:, 1:]
    gradient = X[had].sum(0) - expected(found, risk[:, 1:], d1, np.ones(16))
    rows = Followed(X, weight, EVENT, SLOT)
    bends = curve(rows, found.rise, found.tied, scale, HOME) - outer(found, risk[:, 1:], d1, scale)
    return (X[had] @ b).sum() - found.logs, gradient, bends


@pytest.mark.parametrize("efron", [True, False], ids=["Efron", "Breslow"])
def test_likelihood_gradient_and_information(efron: bool):
    b, scale, h = np.array([0.4, -0.3]), RNG.random(16), 1e-4
    value, gradient, bends = ours(b, efron, scale)
    assert value == pytest.approx(plain(b, efron, np.ones(16)), rel=1e-12)
    for j, e in enumerate(np.eye(P) * h):
        assert gradient[j] == pytest.approx((plain(b + e, efron, np.ones(16)) - plain(b - e, efron, np.ones(16))) / (2 * h), rel=1e-6)
        for power in range(3):
            by = scale**power
            for i, f in enumerate(np.eye(P) * h):
                corners = [plain(b + s * e + t * f, efron, by) for s, t in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
                second = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * h * h)
                assert bends[power][j, i] == pytest.approx(-second, rel=1e-4, abs=1e-4)


def test_sums_run_within_each_stratum():
    np.testing.assert_array_equal(backwards(np.arange(6.0), np.array([0, 0, 0, 1, 1, 1])), [3, 3, 2, 12, 9, 5])
    np.testing.assert_array_equal(forwards(np.arange(6.0), np.array([0, 0, 0, 1, 1, 1])), [0, 1, 3, 3, 7, 12])
    assert backwards(np.zeros(0), np.zeros(0, int)).shape == (0,)
