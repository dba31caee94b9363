import numpy as np
import pytest

from collegium.errors import StudyError
from collegium.recipes import readmission
from collegium.study import manifest
from collegium.table import Table


def study(**changes: object) -> manifest.Study:
    return manifest.read(readmission.template() | changes)


def test_stays_that_ended_in_death_or_hospice_are_left_out_and_counted():
    where = np.array(["home", "Expired at home", "hospice / home", "", "other", "DIED"])
    table = Table({"discharged_to": where, "age": np.arange(6.0)}, patient=np.array(list("abcdef")))
    rest, left_out = readmission.clean(study(), table)
    assert rest["age"].tolist() == [0, 3, 4]
    assert left_out == {"stay ended in death or hospice care": 3}


def test_rows_that_stand_twice_are_kept_once_but_two_stays_are_two_rows():
    stays = {"discharged_to": np.array(["home"] * 4), "age": np.array([61.0, 61, np.nan, np.nan]), "days": np.array([3.0, 4, 5, 5])}
    table = Table(stays, patient=np.array(["a", "a", "b", "b"]))
    rest, left_out = readmission.clean(study(), table)
    assert (len(rest), left_out) == (3, {"row stands twice": 1})
    nobody = Table(table.columns)
    assert len(readmission.clean(study(), nobody)[0]) == 4
    empty = table.where(np.zeros(0, int))
    assert len(readmission.clean(study(), empty)[0]) == 0


@pytest.mark.parametrize(
    "name", ["days_to_readmission", "died_within_90d", "visits_after_discharge", "next_admission_type", "readmitted_to"]
)
def test_a_variable_from_the_future_is_refused(name: str):
    variables = readmission.template()["variables"] | {name: {"kind": "number"}}
    with pytest.raises(StudyError, match=f"variable '{name}' looks like something known only after discharge"):
        readmission.learner(study(variables=variables))


@pytest.mark.parametrize("name", ["readmissions_last_year", "post_operative", "deliveries"])
def test_a_variable_from_the_past_is_not(name: str):
    readmission.check(study(variables=readmission.template()["variables"] | {name: {"kind": "number"}}))


def test_a_study_that_cannot_split_by_patient_is_refused():
    with pytest.raises(StudyError, match="name of the patient column"):
        readmission.check(study(patient=""))


def test_a_study_without_the_way_of_discharge_is_refused():
    variables = {name: v for name, v in readmission.template()["variables"].items() if name != "discharged_to"}
    with pytest.raises(StudyError, match="needs the variable 'discharged_to'"):
        readmission.check(study(variables=variables))


def test_another_outcome_is_refused():
    with pytest.raises(StudyError, match="answers yes or no"):
        readmission.check(study(outcome={"task": "regression", "target": "length_of_stay"}))
