"""Group G, sites at the coordinator's side: who colludes, who reveals wrong shares, and numbers at the bound."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from collegium.errors import IdentityError, UpdateError
from collegium.privacy import masks, ring, secagg, shares
from collegium.privacy.masks import Mask
from collegium.privacy.secagg_keys import PAIR, agree, public
from collegium.privacy.secagg_messages import Quorum, Reveal
from collegium.privacy.secagg_stand import Blame, Close, Failed, Unmask
from tests.privacy.epochs import Federation
from tests.privacy.lies import OTHER, TASK, WORK, advertised, asked, attest_all, noise, refused, upload_all


def places(f):
    return {name: 1 + k for k, name in enumerate(f.names)}


def held_by(disk, f, holder_peers, index, target):
    """The shares of one site's seed and key that a colluder's disk holds."""
    held = bytes.fromhex(disk[f"shares/{index}"])
    at = PAIR * holder_peers.index(target)
    return held[at : at + shares.WIDTH], held[at + shares.WIDTH : at + PAIR]


def known_shares(f, disks, index):
    """For every site: the holders whose share of its seed, and of its key, the coordinator and the colluders know."""
    seeds, keys = {name: set() for name in f.names}, {name: set() for name in f.names}
    for name in f.names:
        seeds[name] |= set(disks)
        keys[name] |= set(disks)
        for site in f.sites.values():
            for message in site.sent:
                if isinstance(message, Reveal) and message.index == index:
                    seeds[name] |= {site.name} if name in message.seeds else set()
                    keys[name] |= {site.name} if name in message.keys else set()
    return seeds, keys


@pytest.mark.parametrize("n", [4, 6, 7, 9])
def test_g16_with_the_colluders_it_is_made_for_no_honest_vector_is_determined(n):
    f = Federation(n).prepare()
    bad = f.names[: -(-n // 3) - 1]
    disks = {name: dict(f.sites[name].disk) for name in bad}
    honest, t = [name for name in f.names if name not in bad], f.terms.threshold
    late = honest[-1]
    for index, survivors in enumerate([f.names, [name for name in f.names if name != late]]):
        f.round(f"{index:064x}", survivors=survivors)
        seeds, keys = known_shares(f, disks, index)
        opened = {name for name in f.names if len(seeds[name]) >= t}, {name for name in f.names if len(keys[name]) >= t}
        assert not (opened[0] & opened[1])
        # The unknowns: honest vectors, seeds still shut, masks between honest pairs of which neither key is open.
        pairs = [pair for pair in combinations(honest, 2) if not set(pair) & opened[1]]
        shut = [name for name in honest if name not in opened[0]]
        rows = np.zeros((len(honest), len(honest) + len(shut) + len(pairs)))
        for k, name in enumerate(honest):
            rows[k, k] = 1
            if name in shut:
                rows[k, len(honest) + shut.index(name)] = 1
            for at, pair in enumerate(pairs):
                if name in pair:
                    rows[k, len(honest) + len(shut) + at] = masks.sign(name, pair[1] if pair[0] == name else pair[0])
        rank = np.linalg.matrix_rank(rows)
        alone = np.eye(len(rows[0]))[: len(honest)]
        for k in range(len(honest)):
            assert np.linalg.matrix_rank(np.vstack([rows, alone[k]])) > rank
        live = [k for k, name in enumerate(honest) if name in survivors]
        assert np.linalg.matrix_rank(np.vstack([rows, alone[live].sum(axis=0)])) == rank  # the sum of them is all there is


def test_g16_masked_bytes_of_honest_sites_are_noise_to_who_knows_the_rest():
    f = Federation(6).prepare()
    f.stretch(10_000)
    f.round()
    assert all(noise(site.spool[1, 0]) for site in f.sites.values())


def equivocation(n, colluders):
    """Two statements, with and without the victim; each shown to one half of the honest sites. What opens of the victim."""
    f = Federation(n).prepare()
    bad, honest = f.names[n - colluders :], f.names[: n - colluders]
    victim, half = honest[0], -(-len(honest) // 2)
    disks = {name: dict(f.sites[name].disk) for name in f.names}
    f.start(TASK, WORK)
    upload_all(f, dict.fromkeys(f.names, f.hub.owed(victim)))
    seeds = {places(f)[name]: held_by(disks[name], f, f.names, 0, victim)[0] for name in bad}
    keys = {places(f)[name]: held_by(disks[name], f, f.names, 0, victim)[1] for name in bad}
    for told, survivors in ((honest[:half], f.names), (honest[half:], f.names[1:])):
        text = f.statement(survivors)
        signatures = attest_all(f, told, survivors) | {name: f.sites[name].signer.sign(text.encode()).hex() for name in bad}
        for name in told:
            try:
                reveal = f.sites[name].tell(Quorum(1, 0, signatures))[0]
            except IdentityError:
                continue
            if victim in reveal.seeds:
                seeds[places(f)[name]] = bytes.fromhex(reveal.seeds[victim])
            else:
                keys[places(f)[name]] = bytes.fromhex(reveal.keys[victim])
    key, committed = advertised(f, victim)
    t = f.terms.threshold
    return (
        f,
        victim,
        shares.recover(seeds, t, lambda s: secagg.commitment(s) == committed).secret,
        shares.recover(keys, t, lambda s: public(s) == key).secret,
    )


@pytest.mark.parametrize(("n", "colluders"), [(6, 4), (9, 5)])
def test_g17_from_2t_minus_n_colluders_on_equivocation_opens_a_vector(n, colluders):
    """The documented limit: it keeps `Terms.colluders` and the page on secure sums honest."""
    f, victim, seed, key = equivocation(n, colluders)
    assert colluders == 2 * f.terms.threshold - n == f.terms.colluders + 1
    bound, epoch = masks.context(TASK, f.names), bytes.fromhex(f.hub.machine.stand.transcript)
    found = [Mask(masks.self_key(seed, epoch, 0, bound), -1)]
    for peer in f.names[1:]:
        pair = masks.pair_key(agree(key, advertised(f, peer)[0]), epoch, 0, (victim, peer), bound)
        found.append(Mask(pair, -masks.sign(victim, peer)))
    x = np.frombuffer(bytearray(f.sites[victim].spool[1, 0]), np.uint8)
    masks.apply(x, f.layout, found)
    assert x.tobytes() == f.sites[victim].vector.tobytes()


@pytest.mark.parametrize("n", [4, 5, 6, 7, 9])
def test_g17_one_colluder_fewer_opens_nothing_twice(n):
    _f, _, seed, key = equivocation(n, 2 * (2 * n // 3 + 1) - n - 1)
    assert seed is None or key is None


# Shares that are wrong, at the coordinator


def spoil(f, liars):
    """Those sites' shares are bent on their way out."""
    before = f.hand_in

    def hand_in(name, reply):
        if name in liars and isinstance(reply, Reveal):
            reply = replace(reply, seeds={to: "00" + share[4:] + "ab" for to, share in reply.seeds.items()})
        before(name, reply)

    f.hand_in = hand_in


@pytest.mark.parametrize("liars", [1, 2])
def test_g20_wrong_shares_are_found_and_their_site_named(liars):
    f = Federation(7).prepare()
    spoil(f, f.names[:liars])
    assert f.round() is not None
    assert {blame.site for blame in f.hub.found(Blame)} == set(f.names[:liars])


def test_g20_too_many_wrong_shares_end_the_round_and_not_the_epoch():
    f = Federation(7).prepare()
    spoil(f, f.names[:3])
    assert f.round() is None
    assert f.hub.found(Failed) == [Failed("round", "7 survivors revealed shares, and no 5 of them are right")]
    del f.hand_in
    assert f.round(OTHER, OTHER) is not None
    assert len(f.hub.found(Unmask)) == 1


# Encoding


@pytest.mark.parametrize("dtype", ["int64", "float64", "float32"])
@pytest.mark.parametrize("n", [3, 7])
def test_g23_sums_are_exact_up_to_the_bound_and_one_more_is_clipped(dtype, n):
    leaf = ring.Leaf("x", dtype, (4,))
    made = ring.Layout((leaf,), n)
    limit = made.limit(leaf)
    top = limit if dtype == "int64" else int(np.nextafter(np.dtype(dtype).type(limit), np.dtype(dtype).type(0)))
    f = Federation(n)
    f.layout = f.hub.layout = made
    for k, site in enumerate(f.sites.values()):
        site.layout, site.update = made, {"x": np.array([top, -top, -0.0 if dtype != "int64" else 0, 0]).astype(dtype)}
        if k == 0 and dtype != "int64":
            site.update["x"][3] = 5e-324 if dtype == "float64" else 1e-45  # too small for a normal number: zero
    f.prepare()
    f.start(TASK, WORK)
    f.settle()
    f.hub.tell(Close(tuple(f.names), "root"))
    f.settle()
    data = f.hub.sums[-1][2]
    tree, clipped, sites = ring.decode(lambda at, size: data[at : at + size], made)
    assert (clipped, sites) == (0, n)
    assert np.array_equal(tree["x"], np.array([top * n, -top * n, 0, 0]).astype(dtype))
    over = ring.to_ring(np.array([top * 2.0]).astype(dtype) if dtype != "int64" else np.array([limit + 1]), leaf, limit)
    assert over[1] == 1
    assert abs(int(over[0].view(np.int32 if dtype == "float32" else np.int64)[0])) <= limit


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_g23_what_is_no_number_is_refused_before_it_is_masked(bad):
    _f, victim, ask = asked()
    victim.update = {"n": np.array([1, 1]), "w": np.array([bad, 0, 0], np.float32)}
    with refused(victim, "'w' holds NaN or infinity", UpdateError):
        victim.tell(ask)
    assert not victim.spool
