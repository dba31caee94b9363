"""A draft of a mapping: what it guesses, why, what it leaves to a person, and that it can be run as it is."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from collegium.data import intake, mapping, quality, suggest
from collegium.recipes import readmission
from collegium.study import manifest

R = random.Random(4)
N = 200
HOSPITAL: dict[str, list[str]] = {
    "FallNr": [f"{70000 + k}" for k in range(N)],
    "GebDatum": [f"{R.randint(1, 28):02}.{R.randint(1, 12):02}.{R.randint(1930, 1990)}" for _ in range(N)],
    "Aufnahmedatum": [f"{R.randint(1, 28):02}.01.2020" for _ in range(N)],
    "Entlassdatum": [f"{R.randint(1, 28):02}.02.2020" for _ in range(N)],
    "Geschlecht": [R.choice("WM") if k else "divers" for k in range(N)],
    "Krea (µmol/L)": [f"{R.uniform(40, 180):.1f}".replace(".", ",") if k % 15 else "hämolytisch" for k in range(N)],
    "glucose": [f"{R.uniform(4, 12):.1f}".replace(".", ",") for _ in range(N)],
    "Raucher": [R.choice(["ja", "nein", "ex"]) for _ in range(N)],
    "LOINC_718-7": [f"{R.uniform(8, 17):.1f}".replace(".", ",") for _ in range(N)],
    "Station": [R.choice(["3A", "4B"]) for _ in range(N)],
    "PLZ": [f"{R.randint(10000, 99999)}" for _ in range(N)],
}
STUDY = manifest.read(
    {
        "title": "Drafts",
        "purpose": "A test.",
        "variables": {
            "age": {"kind": "number", "unit": "years", "low": "0", "high": "120"},
            "length_of_stay": {"kind": "number", "unit": "days", "low": "0", "high": "365"},
            "sex": {"kind": "category", "categories": ["F", "M"]},
            "creatinine": {"kind": "number", "unit": "mg/dL", "low": "0.1", "high": "20"},
            "glucose": {"kind": "number", "unit": "mg/dL", "low": "20", "high": "1000"},
            "haemoglobin": {"kind": "number", "unit": "g/dL", "code": "LOINC 718-7"},
            "smoker": {"kind": "binary", "categories": ["no", "yes"]},
            "ejection_fraction": {"kind": "number", "unit": "%", "required": False},
            "postcode": {"kind": "category", "required": False},
        },
        "method": {"kind": "statistics"},
    }
)


def load(columns: Sequence[str]) -> Any:
    return tuple(HOSPITAL), iter([{name: pa.array(HOSPITAL[name]) for name in columns if name in HOSPITAL}])


@pytest.fixture(scope="module")
def text() -> str:
    return suggest.draft(suggest.sample(load, STUDY), STUDY, "stays")


@pytest.mark.parametrize(
    "line",
    [
        'decimal: ","',
        "dates: DD.MM.YYYY",
        'missing: ["hämolytisch"]',
        "  age: {from: GebDatum, until: Aufnahmedatum}  # from birth to a later date",
        "  length_of_stay: {from: Aufnahmedatum, until: Entlassdatum}  # from one date to the other",
        "  sex: {from: Geschlecht, values: {M: M, W: F}}",
        "  creatinine: {from: Krea (µmol/L), unit: µmol/L}",
        "  glucose: {from: glucose, unit: mmol/L}",
        "its values fit 20 to 1000 mg/dL only as mmol/L: check it",
        "  haemoglobin: {from: LOINC_718-7}  # its name holds the code 718-7",
        "#   which of no, yes are 'ex'? What is not mapped counts as missing",
        "  # ejection_fraction: no column looks like it; it may be absent",
        "  # postcode: 'PLZ' looks like it, but seems to hold postcodes of patients, by its name",
    ],
)  # fmt: skip
def test_each_line_says_what_and_why(text: str, line: str):
    if "{M: M, W: F}" in line:
        assert line in text or line.replace("M: M, W: F", "W: F, M: M") in text, text
    elif "postcode" in line:
        assert line in text or "postcode: no column looks like it" in text, text
    else:
        assert line in text, text


def test_a_draft_is_a_mapping_that_runs(text: str):
    found = intake.taken(load, STUDY, "stays", rules=mapping.read(text))
    report = quality.check(found, STUDY)
    lights = {line.variable: line.light for line in report.lines}
    assert {name for name, light in lights.items() if light == "red"} <= {""}
    assert np.nanmax(found.table["age"]) < 120
    assert set(np.unique(found.table["sex"])) <= {"", "F", "M", "divers"}
    assert 0.4 < np.nanmedian(found.table["creatinine"]) < 2.5


def test_a_draft_names_no_rare_value(text: str):
    assert "divers" not in text
    assert not any(value in text for value in HOSPITAL["FallNr"] + HOSPITAL["GebDatum"] + HOSPITAL["PLZ"])


def test_columns_under_their_own_names_need_no_rule():
    study = manifest.read(readmission.template())
    columns = {"age": ["61", "72"] * 20, "sex": ["F", "M"] * 20, "time_in_hospital": ["3", "4"] * 20}
    found = suggest.draft(columns, study, "t")
    assert "  # age: stands in the table under its name, and needs no rule" in found
    assert "  length_of_stay: {from: time_in_hospital}" in found


def test_a_table_of_a_hundred_thousand_columns_is_looked_at_by_name():
    wide = [f"gene{k}" for k in range(100_000)] + ["alter", "geschlecht"]
    asked: list[int] = []

    def load(columns: Sequence[str]) -> Any:
        asked.append(len(columns))
        return tuple(wide), iter([{name: pa.array(["61", "50"]) for name in columns}])

    study = manifest.read(
        {**readmission.template(), "variables": {n: readmission.VARIABLES[n] for n in ("age", "sex", "discharged_to", "readmitted")}}
    )
    found = suggest.sample(load, study)
    assert set(found) >= {"alter", "geschlecht"}
    assert asked[1] < 100


@pytest.mark.parametrize(
    ("column", "unit"),
    [("Krea (mg/dl)", "mg/dL"), ("glucose_mmol_l", "mmol/L"), ("weight_kg", "kg"), ("Temp [°C]", "°C"), ("age", ""), ("k", ""), ("HB", "")],
)
def test_units_in_names(column: str, unit: str):
    assert suggest.named_unit(column) == unit


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["2020-01-31"], ""), (["31.01.2020"], "DD.MM.YYYY"), (["01/31/2020", "02/03/2020"], "MM/DD/YYYY"), (["31/01/2020"], "DD/MM/YYYY"),
        (["3.1.20"], "DD.MM.YY"), (["31.01.2020 10:30"], "DD.MM.YYYY hh:mm"),
        (["31.01.2020", "2020-01-31", "3.1.20"], "[DD.MM.YYYY, DD.MM.YY]"),
        (["12", "13"], None), ([""], None),
    ],
)  # fmt: skip
def test_styles_of_dates(words: list[str], said: str | None):
    assert suggest.style(words) == said
