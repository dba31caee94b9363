"""Four hospitals' heart patients, cleaned and split as in FLamby's Fed-Heart-Disease: one CSV file a hospital, three ways.

    python prepare.py --data FOLDER [--out FOLDER]

FOLDER holds `processed.{cleveland,hungarian,switzerland,va}.data` of UCI Heart Disease (Janosi, Steinbrunn, Pfisterer and
Detrano 1988, doi.org/10.24432/C52P4X, CC BY 4.0). Columns that most hospitals did not record are dropped, then rows with a
missing value: 740 rows are left. 66 % of each hospital's rows train; the column `part` says which. Written are

  raw/           values as recorded: for the studies that standardise by sums over all hospitals
  per_hospital/  standardised by each hospital's own training rows, as FLamby trains and as its tests at one hospital
  pooled_test/   the same training rows, but test rows standardised by all hospitals' training rows: FLamby's "pooled test"
"""

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

SITES = ("cleveland", "hungarian", "switzerland", "va")
NUMBERS = {0: "age", 3: "resting_pressure", 4: "cholesterol", 7: "max_heart_rate", 9: "st_depression"}
YES_NO = {1: "male", 5: "high_blood_sugar", 8: "exercise_angina"}
CODES: dict[int, tuple[str, dict[int, str]]] = {
    2: ("chest_pain", {1: "typical angina", 2: "atypical angina", 3: "non-anginal", 4: "asymptomatic"}),
    6: ("resting_ecg", {0: "normal", 1: "ST-T abnormality", 2: "hypertrophy"}),
}
DROPPED, OUTCOME = (10, 11, 12), 13  # slope, ca and thal were hardly recorded outside Cleveland
KEPT = [at for at in range(OUTCOME) if at not in DROPPED]
NAMES = {**NUMBERS, **YES_NO, **{at: name for at, (name, _) in CODES.items()}}
# FLamby's thirteen inputs in FLamby's order: plain columns, then one for each code but the first
INPUTS = [NAMES[at] for at in KEPT if at not in CODES] + [f"{name}_{code}" for name, codes in CODES.values() for code in [*codes][1:]]
TRAINING_SHARE, SPLIT_SEED = 0.66, 43


class Hospital(NamedTuple):
    """One hospital's complete rows."""

    recorded: np.ndarray  # (rows, 10): the columns of KEPT
    inputs: np.ndarray  # (rows, 13), float32 as in FLamby
    disease: np.ndarray  # 0 or 1
    test: np.ndarray  # which rows are held out


def read(folder: Path) -> dict[str, Hospital]:
    """The hospitals' complete rows, split as FLamby splits them."""
    return {site: hospital(np.loadtxt(folder / f"processed.{site}.data", dtype=str, delimiter=",")) for site in SITES}


def hospital(cells: np.ndarray) -> Hospital:
    """A file's cells as numbers."""
    cells = cells[:, [*KEPT, OUTCOME]]
    numbers = cells[~(cells == "?").any(1)].astype(np.float64)
    recorded, disease = numbers[:, :-1], (numbers[:, -1] > 0).astype(np.int64)
    plain = [recorded[:, KEPT.index(at)] for at in KEPT if at not in CODES]
    dummies = [recorded[:, KEPT.index(at)] == code for at, (_, codes) in CODES.items() for code in [*codes][1:]]
    return Hospital(recorded, np.stack([*plain, *dummies], axis=1).astype(np.float32), disease, held_out(disease))


def held_out(disease: np.ndarray) -> np.ndarray:
    """FLamby's test rows: stratified by disease, unless one of the two is found in fewer than three rows (Switzerland)."""
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]  # it comes with collegium[dev], without types

    balanced = min(int(disease.sum()), int((1 - disease).sum())) > 2
    _, chosen = train_test_split(
        np.arange(len(disease)), test_size=1.0 - TRAINING_SHARE, train_size=TRAINING_SHARE, random_state=SPLIT_SEED,
        shuffle=True, stratify=disease if balanced else None,
    )  # fmt: skip
    return np.isin(np.arange(len(disease)), chosen)


def standardised(hospitals: Mapping[str, Hospital], *, pooled_test: bool) -> dict[str, np.ndarray]:
    """The inputs with mean 0 and spread 1 over each hospital's own training rows; test rows by all hospitals' if asked for."""
    everybody = np.concatenate([h.inputs[~h.test] for h in hospitals.values()])
    out = {}
    for site, h in hospitals.items():
        own = scaled(h.inputs, h.inputs[~h.test])
        out[site] = np.where(h.test[:, None], scaled(h.inputs, everybody), own) if pooled_test else own
    return out


def scaled(inputs: np.ndarray, by: np.ndarray) -> np.ndarray:
    """By mean and sample spread; a column that is constant there becomes 0, or huge where a test row differs, as in FLamby."""
    exact = by.astype(np.float64)
    return np.asarray((inputs - exact.mean(0).astype(np.float32)) / (exact.std(0, ddof=1).astype(np.float32) + np.float32(1e-9)))


def columns(h: Hospital) -> dict[str, np.ndarray]:
    """The values as recorded, by name; codes in words."""
    out = {NAMES[at]: h.recorded[:, place] for place, at in enumerate(KEPT)}
    return out | {name: np.array([words[int(code)] for code in out[name]]) for name, words in CODES.values()}


def write(file: Path, values: dict[str, np.ndarray], h: Hospital) -> None:
    """One hospital's table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow([*values, "disease", "part"])
        for at in range(len(h.disease)):
            lines.writerow([*(said(v[at]) for v in values.values()), h.disease[at], "test" if h.test[at] else "train"])


def said(value: object) -> str:
    """A value as text; nine digits carry a float32 unchanged."""
    return value if isinstance(value, str) else f"{value:.9g}"


def main() -> None:
    """Write the three folders and say what is in them."""
    parser = argparse.ArgumentParser(description="Cleaned and split tables of four hospitals' heart patients.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the four processed.*.data files")
    parser.add_argument("--out", type=Path, default=Path("hospitals"), help="where to write (default: ./hospitals)")
    asked = parser.parse_args()
    hospitals = read(asked.data)
    for folder, pooled_test in (("per_hospital", False), ("pooled_test", True)):
        for site, inputs in standardised(hospitals, pooled_test=pooled_test).items():
            write(asked.out / folder / f"{site}.csv", dict(zip(INPUTS, inputs.T, strict=True)), hospitals[site])
    for site, h in hospitals.items():
        write(asked.out / "raw" / f"{site}.csv", columns(h), h)
        print(f"{site}: {int((~h.test).sum())} rows to train, {int(h.test.sum())} to test")


if __name__ == "__main__":
    main()
