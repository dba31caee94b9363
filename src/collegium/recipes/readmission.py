"""Thirty-day readmission: who may be back in hospital, unplanned, within thirty days of going home.

Question    At discharge, how likely is an unplanned admission of this patient, to any ward, within the next thirty days?
Data        One row a hospital stay, with the name of the patient; `VARIABLES` says what each column means, in which unit.
            Everything must be known on the day of discharge. Cleaning (`clean`): stays that ended in death or in hospice care
            are left out, since nobody can or should come back from them; rows that stand twice are kept once. A patient's
            stays are all for training or all held out, or the test would know its patients. Ask for stays whose thirty days
            have passed: a stay of last week has an outcome only for those who are already back.
Model       Logistic regression on standardised numbers and one column a category; `hidden: [32]` makes it a small network,
            `method: {kind: trees, recipe: readmission}` boosted trees, which rank a little better and need more rounds.
Training    One epoch a round with a little shrinkage (l2), stopping when the validation loss of all hospitals together has
            not fallen for ten rounds.
Defaults    50 rounds, batches of 64, learning rate 0.05; two tenths of the patients held out for the test, one for stopping.
Try it      collegium.recipes.find("readmission").template() is the whole manifest; write it to study.yaml and change it.

Sources: CMS Hospital-Wide Readmission measure (what counts as unplanned, and who is left out); Strack et al. 2014,
doi:10.1155/2014/781670 (the columns that most hospital systems can give); Kansagara et al. 2011, doi:10.1001/jama.2011.1515
(what readmission scores use, and that an AUROC of 0.6 to 0.7 is what they reach).
"""

import re
from typing import Any

import numpy as np

from collegium.algorithms.averaging import Learner
from collegium.errors import StudyError
from collegium.recipes import tabular
from collegium.study.manifest import Study
from collegium.table import Table


def count(meaning: str, high: int) -> dict[str, Any]:
    """A variable that is a number of things."""
    return {"kind": "number", "meaning": meaning, "unit": "count", "low": "0", "high": str(high)}


DISCHARGE, TARGET = "discharged_to", "readmitted"

VARIABLES: dict[str, dict[str, Any]] = {
    "age": {"kind": "number", "meaning": "age at admission", "unit": "years", "low": "0", "high": "120"},
    "sex": {"kind": "category", "meaning": "sex as recorded", "categories": ["F", "M"]},
    "admission_type": {
        "kind": "category",
        "meaning": "how urgent the admission was",
        "categories": ["emergency", "urgent", "elective", "other"],
    },
    "admitted_from": {
        "kind": "category",
        "meaning": "where the patient came from",
        "categories": ["emergency room", "referral", "transfer", "other"],
    },
    "primary_diagnosis": {
        "kind": "category",
        "meaning": "main diagnosis of the stay, by organ system",
        "categories": ["heart failure", "other circulatory", "respiratory", "digestive", "diabetes", "genitourinary",
                       "injury", "musculoskeletal", "neoplasm", "other"],
    },
    "length_of_stay": {"kind": "number", "meaning": "admission to discharge", "unit": "days", "low": "0", "high": "365"},
    "procedures": count("procedures in the stay, laboratory tests apart", 200),
    "lab_tests": count("laboratory tests in the stay", 5000),
    "medications": count("different drugs given in the stay", 200),
    "diagnoses": count("diagnoses recorded in the stay", 100),
    "admissions_last_year": count("stays in the year before", 100),
    "emergencies_last_year": count("emergency visits in the year before", 200),
    "outpatient_last_year": count("outpatient visits in the year before", 300),
    "hba1c": {
        "kind": "category",
        "meaning": "long-term blood sugar, if measured in the stay",
        "categories": ["not measured", "normal", "raised", "high"],
        "required": False,
    },
    DISCHARGE: {
        "kind": "category",
        "meaning": "where the patient went; stays with death or hospice here are left out before training",
        "categories": ["home", "home care", "nursing facility", "rehabilitation", "other hospital", "other"],
    },
    TARGET: {"kind": "binary", "meaning": "unplanned admission within 30 days of discharge", "categories": ["no", "yes"]},
}  # fmt: skip

NEVER_BACK = re.compile(r"died|dead|death|deceased|expired|hospice|verstorben|gestorben|hospiz", re.IGNORECASE)
LATER = re.compile(  # names of things that nobody knows on the day of discharge; the year before is known
    r"(after|post|since)_?discharge|next_(admission|visit|stay)|(days?|time)_(to|until)_|follow_?up|died|death|mortality"
    r"|readmi(?!.*(last|prior|previous|before|past))",
    re.IGNORECASE,
)


def learner(study: Study) -> Learner:
    """Training, loss and scores. Raises `StudyError` for a study that would learn from the future."""
    check(study)
    return tabular.learner(study)


def check(study: Study) -> None:
    """Raise `StudyError` if the study breaks a rule that keeps the future out of the training data."""
    if study.outcome is None or study.outcome.task != "binary":
        raise StudyError("recipe 'readmission' answers yes or no; wanted `outcome: {task: binary, target: ...}`")
    if not study.patient:
        raise StudyError(
            "recipe 'readmission' needs the name of the patient column: without it one patient's stays are trained and tested on",
            hint="set `patient:` in the manifest; the column stays at the site",
        )
    if DISCHARGE not in study.variables:
        raise StudyError(
            f"recipe 'readmission' needs the variable {DISCHARGE!r}, to leave out stays that ended in death or hospice care",
            hint="add it, or use recipe 'tabular' on stays that are chosen already",
        )
    if late := [name for name in study.features if LATER.search(name)]:
        raise StudyError(
            f"variable {late[0]!r} looks like something known only after discharge, which would give the outcome away",
            hint="leave it out; if it is known on the day of discharge, give it a name that says so, such as one ending in _last_year",
        )


def clean(study: Study, table: Table) -> tuple[Table, dict[str, int]]:
    """The stays that the question is about, and how many were left out for each reason. For the raw table, before checks.

    Raises `StudyError` where the study breaks a rule, as `learner` does: not every method trains by it.
    """
    check(study)
    found, at = np.unique(np.asarray(table[DISCHARGE], np.str_), return_inverse=True)
    ended = np.array([bool(NEVER_BACK.search(text)) for text in found.tolist()], bool)[at.reshape(-1)]
    rest = table.where(~ended)
    once = first_of_equals(rest)
    out = {"stay ended in death or hospice care": int(ended.sum()), "row stands twice": len(rest) - len(once)}
    return rest.where(once), {reason: count for reason, count in out.items() if count}


def first_of_equals(table: Table) -> np.ndarray:
    """The place of each different row, in order; without patients' names no two rows are the same."""
    if table.patient is None or not len(table):
        return np.arange(len(table))
    columns = [table.patient, *table.columns.values()]
    codes = np.stack([np.unique(np.asarray(column), return_inverse=True)[1].reshape(-1) for column in columns], axis=1)
    return np.sort(np.unique(codes, axis=0, return_index=True)[1])


def template() -> dict[str, Any]:
    """The manifest of a readmission study, complete: change the title, the purpose and what your hospitals cannot give."""
    return {
        "collegium": 1,
        "title": "Thirty-day readmission",
        "purpose": "A score that warns, on the day of discharge, when a patient may be back within thirty days, so that follow-up "
        "can be arranged. It is not for deciding who is admitted or how long anyone stays.",
        "patient": "patient_id",
        "variables": {name: dict(variable) for name, variable in VARIABLES.items()},
        "outcome": {"task": "binary", "target": TARGET},
        "method": {
            "kind": "averaging",
            "recipe": "readmission",
            "rounds": 50,
            "patience": 10,
            "local": {"lr": "0.05", "l2": "0.001", "batch": 64},
        },
        "held_out": {"salt": "readmission", "test": 2, "validation": 1},
    }
