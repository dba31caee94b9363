"""Coefficients and sheets as aligned text."""

import numpy as np

from collegium.cli import sheet
from collegium.cli.shell import Screen
from collegium.client.simulate import simulate

RNG = np.random.default_rng(2)
STUDY = {
    "title": "Age",
    "purpose": "A test.",
    "variables": {"age": {"kind": "number"}, "ill": {"kind": "binary"}},
    "outcome": {"task": "binary", "target": "ill"},
    "method": {"kind": "glm"},
}


def test_a_fit_is_shown_with_odds_ratios():
    age = RNG.normal(60, 10, 300)
    ill = (RNG.random(300) < 1 / (1 + np.exp(-(age - 60) / 6))).astype(float)
    text = sheet.text(simulate(STUDY, {"a": {"age": age, "ill": ill}}), Screen())
    assert "odds ratio" in text
    assert "<0.0001" in text
    assert "Nobody was held out" in text


def test_the_level_that_others_are_compared_with_is_a_line():
    kinds = {**STUDY["variables"], "sex": {"kind": "category", "categories": ["F", "M"]}}
    sex, ill = np.where(RNG.random(300) < 0.6, "F", "M"), (RNG.random(300) < 0.5).astype(float)
    rows = {"age": RNG.normal(60, 10, 300), "sex": sex, "ill": ill}
    shown, _ = sheet.coefficients(simulate({**STUDY, "variables": kinds}, {"a": rows}))
    assert shown[2] == ["sex=F", "0", "", "reference", "", "1"]
    assert shown[3][0] == "sex=M"
