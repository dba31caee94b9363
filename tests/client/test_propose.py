"""A first draft from columns: careful about people, plain about doubts."""

import numpy as np
import pytest

from collegium.client.propose import look, patient_column, study
from collegium.errors import StudyError
from collegium.table import Table

ROWS = Table(
    {
        "mrn": np.arange(100.0),
        "age": np.where(np.arange(100) % 10 == 0, np.nan, 50.0 + np.arange(100) % 37),
        "pain": np.arange(100.0) % 4,
        "note": np.array([f"seen on ward {i}" for i in range(100)]),
        "ward": np.array(["A"] * 60 + ["B"] * 37 + ["Z"] * 3),
        "hospital": np.array(["north"] * 100),
        "ill": np.array(["no", "yes"] * 50),
    }
)


def test_each_column_is_seen_for_what_it_is():
    seen = look(ROWS, target="ill")
    assert {name: one.variable.kind if one.variable else None for name, one in seen.items()} == {
        "mrn": None, "age": "number", "pain": "number", "note": None, "ward": "category", "hospital": None, "ill": "binary",
    }  # fmt: skip
    assert "10 % missing" in seen["age"].note
    assert "make it a category" in seen["pain"].note
    assert seen["ward"].variable.categories == ("A", "B")  # three patients of ward Z are nobody's business
    assert "'yes' counts as 1" in seen["ill"].note
    assert patient_column(ROWS) == "mrn"


def test_a_draft_is_a_study_that_can_be_run():
    draft = study(ROWS, target="ill", method={"kind": "glm"}, patient="mrn")
    assert draft.features == ("age", "pain", "ward")
    assert draft.outcome is not None
    assert draft.outcome.task == "binary"
    with pytest.raises(StudyError, match="'hospital' cannot be the outcome: the same value"):
        study(ROWS, target="hospital", method={"kind": "glm"})
    with pytest.raises(StudyError, match="no column 'sick'"):
        study(ROWS, target="sick", method={"kind": "glm"})


def test_dates_and_a_vocabulary_of_one_stay_out():
    days = np.array([f"2023-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(89)] + ["2023-04-10"] * 11)
    german, clock = np.array(["10.04.2023", "1.5.2023"] * 50), np.array(["2023-04-10T08:00:00", ""] * 50)
    towns = np.array(["A"] * 60 + [f"town {i}" for i in range(40)])
    seen = look(Table({"day": days, "german": german, "clock": clock, "town": towns}))
    assert [one.variable for one in seen.values()] == [None] * 4
    assert all("seems to hold dates" in seen[name].note for name in ("day", "german", "clock"))
    assert "rarer" in seen["town"].note
    assert "2023" not in "".join(one.note for one in seen.values())


def test_what_could_name_a_patient_is_kept_out_of_a_draft():
    rows = Table({"zip": np.arange(10115.0, 10175), "city": np.array(["Leeds", "York", "Hull"] * 20), "age": np.linspace(20, 90, 60)})
    found = look(rows)
    assert found["zip"] == (None, "seems to hold postcodes of patients, by its name: kept out")
    assert found["city"].variable is None
    assert found["age"].variable is not None
