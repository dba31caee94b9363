"""The coordinator's memory: what it keeps, for how long, and that it holds nothing bulky or secret."""

import numpy as np

from collegium.privacy.secagg_coordinator import restore
from collegium.privacy.secagg_stand import Close, Open, Persist
from tests.privacy.epochs import Federation
from tests.privacy.lies import TASK, WORK


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


def test_a_round_leaves_nothing_behind():
    f = Federation(5).prepare()
    before = kinds(f.hub.disk)
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    f.settle()
    assert kinds(f.hub.disk) == before
    assert f.hub.machine.left == f.terms.rounds - 1


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
