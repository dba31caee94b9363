"""Calibration slope, intercept and curve of models whose calibration is known."""

import numpy as np
import pytest

from collegium.table import Table
from tests.algorithms.cohorts import quality


def test_calibration_of_a_calibrated_and_of_an_overconfident_model():
    rng = np.random.default_rng(0)
    x = rng.normal(-1, 1.5, 20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-x))).astype(float)
    good = quality("binary", Table({"y": y, "p": 1 / (1 + np.exp(-x))}))["calibration"]
    assert abs(float(good["slope"]) - 1) < 3 * float(good["slope_error"])
    assert abs(float(good["intercept"])) < 3 * float(good["intercept_error"])
    np.testing.assert_allclose(good["predicted"], good["observed"], atol=0.03)
    bold = quality("binary", Table({"y": y, "p": 1 / (1 + np.exp(-2 * x - 1))}))["calibration"]
    assert float(bold["slope"]) == pytest.approx(0.5, abs=0.03)


def test_one_class_has_no_auroc_but_a_calibration_curve():
    found = quality("binary", Table({"y": np.zeros(40), "p": np.linspace(0.1, 0.9, 40)}))
    assert "auroc" not in found
    assert int(found["positives"]) == 0
    assert found["calibration"]["observed"].tolist() == [0.0] * len(found["calibration"]["rows"])


def test_perfectly_separated_outcomes_have_no_slope():
    found = quality("binary", Table({"y": np.repeat([0.0, 1.0], 50), "p": np.repeat([0.1, 0.9], 50)}))
    assert "slope" not in found["calibration"]
    assert found["calibration"]["observed"].tolist() == [0.0, 1.0]
