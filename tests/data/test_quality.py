import json
from pathlib import Path

import numpy as np
import pytest

from collegium.data.quality import Line, Report, check, cleaned, ready
from collegium.data.synthetic import make
from collegium.errors import DataError
from collegium.study import manifest, plan
from collegium.table import Table


def study(**variables: object) -> manifest.Study:
    document = manifest.read(manifest.EXAMPLE).model_dump()
    document["variables"] |= variables
    return manifest.read(document)


STUDY = study()


def table(n: int = 40, **columns: object) -> Table:
    """A table in order, but for the columns given."""
    rng = np.random.default_rng(0)
    base = {"age": rng.uniform(20, 90, n), "sex": np.tile(["F", "M"], n)[:n], "readmitted": np.tile([0.0, 1, 1], n)[:n]}
    return Table(base | columns, patient=np.array([f"p{k}" for k in range(n)]))


def line(report: Report, variable: str) -> Line:
    return next(found for found in report.lines if found.variable == variable)


def test_a_table_in_order_is_green_and_unchanged():
    report, given = check(table(), STUDY), table()
    assert (report.light, report.rows, report.patients) == ("green", 40, 40)
    assert report.sentence == "This table can take part (40 rows of 40 patients)."
    for name in given.columns:
        np.testing.assert_array_equal(ready(given, STUDY)[name], given[name])


def test_out_of_range_becomes_missing_and_is_counted():
    given = table(age=np.array([430.0, -1, np.nan] + [50.0, 60] * 18 + [70.0]))
    clean, report = cleaned(given, STUDY)
    assert line(report, "age") == Line(
        "age", "amber", "2 values lie outside 0 to 120 years and count as missing", "check the unit and the codes of this column"
    )
    assert np.isnan(clean["age"]).sum() == 3
    assert report.missing["age"] == 3 / 40


@pytest.mark.parametrize(
    ("low", "high", "unit", "values", "says"),
    [
        ("0", "120", "years", np.linspace(300, 1000, 40), "would fit as months"),
        ("20", "100", "%", np.linspace(0.2, 0.8, 40), "would fit as fractions"),
        ("50", "600", "mg/dL", np.linspace(3.5, 15, 40), "mmol/L (glucose)"),
    ],
)
def test_a_wrong_unit_is_guessed_and_stops_the_site(low: str, high: str, unit: str, values: np.ndarray, says: str):
    wrong = study(age={"kind": "number", "low": low, "high": high, "unit": unit})
    assert says in line(check(table(age=values), wrong), "age").says
    with pytest.raises(DataError, match=r"column 'age': .* outside") as caught:
        ready(table(age=values), wrong)
    assert "unit" in caught.value.hint


def test_fractions_where_per_cent_is_wanted():
    percent = study(age={"kind": "number", "low": "0", "high": "100", "unit": "%"})
    found = line(check(table(age=np.linspace(0.1, 0.9, 40)), percent), "age")
    assert (found.light, found.way_out) == ("amber", "multiply by 100 if they are fractions")


def test_infinity_names_its_column_and_no_value():
    with pytest.raises(DataError, match="column 'age': holds infinite values in 3 rows"):
        ready(table(age=np.array([np.inf, -np.inf, np.inf] + [50.0] * 37)), STUDY)
    free = study(age={"kind": "number"})
    with pytest.raises(DataError, match=r"column 'age': holds values beyond 6.9e\+10 in 4 rows"):
        ready(table(age=np.array([1e30] * 4 + [50.0] * 36)), free)


def test_a_bad_record_is_counted_and_stops_nothing():
    given = table(age=np.array([np.inf, -np.inf] + [50.0, 60] * 19))
    clean, report = cleaned(given, STUDY)
    assert (line(report, "age").light, report.light, report.missing["age"]) == ("amber", "amber", 2 / 40)
    assert np.isnan(clean["age"]).sum() == 2
    clean, report = cleaned(table(age=np.array(["61", "old"] + ["62", "63"] * 19)), STUDY)
    assert line(report, "age").says == "holds text in 1 rows, first in row 2; wanted a number of years; these count as missing"
    assert np.isnan(clean["age"]).sum() == 1


def test_unknown_categories_become_missing_and_mostly_unknown_stops():
    few = table(sex=np.array(["F", "M", "F", "divers"] * 10))
    clean, report = cleaned(few, STUDY)
    assert line(report, "sex").says == "10 values are not among the listed categories and count as missing"
    assert (clean["sex"] == "").sum() == 10
    assert "divers" not in json.dumps(report.document())
    with pytest.raises(DataError, match="'sex': 30 values are not among"):
        ready(table(sex=np.array(["1", "2", "2", "F"] * 10)), STUDY)


def test_constant_missing_and_empty_columns():
    report = check(table(age=np.full(40, 61.0), sex=np.array(["F"] * 15 + [""] * 25)), STUDY)
    assert "same value" in line(report, "age").says
    assert [found.says for found in report.lines if found.variable == "sex"][1] == "is missing in 62 % of the rows"
    with pytest.raises(DataError, match="'age': has no value in any row"):
        ready(table(age=np.full(40, np.nan)), STUDY)
    optional = study(age={"kind": "number", "required": False})
    assert line(check(table(age=np.full(40, np.nan)), optional), "age").light == "amber"


def test_an_absent_column():
    given = table()
    short = Table({name: column for name, column in given.columns.items() if name != "age"} | {"Age_y": given["age"]}, given.patient)
    with pytest.raises(DataError, match=r"column 'age': is not in the table; did you mean 'Age_y'\?"):
        ready(short, STUDY)
    optional = study(age={"kind": "number", "required": False})
    clean = ready(short, optional)
    assert np.isnan(clean["age"]).all()
    plan.rows(optional, clean)


def test_text_where_numbers_are_wanted():
    with pytest.raises(DataError, match="column 'age': holds text in 3 rows, first in row 2"):
        ready(table(age=np.array(["61", "old", "older", "oldest"] + ["62", "63"] * 18)), STUDY)
    with pytest.raises(DataError, match="decimal comma in 40 rows"):
        ready(table(age=np.array(["61,5"] * 40)), STUDY)
    clean = ready(table(age=np.array(["61", "NA"] + ["62.5", ""] * 19, object)), STUDY)
    np.testing.assert_array_equal(clean["age"][:3], [61, np.nan, 62.5])


def test_rows_without_outcome_or_patient_are_left_out_and_counted():
    given = table(readmitted=np.array([np.nan, np.nan] + [0.0, 1] * 19))
    nobody = Table(given.columns, np.array(["p0", "p1", ""] + [f"p{k}" for k in range(37)]))
    clean, report = cleaned(nobody, STUDY)
    assert len(clean) == report.rows == 37
    assert report.left_out == {"without the name of a patient": 1, "without 'readmitted'": 2}
    assert {"1 rows without the name of a patient are left out", "2 rows without 'readmitted' are left out"} <= {
        f.says for f in report.lines
    }


def test_one_class_and_small_classes_take_part_with_a_word():
    assert "cannot be compared" in next(f.says for f in check(table(readmitted=np.ones(40)), STUDY).lines if f.light == "amber")
    few = np.r_[np.ones(3), np.zeros(37)]
    assert "fewer than 10 patients" in next(f.says for f in check(table(readmitted=few), STUDY).lines if f.light == "amber")
    assert len(ready(table(readmitted=np.ones(40)), STUDY)) == 40


def test_a_binary_column_of_other_numbers_and_one_with_texts():
    with pytest.raises(DataError, match="'readmitted': 40 values are neither 0 nor 1"):
        ready(table(readmitted=np.tile([2.0, 3], 20)), STUDY)
    texts = study(readmitted={"kind": "binary", "categories": ["no", "yes"]})
    clean = ready(table(readmitted=np.tile(["no", "yes", "maybe"], 14)[:40]), texts)
    assert set(clean["readmitted"]) == {"no", "yes"}
    assert set(ready(table(), texts)["readmitted"]) == {"no", "yes"}  # 0 and 1 say the same
    assert set(plan.rows(texts, clean)["y"]) == {0.0, 1.0}


def test_no_rows_and_few_rows():
    with pytest.raises(DataError, match="the table holds no rows"):
        ready(table(0), STUDY)
    assert "holds 5 patients, fewer than 10" in check(table(5), STUDY).lines[0].says


def test_a_column_that_tells_the_outcome_is_told():
    late = study(days={"kind": "number"}, ward={"kind": "category"})
    given = table(200)
    after = given.with_columns(days=given["readmitted"] * 3 + np.linspace(0, 1, 200), ward=np.where(given["readmitted"] == 1, "x", "y"))
    says = {f.variable: f.says for f in check(after, late).lines if "almost alone" in f.says}
    assert says == dict.fromkeys(("days", "ward"), "tells the outcome almost alone (AUROC 1.000)")


def test_names_in_an_open_category_are_told():
    names = study(who={"kind": "category"})
    report = check(table(60, who=np.array([f"name {k}" for k in range(60)])), names)
    assert "name or free text" in line(report, "who").says


def test_a_file_is_checked_whole_where_reading_would_stop(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("mrn,Age,sex,readmitted\n" + "".join(f"p{k},{k},{'FM'[k % 2]},{'maybe' if k else 1}\n" for k in range(30)))
    report = check(path, STUDY)
    assert report.light == "red"
    red = {f.variable: f.says for f in report.lines if f.light == "red"}
    assert set(red) == {"", "age", "readmitted"}
    assert "did you mean 'Age'" in red["age"]
    assert report.sentence.startswith("This table cannot take part yet: 3 things to mend")
    assert not [f for f in check(path, STUDY, patient="mrn").lines if f.variable == "" and f.light == "red"]
    json.dumps(report.document())


def test_a_missing_patient_column_is_red_in_memory_too():
    with pytest.raises(DataError, match="does not say whose row it is"):
        ready(Table(table().columns), STUDY)


def test_clean_rows_stay_clean():
    big = manifest.read(STUDY.model_dump() | {"seed": 4})
    once = ready(make(big, 500, seed=2, missing=0.1), big)
    twice = ready(once, big)
    for name in once.columns:
        np.testing.assert_array_equal(once[name], twice[name])
