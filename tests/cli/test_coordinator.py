"""`collegium coordinator`: a folder is made once; status and invitations come from the running coordinator."""

from pathlib import Path

import pytest

from collegium import identity
from collegium.cli.household import Household, free_port
from tests.cli.speak import speak


def test_a_folder_is_founded_and_never_overwritten(tmp_path: Path):
    url = f"https://127.0.0.1:{free_port()}"
    spoken = speak("coordinator", "init", "--folder", "hub", "--url", url, "--title", "Trial", "--json")
    assert spoken.code == 0, spoken.err
    assert len(spoken.document["data"]["fingerprint"]) == 32
    assert speak("coordinator", "init", "--folder", "hub", "--url", url).code == 7
    assert speak("coordinator", "init", "--folder", "other", "--url", "http://hub.example").code == 2
    spoken = speak("coordinator", "status")  # remembered, but it does not run
    assert spoken.code == 4
    assert "hint" in spoken.err or "error" in spoken.err
    assert speak("coordinator", "serve", "--folder", tmp_path).code == 1


@pytest.mark.system
def test_status_and_invitations(house: Household):
    spoken = speak("coordinator", "status", "--folder", house.hub)
    assert "Trial at https://127.0.0.1" in spoken.out
    assert "north" in spoken.out
    spoken = speak("site", "invite", "south", "--folder", house.hub)
    assert identity.read_code(spoken.out.strip()).url in speak("coordinator", "status", "--folder", house.hub).out
    assert "works once" in spoken.err
    assert speak("site", "invite", "<b>", "--folder", house.hub).code == 7
