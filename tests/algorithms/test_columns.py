"""Sums that are exact whatever the units, and columns read as what they are."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from collegium.algorithms.columns import joined, limbs, numbers, places, texts, training
from collegium.errors import DataError
from collegium.table import Table

REACH = st.floats(-(2.0**36), 2.0**36).filter(lambda v: v == 0 or abs(v) > 2.0**-19)  # all 53 bits lie above 2**-72


@given(arrays(np.float64, st.integers(0, 30), elements=REACH))
def test_limbs_add_without_rounding(values: np.ndarray):
    digits = limbs(values)
    exact = sum((int(d) * Fraction(2) ** (36 * p) for d, p in zip(digits, (1, 0, -1, -2), strict=True)), Fraction(0))
    assert exact == sum((Fraction(v) for v in values.tolist()), Fraction(0))
    size = float(sum(abs(Fraction(v)) for v in values.tolist()))
    assert abs(float(joined(digits)) - float(exact)) <= 1e-15 * size


@given(arrays(np.float64, 20, elements=st.floats(-(2.0**36), 2.0**36)), st.integers(0, 20))
def test_parts_add_up_to_the_whole(values: np.ndarray, at: int):
    np.testing.assert_array_equal(limbs(values[:at]) + limbs(values[at:]), limbs(values))


def test_squares_of_the_largest_values_fit():
    square = np.full(1000, (2.0**36) ** 2)
    assert float(joined(limbs(square))) == 1000 * 2.0**72
    assert limbs(np.zeros((0, 3))).shape == (4, 3)


def test_numbers_and_texts():
    table = Table({"i": np.array([1, 2]), "b": np.array([True, False]), "t": np.array(["x", ""]), "o": np.array(["x", None], object)})
    assert numbers(table, ["i", "b"]).tolist() == [[1, 1], [2, 0]]
    assert texts(table, "i").tolist() == ["1", "2"]
    assert texts(table, "o").tolist() == ["x", ""]
    assert texts(table, "t").tolist() == ["x", ""]
    none = table.where(np.zeros(0, int))
    assert [len(texts(none, name)) for name in "ibto"] == [0, 0, 0, 0]
    assert places(texts(table, "t"), ["a", "x"]).tolist() == [1, 3]
    assert places(np.array(["?"]), ["a", "x"]).tolist() == [2]


def test_columns_of_another_form_are_refused():
    table = Table({"m": np.zeros((2, 2)), "t": np.array(["1", "2"])})
    for name in "mt":
        with pytest.raises(DataError, match=f"column '{name}'"):
            numbers(table, [name])
    with pytest.raises(DataError, match="wanted one category a row"):
        texts(table, "m")


def test_training_rows():
    table = Table({"a": np.arange(4), "part": np.array([0, 1, 2, 0], np.int8)})
    assert training(table)["a"].tolist() == [0, 3]
    assert len(training(Table({"a": np.arange(4)}))) == 4
