"""Approval first: what the steward signed runs, and nothing that was slipped in its place does."""

import hashlib
import json

import pytest

from collegium import identity
from collegium.canonical import canonical
from collegium.errors import IdentityError, NotFound, StorageError
from collegium.site import config, invites, steward
from collegium.site.invites import Offer
from collegium.site.policy import Policy
from collegium.study import participants
from collegium.study.participants import Entry
from tests.site.stewarded import LEAD, MANIFEST, NOW, OTHERS, PASSPHRASE, STUDY, Home, document


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_nobody_decided_then_yes_then_no_then_yes_again(home):
    assert home.state()[0] == "waiting"
    home.approve()
    found = invites.judge(home.config, home.offer(), home.rules)
    assert (found.state, found.table, found.pins) == ("approved", "stays", {"leeds": home.mine, **OTHERS})
    invites.decline(home.folder, STUDY, "no ethics vote yet", NOW)
    assert home.state() == ("declined", "this hospital's data steward declined the study: no ethics vote yet")
    assert home.state(auto_approve=True)[0] == "declined"  # a no stands above the rule
    home.approve()
    assert home.state()[0] == "approved"


def test_the_explicit_rule_approves_with_the_keys_that_the_lead_signed(home):
    found = invites.judge(home.config, home.offer(), Policy(home.folder, auto_approve=True))
    assert (found.state, found.pins["hull"], found.table) == ("approved", OTHERS["hull"], "")


def test_an_offer_that_nobody_could_approve_is_refused(home):
    swapped = Entry(home.list[0].text.replace(OTHERS["hull"], "03" * 32), home.list[0].signature)
    lies = [
        (document([swapped, *home.list[1:]]), "is not signed by the study's lead"),
        (document(home.list, fields={**MANIFEST, "purpose": "Another."}), "not the one that was announced"),
        (document(home.list, lead=identity.key(b"o" * 32).public), "is not signed by the study's lead"),
        ({"run": "r", "study": STUDY, "manifest": MANIFEST}, "without a lead and a participant list"),
        ({"run": "r", "study": STUDY, "manifest": MANIFEST, "lead": "ab"}, "pairs"),
    ]
    for lie, words in lies:
        with pytest.raises(IdentityError, match=words):
            invites.offer_of(lie)
    for keys, words in [(OTHERS, "does not name this site"), ({**OTHERS, "leeds": "04" * 32}, "gives this site another key")]:
        with pytest.raises(IdentityError, match=words):
            home.state(home.offer(participants.signed(STUDY, LEAD, keys)))
        assert invites.undecided(home.config, document(participants.signed(STUDY, LEAD, keys)), home.rules, NOW) is None
    assert not (home.folder / "invites").exists()


def test_an_approval_holds_for_what_was_approved_and_for_nothing_else(home):
    changed = {**MANIFEST, "purpose": "Something else."}
    other = hashlib.sha256(canonical(changed)).hexdigest()
    home.approve()
    moved = invites.decision(home.folder, other)
    moved.write_bytes(invites.decision(home.folder, STUDY).read_bytes())
    theirs = participants.signed(other, LEAD, {"leeds": home.mine, **OTHERS})
    assert home.state(home.offer(theirs, study=other, fields=changed)) == ("changed", "the approval is of another study")
    moved.unlink()
    assert home.state(home.offer(theirs, study=other, fields=changed))[0] == "waiting"
    for change, words in [({"coordinator": "cd" * 32}, "another coordinator"), ({"lead": "cd" * 32}, "under another lead")]:
        home.approve(**change)
        assert home.state()[0] == "changed"
        assert words in home.state()[1]


def test_a_list_may_grow_but_not_change(home):
    home.approve()
    grown = home.offer(participants.appended(home.list, STUDY, LEAD, {"bath": "05" * 32}))
    assert home.state(grown)[0] == "approved"
    found = invites.judge(home.config, grown, home.rules)
    assert found.pins["bath"] == "05" * 32
    replaced = home.offer(participants.signed(STUDY, LEAD, {"leeds": home.mine, **OTHERS, "york": "06" * 32}))
    assert home.state(replaced) == ("changed", "the participants are not those that were approved: the list was replaced")
    invites.record(home.folder, replaced, NOW)
    assert home.state(replaced)[0] == "changed"
    assert home.state()[0] == "approved"


def test_a_run_that_began_before_the_list_grew_goes_on(home):
    grown = home.offer(participants.appended(home.list, STUDY, LEAD, {"bath": "05" * 32}))
    invites.record(home.folder, home.offer(), NOW)
    invites.record(home.folder, grown, "2026-11-22T10:00:00Z")
    home.approve(grown)
    invites.record(home.folder, home.offer(), "2026-11-23T10:00:00Z")  # the shorter list is no news
    assert invites.load(home.folder, STUDY) == grown
    assert invites.received(home.folder, STUDY) == NOW
    assert home.state()[0] == "approved"
    invites.place(home.folder, STUDY).unlink()
    assert home.state()[0] == "changed"
    assert home.state(grown)[0] == "approved"


def test_enough_partners_must_be_verified_among_those_there_are_now(home):
    home.approve(verified=("hull",))
    assert home.state() == ("changed", "2 partners must be verified among the 3 participants there are now, 1 are")
    assert home.state(min_verified=1)[0] == "approved"
    assert home.state(min_verified=3)[0] == "changed"
    home.approve(verified=("hull", "york", "leeds", "nobody"))
    assert home.state(min_verified=3)[0] == "changed"  # this site is not its own partner
    grown = {name: f"{n:02x}" * 32 for n, name in enumerate(("bath", "cork", "deal"), 16)}
    assert home.state(home.offer(participants.appended(home.list, STUDY, LEAD, grown)))[0] == "changed"


@pytest.mark.parametrize(("sites", "need"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (6, 4), (9, 6), (10, 6)])
def test_by_default_as_many_are_verified_as_a_secure_sum_needs(home, sites, need):
    pins = {f"s{n}": f"{n:02x}" * 32 for n in range(sites)}
    assert invites.needed(home.rules, pins) == need


def test_of_a_large_federation_the_partners_of_the_own_sum_count(home):
    pins = {f"s{n}": f"{n:064x}" for n in range(200)}
    group = home.offer().cohort(pins, "s7")
    assert "s7" in group
    assert len(group) < 128
    assert invites.needed(home.rules, group) == 2 * len(group) // 3


def test_the_partners_that_count_are_those_of_the_own_cohort(home):
    """A coordinator that may make up the whole of a cohort learns its one real site's part, however many are real elsewhere."""
    names = [f"site{n}" for n in range(8)]
    cut = home.another(privacy={"cohort": 8, "because": "a test"}, sites={"minimum": 3})
    pins = {"leeds": home.mine, **{name: f"{n:02x}" * 32 for n, name in enumerate(names, 16)}}
    offer = home.offer(participants.signed(cut.study, LEAD, pins), study=cut.study, fields=cut.manifest)
    group = offer.cohort(pins, "leeds")
    mine, others = sorted(set(group) - {"leeds"}), sorted(set(pins) - set(group))
    assert len(mine) < len(others) + 2
    need = invites.needed(home.rules, group)
    home.approve(offer, verified=tuple(others))
    assert home.state(offer) == (
        "changed", f"{need} partners must be verified among the {len(group)} participants of this site's cohort, 0 are"
    )  # fmt: skip
    home.approve(offer, verified=tuple(mine[:need]))
    assert home.state(offer)[0] == "approved"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: {**d, "approval": d["approval"].replace("stays", "other")}, "not what this hospital's steward signed"),
        (lambda d: {**d, "approval": d["approval"].replace('"min_verified":2', '"min_verified":0')}, "not what this hospital's steward"),
        (lambda d: {**d, "approval": d["approval"] + " "}, "not what this hospital's steward signed"),
        (lambda d: {**d, "signature": identity.key(b"c" * 32).sign(d["approval"].encode()).hex()}, "not what this hospital's steward"),
        (lambda d: {**d, "signature": "x"}, "cannot be read"),
        (lambda d: {**d, "approval": "{}"}, "cannot be read"),
        (lambda d: [], "is damaged"),
    ],
)
def test_a_changed_approval_file_approves_nothing(home, damage, words):
    home.approve()
    path = invites.decision(home.folder, STUDY)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    state, says = home.state()
    assert state == "changed"
    assert words in says


def test_approvals_of_a_former_key_no_longer_hold(home):
    home.approve()
    steward.init(home.folder, PASSPHRASE, replace=True, cost=1 << 10)
    assert home.state()[0] == "changed"
    (home.folder / "steward.pub").unlink()
    assert "no steward's key to check" in home.state()[1]


def test_what_waits_is_kept_and_listed(home):
    assert invites.undecided(home.config, document(home.list), home.rules, NOW).state == "waiting"
    assert [(offer.title, verdict.state) for offer, verdict in invites.listed(home.config, home.rules)] == [
        ("Thirty-day readmission", "waiting")
    ]
    home.approve()
    assert invites.undecided(home.config, document(home.list), home.rules, NOW) is None
    assert invites.undecided(home.config, document(home.list), Policy(home.folder, min_verified=3), NOW).state == "changed"
    assert [v.state for _, v in invites.listed(home.config, home.rules)] == ["approved"]
    assert invites.verified_before(home.config) == dict.fromkeys(OTHERS.values(), NOW)
    config.make_key(home.folder)
    (home.folder / "key").write_text("01" * 32)  # joined again
    assert [v.state for _, v in invites.listed(home.config, home.rules)] == ["changed"]


def test_marks_of_an_approval_that_does_not_hold_count_for_nothing(home):
    home.approve()
    path = invites.decision(home.folder, STUDY)
    whole = path.read_text()
    path.write_text(whole.replace("stays", "other"))
    assert invites.verified_before(home.config) == {}
    path.write_text(whole)
    invites.record(home.folder, home.offer(participants.signed(STUDY, LEAD, {"leeds": home.mine, "hull": "07" * 32})), NOW)
    assert invites.verified_before(home.config) == {}
    invites.decline(home.folder, STUDY, "no", NOW)
    assert invites.verified_before(home.config) == {}


def test_what_never_came_and_what_is_damaged_is_told(home):
    with pytest.raises(NotFound, match="no invitation"):
        invites.load(home.folder, STUDY)
    invites.record(home.folder, home.offer(), NOW)
    invites.place(home.folder, STUDY).write_text("{")
    with pytest.raises(StorageError, match="is damaged"):
        invites.load(home.folder, STUDY)


def test_the_stamps_tell_of_every_change(home):
    seen = [invites.stamps(home.folder, STUDY)]
    assert seen[0] != invites.UNSEEN
    home.approve()
    seen.append(invites.stamps(home.folder, STUDY))
    (home.folder / "policy.yaml").write_text("level: 1\n")
    seen.append(invites.stamps(home.folder, STUDY))
    steward.init(home.folder, PASSPHRASE, replace=True, cost=1 << 10)
    seen.append(invites.stamps(home.folder, STUDY))
    assert len(set(seen)) == 4
    assert isinstance(home.offer(), Offer)
