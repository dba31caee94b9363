"""First texts of studies of survival: they can be run, and say what a person has to decide."""

import numpy as np
import pytest

from collegium.client.draft_survival import from_nothing, from_table
from collegium.errors import StudyError
from collegium.study import manifest
from collegium.table import Table

ROWS = Table(
    {
        "age": np.arange(80.0),
        "arm": np.array(["a", "b"] * 40),
        "ward": np.array(["x", "y"] * 40),
        "months": np.arange(1.0, 81.0),
        "died": np.array([0.0, 1.0, 1.0, 1.0] * 20),
    }
)


@pytest.mark.parametrize("kind", ["cox", "survival"])
def test_a_text_from_nothing_can_be_run(kind: str):
    study = manifest.read(from_nothing(kind, "study.yaml"))
    assert study.method.kind == kind
    assert ("age" in study.variables) == (kind == "cox")


def test_curves_ask_for_what_they_are_made_of():
    study = manifest.read(from_table(ROWS, "survival", None, "months", None, "study.yaml"))
    assert set(study.variables) == {"months", "died", "arm"}
    assert study.variables["months"].high == 90
    assert manifest.read(from_table(ROWS, "cox", "died", "months", None, "study.yaml")).features == ("age", "arm", "ward")
    alone = Table({name: ROWS[name] for name in ("months", "died")})
    assert manifest.read(from_table(alone, "survival", None, "months", None, "study.yaml")).parted == ""


def test_what_is_lacking_is_named():
    with pytest.raises(StudyError, match="column of time"):
        from_table(ROWS, "cox", None, None, None, "study.yaml")
    with pytest.raises(StudyError, match="yes or no"):
        from_table(ROWS, "cox", "age", "months", None, "study.yaml")
