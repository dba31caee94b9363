"""A yes is signed only for partners that are known to be real and a table that is open."""

from dataclasses import replace

import pytest

from collegium.errors import NotFound, PolicyRefusal
from collegium.site import approving, invites
from collegium.site.policy import Policy
from collegium.study import participants
from tests.site.stewarded import HUB, LEAD, NOW, STUDY, Home


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    invites.record(tmp_path, made.offer(), NOW)
    return made


def approval(home, offer=None, rules=None, *, table="", verified=("hull", "york")):
    return approving.approval(home.config, rules or home.rules, offer or home.offer(), table=table, verified=verified, at=NOW)


def test_what_is_signed_is_what_was_shown(home):
    made = approval(home)
    assert made == (HUB, LEAD.public, 3, participants.head(home.list), ("hull", "york"), 2, "stays", NOW)
    assert approval(home, verified=None) == made
    invites.approve(home.folder, STUDY, made, home.key)
    assert invites.approval_of(home.folder, STUDY) == made
    assert home.state()[0] == "approved"


def test_too_few_verified_partners_are_refused_with_the_way_out(home):
    with pytest.raises(PolicyRefusal, match=r"2 of the 2 other participants of 'Thirty-day readmission' must be verified, 1 are") as no:
        approval(home, verified=("hull",))
    assert f"collegium invite show {STUDY[:8]}" in no.value.hint
    assert "--verified SITE" in no.value.hint
    assert approval(home, rules=replace(home.rules, min_verified=0), verified=()).verified == ()
    with pytest.raises(PolicyRefusal, match="3 of the 2 other participants") as no:
        approval(home, rules=replace(home.rules, min_verified=3, lines={"min_verified": 4}))
    assert "policy.yaml line 4" in str(no.value)
    assert "too few participants for this rule" in no.value.hint


def test_a_partner_that_was_verified_once_stays_so(home):
    home.approve()
    newer = home.another(purpose="A sharper score.")
    invites.record(home.folder, newer, NOW)
    assert approval(home, newer, verified=()).verified == ("hull", "york")


@pytest.mark.parametrize(
    ("name", "hint"), [("hul", "did you mean 'hull'?"), ("leeds", "partners are: hull, york"), ("oslo", "partners are")]
)
def test_a_partner_that_is_none_is_not_verified(home, name, hint):
    with pytest.raises(NotFound, match=f"no partner '{name}'") as no:
        approval(home, verified=(name,))
    assert hint in no.value.hint


def test_the_table_must_be_there_and_open(home):
    with pytest.raises(NotFound, match="no table 'labs' here") as no:
        approval(home, table="labs")
    assert "stays" in no.value.hint
    (home.folder / "data.json").write_text('{"version": 1, "tables": {"stays": {}, "labs": {}}}')
    with pytest.raises(PolicyRefusal, match="would read a table that this site's policy does not list"):
        approval(home, table="labs")
    assert approval(home, table="stays").table == "stays"
    with pytest.raises(PolicyRefusal, match="allows level -1"):
        approval(home, rules=Policy(home.folder / "policy.yaml"))
