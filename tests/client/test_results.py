"""Results: figures as people read them, arrays as JSON, a model and a report on the disk."""

from pathlib import Path

import numpy as np
import pytest

from collegium.client.results import Results, plain, said
from collegium.client.simulate import simulate
from collegium.errors import NotFound
from collegium.models import predict
from collegium.study import manifest
from tests.client.test_simulate import SITES, STUDY


@pytest.fixture(scope="module")
def found() -> Results:
    return simulate(STUDY, SITES)


def test_the_model_of_a_run_can_be_saved_and_used(found: Results, tmp_path: Path):
    found.save(tmp_path / "model")
    again = predict.load(tmp_path / "model")
    rows = found.model.predict(simulate_rows())
    np.testing.assert_array_equal(again.predict(simulate_rows()), rows)
    assert again.card["trained_on"]["sites"] == 3


def simulate_rows():
    from collegium.client.tables import table

    return table({"age": [40.0, 80.0], "pressure": [120.0, None]})


def test_the_report_stands_alone(found: Results, tmp_path: Path):
    page = found.report(tmp_path / "report.html", source="made up").read_text()
    assert page.lstrip().startswith("<!doctype html>") or page.lstrip().lower().startswith("<!doctype html>")
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_what_a_study_does_not_have_is_said(found: Results):
    with pytest.raises(NotFound, match="no table of coefficients"):
        _ = found.coefficients
    empty = Results(manifest.read(STUDY), {})
    assert empty.sheet == []
    assert "Nobody was held out" in empty.sentence
    with pytest.raises(NotFound, match="ended before it had a model"):
        _ = empty.params
    statistics = {name: STUDY[name] for name in ("title", "purpose", "variables")} | {"method": {"kind": "statistics"}}
    with pytest.raises(NotFound, match="trains no model"):
        _ = Results(manifest.read(statistics), {}).params


def test_a_run_that_ended_before_its_fit_says_so():
    fit = manifest.read({**STUDY, "method": {"kind": "glm"}})
    early = Results(fit, {}, run={"status": "stopped", "says": "stopped on request."})
    assert early.sentence.startswith("The run was stopped: stopped on request. It did not get as far as a comparison")
    assert early.to_dict()["coefficients"] == []
    with pytest.raises(NotFound, match="no coefficients"):
        _ = early.coefficients


def test_figures_are_written_for_people():
    assert said((0.8123, 0.76, 0.86)) == "0.812 (0.76 to 0.86)"
    assert said((0.01, -0.02, 0.04), sign=True) == "+0.010 (-0.02 to +0.04)"
    assert said((0.5, 0.5, 0.5)) == "0.500"
    assert said(None) == ""


def test_trees_become_json():
    assert plain({"a": np.array([1.0, np.nan]), "b": (np.int64(3), Path("x"))}) == {"a": [1.0, None], "b": [3, "x"]}
