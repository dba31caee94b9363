"""What was decided here is asked again whenever it may have changed, and holds for every sum."""

import os

import pytest

from collegium import identity
from collegium.errors import IdentityError
from collegium.site import invites, steward
from collegium.site.admission import Admission, Left
from collegium.study import participants
from tests.site.stewarded import LEAD, NOW, OTHERS, RULES, STUDY, Home, document


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def admission(home):
    return Admission(home.config, document(home.list))


def ruled(home, text):
    (home.folder / "policy.yaml").write_text(text)
    os.utime(home.folder / "policy.yaml", (len(text), len(text)))


def test_nothing_runs_before_the_steward_has_signed_or_after_a_no(home):
    made = admission(home)
    with pytest.raises(Left, match="has not approved") as left:
        made.check()
    assert left.value.code == "refused"
    home.approve()
    made.check()
    assert made.table == "stays"
    assert made.verdict.pins.keys() == {"leeds", *OTHERS}
    invites.decline(home.folder, STUDY, "no agreement", NOW)
    with pytest.raises(Left, match="no agreement"):
        made.check()


def test_a_policy_that_changed_is_read_again_and_one_that_cannot_be_read_allows_nothing(home):
    home.approve()
    made = admission(home)
    made.check()
    ruled(home, RULES.replace("level: 1", "level: 0"))
    with pytest.raises(Left, match="level 0"):
        made.check()
    ruled(home, "level: [")
    with pytest.raises(Left, match="not YAML"):
        made.check()
    ruled(home, RULES)
    made.check()
    made.rows = 5
    with pytest.raises(Left) as left:
        made.check()
    assert left.value.code == "refused"


def test_another_key_in_this_sites_name_is_told_as_what_it_is(home):
    home.approve()
    home.list = participants.signed(STUDY, LEAD, {"leeds": "03" * 32, **OTHERS})
    with pytest.raises(Left) as left:
        admission(home).check()
    assert left.value.code == "identity"


MADE_UP = {name: identity.key(name.encode().ljust(32, b"?")).public for name in ("bath", "ely")}


def test_a_sum_among_too_few_whom_the_steward_knows_is_refused(home):
    home.list = participants.signed(STUDY, LEAD, {"leeds": home.mine, **OTHERS, **MADE_UP})
    home.approve(verified=("hull", "york", "bath"))
    made = admission(home)
    made.check()
    pins = dict(made.verdict.pins)
    made.vouch(pins)
    with pytest.raises(IdentityError, match="2 verified partners must be among the 3 sites of a sum, 1 are") as caught:
        made.vouch({name: pins[name] for name in ("bath", "ely", "leeds")})
    assert "compare more fingerprints" in caught.value.hint


def test_who_approves_by_a_rule_vouches_for_whoever_is_listed(home):
    ruled(home, RULES + "auto_approve: true\n")
    made = admission(home)
    made.check()
    made.vouch(made.verdict.pins)


def test_an_approval_that_changed_counts_from_the_next_check(home):
    home.list = participants.signed(STUDY, LEAD, {"leeds": home.mine, **OTHERS, **MADE_UP})
    home.approve(verified=("ely", "hull", "york"))
    made = admission(home)
    made.check()
    among = {name: made.verdict.pins[name] for name in ("bath", "hull", "leeds")}
    before = made.verdict
    made.check()
    assert made.verdict is before  # nothing changed, nothing was read
    with pytest.raises(IdentityError, match="1 are"):
        made.vouch(among)
    home.approve(verified=("bath", "ely", "hull", "york"))
    made.check()
    made.vouch(among)


def test_an_approval_signed_with_another_stewards_key_holds_no_longer(home):
    home.approve()
    made = admission(home)
    made.check()
    (home.folder / steward.PUBLIC).unlink()
    with pytest.raises(Left):
        made.check()
    assert made.seen != invites.stamps(home.folder, STUDY)  # so it is asked again
    with pytest.raises(Left):
        made.check()


def test_too_few_rows_are_refused_without_anything_having_changed(home):
    home.approve()
    made = admission(home)
    made.check()
    made.rows = 9
    with pytest.raises(Left, match="10"):
        made.check()
    made.rows = 10
    made.check()
