"""What a steward reads before a decision is worked out from what was signed, and is complete."""

import json

import pytest

from collegium import identity
from collegium.canonical import canonical
from collegium.errors import IdentityError
from collegium.site import briefing, invites
from collegium.site.policy import Policy
from collegium.study import manifest, participants
from collegium.words import words
from tests.site.stewarded import LEAD, MANIFEST, NOW, OTHERS, STUDY, Home


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    invites.record(tmp_path, made.offer(), NOW)
    return made


def test_everything_that_matters_is_there(home):
    facts = briefing.brief(home.config, home.rules, home.offer())
    canonical(facts)  # it is one JSON document
    assert (facts["title"], facts["state"], facts["received"]) == ("Thirty-day readmission", "waiting", NOW)
    assert facts["fingerprint"] == words(STUDY)
    assert facts["lead"] == {"name": "", "key": LEAD.public, "fingerprint": words(identity.fingerprint(LEAD.public))}
    uses = {one["name"]: (one["use"], one["unit"] or one["allowed"]) for one in facts["columns"]}
    assert uses["age"] == ("input", "years")
    assert uses["sex"] == ("input", "F, M")
    assert uses["readmitted"] == ("outcome", "0 or 1")
    assert uses["patient_id"] == ("tells patients apart; is not sent", "")
    assert [one["step"] for one in facts["leaves"]] == ["Prepare the variables", "Fit the model", "Compare and test"]
    fit = facts["leaves"][1]
    assert fit["rounds"] == 20
    assert {"name": "rows", "shape": [], "bits": 64} in fit["arrays"]
    assert any(array["bits"] == 32 for array in fit["arrays"])
    assert facts["cost"]["rounds"] == 24
    assert facts["cost"]["bytes"] == sum(one["bytes"] for one in facts["leaves"])
    assert facts["policy"] == {"table": "stays", "refuses": "", "way_out": ""}
    assert facts["before"] is None
    assert facts["protections"]["secure_sum"]
    assert facts["protections"]["secure_sum_says"].startswith("on: protects against the coordinator, even if it lies and 1 of the other")


def test_where_sums_are_plain_it_says_why(home):
    plain = home.another(privacy={"secure_aggregation": "off", "because": "both boards agreed"})
    invites.record(home.folder, plain, NOW)
    found = briefing.brief(home.config, home.rules, plain)["protections"]
    assert not found["secure_sum"]
    assert found["secure_sum_says"].startswith("off: the coordinator sees this hospital's update")
    assert found["secure_sum_says"].endswith("The reason given: both boards agreed")


def test_a_sum_of_two_says_what_it_cannot_hide(home):
    two = home.another(sites={"minimum": 2}, privacy={"secure_aggregation": "on", "because": "only two exist"})
    pins = {"leeds": "01" * 32, "york": "02" * 32}
    found = briefing.protections(two, manifest.read(two.manifest), pins, pins)
    assert found["secure_sum_says"].startswith("on: protects against the coordinator only")
    assert found["secure_sum_says"].endswith("It is noted: only two exist")
    only = {"leeds": "01" * 32}
    alone = briefing.protections(two, manifest.read(two.manifest), only, only)
    assert alone["secure_sum_says"].startswith("on, and no run can begin yet: a secure sum needs three sites, found 1")


def test_cohorts_and_checked_sums_are_told(home):
    why = {"cohort": 8, "verified": True, "because": "the region wants it"}
    cut = home.another(privacy=why, sites={"minimum": 3})
    pins = {f"site{n}": f"{n:02x}" * 32 for n in range(9)}
    group = cut.cohort(pins, "site3")
    says = briefing.protections(cut, manifest.read(cut.manifest), pins, group)["secure_sum_says"]
    assert f"the coordinator sees the sums of 2 cohorts, this one of {len(group)} sites and never of fewer than" in says
    assert says.endswith("; its sites check each sum. It is noted: the region wants it")


def test_the_participants_carry_their_words_and_marks(home):
    home.approve(verified=("york",))
    facts = briefing.brief(home.config, home.rules, home.offer())
    found = {one["site"]: one for one in facts["participants"]}
    assert list(found) == ["hull", "leeds", "york"]
    assert found["hull"]["fingerprint"] == words(identity.fingerprint(OTHERS["hull"]))
    assert [(one["here"], one["verified"]) for one in found.values()] == [(False, ""), (True, ""), (False, NOW)]
    assert (facts["verified"], facts["must_be_verified"]) == (1, 2)
    assert facts["state"] == "changed"


def test_a_new_version_shows_what_is_different_since_the_one_that_was_approved(home):
    home.approve()
    newer = home.another(purpose="A sharper score.")
    home.approve(newer, at="2026-11-22T10:00:00Z")
    newest = home.another(method={**MANIFEST["method"], "rounds": 50})
    invites.record(home.folder, newest, NOW)
    before = briefing.brief(home.config, home.rules, newest)["before"]
    assert (before["study"], before["approved"]) == (newer.study, "2026-11-22T10:00:00Z")
    assert before["changes"] == [
        "method.rounds: was 20, is 50",
        f"purpose: was A sharper score., is {MANIFEST['purpose']}",
    ]
    other = home.another(title="Another study")
    invites.record(home.folder, other, NOW)
    assert briefing.brief(home.config, home.rules, other)["before"] is None
    path = invites.decision(home.folder, newer.study)
    path.write_text(path.read_text().replace("stays", "other"))  # an approval that was altered is none
    assert briefing.brief(home.config, home.rules, newest)["before"]["study"] == STUDY


def test_what_the_policy_forbids_is_said(home):
    strict = Policy(home.folder / "policy.yaml", level=0)
    assert "allows level 0" in briefing.brief(home.config, strict, home.offer())["policy"]["refuses"]


def test_a_site_that_the_list_does_not_name_reads_so(home):
    elsewhere = home.offer(participants.signed(STUDY, LEAD, {"leeds": "08" * 32, **OTHERS}))
    facts = briefing.brief(home.config, home.rules, elsewhere)
    assert (facts["state"], facts["says"]) == ("changed", "the participant list gives this site another key")
    with pytest.raises(IdentityError, match="another key"):
        invites.judge(home.config, elsewhere, home.rules)


def test_the_file_of_an_invitation_that_was_altered_is_not_shown(home):
    path = invites.place(home.folder, STUDY)
    said = json.loads(path.read_text())
    said["manifest"]["purpose"] = "Something harmless."
    path.write_text(json.dumps(said))
    with pytest.raises(IdentityError, match="not the one that was announced"):
        invites.load(home.folder, STUDY)
