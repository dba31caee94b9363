"""A Cox model in use: risks by the horizons asked for, and what it cannot say."""

from pathlib import Path

import numpy as np

from collegium.models import predict
from collegium.models.card import card
from collegium.table import Table
from tests.study.report.runs import run


def saved(name: str, folder: Path) -> predict.Model:
    record = run(name)
    predict.save(folder, record.study, record.results, card(record.study, record.results, sites=4))
    return predict.load(folder)


PATIENTS = {
    "age": np.array([50.0, 85.0, 70.0]),
    "pressure": np.array([120.0, 150.0, np.nan]),
    "sex": np.array(["F", "M", "F"]),
    "ward": np.array(["heart", "lung", "heart"]),
    "smoker": np.array([0.0, 1.0, 0.0]),
}


def test_risks_by_horizons_come_from_the_baseline(tmp_path: Path):
    model = saved("cox", tmp_path)
    found = model.predict(Table(PATIENTS))
    assert found.shape == (3, 2)
    assert (np.diff(found[:2]) > 0).all()
    assert (found[1] > found[0]).all()
    assert np.isnan(found[2]).all()  # no blood pressure, no risk
    params = run("cox").results["fit"]["params"]
    at = np.searchsorted(params["time"], 90, side="right") - 1
    x = predict.encode(Table(PATIENTS), predict.inputs(model.study), model.trees["features"], reference=True)[:2]
    relative = np.exp((x - params["centre"]) @ params["coef"])
    np.testing.assert_allclose(found[:2, 0], 1 - np.exp(-params["hazard"][at] * relative), rtol=1e-12)
    assert model.card["output"] == "the risk of died by 90, 270 days"
    assert "of all hospitals" in model.card["model"]


def test_columns_are_named_after_the_horizons(tmp_path: Path):
    saved("cox", tmp_path)
    file = tmp_path / "patients.csv"
    file.write_text("age,pressure,sex,ward,smoker\n50,120,F,heart,0\n85,150,M,lung,1\n")
    used = predict.use(tmp_path, file)
    assert list(used.columns)[1:3] == ["risk by 90 days", "risk by 270 days"]
    assert all(0 < float(x) < 1 for x in used.columns["risk by 90 days"])


def test_with_strata_it_tells_a_relative_hazard(tmp_path: Path):
    model = saved("cox_by_site", tmp_path)
    found = model.predict(Table(PATIENTS))
    assert found.shape == (3,)
    assert found[1] > 1 > found[0]
    assert model.card["output"] == "the hazard of died, relative to that of the mean patient"
    assert "sex" not in [one["name"] for one in model.card["inputs"]]
