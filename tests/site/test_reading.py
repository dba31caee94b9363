import os

import numpy as np
import pytest

from collegium.errors import CollegiumError, DataError, RunError
from collegium.site.reading import apart
from collegium.table import Table


@pytest.mark.parametrize("patient", [None, np.array(["a", "", "ü"]), np.array([1.0, 2.0, 2.0])])
def test_the_table_comes_over_as_it_is(patient):
    made = Table({"age": np.array([1, np.nan, np.inf]), "sex": np.array(["F", "", "M"]), "scan": np.ones((3, 2, 2), np.float32)}, patient)
    came = apart(lambda: made)
    assert sorted(came.columns) == ["age", "scan", "sex"]
    for name in came.columns:
        np.testing.assert_array_equal(came[name], made[name])
        assert came[name].dtype == made[name].dtype
    assert (came.patient is None) == (patient is None)
    if patient is not None:
        np.testing.assert_array_equal(came.patient, patient)


def test_an_error_there_is_raised_here():
    def bad():
        raise DataError("there is no column 'age'", hint="mend it")

    with pytest.raises(DataError, match="no column 'age'") as caught:
        apart(bad)
    assert caught.value.hint == "mend it"
    with pytest.raises(CollegiumError, match="by zero"):
        apart(lambda: 1 / 0)


def test_a_reader_that_dies_is_told():
    with pytest.raises(RunError, match="ended unexpectedly"):
        apart(lambda: os.kill(os.getpid(), 9))
