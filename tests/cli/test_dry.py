"""What would be asked of whom; what the coordinator would refuse is refused here too."""

import pytest

from collegium.cli.dry import asked, those
from collegium.cli.shell import Screen
from collegium.errors import ConflictError, NotFound
from collegium.study import manifest

STUDY = manifest.read(manifest.EXAMPLE)
JOINED = [{"name": name, "seen": "2026-01-02T03:04:05Z", "version": "1"} for name in ("west", "east", "north", "south")]


def test_sites_steps_and_sizes_are_told():
    document, text = asked(Screen(), STUDY, JOINED, ["east", "north", "west"])
    assert [site["name"] for site in document["sites"]] == ["east", "north", "west"]
    assert [step["name"] for step in document["steps"]] == ["Prepare the variables", "Fit the model", "Compare and test"]
    assert document["bytes"] == sum(step["nbytes"] * step["rounds"] for step in document["steps"])
    assert "3 of 4 hospitals would be asked, 3 must answer a round" in text
    assert "Each reads age, sex, readmitted, of patients told apart by patient_id" in text
    assert text.endswith("Nothing was submitted or started.")


def test_what_would_not_start_is_said():
    assert [site["name"] for site in those(STUDY, JOINED, [])] == ["east", "north", "south", "west"]
    with pytest.raises(ConflictError, match="needs 3 sites, 2 would take part"):
        those(STUDY, JOINED, ["east", "west"])
    with pytest.raises(NotFound, match="no site 'mars' has joined"):
        those(STUDY, JOINED, ["mars"])
