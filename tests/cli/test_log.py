"""`collegium log`: what the coordinator did, as people, hospitals and auditors see it."""

import json
from pathlib import Path

import pytest

from collegium import identity
from collegium.cli.household import Household
from collegium.site import config
from collegium.site.witness import Witness
from tests.cli.speak import speak
from tests.client.test_audit import HUB, copy, entry


def test_a_copy_is_verified_without_a_network(tmp_path: Path):
    file, fingerprint = tmp_path / "log.jsonl", identity.fingerprint(HUB.public)
    file.write_bytes(b"".join(copy([entry(n) for n in range(100)])))
    spoken = speak("log", "verify", file)
    assert spoken.code == 0, spoken.err
    assert f"100 entries hold, signed by the coordinator {fingerprint}" in spoken.out
    assert "by phone" in spoken.out
    spoken = speak("log", "verify", file, "--key", fingerprint, "--json")
    assert spoken.document["data"] == {
        "ok": True, "file": str(file), "entries": 100, "origin": f"collegium.log/{fingerprint}", "fingerprint": fingerprint,
        "checkpoints": 2, "clock_went_back": 0, "key_given": True, "seen": [], "fault": None,
    }  # fmt: skip
    assert speak("log", "verify", file, "--key", "ab" * 16).code == 8
    assert speak("log", "verify", tmp_path / "nothing").code == 6


def test_the_first_wrong_entry_is_named(tmp_path: Path):
    file = tmp_path / "log.jsonl"
    lines = copy([entry(n) for n in range(100)])
    file.write_bytes(b"".join([*lines[:71], *lines[72:]]))
    spoken = speak("log", "verify", file)
    assert spoken.code == 8
    assert "entry 69 was removed: entry 70 stands in its place" in spoken.out
    assert "64 entries hold" in spoken.out
    spoken = speak("log", "verify", file, "--json")
    assert spoken.code == 8
    assert {name: spoken.document["data"][name] for name in ("ok", "entries")} == {"ok": False, "entries": 64}
    assert spoken.document["data"]["fault"]["entry"] == 69


def test_a_clock_that_went_back_is_told(tmp_path: Path):
    (tmp_path / "log.jsonl").write_bytes(b"".join(copy([entry(0), entry(1, time=3)])))
    assert "clock went back before 1 entries" in speak("log", "verify", "log.jsonl").out


@pytest.mark.system
def test_people_and_hospitals_read_and_export_the_log(house: Household, tmp_path: Path):
    spoken = speak("log", "show", "--folder", house.hub, "--last", "10000")
    assert spoken.code == 0, spoken.err
    assert [words for words in ("founded", "invited", "joined", "north") if words not in spoken.out] == []
    site = house.folder / "north"
    spoken = speak("log", "show", "--site", site, "--last", "1", "--json")
    assert len(spoken.document["data"]["entries"]) == 1
    for who, file in (("--folder", "one.jsonl"), ("--site", "two.jsonl")):
        spoken = speak("log", "export", tmp_path / file, who, house.hub if who == "--folder" else site)
        assert spoken.code == 0, spoken.err
        assert "every signature and hash holds" in spoken.out
    settings = config.load(site)
    spoken = speak("log", "verify", tmp_path / "two.jsonl", "--site", site, "--json")
    assert spoken.document["data"]["ok"]
    assert identity.fingerprint(settings.coordinator) == spoken.document["data"]["fingerprint"]


def test_a_copy_is_held_against_what_the_hospital_has_seen(tmp_path: Path):
    site = tmp_path / "site"
    site.mkdir()
    config.save(config.Config(site, "https://hub.example:8443", HUB.public, "north"))
    texts = [entry(n) for n in range(30)]
    seen = json.loads(copy(texts)[-1])["note"]
    witness = Witness(site, HUB.public, "north", HUB.public, now=lambda: 5.0)
    asked = witness.ask()
    witness.check({"note": seen, "consistency": [], "own": []}, asked)
    for name, content, code in (("same", texts, 0), ("other", [*texts[:3], entry(3, actor="b"), *texts[4:]], 8), ("old", texts[:20], 8)):
        (tmp_path / name).write_bytes(b"".join(copy(content)))
        spoken = speak("log", "verify", tmp_path / name, "--site", site)
        assert spoken.code == code, (name, spoken.out, spoken.err)
