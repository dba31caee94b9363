"""Curves, medians, means and the log-rank test: lifelines' on the shared grid, and no step about a few patients."""

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test
from lifelines.utils import median_survival_times, restricted_mean_survival_time

from collegium.algorithms.survival import NEVER, survival
from collegium.simulation.local import simulate
from collegium.table import Table
from tests.laws.examples import cut
from tests.laws.examples_survival import ARMS, CELLS, followed

ROWS = followed(np.random.default_rng(0), 400)
TRAIN = ROWS.where(np.asarray(ROWS["part"]) == 0)


def found(*, fewest: int = 1, groups=ARMS, table=ROWS, sites: int = 4, **more):
    return simulate(survival(CELLS, groups=groups, fewest=fewest, **more), cut(table, sites, np.random.default_rng(1)))


def fitted(arm: str) -> tuple[KaplanMeierFitter, Table]:
    mine = TRAIN.where(np.asarray(TRAIN["stratum"]) == arm)
    return KaplanMeierFitter().fit(mine["time"], mine["event"]), mine


@pytest.mark.parametrize("at", [0, 1])
def test_curves_with_limits_are_lifelines(at: int):
    all_of_it = found()
    want, mine = fitted(ARMS[at])
    here = all_of_it["group"] == at
    times = all_of_it["time"][here]
    assert set(times) == set(np.unique(np.asarray(mine["time"])[np.asarray(mine["event"]) == 1]))
    np.testing.assert_allclose(all_of_it["survival"][here], want.survival_function_at_times(times), rtol=1e-12)
    limits = want.confidence_interval_.loc[times]
    inside = (all_of_it["survival"][here] > 0) & (all_of_it["survival"][here] < 1)
    np.testing.assert_allclose(all_of_it["low"][here][inside], limits.iloc[:, 0][inside], rtol=1e-9)
    np.testing.assert_allclose(all_of_it["high"][here][inside], limits.iloc[:, 1][inside], rtol=1e-9)
    assert all_of_it["at_risk"][here].tolist() == [int((np.asarray(mine["time"]) >= t).sum()) for t in times]
    assert int(all_of_it["n"][at]) == len(mine)


@pytest.mark.parametrize("at", [0, 1])
def test_medians_and_restricted_means_are_lifelines(at: int):
    all_of_it = found(horizon=12.0)
    want, _ = fitted(ARMS[at])
    assert all_of_it["median"][at] == want.median_survival_time_
    limits = median_survival_times(want.confidence_interval_).iloc[0]
    got = [all_of_it[name][at] for name in ("median_low", "median_high")]
    assert sorted(got) == sorted(limits.to_numpy())
    assert all_of_it["mean"][at] == pytest.approx(restricted_mean_survival_time(want, t=12.0), rel=1e-9)
    # Greenwood's: each event's share of what is left of the area
    steps, se = want.survival_function_.iloc[:, 0], 0.0
    table = want.event_table
    for t, d, r in zip(table.index, table["observed"], table["at_risk"], strict=True):
        if d and t <= 12 and r > d:
            edges = np.append(steps.index[(steps.index > t) & (steps.index < 12)], 12)
            area = sum(steps[steps.index <= a].iloc[-1] * (b - a) for a, b in zip([t, *edges[:-1]], edges, strict=True))
            se += area**2 * d / (r * (r - d))
    assert all_of_it["mean_se"][at] == pytest.approx(np.sqrt(se), rel=1e-9)


def test_the_log_rank_test_is_lifelines():
    want = multivariate_logrank_test(TRAIN["time"], TRAIN["stratum"], TRAIN["event"])
    got = found()["logrank"]
    assert float(got["chi2"]) == pytest.approx(want.test_statistic, rel=1e-9)
    assert float(got["p"]) == pytest.approx(want.p_value, rel=1e-9)


def test_three_groups_and_an_empty_one():
    rng = np.random.default_rng(2)
    levels = ("a", "b", "c", "nobody")
    table = ROWS.with_columns(stratum=rng.choice(np.array(levels[:3]), len(ROWS)))
    mine = table.where(np.asarray(table["part"]) == 0)
    got = found(table=table, groups=levels)
    want = multivariate_logrank_test(mine["time"], mine["stratum"], mine["event"])
    assert float(got["logrank"]["chi2"]) == pytest.approx(want.test_statistic, rel=1e-9)
    assert got["n"].tolist()[3] == 0
    assert got["median"][3] == NEVER


def test_stratified_by_site_it_compares_within_sites():
    sites = cut(ROWS, 3, np.random.default_rng(1))
    got = simulate(survival(CELLS, groups=ARMS), sites)["stratified"]
    score = variance = 0.0
    for part in sites.values():
        mine = part.where(np.asarray(part["part"]) == 0)
        frame = pd.DataFrame({name: np.asarray(mine[name]) for name in ("time", "event", "stratum")})
        for t in np.unique(frame["time"][frame["event"] == 1]):
            risk, had = frame[frame["time"] >= t], frame[(frame["time"] == t) & (frame["event"] == 1)]
            n, n1, d, d1 = len(risk), (risk["stratum"] == "drug").sum(), len(had), (had["stratum"] == "drug").sum()
            score += d1 - d * n1 / n
            variance += d * n1 / n * (1 - n1 / n) * (n - d) / max(n - 1, 1)
    assert float(got["chi2"]) == pytest.approx(score**2 / variance, rel=1e-9)


@pytest.mark.parametrize("fewest", [5, 10, 20])
def test_no_point_is_about_a_few(fewest: int):
    got, whole = found(fewest=fewest), found()
    assert (got["at_risk"] >= fewest).all()
    for at in range(2):
        here = got["group"] == at
        gone = got["n"][at] - got["at_risk"][here]
        assert (np.diff(gone) >= fewest).all()
        exact = dict(zip(whole["time"][whole["group"] == at], whole["survival"][whole["group"] == at], strict=True))
        np.testing.assert_allclose(got["survival"][here], [exact[t] for t in got["time"][here]])  # fewer points, the same curve


def test_a_handful_has_no_curve():
    few = ROWS.where(np.arange(8))
    got = found(table=few, groups=(), fewest=10, sites=2)
    assert len(got["time"]) == 0
    assert float(got["median"][0]) == NEVER
    assert float(got["horizon"]) == 0.0
    assert "logrank" not in got
