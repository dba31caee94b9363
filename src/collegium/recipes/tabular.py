"""Columns of a table to one outcome: logistic or linear regression, or a small network, as the manifest says.

Question    Can these variables tell an outcome: yes or no, one of several classes, or a number?
Data        The manifest's `variables`: numbers, categories, yes/no; missing values and categories unseen elsewhere are fine.
Model       `method.hidden`: [] is a logistic (binary, multiclass) or linear model (regression); [64, 32] has two hidden layers.
Training    `method.local`: SGD with or without momentum, or Adam; log loss, or squared error for numbers.
Defaults    Numbers are standardised by sums over all hospitals; 50 rounds of one epoch, batches of 64, learning rate 0.1.
Try it      collegium.recipes.find("tabular").template() is a manifest to start from.
"""

from typing import Any

from collegium.algorithms.averaging import Learner
from collegium.study.manifest import Study
from collegium.table import Table


def learner(study: Study) -> Learner:
    """Training, loss and scores by the study's schema and settings. Raises `StudyError` for an outcome it has no loss for."""
    from collegium.recipes import dense, training  # here, so that a manifest can be written where PyTorch is not installed

    return training.learner(dense.module_of, study)


def clean(study: Study, table: Table) -> tuple[Table, dict[str, int]]:
    """The rows that the question is about: all of them. Other recipes leave some out, and say how many and why."""
    return table, {}


def template() -> dict[str, Any]:
    """A manifest to start from: put your own variables, their units and ranges, and the outcome in."""
    return {
        "collegium": 1,
        "title": "A score from a few measurements",
        "purpose": "Say in one or two sentences what the score is for, who will use it and what it must not be used for.",
        "patient": "patient_id",
        "variables": {
            "age": {"kind": "number", "meaning": "age at the measurement", "unit": "years", "low": "0", "high": "120"},
            "sex": {"kind": "category", "meaning": "sex as recorded", "categories": ["F", "M"]},
            "creatinine": {"kind": "number", "meaning": "in serum", "unit": "mg/dL", "low": "0.1", "high": "20", "required": False},
            "outcome": {"kind": "binary", "meaning": "1 if it happened"},
        },
        "outcome": {"task": "binary", "target": "outcome"},
        "method": {"kind": "averaging", "recipe": "tabular", "rounds": 50, "patience": 10},
    }
