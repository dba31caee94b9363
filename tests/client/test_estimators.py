"""Estimators: the pooled fit whatever the cut, and scikit-learn's own habits."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from collegium.client.estimators import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    LinearRegression,
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    PoissonRegression,
)
from collegium.errors import DataError, NotFound

RNG = np.random.default_rng(7)
ROWS = 600
AGE, PRESSURE = RNG.normal(60, 12, ROWS), RNG.normal(130, 20, ROWS)
ILL = (RNG.random(ROWS) < 1 / (1 + np.exp(-(0.08 * (AGE - 60) + 0.03 * (PRESSURE - 130))))).astype(int)
VISITS = RNG.poisson(np.exp(0.02 * (AGE - 60)))
DOSE = 3.0 + 0.2 * AGE - 0.1 * PRESSURE + RNG.normal(0, 1, ROWS)
SEX = np.where(RNG.random(ROWS) < 0.5, "F", "M")
FRAME = pd.DataFrame({"age": AGE, "pressure": PRESSURE, "sex": SEX, "ill": ILL, "visits": VISITS, "dose": DOSE})
CUTS = [slice(0, 50), slice(50, 300), slice(300, 600)]


def hospitals(*names: str) -> dict[str, pd.DataFrame]:
    return {f"site {at}": FRAME[list(names)].iloc[cut] for at, cut in enumerate(CUTS)}


@pytest.mark.parametrize(
    ("estimator", "target", "family"),
    [
        (LogisticRegression(), "ill", sm.families.Binomial()),
        (LinearRegression(), "dose", sm.families.Gaussian()),
        (PoissonRegression(), "visits", sm.families.Poisson()),
    ],
)
def test_coefficients_are_those_of_the_pooled_rows(estimator, target: str, family):
    model = estimator.fit(hospitals("age", "pressure", target), y=target)
    want = sm.GLM(FRAME[target], sm.add_constant(FRAME[["age", "pressure"]]), family=family).fit(tol=1e-12)
    np.testing.assert_allclose([model.intercept_, *model.coef_], want.params, rtol=1e-6)
    np.testing.assert_allclose(model.se_, want.bse, rtol=1e-5)
    np.testing.assert_allclose(model.conf_int_, want.conf_int(), rtol=1e-5)
    assert [row.name for row in model.summary_] == ["intercept", "age", "pressure"]


def test_the_level_that_others_are_compared_with_stands_in_the_table():
    ward = RNG.choice(["heart", "lung", "surgery"], ROWS, p=[0.3, 0.5, 0.2])
    model = LogisticRegression().fit({"a": FRAME[["age", "ill"]].assign(ward=ward)}, y="ill")
    assert [row.name for row in model.summary_] == ["intercept", "age", "ward=heart", "ward=lung", "ward=surgery"]
    [lung] = [row for row in model.summary_ if row.reference]
    assert lung == ("ward=lung", 0.0, None, None, None, None, None, 1.0, None, None)
    assert model.names_ == ["age", "ward=heart", "ward=surgery"]
    assert [row.coef for row in model.summary_ if not row.reference] == [model.intercept_, *model.coef_]


def test_classes_keep_the_callers_own_labels():
    frame = FRAME[["age", "pressure"]].assign(state=np.where(ILL == 1, "sick", "healthy"))
    model = LogisticRegression().fit({"a": frame[:300], "b": frame[300:]}, y="state")
    assert model.classes_.tolist() == ["healthy", "sick"]
    assert set(model.predict(frame).tolist()) <= {"healthy", "sick"}
    assert model.score(frame, "state") == np.mean(model.predict(frame) == frame["state"])
    codes = LogisticRegression().fit({"a": FRAME[["age"]].assign(code=ILL + 1)}, y="code")
    assert codes.predict({"age": [20.0, 100.0]}).tolist() == [1, 2]
    np.testing.assert_allclose(codes.predict_proba({"age": [60.0]}).sum(1), 1)


def test_a_network_learns_classes_and_numbers():
    kind = np.select([AGE < 55, AGE < 65], ["young", "middle"], "old")
    model = MLPClassifier(rounds=15, lr=0.2).fit(
        {"a": FRAME[["age"]].assign(kind=kind)[:300], "b": FRAME[["age"]].assign(kind=kind)[300:]}, y="kind"
    )
    assert model.predict_proba(FRAME[["age"]]).shape == (ROWS, 3)
    assert model.score(FRAME[["age"]], kind) > 0.8
    assert MLPRegressor(rounds=15).fit(hospitals("age", "pressure", "sex", "dose"), y="dose").score(FRAME, "dose") > 0.8
    assert model.n_iter_ == 15


def test_trees_learn_classes_and_numbers_and_say_what_they_go_by():
    kind = np.select([AGE < 55, AGE < 65], ["young", "middle"], "old")
    frame = FRAME[["age", "sex"]].assign(kind=kind)
    model = GradientBoostingClassifier(trees=15, learning_rate=0.3).fit({"a": frame[:300], "b": frame[300:]}, y="kind")
    assert model.predict_proba(frame).shape == (ROWS, 3)
    assert model.score(frame, "kind") > 0.95
    importance = dict(zip(model.feature_names_in_.tolist(), model.feature_importances_.tolist(), strict=True))
    assert importance["age"] > 0.9
    assert sum(importance.values()) == pytest.approx(1)
    sites = hospitals("age", "pressure", "sex", "dose")
    rising = GradientBoostingRegressor(monotone={"age": "up"}, patience=5).fit(sites, y="dose")
    assert rising.score(FRAME, "dose") > 0.8
    assert 0 < rising.n_estimators_ <= 100
    said = rising.predict({"age": np.arange(30.0, 90.0), "pressure": np.full(60, 130.0), "sex": ["F"] * 60})
    assert (np.diff(said) >= 0).all()
    study = rising.study(sites, "dose")
    assert study.method.monotone == {"age": "up"}
    assert study.holding.validation == 1
    missing = rising.predict({"age": [np.nan], "pressure": [130.0], "sex": ["F"]})
    assert np.isfinite(missing).all()


def test_it_lives_among_scikit_learn():
    model = clone(LogisticRegression(ridge=0.5))
    assert model.get_params()["ridge"] == 0.5
    assert repr(model) == "LogisticRegression(ridge=0.5)"
    scores = cross_val_score(LogisticRegression(), FRAME[["age", "pressure"]], ILL, cv=3)
    assert scores.mean() > 0.6
    matrix = RNG.normal(size=(200, 12))
    fitted = LinearRegression().fit(matrix, matrix @ np.arange(12.0))
    np.testing.assert_allclose(fitted.predict(matrix), matrix @ np.arange(12.0), atol=1e-6)  # x10 stands after x9
    with pytest.raises(ValueError, match="no parameter 'C'"):
        model.set_params(C=1)


def test_a_category_that_training_did_not_teach_gets_no_estimate():
    model = LogisticRegression().fit(hospitals("age", "sex", "ill"), y="ill")
    new = {"age": [60.0, 60.0, 60.0, 60.0], "sex": ["F", "X", "Y", None]}
    with pytest.warns(UserWarning, match="'sex'") as told:
        found = model.predict_proba(new)
    assert np.isnan(found).all(1).tolist() == [False, True, True, True]
    assert [str(one.message) for one in told] == [
        "column 'sex' is missing in 1 row; 1 of them without an estimate (NaN)",
        "column 'sex' is not a known category in 2 rows; 2 of them without an estimate (NaN)",
    ]
    with pytest.warns(UserWarning, match="'sex'"):
        assert np.isnan(model.predict(new)).tolist() == [False, True, True, True]  # not a silent no
    network = MLPClassifier(rounds=2).fit(hospitals("age", "sex", "ill"), y="ill")
    with pytest.warns(UserWarning, match="'sex' is not a known category in 2 rows$"):
        assert not np.isnan(network.predict_proba(new)).any()


def test_mistakes_are_named():
    with pytest.raises(NotFound, match="not fitted"):
        LogisticRegression().predict({"age": [1.0]})
    with pytest.raises(DataError, match="which column"):
        LogisticRegression().fit(FRAME)
    with pytest.raises(DataError, match="1 class"):
        LogisticRegression().fit({"a": {"age": AGE, "ill": np.ones(ROWS)}}, y="ill")
    assert LogisticRegression().fit({"age": AGE, "ill": ILL}, y="ill").sites_ == ["here"]
    with pytest.raises(DataError, match="no site to fit"):
        LogisticRegression().fit({}, y="ill")
    with pytest.raises(DataError, match="site 'b': there is no column 'ill'"):
        LogisticRegression().fit({"a": {"age": AGE, "ill": ILL}, "b": {"age": AGE}}, y="ill")
    with pytest.raises(DataError, match="column 'dose' ranges"):
        PoissonRegression().fit({"a": {"age": AGE, "dose": -DOSE}}, y="dose")
    with pytest.raises(DataError, match="column 'kind' has 3 classes"):
        LogisticRegression().fit({"a": {"age": AGE, "kind": np.arange(ROWS) % 3}}, y="kind")


def test_a_column_that_is_no_predictor_is_named():
    rows = {"age": AGE, "ill": ILL, "day": ["2023-04-10"] * ROWS, "void": np.full(ROWS, np.nan)}
    with pytest.warns(UserWarning, match="is left out") as told:
        model = LogisticRegression().fit({"a": {**rows, "dose": DOSE}, "b": rows}, y="ill")
    assert [str(one.message) for one in told] == [
        "column 'day' is left out: seems to hold dates; give a number of days or years in its place",
        "column 'void' is left out: empty in this table",
        "column 'dose' is left out: site 'b' has no such column",
    ]
    assert {one.filename for one in told} == {__file__}
    assert model.study_.features == ("age",)
    ward = np.array(["A", "B"] * 298 + ["Z"] * 4)
    with pytest.warns(UserWarning, match="'ward' holds rare categories in 4 rows; they count as missing$"):
        rare = LogisticRegression().fit({"a": {"age": AGE, "ward": ward, "ill": ILL}}, y="ill")
    assert int(rare.results_.trees["fit"]["n"]) == ROWS - 4
