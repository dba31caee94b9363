"""Arrays as scikit-learn's tools hand them over: its own checks hold, and what cannot be used is said in a `ValueError`."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from collegium.client.arrays import InputError, columns, federation, matrix
from collegium.client.estimators import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    LinearRegression,
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    PoissonRegression,
)
from collegium.errors import CollegiumError, DataError

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(60, 2)), np.arange(60) % 2
EXPECTED = {"check_array_api_input": "arrays of other libraries are not taken: a hospital's rows are on its own disk"}


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(ridge=1.0),  # without it the exact fit refuses the checks' rows, whose columns give the outcome away
        LinearRegression(),
        PoissonRegression(),
        MLPClassifier(rounds=5),
        MLPRegressor(rounds=5),
        GradientBoostingClassifier(trees=20, least=5),
        GradientBoostingRegressor(trees=20, least=5),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_checks_of_scikit_learn_hold(estimator: Any):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks hand over rows without a spread, and are told so
        found = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = {one["check_name"]: str(one["exception"])[:200] for one in found if one["status"] == "failed"}
    skipped = {one["check_name"] for one in found if one["status"] == "skipped"}
    assert failed == {}
    assert skipped <= EXPECTED.keys()
    assert len(found) > 50


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (X, None, "the target y is None"),
        (X[:, 0], Y, "X is 1-dimensional"),
        (X[:, :0], Y, r"0 feature\(s\)"),
        (X[:1], Y[:1], "X has 1 sample; a fit needs 2"),
        (X, Y[:50], r"y has the shape \(50,\), X has 60 rows"),
        (X, np.column_stack([Y, Y]), r"y has the shape \(60, 2\), X has 60 rows"),
        (np.where(X > 2, np.inf, np.inf), Y, "X contains infinity"),
        (X * 1j, Y, "Complex data not supported"),
        (X, Y * 1j, "Complex data not supported"),
        (X, np.full(60, np.nan), "y contains NaN alone"),
        (X, X[:, 0], "a continuous outcome has no classes"),
        (X, np.ones(60), "1 class"),
        (X, np.arange(60) % 3, "Only binary classification is supported by LogisticRegression"),
    ],
)
def test_what_cannot_be_fitted_is_said(x: Any, y: Any, says: str):
    with pytest.raises(ValueError, match=says) as refused:
        LogisticRegression().fit(x, y)
    assert isinstance(refused.value, DataError)


def test_a_model_is_asked_with_the_columns_that_it_learned_from():
    model = LogisticRegression()
    with pytest.raises(NotFittedError, match="LogisticRegression is not fitted yet") as refused:
        model.predict(X)
    assert isinstance(refused.value, CollegiumError)
    assert refused.value.code == "not_found"
    model.fit(X, Y)
    with pytest.raises(InputError, match="X has 1 features, but LogisticRegression is expecting 2 features as input"):
        model.predict(X[:, :1])


def test_a_missing_value_is_no_mistake():
    gaps = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    assert np.isnan(matrix(gaps)).any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rows without an estimate are told
        assert len(LogisticRegression().fit(gaps, Y).predict(gaps)) == 60


def test_frames_and_series_keep_their_names_and_one_column_is_a_column():
    frame = pd.DataFrame({"age": X[:, 0], "y": X[:, 1]})
    sites, target = federation(frame, pd.Series(Y), of_class=True)
    assert list(sites["here"].columns) == ["age", "y", "outcome"]
    assert target == "outcome"
    with pytest.warns(DataConversionWarning, match="column-vector"):
        federation(X, Y[:, None], of_class=True)
    assert list(columns(X, []).columns) == ["x0", "x1"]
