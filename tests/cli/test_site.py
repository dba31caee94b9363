"""`collegium site`: a hospital joins, is examined, and tells what has left it."""

import pytest

from collegium.cli.household import Household
from tests.cli.speak import speak


def test_a_folder_that_is_no_site_is_said():
    assert speak("site", "status").code == 6
    assert speak("site", "status", "--folder", "nowhere").code == 6
    assert speak("site", "serve", "--folder", "nowhere").code == 6
    assert speak("site", "join", "cgj1.abc").code == 8
    assert speak("site", "doctor", "--folder", "nowhere").code == 4


@pytest.mark.system
def test_a_hospital_joins_and_is_examined(house: Household):
    code = speak("site", "invite", "south", "--folder", house.hub, "--json").document["data"]["code"]
    spoken = speak("site", "join", code, "--folder", "south")
    assert spoken.code == 0, spoken.err
    assert "south has joined Trial" in spoken.out
    assert speak("site", "join", code, "--folder", "other").code == 7
    spoken = speak("site", "status", "--json")  # remembered
    assert spoken.document["data"]["site"] == "south"
    assert spoken.document["data"]["left"]["sums"] == 0
    assert "not running" in speak("site", "status").out
    assert "coordinator" in speak("site", "doctor", "--folder", "south").err
