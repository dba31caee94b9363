"""The data dictionary: every column of the study's table, and nothing that a spreadsheet would compute."""

import csv
import io

from collegium.recipes import readmission
from collegium.study import dictionary, manifest

STUDY = manifest.read(readmission.template())


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_column_with_meaning_unit_code_range_and_use():
    document = readmission.template()
    document["variables"]["creatinine"] = {"kind": "number", "unit": "umol/L", "code": "LOINC 14682-9", "low": "10", "required": False}
    document["held_out"] = {"column": "part"}
    study = manifest.read(document)
    found = {row["variable"]: row for row in rows(dictionary.table(study))}
    assert list(found) == ["patient_id", *(n for n in study.variables if n != "readmitted"), "readmitted", "part"]
    assert found["creatinine"] == {
        "variable": "creatinine", "meaning": "", "kind": "number", "unit": "umol/L", "allowed": "10 and above", "code": "LOINC 14682-9",
        "required": "no", "use": "input",
    }  # fmt: skip
    assert found["readmitted"]["allowed"] == "no, yes"
    assert dictionary.template(study).strip().split(",") == list(found)
    page = dictionary.markdown(study)
    assert all(f"| {name} |" in page for name in found)


def test_redcap_gets_names_choices_and_ranges_that_it_takes():
    found = {row["Variable / Field Name"]: row for row in rows(dictionary.redcap(STUDY))}
    assert list(rows(dictionary.redcap(STUDY))[0]) == list(dictionary.REDCAP)
    assert found["patient_id"]["Identifier?"] == "y"
    age, sex, urgent = found["age"], found["sex"], found["primary_diagnosis"]
    assert (age["Text Validation Type OR Show Slider Number"], age["Text Validation Min"], age["Text Validation Max"]) == (
        "number",
        "0",
        "120",
    )
    assert (sex["Field Type"], sex["Choices, Calculations, OR Slider Labels"]) == ("radio", "F, F | M, M")
    assert urgent["Field Type"] == "dropdown"
    assert urgent["Choices, Calculations, OR Slider Labels"].startswith("heart_failure, heart failure | ")
    assert found["hba1c"]["Required Field?"] == ""
    assert dictionary.fields(["Größe (cm)", "Größe [cm]", "2nd", "ECG"]) == ["gr_sse_cm", "gr_sse_cm_2", "v_2nd", "ecg"]


def test_a_strangers_text_is_no_formula_and_no_markup():
    document = readmission.template()
    document["variables"]["age"]["meaning"] = "=cmd|' /C calc'!A0\x1b[2J"
    document["variables"]["lab_tests"]["meaning"] = "-5"
    study = manifest.read(document)
    found = {row["variable"]: row["meaning"] for row in rows(dictionary.table(study))}
    assert found["age"] == "'=cmd|' /C calc'!A0 [2J"
    assert found["lab_tests"] == "-5"
    assert "\x1b" not in dictionary.markdown(study)
    assert "cmd\\|" in dictionary.markdown(study)
