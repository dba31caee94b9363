"""`collegium invite`: the steward reads, approves and declines."""

import json

import pytest

from collegium.site import invites
from collegium.words import words
from tests.cli.speak import speak
from tests.site.stewarded import MANIFEST, NOW, PASSPHRASE, STUDY, Home


@pytest.fixture
def site(home, monkeypatch):
    where = home / "site"
    where.mkdir()
    made = Home(where)
    invites.record(where, made.offer(), NOW)
    monkeypatch.setenv("COLLEGIUM_STEWARD_PASSPHRASE", PASSPHRASE)
    return made


def invite(site, *arguments):
    return speak("invite", *arguments, "--folder", site.folder)


def test_a_steward_reads_compares_and_approves(site):
    listed = invite(site, "list")
    assert f"{STUDY[:12]}  Thirty-day readmission  waiting" in listed.out
    shown = invite(site, "show", STUDY[:6])
    for part in (
        "A score that warns when a patient", "waits for you", "age         input", "years", "Leaves this hospital, at most:",
        "Never: rows, names, dates, images.", "leeds", "this hospital", "0 verified; at least 2 must be", words(STUDY),
        "on: protects against the coordinator", "none: no noise is added", "at most 24 rounds", f"collegium invite approve {STUDY[:8]}",
    ):  # fmt: skip
        assert part in shown.out, part
    assert "pooled/chance" not in shown.out
    assert "pooled/chance" in invite(site, "show", STUDY[:6], "--arrays").out
    few = invite(site, "approve", STUDY[:6], "--verified", "hull")
    assert few.code == 5
    assert "2 of the 2 other participants" in few.err
    done = invite(site, "approve", "Thirty-day readmission", "--verified", "hull", "--verified", "york")
    assert done.code == 0, done.err
    assert "is approved for the table stays. Verified partners: hull, york." in done.out
    assert site.state()[0] == "approved"
    assert invite(site, "list", "--json").document["data"]["invitations"][0]["state"] == "approved"
    assert "2 verified" in invite(site, "show", STUDY).out


def test_one_document_holds_all_of_it(site):
    found = invite(site, "show", STUDY, "--json").document["data"]
    assert found["study"] == STUDY
    assert {"columns", "leaves", "participants", "protections", "cost", "policy", "before"} <= found.keys()
    done = invite(site, "approve", STUDY, "--verified-all", "--table", "stays", "--json").document["data"]
    assert (done["verified"], done["table"]) == (["hull", "york"], "stays")


def test_a_wrong_passphrase_signs_nothing(site, monkeypatch):
    monkeypatch.setenv("COLLEGIUM_STEWARD_PASSPHRASE", "wrong words, sorry")
    assert invite(site, "approve", STUDY, "--verified-all").code == 8
    assert site.state()[0] == "waiting"


def test_a_study_is_declined_and_the_reason_shown(site):
    assert invite(site, "decline", STUDY[:4]).code == 2  # without a reason
    assert invite(site, "decline", STUDY[:4], "--because", "no ethics vote").code == 0
    assert "declined (this hospital's data steward declined the study: no ethics vote)" in invite(site, "show", STUDY[:4]).out


def test_a_new_version_shows_its_difference(site):
    site.approve()
    newer = site.another(method={**MANIFEST["method"], "rounds": 50})
    invites.record(site.folder, newer, NOW)
    assert "method.rounds: was 20, is 50" in invite(site, "show", newer.study).out
    both = invite(site, "show", "Thirty-day readmission")
    assert both.code == 7
    assert "2 invitations have this title" in both.err


def test_what_the_policy_says_stands_beside_it(site):
    (site.folder / "policy.yaml").write_text("level: 0\nauto_approve: true\n")
    assert "so it could not run even if it were approved" in invite(site, "show", STUDY).out
    assert "auto_approve is set" in invite(site, "list").out
    assert invite(site, "approve", STUDY, "--verified-all").code == 5


def test_nothing_came_or_not_that(site, home):
    assert invite(site, "show", "ffff").code == 6
    invites.place(site.folder, STUDY).unlink()
    assert "No study has asked" in invite(site, "list").out
    assert json.loads(invite(site, "list", "--json").out)["data"]["invitations"] == []
    assert speak("invite", "list", "--folder", home / "nowhere").code == 6
