"""Quality as sums against scikit-learn; then the odd hospitals."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, r2_score, roc_auc_score

from collegium import tree as T
from collegium.algorithms.metrics import evaluate, measure
from collegium.algorithms.roc import auroc, interval, variance
from collegium.table import Table
from tests.algorithms.cohorts import TASKS, binary, quality, split, stored, survival


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


@pytest.mark.parametrize("gap", [0.0, 1.2, 4.0])
def test_binned_auroc_is_within_its_error_of_exact(gap):
    t = binary(5000, gap=gap)
    found = quality("binary", split(t, 4))
    exact, influence = auroc(t["y"], t["p"])
    assert abs(float(found["auroc"]["value"]) - exact) <= min(float(found["auroc"]["error"]), 1e-3)
    assert float(found["auroc"]["error"]) < 3e-3
    assert [float(found["auroc"][end]) for end in ("low", "high")] == pytest.approx(interval(exact, variance(influence), 100), abs=2e-3)


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


def test_noise_below_zero_does_no_harm():
    algorithm = evaluate("binary", stored)
    state = algorithm.init({"fit": {"params": {}}})
    for seed in range(2):
        rng = np.random.default_rng(seed)
        update, _ = algorithm.local(algorithm.share(state), binary(500), {})
        state = algorithm.apply(state, T.map(lambda x, rng=rng: x + rng.integers(-3, 4, np.shape(x)), update))
    assert 0.5 < float(algorithm.result(state)["auroc"]["value"]) <= 1


def test_sums_of_many_classes_are_not_in_memory_and_work_all_the_same():
    update, _ = (a := evaluate("multiclass", stored, classes=40)).local(
        a.share(a.init({"fit": {"params": {}}})), TASKS["multiclass"](0), {}
    )
    assert update["sketch"].size > T.BLOCK  # decoded lazily by the engine: `apply` must not index a leaf that is not in memory
    t = Table({"y": np.arange(400) % 40.0, "p": np.random.default_rng(0).dirichlet(np.ones(40), 400)})
    assert int(quality("multiclass", t, classes=40)["auroc"]["classes"]) == 40
