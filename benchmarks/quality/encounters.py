"""Diabetes 130-US hospitals, heart failure only or all stays, as hospitals' tables: one row a stay, payers standing for hospitals.

Source: Strack et al. 2014, doi:10.1155/2014/781670; UCI data set 296, CC BY 4.0. No hospital is named in it; `payer_code` is a
real administrative attribute that divides the patients unevenly, as hospitals do. Groups of fewer than 300 stays are joined.
"""

import csv
import gzip
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from collegium.recipes import readmission
from collegium.study.manifest import Study
from collegium.table import Table

FEWEST = 300
NEVER_BACK = dict.fromkeys(("11", "19", "20", "21"), "expired") | {"13": "hospice, home", "14": "hospice, facility"}
WORDS: dict[str, tuple[str, dict[str, str], str]] = {  # our variable: their column; their code: our word; any other code
    "sex": ("gender", {"Female": "F", "Male": "M"}, ""),
    "admission_type": ("admission_type_id", {"1": "emergency", "7": "emergency", "2": "urgent", "3": "elective"}, "other"),
    "admitted_from": (
        "admission_source_id",
        {"7": "emergency room"}
        | dict.fromkeys(("1", "2", "3"), "referral")
        | dict.fromkeys(("4", "5", "6", "10", "18", "22", "25", "26"), "transfer"),
        "other",
    ),
    "hba1c": ("A1Cresult", {"None": "not measured", "Norm": "normal", ">7": "raised", ">8": "high"}, ""),
    "discharged_to": (
        "discharge_disposition_id",
        {"1": "home", "6": "home care", "8": "home care", "22": "rehabilitation"}
        | dict.fromkeys(("3", "4", "15", "24"), "nursing facility")
        | dict.fromkeys(("2", "5", "9", "10", "23", "27", "28", "29", "30"), "other hospital")
        | NEVER_BACK,
        "other",
    ),
    "readmitted": ("readmitted", {"<30": "yes"}, "no"),
}
COUNTS = {
    "length_of_stay": "time_in_hospital",
    "procedures": "num_procedures",
    "lab_tests": "num_lab_procedures",
    "medications": "num_medications",
    "diagnoses": "number_diagnoses",
    "admissions_last_year": "number_inpatient",
    "emergencies_last_year": "number_emergency",
    "outpatient_last_year": "number_outpatient",
}
ORGANS = (  # first, last, others, as in Strack et al., table 2
    ("other circulatory", 390, 459, (785,)),
    ("respiratory", 460, 519, (786,)),
    ("digestive", 520, 579, (787,)),
    ("genitourinary", 580, 629, (788,)),
    ("musculoskeletal", 710, 739, ()),
    ("injury", 800, 999, ()),
    ("neoplasm", 140, 239, ()),
)
DRUGS = (
    *("metformin", "repaglinide", "nateglinide", "chlorpropamide", "glimepiride", "acetohexamide", "glipizide", "glyburide"),
    *("tolbutamide", "pioglitazone", "rosiglitazone", "acarbose", "miglitol", "troglitazone", "tolazamide", "insulin"),
    *("glyburide-metformin", "glipizide-metformin"),
)
WIDE = {  # categories of the wide study beside the recipe's
    "age_band": "age",
    "race": "race",
    "specialty": "medical_specialty",
    "glucose": "max_glu_serum",
    "changed": "change",
    "treated": "diabetesMed",
    **{name: name for name in DRUGS},
}


def stays(folder: Path, everybody: bool = False) -> list[dict[str, str]]:
    """Every stay with heart failure (ICD-9 428) among its three diagnoses, or with any; the deceased included."""
    with gzip.open(folder / "diabetic_data.csv.gz", "rt", newline="") as file:
        return [row for row in csv.DictReader(file) if everybody or any(row[f"diag_{k}"].startswith("428") for k in (1, 2, 3))]


def organ(icd9: str) -> str:
    """The organ system of a diagnosis."""
    if icd9.startswith("428"):
        return "heart failure"
    if icd9.startswith("250"):
        return "diabetes"
    code = int(float(icd9)) if icd9[:1].isdigit() else -1
    return next((name for name, first, last, more in ORGANS if first <= code <= last or code in more), "other")


def columns(rows: list[dict[str, str]], wide: bool) -> dict[str, Any]:
    """The stays as the recipe's variables; with `wide` also what else the data set holds."""
    out: dict[str, Any] = {"age": np.array([float(row["age"][1:-1].split("-")[0]) + 5 for row in rows])}  # of ten years the middle
    out |= {name: np.array([float(row[theirs]) for row in rows]) for name, theirs in COUNTS.items()}
    out |= {name: np.array([words.get(row[theirs], other) for row in rows]) for name, (theirs, words, other) in WORDS.items()}
    out["primary_diagnosis"] = np.array([organ(row["diag_1"]) for row in rows])
    if wide:
        out |= {name: np.array([row[theirs].replace("?", "not recorded") for row in rows]) for name, theirs in WIDE.items()}
        out |= {f"diagnosis_{k}": np.array([organ(row[f"diag_{k}"]) for row in rows]) for k in (2, 3)}
    return out


def sites(folder: Path, study: Study, *, wide: bool = False, everybody: bool = False) -> dict[str, Table]:
    """Each payer's stays, cleaned by the recipe's rules, as the study's raw columns."""
    rows = stays(folder, everybody)
    alive = Counter(row["payer_code"] for row in rows if row["discharge_disposition_id"] not in NEVER_BACK)
    payer = np.array([row["payer_code"] if alive[row["payer_code"]] >= FEWEST else "others" for row in rows])
    everything = Table(columns(rows, wide), np.array([row["patient_nbr"] for row in rows]))
    names = {"?": "not recorded"}
    out = {}
    for name in sorted({*payer.tolist()}, key=lambda n: -int((payer == n).sum())):
        out[names.get(name, name)], _ = readmission.clean(study, everything.where(payer == name))
    return out


def widened(folder: Path, document: Mapping[str, Any], *, everybody: bool = False) -> dict[str, Any]:
    """The recipe's study with the data set's other columns: of each, the categories that ten or more stays have."""
    values = columns(stays(folder, everybody), wide=True)
    extra = {name: Counter(values[name].tolist()) for name in (*WIDE, "diagnosis_2", "diagnosis_3")}
    levels = {name: sorted(level for level, n in counts.items() if n >= 10) for name, counts in extra.items()}
    variables = {name: {"kind": "category", "categories": found, "required": False} for name, found in levels.items() if len(found) > 1}
    return {**document, "variables": {**document["variables"], **variables}}
