"""One site's rows."""

import numpy as np
import pytest

from collegium.errors import DataError
from collegium.table import Table


def table(n=20):
    return Table({"age": np.arange(n, dtype=float), "x": np.ones((n, 3))}, patient=np.array([f"p{i // 2}" for i in range(n)]))


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match=r"differ in length: \{'a': 2, 'b': 3\}"):
        Table({"a": np.zeros(2), "b": np.zeros(3)})


def test_an_unknown_column_is_named_beside_the_known():
    with pytest.raises(DataError, match="no column 'sex'; the table has age, x"):
        table()["sex"]


def test_rows_are_chosen_with_their_patients():
    some = table().where(np.array([0, 3]))
    assert len(some) == 2
    assert some["x"].shape == (2, 3)
    assert some.patient.tolist() == ["p0", "p1"]
    assert "age" in some
    assert "sex" not in some


def test_a_table_without_columns_has_no_rows():
    assert len(Table({})) == 0


def test_batches_cover_every_row_once():
    seen = np.concatenate([batch["age"] for batch in table(10).batches(3, np.random.default_rng(1))])
    assert sorted(seen) == list(range(10))
    assert [len(b) for b in table(10).batches(4)] == [4, 4, 2]


def test_all_rows_of_a_patient_get_the_same_tenth_whatever_the_order():
    t = table()
    digits = t.tenths("salt")
    assert (digits[::2] == digits[1::2]).all()
    order = np.random.default_rng(0).permutation(len(t))
    assert (t.where(order).tenths("salt") == digits[order]).all()
    assert (t.tenths("another") != digits).any()


def test_tenths_are_even():
    digits = Table({"a": np.zeros(20_000)}).tenths("s")
    assert np.bincount(digits, minlength=10).min() > 1800
    assert len(Table({"a": np.zeros(0)}).tenths("s")) == 0


def test_patients_are_counted():
    assert table(20).patients() == 10
    assert Table({"a": np.zeros(4)}).patients() == 4
