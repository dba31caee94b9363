"""The methods section: what the manifest says, and nothing that it does not."""

import pytest

from collegium.study import manifest
from collegium.study.report.paper import paper
from tests.study.report.runs import RUNS, run


@pytest.mark.parametrize("name", RUNS)
def test_every_study_has_sentences(name: str):
    text = paper(run(name))
    assert manifest.digest(run(name).study) in text
    assert all(part.endswith(".") for part in text.split("\n\n"))
    assert "None" not in text


def test_cox_says_how_risk_sets_were_made():
    pooled, own = paper(run("cox")), paper(run("cox_by_site"))
    assert "a common time grid of cells of 7 joined until at least 10 patients had the event in each interval" in pooled
    assert "Efron's treatment of ties" in pooled
    assert "stratified by hospital: risk sets hold patients of the same hospital only" in own
    assert "Patients were stratified by sex" in own
    assert "2 tenths of the patients" in own


def test_curves_and_clusters():
    assert "log-rank test" in paper(run("curves"))
    assert "log-rank" not in paper(run("one_curve"))
    assert "clustered by hospital" in paper(run("clustered"))
    assert "sandwich" not in paper(run("logistic"))
