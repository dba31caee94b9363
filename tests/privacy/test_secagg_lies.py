"""Group G: a coordinator lies, with or without sites at its side. Each lie is refused or worthless, and no share is revealed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from collegium import identity
from collegium.errors import FrameError, RunError, UpdateError
from collegium.privacy import masks
from collegium.privacy.masks import Mask
from collegium.privacy.secagg import Advert, canonical
from collegium.privacy.secagg_keys import Asked, agree, public
from collegium.privacy.secagg_messages import (
    Ask,
    Bundles,
    Complaint,
    Quorum,
    Ready,
    Reveal,
    Signature,
    Survivors,
    Upload,
    document,
    message_of,
)  # fmt: skip
from collegium.privacy.secagg_site import Spooled
from collegium.privacy.secagg_stand import Close, From, Open
from tests.privacy.epochs import STUDY, Federation
from tests.privacy.lies import OTHER, TASK, WORK, advertised, asked, attest_all, noise, rebuilt, refused, upload_all, wants


def listed(n=5, **choices):
    """A federation whose sites have advertised; the victim, and the list of adverts that it is owed."""
    f = Federation(n, **choices)
    f.hub.tell(Open())
    for name in f.names:
        f.poll(name)
    return f, f.sites[f.names[0]], f.hub.owed(f.names[0])


def swapped(adverts, at, advert):
    return replace(adverts, adverts=(*adverts.adverts[:at], advert, *adverts.adverts[at + 1 :]))


def altered(advert, signer, **change):
    text = canonical(json.loads(advert.text) | change)
    return Advert(text, signer.sign(text.encode()).hex())


MALLORY = identity.key(b"m" * 32)


# Setup


def test_g01_another_key_for_one_site():
    _f, victim, adverts = listed()
    keys = json.loads(adverts.adverts[3].text)["keys"]
    mine = public(b"m" * 32).hex() + keys[64:]
    unsigned = Advert(altered(adverts.adverts[3], MALLORY, keys=mine).text, adverts.adverts[3].signature)
    for advert in (altered(adverts.adverts[3], MALLORY, keys=mine), unsigned):
        with refused(victim, "'site003': not signed by the key that was approved"):
            victim.tell(swapped(adverts, 3, advert))


def test_g02_other_keys_for_all_but_the_victim():
    _f, victim, adverts = listed()
    fake = [altered(advert, MALLORY, seal=public(bytes([k]) * 32).hex()) for k, advert in enumerate(adverts.adverts)]
    with refused(victim, "not signed by the key that was approved"):
        victim.tell(replace(adverts, adverts=(adverts.adverts[0], *fake[1:])))


def test_g03_adverts_of_another_epoch_or_study():
    f, victim, old = listed()
    f.hub.tell(Open())
    f.poll(f.names[0])
    fresh = Advert(*json.loads(victim.disk["advert"]))
    with refused(victim, "'site001': made for another study, epoch"):
        victim.tell(replace(old, epoch=2, adverts=(fresh, *old.adverts[1:])))
    g = Federation(5)
    g.terms = g.terms._replace(study="00" * 32)
    for site in g.sites.values():
        site.terms = g.terms
        site.restart()
    g.hub.terms = g.terms
    g.hub.restart()
    g.hub.tell(Open(number=2))
    for name in g.names:
        g.poll(name)
    with refused(victim, "'site001': made for another study, epoch"):
        victim.tell(replace(old, epoch=2, adverts=(fresh, *g.hub.owed(g.names[0]).adverts[1:])))


def test_g03_the_list_of_an_epoch_that_is_over():
    f, victim, old = listed()
    f.hub.tell(Open())
    f.poll(f.names[0])
    with refused(victim, "epoch 1: this site is in epoch 2"):
        victim.tell(old)


def test_g04_a_site_twice():
    f, victim, adverts = listed()
    again = altered(adverts.adverts[1], f.sites["site001"].signer, seal=public(b"z" * 32).hex())
    with refused(victim, "the adverts name 'site001' twice"):
        victim.tell(swapped(adverts, 2, again))


def test_g04_the_victim_missing_or_its_keys_altered():
    _f, victim, adverts = listed()
    with refused(victim, "own advert is missing or altered"):
        victim.tell(replace(adverts, adverts=adverts.adverts[1:]))
    clone = altered(adverts.adverts[0], victim.signer, seal=public(b"z" * 32).hex())  # as a copy of this machine would sign
    with refused(victim, "own advert is missing or altered"):
        victim.tell(swapped(adverts, 0, clone))


@pytest.mark.parametrize("field", ["seal", "keys"])
def test_g04_a_public_key_twice(field):
    f, victim, adverts = listed()
    said = json.loads(adverts.adverts[2].text)
    other = json.loads(adverts.adverts[3].text)
    copied = other["keys"][:64] + (said["keys"][64:] if field == "keys" else "")
    with refused(victim, "two adverts hold the same public key"):
        victim.tell(swapped(adverts, 2, altered(adverts.adverts[2], f.sites["site002"].signer, **{field: copied})))


def test_g05_fewer_sites_than_the_threshold():
    _f, victim, adverts = listed()
    with refused(victim, "3 sites advertised keys, the manifest wants 4"):
        victim.tell(replace(adverts, adverts=adverts.adverts[:3]))


@pytest.mark.parametrize("change", [{"threshold": 2}, {"sites": 3}, {"rounds": 2}])
def test_g05_other_terms_signed_by_a_colluding_site(change):
    f, victim, adverts = listed()
    with refused(victim, "'site001': made for another study, epoch, threshold or number of rounds"):
        victim.tell(swapped(adverts, 1, altered(adverts.adverts[1], f.sites["site001"].signer, **change)))


def test_m13_another_list_for_the_same_epoch():
    f, victim, adverts = listed()
    victim.tell(adverts)
    other = altered(adverts.adverts[1], f.sites["site001"].signer, seal=public(b"z" * 32).hex())
    with refused(victim, "another list of adverts came for the same epoch"):
        victim.tell(swapped(adverts, 1, other))
    assert victim.tell(adverts) == victim.tell(adverts)


def dealt(n=5):
    """A federation whose sites have dealt; the victim and the bundles that it is owed."""
    f, victim, _ = listed(n)
    for name in f.names:
        f.poll(name)
    return f, victim, f.hub.owed(f.names[0])


def test_g15_bundles_swapped_bent_or_of_another_epoch():
    f, victim, good = dealt()
    a, b = good.bundles["site001"], good.bundles["site002"]
    bent = a[:-2] + f"{int(a[-2:], 16) ^ 1:02x}"
    disk = dict(victim.disk)
    for name, wrong in {
        "site001": {"site001": b, "site002": a}, "site002": {"site002": f.hub.disk["bundle/site002/site003"]}, "site003": {"site003": ""},
    }.items():  # fmt: skip
        assert victim.tell(Bundles(1, good.bundles | wrong)) == [Complaint(1, name)]
    assert victim.tell(Bundles(1, good.bundles | {"site001": bent})) == [Complaint(1, "site001")]
    assert victim.disk == disk
    g = Federation(5, seed=b"other keys")
    g.hub.tell(Open())
    for _ in range(2):
        for name in g.names:
            g.poll(name)
    assert victim.tell(g.hub.owed(f.names[0])) == [Complaint(1, "site001")]
    assert victim.tell(good) == [Ready(1)]
    assert victim.tell(good) == [Ready(1)]


def test_g15_shares_of_a_stranger_or_of_too_few():
    _f, victim, good = dealt()
    with refused(victim, "shares came from 'mallory', which did not advertise"):
        victim.tell(Bundles(1, good.bundles | {"mallory": "00"}))
    with refused(victim, "3 sites dealt shares, the manifest wants 4"):
        victim.tell(Bundles(1, dict(list(good.bundles.items())[:2])))


# A round


@pytest.mark.parametrize(
    ("roster", "says"),
    [
        (("site000", "site001", "site002"), "the roster has 3 sites, the manifest wants 4"),
        (("site000", "site001", "site002", "site002", "site003"), "repeats a site"),
        (("site001", "site000", "site002", "site003"), "out of order"),
        (("site001", "site002", "site003", "site004"), "leaves this site out"),
        (("mallory", "site000", "site001", "site002", "site003"), "'mallory', which dealt no shares"),
    ],
)
def test_g05_rosters_that_hide_nobody(roster, says):
    _f, victim, ask = asked()
    with refused(victim, says):
        victim.tell(replace(ask, roster=roster))


def test_g05_a_roster_below_the_manifests_least():
    _f, victim, ask = asked(least=5)
    with refused(victim, "the roster has 4 sites, the manifest wants 5"):
        victim.tell(replace(ask, roster=ask.roster[:4]))


def test_g05_the_digest_of_another_task_than_the_one_that_came():
    _f, victim, ask = asked()
    with refused(victim, "the round is about another task than the one that this site was given"):
        victim.tell(Asked(ask, OTHER, WORK))


def test_g06_different_rosters_to_different_sites():
    f, _victim, ask = asked()
    small = replace(ask, roster=ask.roster[:4])
    upload_all(f, {name: small if name in f.names[:2] else ask for name in f.names})
    survivors = f.names[:4]
    signatures = attest_all(f, survivors, survivors)
    for name in survivors:
        with refused(f.sites[name], "2 survivors signed what this site signed, 4 must"):
            f.sites[name].tell(Quorum(1, 0, signatures))


@pytest.mark.parametrize("alive", [True, False])
def test_g07_another_model_to_one_site_and_a_quorum_without_it(alive):
    """The attack that digests in the signature alone do not stop: here the masks themselves depend on the task."""
    f, victim, ask = asked()
    f.stretch(10_000)
    upload_all(f, {name: replace(ask, task=OTHER) if name == victim.name else ask for name in f.names})
    others = f.names[1:]
    survivors = f.names if alive else others
    quorum = Quorum(1, 0, attest_all(f, others, survivors))
    said = {name: f.sites[name].tell(quorum)[0] for name in others}
    if alive:
        attest_all(f, [victim.name], survivors)
        with refused(victim, "0 survivors signed what this site signed"):
            victim.tell(quorum)
    else:
        with refused(victim, "is said to have dropped out"):
            victim.tell(Survivors(1, 0, tuple(survivors), "root"))
    opened = rebuilt(f, said, f.names if alive else [])
    closed = rebuilt(f, said, [] if alive else [victim.name], keys=True)
    y = victim.spool[1, 0]
    for task in (TASK, OTHER):
        bound, epoch = masks.context(task, f.names), bytes.fromhex(f.hub.machine.stand.transcript)
        found = [Mask(masks.self_key(opened[victim.name], epoch, 0, bound), -1)] if alive else []
        for peer in others if not alive else ():
            agreed = agree(closed[victim.name], advertised(f, peer)[0])
            found.append(Mask(masks.pair_key(agreed, epoch, 0, (victim.name, peer), bound), -masks.sign(victim.name, peer)))
        x = np.frombuffer(bytearray(y), np.uint8)
        masks.apply(x, f.layout, found)
        assert noise(x.tobytes())
    summed = np.frombuffer(bytearray(f.fold(f.names)), np.uint8)
    if alive:
        for name in f.names:
            masks.apply(summed, f.layout, [Mask(masks.self_key(opened[name], epoch, 0, masks.context(TASK, f.names)), -1)])
        assert noise(summed.tobytes())


def test_g08_other_survivors_to_each_half():
    f, _victim, ask = asked()
    upload_all(f, dict.fromkeys(f.names, ask))
    one, two = f.names[:4], [*f.names[:3], f.names[4]]
    signatures = attest_all(f, f.names[:2], one) | attest_all(f, f.names[2:3] + f.names[4:], two) | attest_all(f, f.names[3:4], one)
    for name in f.names:
        with refused(f.sites[name], "[23] survivors signed what this site signed, 4 must"):
            f.sites[name].tell(Quorum(1, 0, signatures))


def signed_round():
    """A round whose survivors have all signed; everybody survived."""
    f, victim, ask = asked()
    upload_all(f, dict.fromkeys(f.names, ask))
    return f, victim, attest_all(f, f.names, f.names)


def test_g09_one_site_alive_and_dead():
    f, victim, _ = signed_round()
    with refused(victim, "signed another statement; survivors were moved"):
        victim.tell(Survivors(1, 0, tuple(f.names[:4]), "root"))
    g, victim, ask = asked()
    upload_all(g, dict.fromkeys(g.names, ask))
    with refused(victim, "the survivors repeat a site"):
        victim.tell(Survivors(1, 0, (*g.names[:4], g.names[1]), "root"))
    with refused(victim, "or name one that was not in the roster"):
        victim.tell(Survivors(1, 0, (*g.names, "mallory"), "root"))
    with refused(victim, "this site is said to have dropped out"):
        victim.tell(Survivors(1, 0, tuple(g.names[1:]), "root"))
    with refused(victim, "3 sites survived, the manifest wants 4"):
        victim.tell(Survivors(1, 0, tuple(g.names[:3]), "root"))


def test_g09_no_site_is_revealed_both_ways():
    f = Federation(5).prepare()
    f.round(uploads=f.names[:4])
    for site in f.sites.values():
        for message in site.sent:
            if isinstance(message, Reveal):
                assert not message.seeds.keys() & message.keys.keys()
                assert message.seeds.keys() | message.keys.keys() == set(f.names)


def test_g10_unmasking_twice_with_one_site_moved():
    f, victim, signatures = signed_round()
    first = victim.tell(Quorum(1, 0, signatures))
    with refused(victim, "this site has signed another statement; survivors were moved"):
        victim.tell(Survivors(1, 0, tuple(f.names[:4]), "root"))
    moved = f.statement(f.names[:4])
    forged = {name: f.sites[name].signer.sign(moved.encode()).hex() for name in f.names[:4]}
    with refused(victim, "0 survivors signed what this site signed"):
        victim.tell(Quorum(1, 0, forged))
    assert victim.tell(Quorum(1, 0, signatures)) == first
    assert victim.tell(Survivors(1, 0, tuple(f.names), "root"))[0].signature == signatures[victim.name]


def test_g10_another_history_is_another_statement():
    f, victim, _ = signed_round()
    with refused(victim, "signed another statement"):
        victim.tell(Survivors(1, 0, tuple(f.names), "another root"))


def test_g11_signatures_that_do_not_hold():
    f, victim, good = signed_round()
    shifted = dict(zip(f.names, [*list(good.values())[1:], good[f.names[0]]], strict=True))
    forged = {name: MALLORY.sign(f.statement(f.names).encode()).hex() for name in f.names}
    other = {
        kind: {name: f.sites[name].signer.sign(f.statement(f.names, **change).encode()).hex() for name in f.names}
        for kind, change in {"round": {"index": 1}, "epoch": {"epoch": 2}, "study": {"study": "00" * 32}, "task": {"task": OTHER}}.items()
    }
    for wrong in (shifted, forged, *other.values(), {"mallory": good[victim.name]}, {}):
        with refused(victim, "0 survivors signed what this site signed, 4 must"):
            victim.tell(Quorum(1, 0, wrong))
    with refused(victim, "3 survivors signed"):
        victim.tell(Quorum(1, 0, dict(list(good.items())[:3])))
    with pytest.raises(FrameError, match="'signatures' is not of its form"):
        message_of(document(Quorum(1, 0, {name: signature[:-2] for name, signature in good.items()})))


def test_g11_signatures_before_the_own_one_or_of_another_index():
    f, victim, ask = asked()
    upload_all(f, dict.fromkeys(f.names, ask))
    good = attest_all(f, f.names[1:], f.names)
    with refused(victim, "a statement that this site has not signed"):
        victim.tell(Quorum(1, 0, good))
    for event in (Quorum(1, 1, good), Survivors(1, 1, tuple(f.names), "root")):
        with refused(victim, "index 1 is not the one this site answered last"):
            victim.tell(event)
    with refused(victim, "epoch 2: this site is in epoch 1"):
        victim.tell(Quorum(2, 0, good))


def test_g12_an_upload_held_back_and_delivered_late():
    f, victim, ask = asked()
    held = upload_all(f, dict.fromkeys(f.names, ask))[victim.name]
    others = f.names[1:]
    quorum = Quorum(1, 0, attest_all(f, others, others))
    said = {name: f.sites[name].tell(quorum)[0] for name in others}
    assert not any(victim.name in reveal.seeds for reveal in said.values())  # its seed stays shut: only its pair masks open
    with refused(victim, "is said to have dropped out"):
        victim.tell(Survivors(1, 0, tuple(others), "root"))
    own = attest_all(f, [victim.name], f.names)
    with refused(victim, "1 survivors signed what this site signed, 4 must"):
        victim.tell(replace(quorum, signatures=quorum.signatures | own))
    assert victim.tell(ask) == [held]  # the same bytes, and nothing else
    again = victim.tell(replace(ask, index=1))[0]
    assert again.digest != held.digest


def test_g12_a_late_upload_changes_no_sum():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    for name in f.names:
        late = f.sites[name].tell(f.hub.owed(name))[0]
        if name != f.names[4]:
            f.hand_in(name, late)
    f.hub.tell(Close(tuple(f.names[:4]), "root"))
    assert f.hub.tell(From(f.names[4], late)) == []
    f.settle()
    f.total(*f.hub.sums[-1])
    assert f.hub.tell(From(f.names[4], late)) == []
    assert len(f.hub.sums) == 1


def test_g13_the_same_index_again():
    f, victim, _ = signed_round()
    for change in ({"roster": tuple(f.names[:4])}, {"task": OTHER}):
        with refused(victim, "index 0 was used for another task or roster"):
            victim.tell(replace(Ask(1, 0, TASK, tuple(f.names)), **change))


def test_g13_another_vector_under_the_same_index():
    _f, victim, ask = asked()
    sent = victim.tell(ask)
    with refused(victim, "index 0 masked another vector", UpdateError):
        victim.tell(Spooled(Asked(ask, TASK, WORK), "00" * 32))
    with refused(victim, "index 0 masked another vector", UpdateError):
        victim.tell(Spooled(Asked(replace(ask, task=OTHER), OTHER, WORK), sent[0].digest))
    assert victim.tell(Spooled(Asked(ask, TASK, WORK), sent[0].digest)) == sent


def test_g13_after_success_the_same_work_over_fewer():
    f = Federation(5).prepare()
    f.round(TASK, WORK)
    for name in f.names[:4]:
        with refused(f.sites[name], r"this very work was summed before over other sites \(site004\)"):
            f.sites[name].tell(wants(1, 1, OTHER, WORK, tuple(f.names[:4])))


def test_g13_after_failure_it_may_be_tried_three_times_with_new_masks():
    f = Federation(5, rounds=6).prepare()
    site, digests = f.sites[f.names[0]], set()
    for index in range(3):
        digests.add(site.tell(wants(1, index, TASK, WORK, tuple(f.names[: 5 - index % 2])))[0].digest)
    assert len(digests) == 3
    with refused(site, "tried 3 times without a sum", RunError):
        site.tell(wants(1, 3, TASK, WORK, tuple(f.names)))
    f.hub.tell(Open())
    f.settle()
    with refused(site, "tried 3 times without a sum", RunError):  # a new epoch is no new count
        site.tell(wants(2, 0, TASK, WORK, tuple(f.names)))
    site.tell(wants(2, 0, TASK, OTHER, tuple(f.names)))


def test_g13_a_round_kept_open_is_shut_by_the_next_try():
    """Signatures of the first try, delivered after the second was opened over one site less, open nothing."""
    f, _victim, signatures = signed_round()
    small = tuple(f.names[:4])
    for name in small:
        f.sites[name].tell(wants(1, 1, OTHER, WORK, small))
    for name in small:
        with refused(f.sites[name], "index 0 is not the one this site answered last: its shares are destroyed"):
            f.sites[name].tell(Quorum(1, 0, signatures))


def test_g14_the_same_statistics_with_one_site_less():
    f = Federation(5).prepare()
    assert f.round(TASK, WORK) is not None
    f.start(OTHER, WORK, tuple(f.names[:4]))
    f.settle()
    assert f.hub.machine.who("upload") == []
    assert set(f.hub.machine.who("refused")) == set(f.names[:4])


def test_g14_the_same_statistics_over_the_same_sites_may_be_opened_again_but_not_over_fewer():
    f = Federation(5).prepare()
    first = f.round(TASK, WORK)
    again = f.round(OTHER, WORK)
    assert first["n"].tolist() == again["n"].tolist()
    f.start("dd" * 32, WORK)
    f.settle()
    small = tuple(f.names[:4])
    for name in small:
        with refused(f.sites[name], "this very work was opened before with other survivors"):
            f.sites[name].tell(Survivors(1, 2, small, "root"))


# The end of a round


def test_a_closed_round_reveals_nothing_more():
    f = Federation(5).prepare()
    f.round()
    victim, signatures = f.sites[f.names[0]], dict.fromkeys(f.names, "11" * 64)
    f.start(OTHER)
    f.poll(victim.name)
    assert not [name for name in victim.disk if name.endswith("/0")]
    for event in (Quorum(1, 0, signatures), Survivors(1, 0, tuple(f.names), "root")):
        with refused(victim, "index 0 is not the one this site answered last: its shares are destroyed"):
            victim.tell(event)


def test_what_is_sent_is_what_the_protocol_names():
    f = Federation(5).prepare()
    f.round()
    kinds = {type(message) for site in f.sites.values() for message in site.sent}
    assert kinds == {Advert, Bundles, Ready, Upload, Signature, Reveal}
    assert STUDY in f.sites[f.names[0]].machine.rows["advert"]
