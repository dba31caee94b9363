"""Columns that name patients: found in forty styles, and seldom seen where there are none."""

import csv
import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from collegium.data.identifiers import look
from tests.data.styles import STYLES, column
from tests.datasets import dataset

CASES = [(style, header, rows) for style in STYLES for header in style.headers for rows in (30, 400)]


def test_there_are_forty_styles():
    assert len({style.name for style in STYLES}) == 40


def test_at_least_95_of_100_columns_in_forty_styles_are_found():
    missed = [
        (style.name, header, rows) for style, header, rows in CASES for seed in range(3) if not look(*column(style, header, rows, seed))
    ]
    assert len(missed) <= 0.05 * 3 * len(CASES), missed
    unseen = {style.name for style in STYLES} - {style.name for style, header, rows in CASES if look(*column(style, header, rows, 0))}
    assert unseen == set()


FILES = {  # what each set names patients by, which a finding is right about; all other columns name nobody
    "diabetes130/diabetic_data.csv.gz": {"patient_nbr", "encounter_id"},
    "hf_records/heart_failure_clinical_records_dataset.csv": set(),
    "fed_tcga_brca/brca.csv": {"pid"},
    "gdsc_ccle_drug_response/Cell_lines_annotations.csv.gz": set(),
    "gdsc_ccle_drug_response/Drug_annotation.csv": set(),
    "gdsc_ccle_drug_response/GDSC_IC50.csv.gz": set(),
    "pathology_features/wdbc.csv.gz": {"id", "ID", "id_number"},
    "pathology_features/wpbc.csv.gz": {"id", "ID", "id_number"},
    "pathology_features/cells.csv.gz": set(),
    "survival_multicentre/Dialysis.csv.gz": {"pid"},
    "survival_multicentre/cancer.csv.gz": {"pid"},
    "survival_multicentre/cgd.csv.gz": {"pid", "id"},
    "survival_multicentre/d.oropha.rec.csv.gz": {"pid"},
    "survival_multicentre/nwtco.csv.gz": {"pid"},
    "survival_multicentre/rhc.csv.gz": {"pid", "ptid"},
    "survival_multicentre/support2.csv.gz": {"pid"},
    "survival_multicentre/uis.csv.gz": {"pid", "ID"},
    "trials_with_sites/cgd.csv.gz": {"id", "random"},
    "trials_with_sites/indo_rct.csv.gz": {"id"},
    "trials_with_sites/opt.csv.gz": {"PID"},
    "trials_with_sites/respiratory.csv.gz": {"patient", "id"},
    "tcga_omics_survival/tcga_blca_all_clean.csv.gz": {"case_id", "slide_id"},
    "tcga_omics_survival/tcga_luad_all_clean.csv.gz": {"case_id", "slide_id"},
    "text/drugsComTest.tsv.gz": {"review", "date", "uniqueID", "Unnamed: 0"},
}


def columns_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The columns of a file of separated values, as they look."""
    with gzip.open(path, "rt", encoding="utf8") if path.suffix == ".gz" else path.open(encoding="utf8") as file:
        first = file.readline()
        separator = max(",\t;", key=first.count)
        names = next(csv.reader([first], delimiter=separator))
        found = list(itertools.islice(csv.reader(file, delimiter=separator), 3000 if len(names) < 500 else 200))
    for at, name in enumerate(names):
        yield name, ["" if row[at] in ("?", "NA") else row[at] for row in found if at < len(row)]


@pytest.mark.slow
def test_at_most_5_of_100_columns_of_real_tables_raise_a_false_alarm():
    """Over all columns, and over those of tables for people alone: thousands of genes would hide a dozen alarms."""
    alarms: dict[str, list[str]] = {}
    others: dict[str, int] = {}
    for name, known in FILES.items():
        folder, _, file = name.partition("/")
        for header, values in columns_of(dataset(folder) / file):
            if header not in known:
                others[name] = others.get(name, 0) + 1
                alarms[name] = alarms.get(name, []) + ([header] if look(header, values) else [])
    narrow = [name for name, count in others.items() if count < 500]
    assert sum(others[name] for name in narrow) > 500
    for chosen in (narrow, list(others)):
        assert sum(len(alarms[name]) for name in chosen) <= 0.05 * sum(others[name] for name in chosen), alarms


CLINICAL = [
    ("mobile", ["yes", "no", "with help"]),
    ("cp", ["1", "2", "3", "4"]),
    ("cp ", ["typical angina", "asymptomatic", "non-anginal"]),
    ("via", ["oral", "iv", "im", "sc"]),
    ("portable", ["0", "1"]),
    ("admission_source_name", ["referral", "emergency room", "transfer"]),
    ("drug_name", ["Metformin", "Ramipril", "Bisoprolol", "Insulin"]),
    ("birth_weight", ["3200", "2800", "3999"]),
    ("year_of_birth", ["1950", "1961", "1972"]),
    ("age_at_birth_of_first_child", ["21", "32", "27"]),
    ("email_consent", ["yes", "no"]),
    ("has_phone", ["1", "0"]),
    ("state", ["stable", "worse", "better"]),
    ("name", ["A", "B", "C"]),
    ("platelets", ["265000", "263358", "162000", "210000", "327000"]),
    ("bp", ["120/80", "135/90", "110/70"]),
    ("icd10", ["I50.1", "E11.9", "J18.0"]),
    ("atc", ["C09AA05", "A10BA02", "C07AB07"]),
    ("loinc", ["2160-0", "718-7", "2345-7"]),
    ("age_group", ["[70-80)", "[60-70)", "[50-60)"]),
    ("length_of_stay", ["3", "14", "1"]),
    ("procedure", ["hip replacement", "stent", "dialysis"]),
    ("nie", ["0.1", "0.2", "0.4"]),
    ("date_count", ["12", "3", "5"]),
    ("ort", ["left", "right"]),
    ("troponin", ["0.012", "1.5", "14.2"]),
    ("ward", ["3A", "4B", "ICU"]),
]


@pytest.mark.parametrize(("header", "values"), CLINICAL, ids=[header for header, _ in CLINICAL])
def test_what_clinics_measure_raises_no_alarm(header: str, values: list[str]):
    assert look(header, values * 20) is None


def test_numbers_names_alone_and_nothing():
    assert look("patient_nbr", np.append(np.arange(8222157.0, 8222257), np.nan)) is not None
    assert look("haemoglobin", np.array([12.5, 13.0, np.nan])) is None
    assert look("ssn") is not None
    assert look("ssn", []) is not None
    assert look("x", [None, ""]) is None
    assert look("heart_rate") is None
    assert str(look("x", ["a.b@example.org"])) == "Finding(kind='e-mail addresses', why='by its values')"
    notes = [f"The patient number {k} was seen on the ward and sent home with new medication" for k in range(30)]
    assert look("letter", notes) == ("free text", "by its values")
