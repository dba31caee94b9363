import numpy as np
import pytest

from collegium.study.report.document import NOT_MEASURED, Record, real
from tests.study.report.runs import run, study


@pytest.mark.parametrize(("value", "found"), [(np.array(2), 2.0), ("3", None), (None, None), (np.nan, None), (np.inf, None), ({}, None)])
def test_only_numbers_are_numbers(value, found):
    assert real(value) == found


def test_an_array_is_no_number():
    assert real(np.zeros(3)) is None


@pytest.mark.parametrize(("told", "sites"), [(["a", "b"], 2), (3, 3), ({"a": 1}, 1), (None, None), ("north", None), ([], None)])
def test_hospitals_are_counted_however_they_are_told(told, sites):
    assert Record(study({"kind": "glm"}), {}, facts={"sites": told}).sites == sites


def test_rounds_that_never_closed_are_no_rounds():
    """A stage's first state already has figures, of a round 0 that nobody was asked in."""
    figures = [
        {"stage": "fit", "round": 0, "loss": 9.0},
        {"stage": "fit", "round": 2, "loss": 0.5, "odd": "text"},
        {"stage": "fit", "round": 1, "figures": {"loss": 0.7}},
        {"stage": "compare", "round": 1, "loss": 3.0},
        {"loss": 1.0},
    ]
    record = Record(study({"kind": "averaging"}), {}, figures)
    assert record.course("fit") == [(1, {"loss": 0.7}), (2, {"loss": 0.5})]
    assert record.rounds == 2


def test_a_missing_part_says_why():
    assert "did not get as far as" in run("stopped").why("the test")
    assert "no patients were kept out" in run("nobody_held_out").why("the test")
    assert run("binary").why("the test").startswith(NOT_MEASURED)


def test_quality_is_there_only_with_enough_patients():
    assert run("binary").quality
    assert run("tiny").quality == {}
    assert run("empty").sheet == []
    assert run("statistics").metric == ""


def test_the_coordinators_own_document_is_understood():
    told = {"status": "failed", "created": "2026-03-02T09:14:00Z", "ended": "2026-03-02T09:15:30Z", "left": {"Lindenhof": "disk full"}}
    record = Record(study({"kind": "averaging"}), {}, facts=told)
    assert (record.seconds, record.stands, record.left) == (90.0, "failed", {"Lindenhof": "disk full"})
    assert record._replace(facts={"started": "Monday", "ended": "Tuesday"}).seconds is None
    assert record._replace(facts={"started": "2026-03-02", "ended": "2026-03-02T09:15:30Z"}).seconds is None
