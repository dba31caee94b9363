"""`collegium site steward`: a key is made, shown, and given another passphrase."""

import pytest

from collegium.site import config, steward
from collegium.site.config import Config
from tests.cli.speak import speak

PASSPHRASE = "four made up words"


@pytest.fixture
def site(home, monkeypatch):
    where = home / "site"
    where.mkdir()
    config.save(Config(where, "https://h", "ab" * 32, "leeds", "Test"))
    config.make_key(where)
    monkeypatch.setenv("COLLEGIUM_STEWARD_PASSPHRASE", PASSPHRASE)
    return where


def test_a_steward_makes_a_key(site):
    before = speak("site", "steward", "show", "--folder", site)
    assert "none yet: collegium site steward init" in before.out
    spoken = speak("site", "steward", "init", "--folder", site, "--json")
    assert spoken.code == 0, spoken.err
    made = spoken.document["data"]
    assert made["public"] == steward.public(site)
    assert PASSPHRASE not in spoken.out
    assert speak("site", "steward", "init", "--folder", site).code == 7
    shown = speak("site", "steward", "show", "--folder", site, "--json").document["data"]
    assert shown["steward"] == made["fingerprint"]
    assert len(shown["fingerprint"].split()) == 8
    assert shown["fingerprint"] in speak("site", "status", "--folder", site).out


def test_another_key_takes_its_place_only_where_that_is_meant(site):
    speak("site", "steward", "init", "--folder", site)
    assert speak("site", "steward", "init", "--replace", "--folder", site).code == 1  # nobody answers the question
    assert speak("site", "steward", "init", "--replace", "--yes", "--folder", site).code == 0


def test_the_passphrase_is_changed(site, home):
    speak("site", "steward", "init", "--folder", site)
    (home / "new").write_text("another passphrase\n")
    assert speak("site", "steward", "passphrase", "--new-passphrase-file", home / "new", "--folder", site).code == 0
    assert steward.key(site, "another passphrase").public == steward.public(site)
    wrong = speak("site", "steward", "passphrase", "--new-passphrase-file", home / "new", "--folder", site)
    assert wrong.code == 8
    assert "the passphrase is not the one of this steward's key" in wrong.err


def test_a_folder_that_is_no_site_gets_no_key(home):
    assert speak("site", "steward", "init", "--folder", "nowhere").code == 6
