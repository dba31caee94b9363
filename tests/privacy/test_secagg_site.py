"""The site's machine: a round as it should be, repeats, and a kill between any two orders of every message."""

import hashlib

import pytest

from collegium.errors import ConflictError
from collegium.privacy.secagg_messages import Begin, Quorum, Reveal, Signature, Upload
from tests.privacy.epochs import Federation, Killed
from tests.privacy.lies import OTHER, TASK, WORK, asked, attest_all, refused, upload_all, wants


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 10])
def test_the_sum_is_the_plain_sum(n):
    f = Federation(n).prepare()
    f.round()
    assert f.hub.sums[-1][2] == f.plain(f.names)


@pytest.mark.parametrize("n", [4, 5, 7, 10])
def test_who_drops_out_before_or_after_the_upload_is_not_in_it(n):
    f = Federation(n).prepare()
    spare = n - f.terms.threshold
    live = f.names[spare:]
    f.round(uploads=live)
    assert f.hub.sums[-1][1:] == (tuple(live), f.plain(live))
    f.round(OTHER, survivors=live)
    assert f.hub.sums[-1][1:] == (tuple(live), f.plain(live))


def test_a_roster_may_leave_sites_out():
    f = Federation(7).prepare()
    f.round(roster=f.names[1:6])
    assert f.hub.sums[-1][1:] == (tuple(f.names[1:6]), f.plain(f.names[1:6]))


def test_with_curious_terms_three_sites_bear_one_dropout():
    f = Federation(3, curious=True).prepare()
    assert f.round(uploads=f.names[:2]) is not None


def test_an_epoch_is_used_up_and_the_next_one_follows():
    f = Federation(3, rounds=2).prepare()
    assert f.round(TASK) is not None
    assert f.round(OTHER) is not None
    assert f.hub.machine.left == 0
    f.prepare()
    assert f.round("cd" * 32) is not None


def test_s09_every_message_that_comes_again_gets_the_same_answer():
    f, victim, ask = asked()
    uploads = upload_all(f, dict.fromkeys(f.names, ask))
    assert victim.tell(ask) == [uploads[victim.name]]
    signatures = attest_all(f, f.names, f.names)
    assert attest_all(f, f.names, f.names) == signatures
    first = victim.tell(Quorum(1, 0, signatures))
    victim.restart()
    assert victim.tell(Quorum(1, 0, dict(list(signatures.items())[:4]))) == first
    assert victim.tell(ask) == [uploads[victim.name]]


def test_a_task_before_the_shares_is_too_early():
    f = Federation(3)
    site = f.sites["site000"]
    site.tell(Begin(1))
    with refused(site, "a task came before the shares", ConflictError):
        site.tell(wants(1, 0, TASK, WORK, tuple(f.names)))


def test_indices_only_go_up_and_end():
    f = Federation(5).prepare()
    site = f.sites["site000"]
    site.tell(wants(1, 2, TASK, WORK, tuple(f.names)))
    for index in (0, 1, 4):
        with refused(site, f"index {index} is not free: 2 was used, the epoch ends at 3"):
            site.tell(wants(1, index, TASK, OTHER, tuple(f.names)))


def test_two_sums_that_differ_by_one_site_are_warned_of():
    f = Federation(5).prepare()
    f.round(TASK)
    f.round(OTHER, uploads=f.names[:4])
    warned = [site.warned for site in f.sites.values()]
    assert warned[4] == []
    assert all("two sums in a row differ by 'site004' alone" in said[0] for said in warned[:4])
    f.round("cd" * 32, uploads=f.names[:4])
    assert [len(site.warned) for site in f.sites.values()] == [1, 1, 1, 1, 0]


def drive(f, name, order):
    """One epoch and one round; the site is killed before its order of that number. Whether it was."""
    f.sites[name].kill_after, killed = order, False
    before = f.poll

    def poll(one):
        nonlocal killed
        try:
            return before(one)
        except Killed:
            killed = True
            return True

    f.poll = poll
    f.prepare()
    f.round()
    return killed


def test_c02_a_site_killed_between_any_two_orders_loses_nothing():
    for order in range(100):
        f = Federation(4)
        killed = drive(f, "site001", order)
        site = f.sites["site001"]
        assert f.hub.sums[-1][1:] == (tuple(f.names), f.plain(f.names))
        assert len({m.digest for m in site.sent if isinstance(m, Upload)}) == 1
        assert len({m.signature for m in site.sent if isinstance(m, Signature)}) == 1
        assert len({str(m) for m in site.sent if isinstance(m, Reveal)}) <= 1  # three others may have opened it meanwhile
        if not killed:
            break
    assert order == 13  # begin 2, deal 2, collect 2, ask 1, spooled 2, attest 2, reveal 2


def test_a_vector_that_comes_out_otherwise_after_a_kill_was_never_sent():
    """Killed between the spool and the burn, a site whose training is not the same twice sends the second vector only."""
    f, victim, ask = asked()
    victim.kill_after = 1
    with pytest.raises(Killed):
        victim.tell(ask)
    first = hashlib.sha256(victim.spool[1, 0]).hexdigest()
    victim.update = {**victim.update, "n": victim.update["n"] * 3}
    sent = victim.tell(ask)
    assert sent[0].digest != first
    assert [message for message in victim.sent if isinstance(message, Upload)] == sent
    del f


def test_a_round_that_was_given_up_is_forgotten_at_the_next():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    f.settle()
    site = f.sites["site000"]
    assert "shares/0" in site.disk
    site.tell(wants(1, 1, OTHER, OTHER, tuple(f.names)))
    assert "shares/0" not in site.disk
