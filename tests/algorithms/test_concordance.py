"""Concordance against lifelines, brute force, the jackknife and a bootstrap."""

import numpy as np
import pytest
from lifelines.utils import concordance_index

from collegium.algorithms.concordance import concordance, concordance_binned
from collegium.algorithms.metrics import measure
from collegium.algorithms.roc import variance
from collegium.table import Table
from tests.algorithms.cohorts import quality, split, survival


def brute_concordance(time, event, risk):
    agree = pairs = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
                pairs += 1
                agree += (risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j])
    return agree / pairs


@pytest.mark.parametrize("decimals", [8, 0])
def test_concordance_equals_lifelines_and_brute_force(decimals):
    t = survival(120, scale=5.0)
    time, risk = t["time"].round(decimals), t["p"].round(decimals)
    value, influence = concordance(time, t["event"], risk)
    assert value == pytest.approx(concordance_index(time, -risk, t["event"]), abs=1e-12)
    assert value == pytest.approx(brute_concordance(time, t["event"], risk), abs=1e-12)
    without = [concordance(*(np.delete(x, i) for x in (time, t["event"], risk)))[0] for i in range(120)]
    jackknife = 119 / 120 * np.square(np.array(without) - np.mean(without)).sum()
    assert variance(influence) == pytest.approx(jackknife, rel=0.1)


def test_concordance_variance_agrees_with_a_bootstrap():
    t, rng = survival(250, 3), np.random.default_rng(0)
    draws = []
    for _ in range(200):
        rows = t.where(rng.integers(0, 250, 250))
        draws.append(concordance(rows["time"], rows["event"], rows["p"])[0])
    assert np.sqrt(variance(measure("survival", t, t["p"])[1])) == pytest.approx(np.std(draws), rel=0.2)


def test_concordance_by_bins_is_within_its_error_of_exact():
    t = survival(3000)
    found = quality("survival", split(t, 3))["concordance"]
    exact = concordance_index(t["time"], -t["p"], t["event"])
    assert abs(float(found["value"]) - exact) < min(float(found["error"]), 3e-3)
    assert float(found["error"]) < 0.03
    _, influence = measure("survival", t, t["p"])
    assert float(found["high"] - found["low"]) == pytest.approx(4 * np.sqrt(variance(influence)), rel=0.1)


def test_concordance_error_bound_holds_in_the_worst_case():
    events = np.array([[0, 0, 2], [0, 2, 0], [2, 0, 0]])  # every pair apart in time agrees; each pair within a time may not
    found = concordance_binned(events, np.zeros((3, 3)))
    assert found.value == 1.0
    assert found.error == pytest.approx(1 - 12 / 15)


def test_bins_without_a_pair_to_compare_know_nothing():
    assert concordance_binned(np.zeros((2, 2)), np.ones((2, 2))) == (0.5, 0.0, 0.5)
    assert "concordance" not in quality("survival", Table({"time": np.arange(50.0), "event": np.zeros(50), "p": np.arange(50.0)}))
