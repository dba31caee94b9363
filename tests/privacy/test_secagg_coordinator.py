"""The coordinator's machine: phases that end late, messages that are wrong, accusations, and a kill between any two orders."""

from dataclasses import replace

import pytest

from collegium.errors import CollegiumError, ConflictError, IdentityError, RunError, UpdateError
from collegium.privacy.secagg import Advert
from collegium.privacy.secagg_messages import Begin, Bundles, Complaint, Quorum, Ready, Reveal, Signature, Survivors, Upload
from collegium.privacy.secagg_stand import Blame, Close, Failed, From, Open, Opened, Prepared, Refused, Start, Stop, Tick
from tests.privacy.epochs import Federation, Killed
from tests.privacy.lies import OTHER, TASK, WORK


def wrong(f, event, error, says):
    """The event is refused, and changes nothing."""
    before = f.hub.machine
    with pytest.raises(error, match=says):
        f.hub.tell(event)
    assert f.hub.machine is before


def until(f, phase):
    """Sites answer, one by one, until this phase begins."""
    while f.hub.machine.stand.phase != phase:
        for name in f.names:
            if f.hub.machine.stand.phase != phase:
                f.poll(name)
    return f


def opened(n=5, **choices):
    f = Federation(n, **choices)
    f.hub.tell(Open())
    return f


def test_every_site_is_told_of_all_whom_the_terms_are_made_for():
    f = Federation(5)
    f.hub.tell(Open(tuple(f.names[:4])))
    assert [f.hub.owed(name) for name in f.names] == [*[Begin(1, tuple(f.names))] * 4, None]


# Phases that end late


@pytest.mark.parametrize("silent", [1, 2])
def test_an_epoch_begins_with_the_sites_that_advertised_in_time(silent):
    f = opened()
    f.deaf = set(f.names[:silent])
    f.settle()
    f.late()
    if silent == 1:
        assert f.hub.found(Prepared) == [Prepared(tuple(f.names[1:]))]
        assert f.round() is not None
    else:
        assert f.hub.found(Failed) == [Failed("epoch", "3 sites advertised keys, 4 must")]
        assert f.hub.machine.stand.phase == "none"
        assert list(f.hub.disk) == ["stand"]


@pytest.mark.parametrize(
    ("phase", "says"), [("bundles", "3 sites dealt shares, 4 must"), ("ready", "3 sites hold whole shares, 4 must; accused: none")]
)
@pytest.mark.parametrize("silent", [1, 2])
def test_sites_that_fall_silent_in_the_setup_stay_out(phase, says, silent):
    f = until(opened(), phase)
    f.deaf = set(f.names[-silent:])
    f.settle()
    f.late()
    if f.hub.machine.stand.phase == "ready":
        f.late()
    if silent == 1:
        assert f.hub.found(Prepared) == [Prepared(tuple(f.names[:4]))]
        assert not [name for name in f.hub.disk if name.startswith("bundle/")]
        assert f.round() is not None
    else:
        assert f.hub.found(Failed) == [Failed("epoch", says)]


def test_a_site_that_is_ready_late_comes_in_at_the_next_round():
    f = until(opened(), "ready")
    name, bundles = f.names[4], f.hub.owed(f.names[4])
    f.deaf = {name}
    f.settle()
    f.late()
    assert f.hub.machine.members == f.names[:4]
    f.hand_in(name, *f.sites[name].tell(bundles))
    assert f.hub.machine.members == f.names
    f.deaf = set()
    assert f.round()["n"][1] == 5


@pytest.mark.parametrize(("kind", "phase"), [(Survivors, "sign"), (Quorum, "reveal")])
@pytest.mark.parametrize("silent", [2, 3])
def test_survivors_that_fall_silent(kind, phase, silent):
    f = Federation(7).prepare()
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    until(f, phase)
    f.deaf = set(f.names[-silent:])
    f.settle()
    if silent == 2:
        assert f.hub.sums[-1][2] == f.plain(f.names)
    else:
        assert (f.hub.sums, f.hub.found(Failed)) == ([], [])
        f.late()
        said = {"sign": "4 survivors signed, 5 must", "reveal": "4 survivors revealed shares, and no 5 of them are right"}
        assert f.hub.found(Failed) == [Failed("round", said[phase])]
        f.deaf = set()
        assert f.round(OTHER, WORK) is not None


def test_m09_refusals_end_a_round_as_soon_as_it_is_lost():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    f.hub.tell(Refused(f.names[0], "the log is another"))
    assert f.hub.owed(f.names[0]) is None
    assert f.hub.found(Failed) == []
    f.hub.tell(Refused(f.names[1], "the log is another"))
    assert f.hub.found(Failed) == [Failed("round", "0 survivors signed, 4 must")]
    assert f.hub.tell(Refused("mallory", "")) == []


def test_who_refuses_a_task_is_asked_nothing_more_in_that_round():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    f.hub.tell(Refused(f.names[0], "policy"))
    assert f.hub.owed(f.names[0]) is None
    f.settle()
    f.hub.tell(Close(tuple(f.names[1:]), "root"))
    f.settle()
    assert f.hub.sums[-1][2] == f.plain(f.names[1:])


def test_the_clock_matters_only_while_somebody_is_waited_for():
    f = Federation(5)
    assert f.hub.machine.wake == float("inf")
    f.hub.tell(Open())
    assert f.hub.machine.wake == 600.0
    assert f.hub.tell(Tick()) == []
    f.settle()
    assert f.hub.machine.wake == float("inf")
    f.hub.now = 1e9
    assert f.hub.tell(Tick()) == []
    f.start(TASK, WORK)
    assert f.hub.tell(Tick()) == []  # the round's own deadline is the engine's


# Accusations


def bend(f, liar, victims):
    """What the liar seals for those sites cannot be opened."""
    before = f.hand_in

    def hand_in(name, reply):
        if name == liar and isinstance(reply, Bundles):
            reply = replace(reply, bundles=reply.bundles | {to: "00" + reply.bundles[to][2:] for to in victims})
        before(name, reply)

    f.hand_in = hand_in


def test_m08_the_accuser_and_the_accused_stay_out():
    f = Federation(7)
    bend(f, f.names[0], f.names[1:2])
    f.prepare()
    (blame,) = f.hub.found(Blame)
    assert (blame.site, blame.says[:33]) == ("", "one of site000 and site001 lies: ")
    assert f.hub.found(Prepared) == [Prepared(tuple(f.names[2:]))]
    assert f.round() is not None


def test_m08_a_site_that_all_accuse_ends_the_epoch_and_the_next_one_leaves_it_out():
    f = Federation(7)
    bend(f, f.names[0], f.names[1:])
    f.prepare()
    assert [blame.site for blame in f.hub.found(Blame)] == ["", "", "site000", "site000", "site000", "site000"]  # two may lie of seven
    assert f.hub.found(Blame)[2].says == "dealt shares that site001, site002, site003 cannot open"
    assert f.hub.found(Failed) == [Failed("epoch", "0 sites hold whole shares, 5 must; accused: site000")]
    f.prepare(sites=tuple(f.names[1:]))
    assert f.hub.found(Prepared) == [Prepared(tuple(f.names[1:]))]
    assert f.round() is not None


# What is wrong, twice or late


def test_sites_of_an_epoch_are_approved_ones():
    f = Federation(5)
    wrong(f, Open(("mallory",)), IdentityError, "'mallory' was not approved")


def test_messages_without_an_epoch_or_of_another_are_refused():
    f = Federation(5)
    wrong(f, From(f.names[0], Ready(1)), ConflictError, "that epoch is over")
    f.prepare()
    wrong(f, From(f.names[0], Ready(2)), ConflictError, "that epoch is over")
    wrong(f, From(f.names[0], Begin(1)), UpdateError, "sent a begin, which only a coordinator sends")
    wrong(f, From(f.names[0], Quorum(1, 0, {})), UpdateError, "sent a quorum")


def test_wrong_adverts_and_bundles_are_refused_before_they_count():
    f = opened()
    adverts = {name: f.sites[name].tell(Begin(1))[0] for name in f.names}
    wrong(f, From("site001", adverts["site000"]), IdentityError, "'site001' sent another site's advert")
    wrong(f, From("site001", Advert("{}", "00" * 64)), IdentityError, "cannot be read")
    for name, advert in adverts.items():
        f.hub.tell(From(name, advert))
    bundles = f.sites["site000"].tell(f.hub.owed("site000"))[0]
    few = replace(bundles, bundles=dict(list(bundles.bundles.items())[1:]))
    wrong(f, From("site000", few), UpdateError, "'site000' did not deal a bundle to each peer")
    wrong(f, From("site000", Advert("{}", "00" * 64)), ConflictError, "has said something else before")
    assert f.hub.tell(From("site000", adverts["site000"])) == []


def test_s04_s05_the_same_again_is_nothing_and_other_bytes_are_a_conflict():
    f = until(opened(), "bundles")
    bundles = f.sites["site000"].tell(f.hub.owed("site000"))[0]
    f.hub.tell(From("site000", bundles))
    assert f.hub.tell(From("site000", bundles)) == []
    wrong(f, From("site000", replace(bundles, bundles=bundles.bundles | {"site001": "00"})), ConflictError, "the first one stands")
    f.settle()
    f.start(TASK, WORK)
    upload = f.sites["site000"].tell(f.hub.owed("site000"))[0]
    f.hub.tell(From("site000", upload))
    assert all(f.hub.tell(From("site000", upload)) == [] for _ in range(100))
    wrong(f, From("site000", replace(upload, digest="00" * 32)), ConflictError, "the first one stands")


def test_s06_what_comes_too_early_or_too_late_has_no_effect():
    f = Federation(5).prepare()
    late = [Upload(1, 0, "00" * 32), Signature(1, 0, "00" * 64), Reveal(1, 0, {}, {}), Upload(1, 3, "00" * 32), Ready(1)]
    for message in late:
        assert f.hub.tell(From("site000", message)) == []
    f.start(TASK, WORK, tuple(f.names[1:]))
    for message in late:
        assert f.hub.tell(From("site000", message)) == []
    assert f.hub.owed("site000") is None
    f.settle()
    f.hub.tell(Close(tuple(f.names[1:]), "root"))
    for message in late:
        assert f.hub.tell(From("site000", message)) == []
    assert f.hub.tell(From("site001", Complaint(1, "site002"))) == []
    f.settle()
    assert f.hub.sums[-1][2] == f.plain(f.names[1:])


def test_wrong_signatures_and_reveals_are_refused_before_they_count():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    wrong(f, From("site000", Signature(1, 0, "00" * 64)), IdentityError, "'site000' signed another statement")
    until(f, "reveal")
    for bad in (Reveal(1, 0, {}, {}), Reveal(1, 0, dict.fromkeys(f.names[1:], "00" * 33), {"site000": "00" * 33})):
        wrong(f, From("site000", bad), UpdateError, "did not reveal one share for each site")
    f.settle()
    assert f.hub.sums[-1][2] == f.plain(f.names)


def test_a_survivor_whose_signature_came_too_late_to_count_may_still_reveal():
    f = Federation(7).prepare()
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    f.deaf = {f.names[5]}
    until(f, "reveal")
    f.deaf = set(f.names[:2])
    assert isinstance(f.hub.owed(f.names[5]), Survivors)
    f.settle()
    assert f.hub.sums[-1][2] == f.plain(f.names)


def test_rounds_start_and_close_in_their_order():
    f = Federation(5, rounds=1)
    wrong(f, Start(TASK), ConflictError, "a round cannot start: the epoch is at 'none'")
    wrong(f, Close((), "root"), ConflictError, "survivors cannot be fixed: the epoch is at 'none'")
    f.prepare()
    wrong(f, Start(TASK, tuple(f.names[:3])), RunError, "3 of the sites asked hold keys of this epoch, 4 must")
    wrong(f, Start(TASK, (*f.names, "mallory")), RunError, "5 of the sites asked hold keys")
    f.start(TASK, WORK)
    wrong(f, Start(TASK), ConflictError, "a round cannot start")
    wrong(f, Close(tuple(f.names), "root"), UpdateError, "no vector of 'site000' was committed")
    f.settle(f.names[:3])
    f.hub.tell(Close(tuple(f.names[:3]), "root"))
    assert f.hub.found(Failed) == [Failed("round", "3 sites answered, 4 must")]
    wrong(f, Start(TASK), RunError, "epoch 1 has used its 1 key indices")
    assert f.hub.tell(Opened()) == []
    assert f.hub.tell(Stop("")) == []


def test_a_round_that_is_stopped_burns_its_index():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Stop("the run was stopped"))
    assert f.hub.found(Failed) == [Failed("round", "the run was stopped")]
    assert f.round(OTHER, WORK) is not None
    assert [index for index, _, _ in f.hub.sums] == [(1, 1)]


def test_c01_a_coordinator_killed_between_any_two_orders_loses_nothing():
    plain = None
    for order in range(500):
        f, killed = Federation(4), False
        f.hub.kill_after = order
        steps = [
            lambda f=f: f.hub.tell(Open()) if f.hub.machine.stand.phase == "none" else None,
            f.settle,
            lambda f=f: f.start(TASK, WORK) if f.hub.machine.stand.phase == "idle" and not f.hub.sums else None,
            f.settle,
            lambda f=f: f.hub.tell(Close(tuple(f.names), "root")) if f.hub.machine.stand.phase == "upload" else None,
            f.settle,
        ]
        while steps:
            try:
                steps[0]()
                steps.pop(0)
            except Killed:
                killed = True
                f.hub.restart()
        plain = plain or f.plain(f.names)
        assert {data for _, _, data in f.hub.sums} == {plain}
        assert f.hub.machine.stand.phase == "idle"
        assert {site.machine.epoch.burned for site in f.sites.values()} == {0}
        if not killed:
            break
    assert 30 < order < 60


def test_c09_a_coordinator_from_a_backup_is_refused_until_a_new_epoch():
    f = Federation(5).prepare()
    backup = dict(f.hub.disk)
    f.round()
    f.hub.disk = backup
    f.hub.restart()
    f.start(OTHER, OTHER)
    f.settle()
    assert (f.hub.machine.who("upload"), f.hub.machine.who("refused")) == ([], f.names)  # index 0 is used
    f.hub.tell(Stop("the sites remember more than this coordinator"))
    f.prepare()
    assert f.round(OTHER, OTHER) is not None


def test_s12_a_whole_session_replayed_to_the_sites_is_refused():
    f = Federation(4)
    told = []
    before = f.hub.owed

    def owed(name):
        if message := before(name):
            told.append((name, message))
        return message

    f.hub.owed = owed
    f.prepare()
    f.round()
    session = list(told)
    f.prepare()
    rows = {name: site.machine for name, site in f.sites.items()}
    for name, message in session:
        with pytest.raises(CollegiumError):
            f.sites[name].tell(message)
    assert {name: site.machine for name, site in f.sites.items()} == rows
