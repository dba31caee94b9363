"""FHIR exports as servers give them: fields missing, references of every form, files cut short."""

import gzip
import json
from pathlib import Path

import pytest

from collegium.data import fhir
from collegium.data.place import Place
from collegium.errors import DataError
from tests import records
from tests.data.test_views import SECRET, WANTED, rows, world


@pytest.mark.parametrize("name", ["Patient.ndjson", "Patient.000.ndjson.gz", "1.Patient.ndjson", "export-Patient-2.jsonl", "Patient.json"])
def test_files_are_known_by_their_names(name: str, tmp_path: Path):
    for other in (name, "PatientList.ndjson", "Patient.csv", "Group.ndjson"):
        (tmp_path / other).write_text("")
    assert fhir.files(Place(str(tmp_path))) == {"Patient": [tmp_path / name]}


def test_a_fhir_record_may_lack_everything(tmp_path: Path):
    resources = records.fhir(world())
    for kind, many in resources.items():
        many += [
            {"resourceType": kind, "id": "bare"},
            {"resourceType": kind},
            {"resourceType": kind, "id": "x", "subject": {"display": SECRET}},
        ]
    resources["Patient"].append({"resourceType": "Patient", "id": "y", "birthDate": "1950", "gender": "unknown"})
    resources["Patient"].append({"resourceType": "Patient", "id": "z", "birthDate": "1950-13", "name": [{"family": SECRET}]})
    resources["Condition"].append({"resourceType": "Condition", "id": "c", "code": "I50", "subject": "Patient/p1", "onsetDateTime": 7})
    resources["Condition"].append(
        {"resourceType": "Condition", "id": "d", "code": {"coding": {"code": "I50"}}, "subject": {"reference": 5}}
    )
    records.write_fhir(tmp_path / "bulk", resources)
    got = rows(Place(str(tmp_path / "bulk"), view="fhir/readmission"))
    for row in got:
        row.pop("patient_id")
    assert sorted(map(str, got)) == sorted(map(str, WANTED))


def test_a_patient_named_by_an_identifier_and_a_wrong_diagnosis(tmp_path: Path):
    resources = records.fhir(world())
    resources["Patient"][1]["identifier"] = [{"value": "MRN-7"}]
    for one in resources["Encounter"]:
        if one["subject"]["reference"].split("/_")[0].endswith("p1"):
            one["subject"] = {"identifier": {"value": "MRN-7"}}
    resources["Condition"][0]["verificationStatus"] = records.concept("x", "refuted")
    records.write_fhir(tmp_path / "bulk", resources)
    got = rows(Place(str(tmp_path / "bulk"), view="fhir/readmission"), "age", "heart_failure")
    assert sorted(map(str, got)) == sorted(str({"age": age, "heart_failure": "no"}) for age in (60, 69, 69))


@pytest.mark.parametrize("packed", [False, True])
def test_a_fhir_file_cut_short_is_told_with_its_line(packed: bool, tmp_path: Path):
    records.write_fhir(tmp_path / "bulk", records.fhir(world()))
    path = tmp_path / "bulk" / "Patient.ndjson"
    raw = path.read_bytes() + json.dumps({"id": "q", "name": SECRET}).encode()[:-4]
    path.unlink()
    path.with_suffix(".ndjson.gz" if packed else ".ndjson").write_bytes(gzip.compress(raw) if packed else raw)
    with pytest.raises(DataError, match=r"bulk: .*cannot be read") as caught:
        rows(Place(str(tmp_path / "bulk"), view="fhir/readmission"))
    assert SECRET not in str(caught.value) + caught.value.hint
