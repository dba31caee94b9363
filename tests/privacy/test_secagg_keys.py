"""A site's memory: what an epoch leaves on the disk, what is destroyed and when, and a state that comes from a backup."""

import json

import pytest

from collegium import identity
from collegium.errors import ConflictError, IdentityError
from collegium.privacy import secagg_site
from collegium.privacy.secagg import Persist
from collegium.privacy.secagg_keys import Send, Site
from collegium.privacy.secagg_messages import Adverts, Begin, Bundles, Quorum
from collegium.privacy.secagg_site import Leave, Resume
from collegium.privacy.secagg_stand import Close, Open
from tests.privacy.epochs import Federation
from tests.privacy.lies import OTHER, TASK, WORK, refused


def kinds(site):
    return {name.split("/")[0] for name in site.disk}


def test_the_memory_of_a_site_is_its_rows():
    f = Federation(5)
    site = f.sites["site000"]
    f.hub.tell(Open())
    f.poll("site000")
    assert kinds(site) == {"epoch", "advert", "secret", "key"}
    for name in f.names[1:]:
        f.poll(name)
    f.poll("site000")
    assert kinds(site) == {"epoch", "advert", "secret", "key", "peers", "seals"}
    f.settle()
    assert kinds(site) == {"epoch", "advert", "key", "peers", "shares"}  # what made the shares is gone: it could make them again
    assert site.disk == site.machine.rows


def test_secrets_die_as_soon_as_they_can():
    f = Federation(5).prepare()
    site = f.sites["site000"]
    f.start(TASK, WORK)
    site.tell(f.hub.owed("site000"))
    assert {name for name in site.disk if name.endswith("/0")} == {"shares/0"}  # the vector is masked: nobody needs its masks
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    f.settle()
    f.start(OTHER)
    site.tell(f.hub.owed("site000"))
    assert {name for name in site.disk if name.endswith(("/0", "/1"))} == {"shares/1"}  # and the next one ends what was left of the last


def test_keys_follow_from_the_entropy_and_nothing_else():
    one, two, other = Federation(3).prepare(), Federation(3).prepare(), Federation(3, seed=b"x").prepare()
    assert one.sites["site000"].disk == two.sites["site000"].disk
    assert one.sites["site000"].disk["key/0"] != other.sites["site000"].disk["key/0"]
    drawn = [row for k in range(4) for site in one.sites.values() for row in (site.disk[f"key/{k}"][:64], site.disk[f"key/{k}"][64:])]
    assert len(set(drawn)) == len(drawn)


def test_an_epoch_begins_once_and_never_an_older_one():
    f = Federation(3)
    site = f.sites["site000"]
    first = site.tell(Begin(3))
    assert site.tell(Begin(3)) == first
    for number in (2, 0):
        with refused(site, f"epoch {number} cannot begin: this site has seen epoch 3"):
            site.tell(Begin(number))
    assert site.tell(Begin(7)) != first


def test_a_site_whose_key_is_not_the_approved_one_advertises_nothing():
    f = Federation(3)
    with pytest.raises(IdentityError, match="names another key for site 'site000'"):
        secagg_site.step(Site(f.terms, "site000"), Begin(1), signer=identity.key(b"z" * 32), entropy=bytes(32))


def test_shares_before_adverts_are_too_early():
    f = Federation(3)
    site = f.sites["site000"]
    site.tell(Begin(1))
    with refused(site, "shares came before the adverts", ConflictError):
        site.tell(Bundles(1, {}))


def test_nothing_is_answered_before_the_first_epoch():
    site = Federation(3).sites["site000"]
    for event in (Adverts(0, ()), Bundles(0, {}), Quorum(0, 0, {})):
        with refused(site, r"this site is in epoch 0 \(none\)"):
            site.tell(event)


def test_lists_that_come_again_get_the_same_answer():
    f = Federation(3)
    site = f.sites["site000"]
    f.hub.tell(Open())
    for name in f.names:
        f.poll(name)
    adverts = f.hub.owed("site000")
    dealt = site.tell(adverts)
    site.restart()
    assert site.tell(adverts) == dealt  # sealed again with the same key and nonce: it must be the same text
    f.settle()
    assert [type(message).__name__ for message in site.tell(adverts)] == ["Ready"]


def test_c09_a_state_from_a_backup_is_given_up():
    f = Federation(5).prepare()
    site = f.sites["site000"]
    backup = dict(site.disk)
    f.round()
    site.disk = backup
    site.restart()
    assert site.tell(Resume(1, -1)) == []  # the log has nothing that this site does not know
    assert site.tell(Resume(1, 0)) == []
    assert "restored from a backup, or copied" in site.warned[-1]
    assert kinds(site) == {"epoch"}
    site.restart()
    with refused(site, r"this site is in epoch 1 \(retired\); old keys are not used again"):
        site.tell(Quorum(1, 0, {}))
    with refused(site, "epoch 1 cannot begin"):
        site.tell(Begin(1))
    f.prepare()
    assert f.round(OTHER) is not None


@pytest.mark.parametrize("when", ["begun", "prepared", "summed"])
def test_who_leaves_destroys_the_epoch_and_may_come_back_in_the_next(when):
    f = Federation(5)
    site = f.sites["site000"]
    if when == "begun":
        f.hub.tell(Open())
        f.poll("site000")
    else:
        f.prepare()
    if when == "summed":
        f.round(TASK, WORK)
    assert site.tell(Leave()) == []
    assert kinds(site) == {"epoch"} | ({"done"} if when == "summed" else set())
    site.restart()
    assert site.tell(Leave()) == []
    with refused(site, "epoch 1 cannot begin: this site has seen epoch 1"):
        site.tell(Begin(1))
    with refused(site, r"in epoch 1 \(retired\)"):
        site.tell(Quorum(1, 0, {}))
    f.prepare()
    assert f.round(OTHER) is not None


def test_who_leaves_before_the_first_epoch_may_begin_it():
    f = Federation(3)
    for site in f.sites.values():
        assert site.tell(Leave()) == []
    assert f.prepare().round() is not None


def test_what_was_opened_is_remembered_over_epochs():
    f = Federation(5).prepare()
    f.round(TASK, WORK)
    f.prepare()
    site = f.sites["site000"]
    assert json.loads(site.disk[f"done/{WORK}"])["survivors"] == f.names
    assert site.tell(Resume(2, -1)) == []
    assert site.warned == []


def test_an_order_to_persist_comes_before_what_is_sent():
    f = Federation(4)
    seen = []
    for site in f.sites.values():
        before = site.carry_out

        def carry_out(order, sent, before=before):
            seen.append(order)
            return before(order, sent)

        site.carry_out = carry_out
    f.prepare()
    f.round()
    for at, order in enumerate(seen):
        if isinstance(order, Send) and type(order.message).__name__ != "Complaint":
            assert isinstance(seen[at - 1], Persist)
