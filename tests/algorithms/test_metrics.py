"""Quality as sums against scikit-learn, lifelines and brute force; then the odd hospitals."""

import numpy as np
import pytest
from lifelines.utils import concordance_index
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, r2_score, roc_auc_score

from collegium import tree as T
from collegium.algorithms.bins import CELLS, GRID, PAST, cut, logit, merge, signed_log
from collegium.algorithms.concordance import concordance, concordance_binned
from collegium.algorithms.metrics import evaluate, measure
from collegium.algorithms.roc import auroc, auroc_binned, average_precision_binned, interval, variance
from collegium.simulation.local import simulate
from collegium.table import Table


def stored(params, table):
    return table["p"]


def binary(n, seed=0, gap=1.2, prevalence=0.3):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < prevalence).astype(float)
    return Table({"y": y, "p": 1 / (1 + np.exp(-(gap * y + rng.normal(size=n) - 1.5)))})


def survival(n, seed=0, scale=1000.0):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    event_at, censored_at = rng.exponential(scale * np.exp(-risk)), rng.exponential(2 * scale, n)
    return Table({"time": np.minimum(event_at, censored_at), "event": (event_at <= censored_at).astype(float), "p": risk})


def split(table, k):
    return {str(i): table.where(np.arange(i, len(table), k)) for i in range(k)}


def quality(task, sites, score=stored, params=None, **options):
    sites = sites if isinstance(sites, dict) else {"only": sites}
    return simulate(evaluate(task, score, **options), sites, given={"fit": {"params": params or {}}})


def brute_delong(y, *scores):
    """Placements by comparing every pair (DeLong 1988): values, covariance matrix."""
    kernels = [(s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0]) for s in scores]
    v10, v01 = np.array([k.mean(1) for k in kernels]), np.array([k.mean(0) for k in kernels])
    return v10.mean(1), np.atleast_2d(np.cov(v10)) / v10.shape[1] + np.atleast_2d(np.cov(v01)) / v01.shape[1]


# Exact figures of one site ---------------------------------------------------------------------------------------------------


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


def test_exact_figures_of_the_other_tasks():
    rng = np.random.default_rng(0)
    y, noise = rng.normal(50, 3, 400), rng.normal(0, 1, 400)
    t = Table({"y": y})
    value, influence = measure("regression", t, y + noise)
    assert value == pytest.approx(r2_score(y, y + noise))
    draws = [r2_score(y[i], (y + noise)[i]) for i in (rng.integers(0, 400, 400) for _ in range(300))]
    assert np.sqrt(variance(influence)) == pytest.approx(np.std(draws), rel=0.2)
    classes = Table({"y": rng.integers(0, 3, 50).astype(float)})
    value, influence = measure("multiclass", classes, np.eye(3)[rng.integers(0, 3, 50)])
    assert variance(influence) == pytest.approx(value * (1 - value) / 49)


@pytest.mark.parametrize(
    ("task", "table"),
    [
        ("binary", Table({"y": np.ones(20)})),
        ("binary", Table({"y": np.zeros(0)})),
        ("regression", Table({"y": np.full(20, 3.0)})),
        ("survival", Table({"time": np.arange(5.0), "event": np.zeros(5)})),
        ("survival", Table({"time": np.ones(5), "event": np.ones(5)})),
        ("survival", Table({"time": np.ones(1), "event": np.ones(1)})),
    ],
)
def test_rows_that_cannot_tell_good_from_bad_give_no_figure(task, table):
    assert measure(task, table, np.linspace(0.1, 0.9, len(table))) is None


def test_a_constant_risk_is_a_coin_toss_and_one_positive_has_a_wide_interval():
    assert measure("survival", survival(30), np.zeros(30))[0] == 0.5
    y = np.array([1.0, 0, 0, 0, 0])
    value, influence = auroc(y, np.array([0.5, 0.1, 0.2, 0.7, 0.3]))
    low, high = interval(value, variance(influence), 1)
    assert value == 0.75
    assert high - low > 0.5


# Binned figures --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [0.0, 1.2, 4.0])
def test_binned_auroc_is_within_its_error_of_exact(gap):
    t = binary(5000, gap=gap)
    found = quality("binary", split(t, 4))
    exact, influence = auroc(t["y"], t["p"])
    assert abs(float(found["auroc"]["value"]) - exact) <= min(float(found["auroc"]["error"]), 1e-3)
    assert float(found["auroc"]["error"]) < 3e-3
    assert [float(found["auroc"][end]) for end in ("low", "high")] == pytest.approx(interval(exact, variance(influence), 100), abs=2e-3)


def test_the_error_bound_holds_in_the_worst_order_inside_the_bins():
    y = np.tile([1, 1, 0, 0], 50)  # in each bin of four the positives come first
    found = auroc_binned(np.full(50, 2), np.full(50, 2))
    assert found.value - roc_auc_score(y, np.arange(200)) == pytest.approx(found.error)


def test_binary_figures_equal_scikit_learn():
    t = binary(4000)
    y, p = t["y"], t["p"]
    found = quality("binary", split(t, 3))
    assert float(found["brier"]) == pytest.approx(brier_score_loss(y, p), rel=1e-9)
    assert float(found["log_loss"]) == pytest.approx(log_loss(y, p), rel=1e-9)
    assert float(found["accuracy"]) == pytest.approx(((p >= 0.5) == y).mean())
    precision = found["average_precision"]
    assert abs(float(precision["value"]) - average_precision_score(y, p)) <= float(precision["error"])
    assert float(precision["value"]) == pytest.approx(average_precision_score(y, p), abs=5e-3)
    model = LogisticRegression(C=np.inf).fit(np.log(p / (1 - p))[:, None], y)
    assert float(found["calibration"]["slope"]) == pytest.approx(model.coef_[0, 0], rel=5e-3)
    assert found["calibration"]["rows"].sum() == 4000
    assert len(found["calibration"]["rows"]) == 10
    below = p < 0.5
    assert float(found["confusion"]["threshold"][2]) == pytest.approx(0.5)
    assert float(found["confusion"]["sensitivity"][2]) == pytest.approx((~below & (y == 1)).sum() / y.sum())
    assert float(found["confusion"]["npv"][2]) == pytest.approx((below & (y == 0)).sum() / below.sum())


def test_calibration_of_a_calibrated_and_of_an_overconfident_model():
    rng = np.random.default_rng(0)
    x = rng.normal(-1, 1.5, 20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-x))).astype(float)
    good = quality("binary", Table({"y": y, "p": 1 / (1 + np.exp(-x))}))["calibration"]
    assert abs(float(good["slope"]) - 1) < 3 * float(good["slope_error"])
    assert abs(float(good["intercept"])) < 3 * float(good["intercept_error"])
    np.testing.assert_allclose(good["predicted"], good["observed"], atol=0.03)
    bold = quality("binary", Table({"y": y, "p": 1 / (1 + np.exp(-2 * x - 1))}))["calibration"]
    assert float(bold["slope"]) == pytest.approx(0.5, abs=0.03)


def test_average_precision_bins_of_one_row_are_exact():
    t = binary(300)
    order = np.argsort(t["p"])
    y = t["y"][order].astype(int)
    value, error = average_precision_binned(y, 1 - y)
    assert (value, error) == (pytest.approx(average_precision_score(t["y"], t["p"])), 0.0)


def test_multiclass_equals_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 3000)
    p = rng.dirichlet(np.ones(3), 3000) + np.eye(3)[y] * 0.3
    p /= p.sum(1, keepdims=True)
    found = quality("multiclass", split(Table({"y": y.astype(float), "p": p}), 3), classes=3)
    assert float(found["accuracy"]) == pytest.approx((p.argmax(1) == y).mean())
    assert float(found["log_loss"]) == pytest.approx(log_loss(y, p), rel=1e-9)
    exact = roc_auc_score(y, p, multi_class="ovr")
    assert abs(float(found["auroc"]["value"]) - exact) <= min(float(found["auroc"]["error"]), 1e-3)


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (140.0, 0.5), (1e6, 1e5), (1e-3, 1e-4)])
def test_regression_equals_scikit_learn_at_any_scale(mean, spread):
    rng = np.random.default_rng(0)
    y = rng.normal(mean, spread, 900)
    p = y + rng.normal(0, spread / 2, 900)
    found = quality("regression", split(Table({"y": y, "p": p}), 3))
    assert float(found["r2"]) == pytest.approx(r2_score(y, p), rel=1e-6)
    assert float(found["rmse"]) == pytest.approx(np.sqrt(np.square(y - p).mean()), rel=1e-6)
    assert float(found["mae"]) == pytest.approx(np.abs(y - p).mean(), rel=1e-6)
    assert float(found["slope"]) == pytest.approx(np.polyfit(p, y, 1)[0], rel=1e-5)


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


# Intervals -------------------------------------------------------------------------------------------------------------------


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


# The odd hospitals -----------------------------------------------------------------------------------------------------------

TASKS = {
    "binary": lambda n: binary(n),
    "multiclass": lambda n: Table({"y": np.arange(n) % 3.0, "p": np.random.default_rng(0).dirichlet(np.ones(3), n)}),
    "regression": lambda n: Table({"y": np.linspace(1, 9, n), "p": np.linspace(2, 8, n)}),
    "survival": lambda n: survival(n),
}


@pytest.mark.parametrize("task", TASKS)
def test_sites_together_equal_all_rows_in_one_place(task):
    t = TASKS[task](600)
    one, many = quality(task, t, classes=3), quality(task, split(t, 3) | {"empty": t.where(np.zeros(0, int))}, classes=3)
    assert T.flatten(one).keys() == T.flatten(many).keys()
    for name, leaf in T.flatten(one).items():
        np.testing.assert_allclose(T.flatten(many)[name], leaf, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n", [0, 1, 9])
def test_fewer_than_ten_patients_leave_no_figure(task, n):
    assert set(quality(task, TASKS[task](n), classes=3)) == {"task"}


@pytest.mark.parametrize("task", TASKS)
def test_an_empty_site_adds_zeros_and_is_not_scored(task):
    algorithm = evaluate(task, lambda params, table: 1 / 0, classes=3)
    update, _ = algorithm.local(algorithm.share(algorithm.init({"fit": {"params": {}}})), TASKS[task](0), {})
    assert not any(np.any(leaf) for leaf in T.flatten(update).values())
    assert {leaf.dtype.name for leaf in T.flatten(update).values()} <= {"int64", "float64"}


def test_only_held_out_rows_are_judged():
    t = binary(300)
    part = np.arange(300) % 3
    worse = t.with_columns(part=part, p=np.where(part == 2, t["p"], t["y"]))
    assert int(quality("binary", worse)["rows"]) == 100
    assert float(quality("binary", worse)["auroc"]["value"]) == float(quality("binary", t.where(part == 2))["auroc"]["value"])


def test_one_class_has_no_auroc_but_a_calibration_curve():
    found = quality("binary", Table({"y": np.zeros(40), "p": np.linspace(0.1, 0.9, 40)}))
    assert "auroc" not in found
    assert int(found["positives"]) == 0
    assert found["calibration"]["observed"].tolist() == [0.0] * len(found["calibration"]["rows"])


def test_a_constant_score_is_a_coin_toss_whose_error_says_that_nothing_is_known():
    found = quality("binary", Table({"y": np.arange(100) % 2.0, "p": np.full(100, 0.3)}))
    assert {name: float(x) for name, x in found["auroc"].items()} == {"value": 0.5, "low": 0.5, "high": 0.5, "error": 0.5}
    assert "slope" not in found["calibration"]


@pytest.mark.parametrize("task", ["regression", "survival", "binary"])
def test_huge_and_missing_scores(task):
    t = TASKS[task](200)
    p = t["p"].copy()
    p[:3] = [1e308, -1e308, np.nan]
    p[3] = np.inf
    found = quality(task, t.with_columns(p=p))
    assert int(found["unscored"]) == (1 if task == "survival" else 2)
    assert all(np.isfinite(leaf).all() for leaf in T.flatten(found).values())


def test_a_missing_outcome_is_left_out_and_counted():
    t = binary(100)
    y = t["y"].copy()
    y[:7] = np.nan
    found = quality("binary", t.with_columns(y=y))
    assert (int(found["rows"]), int(found["unscored"])) == (93, 7)


def test_a_patient_with_many_rows_counts_once_towards_a_bin():
    t = binary(2000)
    found = quality("binary", Table(t.columns, patient=np.arange(2000) % 50))
    assert int(found["patients"]) == 50
    assert len(found["roc"]["true_positive_rate"]) <= 5 + 1


def test_bins_hold_enough_patients():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.05, CELLS)
    edges = cut(counts, 64)
    held = np.add.reduceat(counts, np.concatenate([[0], np.searchsorted(GRID, edges[edges < PAST])]))
    assert held.min() >= 20
    patients = rng.integers(0, 15, 100)
    starts = merge(patients)
    assert np.add.reduceat(patients, starts).min() >= 10
    assert np.isin(float(logit(np.array(0.5))), cut(np.full(CELLS, 1), 64, [0.0]))
    assert (np.diff(signed_log(np.array([-1e308, -5.0, -1e-4, 0.0, 1e-4, 1.0, 1e6]))) > 0).all()


def test_noise_below_zero_does_no_harm():
    algorithm = evaluate("binary", stored)
    state = algorithm.init({"fit": {"params": {}}})
    for seed in range(2):
        rng = np.random.default_rng(seed)
        update, _ = algorithm.local(algorithm.share(state), binary(500), {})
        state = algorithm.apply(state, T.map(lambda x, rng=rng: x + rng.integers(-3, 4, np.shape(x)), update))
    assert 0.5 < float(algorithm.result(state)["auroc"]["value"]) <= 1


def test_a_random_forest_of_many_classes_stays_small_enough_to_look_at():
    update, _ = (a := evaluate("multiclass", stored, classes=40)).local(
        a.share(a.init({"fit": {"params": {}}})), TASKS["multiclass"](0), {}
    )
    assert update["sketch"].size > T.BLOCK  # decoded lazily by the engine: `apply` must not index a leaf that is not in memory
    t = Table({"y": np.arange(400) % 40.0, "p": np.random.default_rng(0).dirichlet(np.ones(40), 400)})
    assert int(quality("multiclass", t, classes=40)["auroc"]["classes"]) == 40
