from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collegium.data import files, formats
from collegium.errors import DataError
from collegium.study import manifest

STUDY = manifest.read(manifest.EXAMPLE)


def study(**variables: object) -> manifest.Study:
    document = manifest.read(manifest.EXAMPLE).model_dump()
    document["variables"] |= variables
    return manifest.read(document)


def csv(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_everything_that_means_missing_is_missing(tmp_path: Path):
    marks = sorted(files.MISSING)
    path = csv(tmp_path, "patient_id,age,sex,readmitted\n" + "".join(f'p,"{mark}"," {mark}","{mark} "\n' for mark in marks))
    table = files.read(path, STUDY)
    assert np.isnan(table["age"]).all()
    assert np.isnan(table["readmitted"]).all()
    assert set(table["sex"]) == {""}


def test_a_listed_category_is_never_missing(tmp_path: Path):
    path = csv(tmp_path, "patient_id,age,sex,readmitted,kind\np,1,F,0,NA\np,1,F,0,x\np,1,F,0,?\n")
    table = files.read(path, study(kind={"kind": "category", "categories": ["NA", "x"]}))
    assert table["kind"].tolist() == ["NA", "x", ""]


def test_codes_with_gaps_read_as_whole_numbers(tmp_path: Path):
    open_code = study(kind={"kind": "category"})
    path = csv(tmp_path, "patient_id,age,sex,readmitted,kind\n1,1,F,0,3.0\n2,1,F,0,\n3,1,F,0,2.5\n")
    assert files.read(path, open_code)["kind"].tolist() == ["3", "", "2.5"]
    columns = {"patient_id": [1.0, 2.0, None], "age": [1, 2, 3], "sex": pa.array(["F", None, "M"]).dictionary_encode()}
    pq.write_table(pa.table(columns | {"readmitted": [True, False, None], "kind": [3.0, None, 2.5]}), tmp_path / "t.parquet")
    table = files.read(tmp_path / "t.parquet", open_code)
    assert (table["kind"].tolist(), table["sex"].tolist(), table.patient.tolist()) == (["3", "", "2.5"], ["F", "", "M"], ["1", "2", ""])
    np.testing.assert_array_equal(table["readmitted"], [1, 0, np.nan])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('"72,5"', "column 'age' holds numbers with a decimal comma in 1 rows, first in row 2; wanted a number of years"),
        ('"1.234,5"', "decimal comma in 1 rows"),
        ("1950-02-03", "column 'age' holds dates in 1 rows, first in row 2; wanted a number of years"),
        ("03.02.1950", "holds dates in 1 rows"),
        ("about 70", "column 'age' holds text in 1 rows, first in row 2; wanted a number of years"),
        (">90", "holds text in 1 rows"),
    ],
)
def test_what_is_no_number_is_refused_without_being_shown(tmp_path: Path, value: str, says: str):
    with pytest.raises(DataError, match=says) as caught:
        files.read(csv(tmp_path, f"patient_id,age,sex,readmitted\na,40,F,0\nb,{value},M,1\n"), STUDY)
    assert "t.csv" in str(caught.value)
    assert value.strip('"') not in str(caught.value)
    assert caught.value.hint


def test_a_date_column_of_parquet_is_told(tmp_path: Path):
    when = pa.array([0, 1], pa.date32())
    pq.write_table(pa.table({"patient_id": ["a", "b"], "age": when, "sex": ["F", "M"], "readmitted": [0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="'age' holds dates in 2 rows"):
        files.read(tmp_path / "t.parquet", STUDY)
    days = pa.table({"patient_id": ["a", "b"], "age": [1, 2], "sex": when, "readmitted": [0, 1]})
    pq.write_table(days, tmp_path / "t.parquet")
    assert files.read(tmp_path / "t.parquet", STUDY)["sex"].tolist() == ["1970-01-01", "1970-01-02"]


def test_decimals_and_lists_of_parquet(tmp_path: Path):
    from decimal import Decimal

    columns = {"patient_id": ["a"], "age": pa.array([Decimal("70.5")]), "sex": ["F"], "readmitted": [0]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert files.read(tmp_path / "t.parquet", STUDY)["age"].tolist() == [70.5]
    pq.write_table(pa.table(columns | {"age": [[1, 2]]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="'age' holds list"):
        files.read(tmp_path / "t.parquet", STUDY)


@pytest.mark.parametrize(
    ("given", "wanted"), [("yes", 1), ("No", 0), ("TRUE", 1), ("false", 0), ("1.0", 1), ("0", 0), ("2", 2), ("-1", -1)]
)
def test_yes_and_no_in_words(tmp_path: Path, given: str, wanted: float):
    table = files.read(csv(tmp_path, f"patient_id,age,sex,readmitted\na,1,F,{given}\nb,1,M,\n"), STUDY)
    np.testing.assert_array_equal(table["readmitted"], [wanted, np.nan])


def test_a_word_that_is_neither_yes_nor_no_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="'readmitted' holds text in 2 rows, first in row 2; wanted 0 or 1"):
        files.read(csv(tmp_path, "patient_id,age,sex,readmitted\na,1,F,1\nb,1,M,maybe\nc,1,M,perhaps\n"), STUDY)


def test_a_binary_variable_with_its_own_texts_stays_text(tmp_path: Path):
    own = study(readmitted={"kind": "binary", "categories": ["NO", "<30"]})
    table = files.read(csv(tmp_path, "patient_id,age,sex,readmitted\na,1,F,NO\nb,1,M,<30\nc,1,M,>30\nd,1,M,?\n"), own)
    assert table["readmitted"].tolist() == ["NO", "<30", ">30", ""]


def test_infinity_is_read_so_that_it_can_be_told(tmp_path: Path):
    table = files.read(csv(tmp_path, "patient_id,age,sex,readmitted\na,inf,F,1\nb,-Infinity,M,0\nc,NaN,M,0\n"), STUDY)
    np.testing.assert_array_equal(table["age"], [np.inf, -np.inf, np.nan])


def test_an_absent_column_names_the_nearest(tmp_path: Path):
    with pytest.raises(DataError, match=r"t.csv: column 'age' is not in the table; did you mean 'Age'\?") as caught:
        files.read(csv(tmp_path, "patient_id,Age,sex,readmitted\na,1,F,1\n"), STUDY)
    assert "patient_id, Age, sex" in caught.value.hint
    with pytest.raises(DataError, match="no column 'patient_id', which says whose row it is; did you mean 'patientid'"):
        files.read(csv(tmp_path, "patientid,age,sex,readmitted\na,1,F,1\n"), STUDY)


def test_an_optional_column_may_be_absent(tmp_path: Path):
    optional = study(smoker={"kind": "category", "required": False}, weight={"kind": "number", "required": False})
    table = files.read(csv(tmp_path, "patient_id,age,sex,readmitted\na,1,F,1\nb,1,F,1\n"), optional)
    assert table["smoker"].tolist() == ["", ""]
    assert np.isnan(table["weight"]).all()


def test_the_site_may_call_the_patient_column_something_else(tmp_path: Path):
    table = files.read(csv(tmp_path, "mrn,age,sex,readmitted\n007,1,F,1\n"), STUDY, patient="mrn")
    assert table.patient.tolist() == ["007"]


def test_the_column_that_says_who_is_held_out_is_read(tmp_path: Path):
    held = manifest.read(STUDY.model_dump() | {"held_out": {"column": "set"}})
    table = files.read(csv(tmp_path, "patient_id,age,sex,readmitted,set\na,1,F,1,test\nb,1,F,1,train\n"), held)
    assert table["set"].tolist() == ["test", "train"]
    with pytest.raises(DataError, match="no column 'set'"):
        files.read(csv(tmp_path, "patient_id,age,sex,readmitted\na,1,F,1\n"), held)


def test_spaces_around_names_and_values_do_not_matter(tmp_path: Path):
    table = files.read(csv(tmp_path, "patient_id , age,sex , readmitted\na, 40 , F,1 \n"), STUDY)
    assert (table["age"].tolist(), table["sex"].tolist()) == ([40], ["F"])


def test_batches_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(formats, "BLOCK", 4096)
    lines = [f"p{n},{n},{'FM'[n % 2]},{n % 2}" for n in range(2000)]
    table = files.read(csv(tmp_path, "patient_id,age,sex,readmitted\n" + "\n".join(lines)), STUDY)
    np.testing.assert_array_equal(table["age"], np.arange(2000))
    assert table["sex"].tolist() == ["F", "M"] * 1000
    assert table.patient[1999] == "p1999"
