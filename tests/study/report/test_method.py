import numpy as np
import pytest

from collegium.study import manifest
from collegium.study.report.document import Folded, Pairs, Points
from collegium.study.report.method import ONLY, WORDS, flat, glossary, held_out, in_words, limits, method
from tests.study.report.runs import run, study


def pairs(record):
    return dict(next(block for block in method(record).blocks if isinstance(block, Pairs)).items)


def points(record):
    return next(block for block in limits(record).blocks if isinstance(block, Points)).items


def test_the_study_stands_in_the_report_word_for_word():
    record = run("binary")
    files = {block.title: block.text for block in method(record).blocks if isinstance(block, Folded)}
    assert manifest.read(files["The study as the hospitals approved it"]) == record.study
    assert pairs(record)["Study digest"] == manifest.digest(record.study)


def test_what_nobody_told_is_not_given():
    assert pairs(run("empty"))["Source of the data"] == "Not given"
    assert pairs(run("empty"))["Versions"].startswith("Report written by Collegium ")
    assert pairs(run("binary"))["Versions"] == "collegium 0.1.0"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"kind": "averaging", "mu": "0.1"}, "FedProx, mu 0.1"),
        ({"kind": "averaging", "bits": 16}, "averaged by rows, weights sent in 16 bits."),
        ({"kind": "averaging", "normalise": True}, "FedNova"),
        ({"kind": "averaging", "hidden": [64, 32]}, "hidden layers of 64, 32"),
        ({"kind": "glm", "family": "poisson", "ridge": "2"}, "Poisson regression with a ridge of 2"),
        ({"kind": "statistics"}, "Counts and sums"),
    ],
)
def test_a_method_in_words(how, words):
    assert words in in_words(run("empty")._replace(study=study(how)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "2 of 10 patients for the test, 1 more for checking"),
        ({"held_out": {"column": "split"}}, "The column “split”"),
        ({"held_out": {"test": 0, "validation": 0}}, "Nobody"),
    ],
)
def test_who_was_held_out(fields, words):
    assert words in held_out(run("empty")._replace(study=study({"kind": "averaging"}, **fields)))


def test_settings_are_written_out_with_their_defaults():
    found = dict(flat({"a": {"b": True, "c": []}, "d": [["x", "y"], ["z"]], "e": "0.1"}))
    assert found == {"a.b": "yes", "a.c": "none", "d": "x × y, z", "e": "0.1"}


def test_limits_come_from_the_evidence():
    record = run("binary")
    assert "1 hospital had too few held-out patients: no comparison for it." in points(record)
    calibration = {**record.quality["calibration"], "slope": np.array(0.5), "slope_error": np.array(0.05)}
    worse = {**record.quality, "calibration": calibration, "unscored": np.array(100), "positives": np.array(40)}
    compare = {**record.results["compare"], "pooled": worse}
    found = " ".join(points(record._replace(results={**record.results, "compare": compare})))
    assert "calibration slope is 0.50" in found
    assert "held-out rows have no outcome or no estimate" in found
    assert "Fewer than 100 held-out patients" in found


def test_a_stopped_run_says_so_first():
    assert points(run("stopped"))[0].startswith("The run was stopped")
    assert any("quality on held-out patients is not measured" in point for point in points(run("stopped")))


def test_the_words_are_those_of_the_study():
    found = {name: dict(glossary(run(name)).blocks[0].items) for name in ("binary", "logistic", "statistics", "regression")}
    assert "AUROC" in found["binary"]
    assert "Odds ratio" in found["logistic"]
    assert "AUROC" not in found["statistics"]
    assert "Held-out patients" not in found["statistics"]
    assert "R2" in found["regression"]
    assert {word for words in ONLY.values() for word in words} <= set(WORDS)


def test_hospitals_that_left_are_named():
    found = run("binary")._replace(facts={"left": {"Lindenhof": "its disk is full"}})
    assert "1 hospital left the run before its end: Lindenhof (its disk is full)." in points(found)
