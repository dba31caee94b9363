"""Quantiles from counts against NumPy's on all rows."""

import numpy as np
import pytest

from collegium.algorithms.sketches import number, quantiles, rank, read, shortest, sketch
from collegium.errors import StudyError
from collegium.simulation.local import simulate
from collegium.table import Table
from tests.laws.examples import cut, patients

Q = [0.01, 0.25, 0.5, 0.75, 0.99, 1.0]
NAMES = ["age", "stay", "platelets", "change"]


@pytest.fixture
def table() -> Table:
    rng = np.random.default_rng(12)
    return patients(rng, 900).with_columns(change=rng.normal(0, 1e-3, 900).round(6))


def sites(table: Table) -> dict[str, Table]:
    return cut(table, 5, np.random.default_rng(1))


def pooled(table: Table) -> np.ndarray:
    return np.array([np.nanquantile(table[name], Q, method="inverted_cdf") for name in NAMES])


def test_asked_to_the_last_bit_they_are_values_of_the_data(table: Table):
    found = simulate(quantiles(NAMES, Q, tol=0, fewest=1), sites(table))
    np.testing.assert_array_equal(found["high"], pooled(table))
    np.testing.assert_array_equal(found["value"], pooled(table))


def test_the_bracket_holds_the_quantile(table: Table):
    found = simulate(quantiles(NAMES, Q), sites(table))
    want = pooled(table)
    assert (found["low"] < want).all()
    assert (want <= found["high"]).all()
    assert found["missing"].tolist() == [0, 0, int(np.isnan(table["platelets"]).sum()), 0]


def test_it_stops_before_single_patients(table: Table):
    """The bracket that is left holds few rows or one value; no round asked within a bracket of fewer than ten rows."""
    step, parts = quantiles(NAMES, Q), [*sites(table).values()]
    state = step.init({})
    while not step.done(state):
        before = state
        total = [step.local(step.share(state), part, {})[0] for part in parts]
        state = step.apply(state, {name: sum(t[name] for t in total) for name in total[0]})
        moved = (state["low"] != before["low"]) | (state["high"] != before["high"])
        inside = np.where(before["upto"] < 0, len(table), before["upto"] - before["under"])
        assert (inside[moved] >= 10).all()


def test_a_column_of_ages_gives_whole_years(table: Table):
    value = simulate(quantiles(["age"], [0.5], fewest=1), sites(table))["value"]
    assert value.item() == np.nanquantile(table["age"], 0.5, method="inverted_cdf")


def test_zeros_and_no_values_at_all():
    found = simulate(quantiles(["a", "b"], [0.5]), {"s": Table({"a": np.zeros(50), "b": np.full(50, np.nan)})})
    assert found["value"].tolist() == [[0.0], [0.0]]
    assert found["n"].tolist() == [50, 0]


def test_shares_out_of_range_are_refused():
    with pytest.raises(StudyError, match="shares above 0"):
        quantiles(["a"], [0.0])


def test_places_of_floats_keep_their_order():
    values = np.array([-np.inf, -1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, 2.0, np.inf])
    assert (np.diff(rank(values).astype(object)) > 0).all()
    np.testing.assert_array_equal(number(rank(values)), values)


@pytest.mark.parametrize(
    ("low", "high", "want"), [(69.99999, 70.0, 70.0), (0.11, 0.14, 0.12), (1.0, np.nextafter(1.0, 2), np.nextafter(1.0, 2))]
)
def test_the_shortest_decimal(low: float, high: float, want: float):
    assert shortest(low, high) == want


@pytest.mark.parametrize("error", [0.05, 0.005])
def test_a_sketch_keeps_its_word(table: Table, error: float):
    found = simulate(sketch(NAMES, error=error), sites(table))
    value, bound = read(found, Q)
    want = pooled(table)
    assert (np.abs(value - want) <= bound * (1 + 1e-9)).all()
    assert (np.abs(value - want) <= np.maximum(error * np.abs(want) * (1 + 1e-9), 1e-6)).all()
    assert int(found["grid"].sum()) == int(found["n"].sum())


def test_a_sketch_takes_what_is_beyond_its_ends():
    found = simulate(sketch(["x"], smallest=1.0, largest=100.0), {"a": Table({"x": np.array([0.5, -0.5, 1e6, -1e6, np.nan])})})
    value, _ = read(found, [0.25, 0.5, 1.0])
    np.testing.assert_allclose(value, [[-100, 0, 100]], rtol=0.03)
    empty = simulate(sketch(["x"]), {"a": Table({"x": np.full(3, np.nan)})})
    assert not read(empty, [0.5])[0].any()


@pytest.mark.parametrize("more", [{"error": 0.0}, {"smallest": 10.0, "largest": 1.0}, {"largest": 1e300}])
def test_a_grid_that_cannot_be(more):
    with pytest.raises(StudyError, match="a grid from"):
        sketch(["x"], **more)
