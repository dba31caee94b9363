"""The coordinator's memory: what it keeps, for how long, and that it holds nothing bulky or secret."""

import numpy as np
import pytest

from collegium.privacy.secagg_coordinator import restore
from collegium.privacy.secagg_stand import Close, Open, Persist, Stop, Unmask, at_fault
from tests.privacy.epochs import Federation
from tests.privacy.lies import OTHER, TASK, WORK


def kinds(rows):
    return {name.split("/")[0] for name in rows}


def test_bundles_are_on_the_disk_and_not_in_the_machine():
    f = Federation(5)
    f.hub.tell(Open())
    while f.hub.machine.stand.phase != "ready":
        for name in f.names:
            f.poll(name)
    assert "bundle" in kinds(f.hub.disk)
    assert "bundle" not in kinds(f.hub.machine.rows)
    again, _ = restore(f.terms, f.hub.disk, now=0.0)
    assert again.rows == f.hub.machine.rows
    f.settle()
    assert kinds(f.hub.disk) == {"stand", "advert", "dealt", "ready"}
    assert f.hub.disk == f.hub.machine.rows


def test_a_round_leaves_nothing_behind_but_which_index_each_site_used():
    f = Federation(5).prepare()
    before = kinds(f.hub.disk)
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    f.settle()
    assert kinds(f.hub.rows) == before | {"last"}
    assert f.hub.machine.left == f.terms.rounds - 1


def test_what_was_seen_of_a_site_is_its_last_upload_of_this_epoch():
    f = Federation(5)
    name = f.names[0]
    assert f.hub.machine.seen(name) == (0, -1)
    f.prepare()
    assert f.hub.machine.seen(name) == (1, -1)
    f.round(TASK)
    f.round(OTHER, uploads=f.names[1:])
    assert [f.hub.machine.seen(name) for name in f.names[:2]] == [(1, 0), (1, 1)]
    f.hub.restart()
    assert [f.hub.machine.seen(name) for name in f.names[:2]] == [(1, 0), (1, 1)]
    f.prepare()
    assert f.hub.machine.seen(name) == (2, -1)


def test_an_upload_is_seen_in_the_same_breath_and_only_one_that_counts():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    name, late = f.names[0], f.names[4]
    before = len(f.hub.orders)
    f.poll(name)
    (order,) = [order for order in f.hub.orders[before:] if isinstance(order, Persist)]
    assert order.rows.keys() == {f"upload/{name}", f"last/{name}"}
    (upload,) = f.sites[late].tell(f.hub.owed(late))
    f.settle(f.names[:4])
    f.hub.tell(Close(tuple(f.names[:4]), "root"))
    f.hand_in(late, upload)
    assert [f.hub.machine.seen(name) for name in (f.names[3], late)] == [(1, 0), (1, -1)]


def test_a_round_that_failed_leaves_what_was_seen():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Stop("the operator stopped it"))
    assert {f.hub.machine.seen(name) for name in f.names} == {(1, 0)}


def test_p02_no_byte_of_a_vector_or_of_a_secret_is_in_what_the_coordinator_keeps():
    f = Federation(5)
    for k, site in enumerate(f.sites.values()):
        site.update = {"n": np.array([0x0122334455667788 // (k + 1), 1]), "w": site.update["w"]}
    secrets, seen = set(), []
    f.hub.tell(Open())
    for _ in range(3):
        for name in f.names:
            f.poll(name)
            secrets |= {
                row[at : at + 64] for key, row in f.sites[name].disk.items() if key.startswith(("key/", "secret")) for at in (0, 64)
            }
            seen.append(str(f.hub.disk))
    f.start(TASK, WORK)
    f.settle()
    seen.append(str(f.hub.disk))
    f.hub.tell(Close(tuple(f.names), "root"))
    f.settle()
    seen += [str([dict(order.rows) for order in f.hub.found(Persist)]), *(data.hex() for data in f.hub.spool.values())]
    plain = {site.vector.tobytes()[:8].hex() for site in f.sites.values()}
    assert len(plain) == 5
    assert not [value for value in secrets | plain for text in seen if value in text]


def test_a_coordinator_that_wrote_down_that_a_sum_is_open_knows_its_masks_again():
    f = Federation(5).prepare()
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    found = list[dict[str, str]]()
    carry_out = f.hub.carry_out

    def noted(orders):
        found.extend(dict(f.hub.machine.rows) for order in orders if isinstance(order, Unmask))
        carry_out(orders)

    f.hub.carry_out = noted
    f.settle()
    (rows,) = found
    (unmask,) = f.hub.found(Unmask)
    assert restore(f.terms, rows, now=0.0)[1] == [unmask]
    spoilt = {name: text for name, text in rows.items() if name != f"reveal/{f.names[0]}"}
    few = [name for name in spoilt if name.startswith("reveal/")][:-3]
    assert restore(f.terms, {name: text for name, text in spoilt.items() if name not in few}, now=0.0)[1] == []


@pytest.mark.parametrize(
    ("wrong", "liars", "dealers", "pairs"),
    [
        ({("a", "a")}, ["a"], [], []),  # nobody but itself has dealt it
        ({("a", "b")}, [], [], [("a", "b")]),
        ({("a", "b"), ("a", "c")}, [], [], [("a", "b"), ("a", "c")]),
        ({("a", "b"), ("a", "c"), ("a", "d")}, ["a"], [], []),  # or three had lied, where two may
        ({("a", "d"), ("b", "d"), ("c", "d")}, [], ["d"], []),
        ({("a", "a"), ("a", "b"), ("c", "b"), ("d", "b"), ("e", "b")}, ["a"], ["b"], []),
        ({("a", "a"), ("b", "a")}, ["a"], [], []),  # whoever lies about its own share may have dealt others wrong ones
    ],
)
def test_m08_of_two_ends_of_a_wrong_share_one_is_named_only_where_that_is_known(wrong, liars, dealers, pairs):
    found = at_fault(wrong, 2)
    assert [blame.site for blame in found if "revealed" in blame.says and blame.site] == liars
    assert [blame.site for blame in found if blame.says == "dealt wrong shares"] == dealers
    says = [f"one of {by} and {of} lies: a share that {of} dealt and {by} revealed is wrong" for by, of in pairs]
    assert [blame.says for blame in found if not blame.site] == says
