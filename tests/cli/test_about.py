"""Commands about Collegium itself, and what it says when asked nothing."""

from pathlib import Path

from collegium.cli import settings
from tests.cli.speak import speak


def test_alone_it_says_what_to_do_next(tmp_path: Path):
    spoken = speak()
    assert spoken.code == 0
    assert "Nothing is set up" in spoken.out
    assert "collegium demo" in spoken.out
    settings.remember("site", tmp_path)
    spoken = speak("--json")
    assert spoken.document["data"]["folders"] == {"site": str(tmp_path)}
    assert "collegium site serve" in spoken.document["data"]["next"]


def test_version_and_completion():
    assert speak("version", "--json").document["data"]["collegium"]
    assert "_COLLEGIUM_COMPLETE" in speak("completion", "zsh").out
    found = speak("completion", "bash", "--json").document["data"]
    assert found == {"shell": "bash", "script": speak("completion", "bash").out[:-1]}
    assert speak("completion", "tcsh").code == 2
