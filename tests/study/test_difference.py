"""What changed between two versions of a study, as a steward reads it."""

from collegium.study import manifest
from collegium.study.difference import changes

OLD = manifest.read(manifest.EXAMPLE).model_dump(mode="json")


def test_nothing_changed():
    assert changes(OLD, OLD) == []


def test_every_change_is_a_line():
    new = manifest.read(
        manifest.EXAMPLE.replace("high: 120", "high: 90").replace("rounds: 20", "rounds: 50").replace(
            "  readmitted: {kind: binary}", "  readmitted: {kind: binary}\n  smoker: {kind: binary, required: false}"
        ).replace("patient: patient_id", "patient: ''")
    ).model_dump(mode="json")  # fmt: skip
    found = changes(OLD, new)
    assert "method.rounds: was 20, is 50" in found
    assert "patient: was patient_id, is nothing" in found
    assert "variables.age.high: was 120, is 90" in found
    assert "variables.smoker.required: new, no" in found
    assert not any("categories" in line for line in found)  # a field that says nothing is no news
    assert changes(new, OLD)[-1] == "variables.smoker.required: gone, was no"
