"""Rows from wherever researchers hold them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest

from collegium.client.tables import table, together
from collegium.errors import DataError

COLUMNS = {"age": [61.0, None, 47.0], "sex": ["F", None, "M"], "visits": [1, 2, 3]}


class Stream:
    """A table of a library that nobody has heard of."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pyarrow.table(COLUMNS).__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "source",
    [COLUMNS, pd.DataFrame(COLUMNS), pd.DataFrame(COLUMNS).convert_dtypes(), pyarrow.table(COLUMNS), Stream()],
    ids=lambda s: type(s).__name__,
)
def test_every_kind_of_frame_gives_the_same_table(source: object):
    found = table(source)
    np.testing.assert_array_equal(found["age"], [61.0, np.nan, 47.0])
    assert found["sex"].tolist() == ["F", "", "M"]
    assert found["visits"].dtype == np.float64


def test_files_dates_and_patients(tmp_path: Path):
    file = tmp_path / "rows.csv"
    file.write_text("patient_id,age\na,61\na,\nb,47\n")
    found = table(file, patient="patient_id")
    assert found.patients() == 2
    assert "patient_id" not in found
    assert table({"day": np.array(["2020-01-02", "NaT"], "datetime64[D]")})["day"].tolist() == ["2020-01-02T00:00:00", ""]
    with pytest.raises(DataError, match="no column 'mrn'"):
        table(file, patient="mrn")
    with pytest.raises(DataError, match="int is not a table"):
        table(3)


def test_rows_together_keep_patients_of_two_sites_apart():
    one = table({"who": ["p1", "p2"], "age": [1.0, 2.0]}, patient="who")
    both = together([one, one])
    assert (len(both), both.patients()) == (4, 4)
    with pytest.raises(DataError, match="numbers at some sites and text at others"):
        together([table({"age": [1.0]}), table({"age": ["old"]})])
