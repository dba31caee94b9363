"""Lies told to real machines: what the tests of group G share."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

from collegium.errors import IdentityError
from collegium.privacy import secagg, shares
from collegium.privacy.secagg_keys import Asked, public
from collegium.privacy.secagg_messages import Ask, Reveal, Survivors
from tests.privacy.epochs import Federation

TASK, WORK, OTHER = "aa" * 32, "bb" * 32, "cc" * 32


@contextmanager
def refused(site, says, error=IdentityError):
    """The lie raises an error that names it; the site stays as it was, in memory and on disk, and reveals nothing."""
    machine, disk, sent = site.machine, dict(site.disk), len(site.sent)
    with pytest.raises(error, match=says):
        yield
    assert (site.machine, site.disk) == (machine, disk)
    assert not any(isinstance(message, Reveal) for message in site.sent[sent:])


def asked(n=5, **choices):
    """A federation at the start of a round; the victim and what it is asked."""
    f = Federation(n, **choices).prepare()
    f.start(TASK, WORK)
    return f, f.sites[f.names[0]], f.hub.owed(f.names[0])


def wants(epoch, index, task, work, roster):
    """What a site is asked, as its shell hands it to the machine."""
    return Asked(Ask(epoch, index, task, roster), task, work)


def upload_all(f, asks):
    """Each site answers what it is asked, in its own way; what the coordinator got."""
    return {name: f.sites[name].tell(ask)[0] for name, ask in asks.items()}


def attest_all(f, names, survivors, root="root", index=0):
    said = Survivors(1, index, tuple(survivors), root)
    return {name: f.sites[name].tell(said)[0].signature for name in names}


def noise(data):
    """Whether bytes look uniform: chi-square over 256 values within five standard deviations."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    return 145 < float(((counts - counts.mean()) ** 2 / counts.mean()).sum()) < 365


def advertised(f, name, index=0):
    said = json.loads(json.loads(f.hub.disk[f"advert/{name}"])[0])
    return [bytes.fromhex(said[kind][64 * index : 64 * index + 64]) for kind in ("keys", "seeds")]


def rebuilt(f, said, names, keys=False):
    """What the coordinator can rebuild of the shares that were revealed."""
    place = {name: 1 + k for k, name in enumerate(f.names)}
    out = {}
    for name in names:
        shown = {place[peer]: bytes.fromhex((reveal.keys if keys else reveal.seeds)[name]) for peer, reveal in said.items()}
        key, seed = advertised(f, name)
        out[name] = shares.recover(
            shown, f.terms.threshold, lambda s, key=key, seed=seed: key == public(s) if keys else seed == secagg.commitment(s)
        ).secret
    return out
