"""AUROC, its interval and average precision against scikit-learn and brute force."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from collegium.algorithms.bins import GRID, cut, logit
from collegium.algorithms.roc import auroc, auroc_binned, average_precision_binned, interval, variance
from tests.algorithms.cohorts import binary


def brute_delong(y, *scores):
    """Placements by comparing every pair (DeLong 1988): values, covariance matrix."""
    kernels = [(s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0]) for s in scores]
    v10, v01 = np.array([k.mean(1) for k in kernels]), np.array([k.mean(0) for k in kernels])
    return v10.mean(1), np.atleast_2d(np.cov(v10)) / v10.shape[1] + np.atleast_2d(np.cov(v01)) / v01.shape[1]


@pytest.mark.parametrize("decimals", [16, 1])
def test_auroc_and_delong_equal_brute_force_with_ties(decimals):
    t = binary(300)
    a, b = t["p"].round(decimals), np.random.default_rng(1).random(300).round(decimals)
    values, covariance = brute_delong(t["y"], a, b)
    (one, i), (two, j) = auroc(t["y"], a), auroc(t["y"], b)
    assert one == pytest.approx(roc_auc_score(t["y"], a), abs=1e-12)
    np.testing.assert_allclose([one, two], values)
    np.testing.assert_allclose(
        [variance(i), variance(j), variance(i - j)], [*np.diag(covariance), covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]]
    )


def test_rows_of_one_patient_count_once():
    t = binary(200)
    twice = np.repeat(np.arange(200), 2)
    value, influence = auroc(t["y"][twice], t["p"][twice])
    once, single = auroc(t["y"], t["p"])
    assert value == pytest.approx(once)
    assert variance(influence, twice) == pytest.approx(variance(single), rel=0.02)
    assert variance(influence) < 0.6 * variance(single)


def test_the_error_bound_holds_in_the_worst_order_inside_the_bins():
    y = np.tile([1, 1, 0, 0], 50)  # in each bin of four the positives come first
    found = auroc_binned(np.full(50, 2), np.full(50, 2))
    assert found.value - roc_auc_score(y, np.arange(200)) == pytest.approx(found.error)


def test_average_precision_bins_of_one_row_are_exact():
    t = binary(300)
    order = np.argsort(t["p"])
    y = t["y"][order].astype(int)
    value, error = average_precision_binned(y, 1 - y)
    assert (value, error) == (pytest.approx(average_precision_score(t["y"], t["p"])), 0.0)


@pytest.mark.parametrize(("n", "gap"), [(60, 1.0), (150, 2.5)])
def test_auroc_intervals_cover_the_truth(n, gap):
    big = binary(40_000, 99, gap)
    truth, covered, binned = auroc(big["y"], big["p"])[0], 0, 0
    for seed in range(300):
        t = binary(n, seed, gap)
        value, influence = auroc(t["y"], t["p"])
        low, high = interval(value, variance(influence), int(min(t["y"].sum(), n - t["y"].sum())))
        covered += low <= truth <= high
        edges = cut(np.histogram(logit(t["p"]), GRID)[0], 256)
        b = np.searchsorted(edges, logit(t["p"]), side="right")
        found = auroc_binned(*(np.bincount(b[t["y"] == k], minlength=256) for k in (1, 0)))
        low, high = interval(found.value, found.variance, 1)
        binned += low - found.error <= truth <= high + found.error
    assert 0.92 <= covered / 300 <= 0.99
    assert binned / 300 >= 0.92


def test_intervals_at_the_edge_stay_inside_and_grow_narrower():
    assert interval(1.0, 0.0, 10)[0] < interval(1.0, 0.0, 100)[0] < 1.0 == interval(1.0, 0.0, 100)[1]
    assert interval(0.0, 0.0, 100) == pytest.approx((0.0, 0.0362), abs=1e-4)
    assert interval(0.5, 0.0, 10) == (0.5, 0.5)
    assert interval(0.99, 4.0, 3) == pytest.approx((0.0, 1.0))
