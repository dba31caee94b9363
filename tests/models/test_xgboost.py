"""Boosted trees go out as XGBoost's JSON, and XGBoost says of every patient what the model says."""

import json
from pathlib import Path

import numpy as np
import pytest
import xgboost as theirs

from collegium.client.simulate import simulate
from collegium.client.tables import table
from collegium.errors import StudyError
from collegium.models import predict, xgboost
from tests.study.report.runs import hospital, study
from tests.study.test_boosting import METHOD, OUTCOMES, sites, survival


@pytest.mark.parametrize("outcome", [*OUTCOMES, "survival"])
def test_xgboost_loads_it_and_predicts_the_same(outcome: str, tmp_path: Path):
    chosen = survival() if outcome == "survival" else study({**METHOD, "parallel": 2, "rows": "0.8"}, outcome)
    kind = "binary" if outcome == "survival" else outcome
    simulate(chosen, sites(kind), pooled=False).save(tmp_path)
    model = predict.load(tmp_path)
    (tmp_path / "xgboost.json").write_text(json.dumps(xgboost.document(model)))
    booster = theirs.Booster()
    booster.load_model(tmp_path / "xgboost.json")

    new = hospital(9, 800, kind)
    new = new.with_columns(time=np.ones(800), ward=np.where(np.arange(800) % 9 == 0, "never seen", new["ward"]))
    data = theirs.DMatrix(
        xgboost.matrix(model, new), feature_names=booster.feature_names, feature_types=booster.feature_types, enable_categorical=True
    )
    said, mine = booster.predict(data), model.predict(new)
    mine = np.exp(mine) if outcome == "survival" else mine  # a hazard, not its logarithm
    np.testing.assert_allclose(said, mine, rtol=2e-5, atol=2e-6)
    assert np.ptp(said) > 0.05
    assert booster.feature_names == list(chosen.features)
    told = json.loads(booster.attr("collegium"))["categories"]
    assert told["sex"] == ["F", "M", "other"]


def test_a_split_on_missing_alone_keeps_its_sides():
    rng = np.random.default_rng(1)
    lost, level = rng.random(600) < 0.4, rng.choice(np.array(["a", "b"]), 600)
    columns = {"n": np.where(lost, np.nan, 1.0), "b": np.where(lost, np.nan, 1.0), "c": np.where(lost, "", level), "y": lost.astype(float)}
    kinds = {"n": {"kind": "number"}, "b": {"kind": "binary"}, "c": {"kind": "category", "categories": ["a", "b"]}, "y": {"kind": "binary"}}
    for name in ("n", "b", "c"):
        document = {
            "title": "t",
            "purpose": "p",
            "variables": {k: kinds[k] for k in (name, "y")},
            "outcome": {"task": "binary", "target": "y"},
        }
        rows = table({k: columns[k] for k in (name, "y")})
        model = simulate({**document, "method": {**METHOD, "trees": 3}}, {"one": rows, "two": rows}, pooled=False).model
        booster = theirs.Booster()
        booster.load_model(bytearray(json.dumps(xgboost.document(model)).encode()))
        data = theirs.DMatrix(
            xgboost.matrix(model, rows), feature_names=booster.feature_names, feature_types=booster.feature_types, enable_categorical=True
        )
        np.testing.assert_allclose(booster.predict(data), model.predict(rows), rtol=1e-5)
        assert len(np.unique(model.predict(rows))) == 2


def test_other_models_are_refused():
    model = simulate(study({"kind": "glm"}), {"one": hospital(1, 400), "two": hospital(2, 400)}, pooled=False).model
    with pytest.raises(StudyError, match="no boosted trees"):
        xgboost.document(model)
