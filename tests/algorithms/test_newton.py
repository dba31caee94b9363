"""Newton's steps, and the tail of chi-squared."""

import numpy as np
import pytest
from scipy.stats import chi2

from collegium.algorithms.newton import chance, climb, likelihood_ratio, power_of_two, start, wald
from collegium.errors import RunError


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 10, 51])
@pytest.mark.parametrize("x", [0.0, 1e-9, 0.3, 4.0, 30.0, 250.0, 1390.0, 2000.0])
def test_a_p_value_is_scipys(x: float, df: int):
    assert chance(x, df) == pytest.approx(chi2.sf(x, df), rel=1e-9, abs=1e-300)


def test_no_variable_says_nothing():
    assert chance(5.0, 0) == 1.0
    assert float(likelihood_ratio(-3.0, -2.0, 1)["chi2"]) == 0.0  # a likelihood cannot truly fall: rounding


def test_a_quadratic_is_climbed_in_one_step_and_the_second_is_the_last():
    state, top, bend = start(2), np.array([1.0, -2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    for number in range(2):
        away = top - state["tried"]
        found = {"loglik": -0.5 * away @ bend @ away, "gradient": bend @ away, "information": bend}
        state, finished = climb(state, found, np.zeros(2), first=number == 0)
        assert finished == (number == 1)
    np.testing.assert_allclose(state["coef"], top)
    np.testing.assert_allclose(wald(state["coef"], np.linalg.inv(bend))["se"], np.sqrt(np.diag(np.linalg.inv(bend))))


def test_a_step_that_went_too_far_is_halved_and_not_for_ever():
    state = {**start(1), "tried": np.array([8.0]), "step": np.array([8.0]), "value": np.array(0.0)}
    worse = {"loglik": -1.0, "gradient": np.ones(1), "information": np.eye(1)}
    for want in (4.0, 2.0, 1.0):
        state, finished = climb(state, worse, np.zeros(1), first=False)
        assert (state["tried"][0], finished) == (want, False)
    with pytest.raises(RunError, match="no step raises"):
        climb({**state, "halvings": np.array(40)}, worse, np.zeros(1), first=False)


def test_scales_are_powers_of_two():
    np.testing.assert_array_equal(power_of_two(np.array([0.0, 1.0, 3.0, 1e-3])), [1.0, 1.0, 4.0, 2.0**-10])
