"""Verified sums: every honest sum passes, and no forgery of group G18 does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collegium import tree as T
from collegium.engine.fold import fold_bytes
from collegium.engine.task import frame
from collegium.privacy import ring, tags
from collegium.privacy.secagg_stand import Failed, Open
from tests.privacy.epochs import Federation

KEY = tags.round_key(b"k" * 32, 1, 0)
NAMES = ["a", "b", "c"]
UPDATES = [
    {"w": np.linspace(-k, k, 33, dtype=np.float32), "n": {"rows": np.array([k, -k * 2**40])}, "ü": np.array([k / 3])} for k in range(1, 4)
]
LAYOUT = ring.settle(ring.plain(UPDATES[0], 3), np.eye(1, ring.BUCKETS, 90, dtype=np.int64).repeat(2, 0))
WIDER = tags.extended(LAYOUT)


def reader(data):
    return lambda at, size: bytes(data[at : at + size])


def test_without_its_tags_a_layout_is_the_one_it_was_made_of():
    assert tags.bare(WIDER) == LAYOUT
    assert tags.bare(LAYOUT) == LAYOUT
    assert WIDER.nbytes == LAYOUT.nbytes + tags.BYTES


def summed(updates=UPDATES, names=NAMES, key=KEY):
    made = [tags.tagged(update, LAYOUT, key, name) for update, name in zip(updates, names, strict=True)]
    return np.frombuffer(bytearray(fold_bytes(WIDER, [bytes(frame(ring.encode(u, WIDER), WIDER.nbytes)) for u in made])), np.uint8)


def holds(data, names=NAMES, key=KEY):
    return tags.holds(reader(data), WIDER, key, names)


def test_the_moduli_are_primes():
    for prime in map(int, tags.PRIMES):
        assert all(prime % d for d in range(2, int(prime**0.5) + 1))


def test_an_honest_sum_holds_and_is_the_sum():
    total = summed()
    assert holds(total)
    decoded, clipped, sites = ring.decode(reader(total), WIDER)
    assert (clipped, sites) == (0, 3)
    for name, leaf in T.flatten(UPDATES[0]).items():
        want = sum(np.asarray(T.flatten(u)[name], np.float64) for u in UPDATES)
        np.testing.assert_allclose(T.flatten(decoded)[name], want, atol=1e-4 * (leaf.dtype != np.int64))
    assert WIDER.nbytes == LAYOUT.nbytes + tags.BYTES


@given(st.lists(st.integers(-(2**61), 2**61), min_size=3, max_size=3), st.integers(0, 9))
def test_g18_every_honest_sum_holds(values, index):
    layout = ring.Layout((ring.Leaf("n", "int64", (1,)),), 3)
    wider, key = tags.extended(layout), tags.round_key(b"k" * 32, 1, index)
    made = [tags.tagged({"n": np.array([v])}, layout, key, name) for v, name in zip(values, NAMES, strict=True)]
    total = fold_bytes(wider, [bytes(frame(ring.encode(u, wider), wider.nbytes)) for u in made])
    assert tags.holds(reader(total), wider, key, NAMES)


def test_g18_a_thousand_random_forgeries_fail():
    honest, random = summed(), np.random.default_rng(0)
    for _ in range(1000):
        forged = honest.copy()
        at = random.choice(len(forged), random.integers(1, 9), replace=False)
        forged[at] ^= random.integers(1, 256, len(at)).astype(np.uint8)
        assert not holds(forged)


def words(data):
    return [data[a:b].view(kind) for a, b, kind in WIDER.regions[:-1] if a < b]


def test_g18_a_thousand_structured_forgeries_fail():
    """Scaling (of words and tags alike), one word, two words swapped, multiples of the primes, another round's sum, fewer sites."""
    honest, count = summed(), 0
    places = [(part, k) for part, line in enumerate(words(honest)) for k in range(len(line))]
    deltas = [1, 2**31, *map(int, tags.PRIMES), int(tags.PRIMES[0]) * int(tags.PRIMES[1]), int(tags.PRIMES[2]) * int(tags.PRIMES[3]), 2**63]
    tag_words = range(2, 2 + len(tags.PRIMES))
    for part, k in places:
        for delta in deltas:
            if (part == 0 and k in tag_words) or (part == 1 and delta >= 2**32):
                continue  # a tag plus its prime is the same tag
            forged = honest.copy()
            words(forged)[part][k] += np.array(delta, np.uint64).astype(words(forged)[part].dtype)
            assert not holds(forged)
            count += 1
    for factor in range(2, 402):
        forged = honest.copy()
        for line in words(forged):
            line *= np.array(factor, line.dtype)
        assert not holds(forged)
        count += 1
    for a in range(33):
        for b in range(a):
            forged = honest.copy()
            line = words(forged)[1]
            line[a], line[b] = line[b], line[a].copy()
            assert np.array_equal(forged, honest) or not holds(forged)
            count += 1
    assert count >= 1000
    assert not holds(honest, names=NAMES[:2])
    assert not holds(honest, key=tags.round_key(b"k" * 32, 1, 1))
    assert not holds(summed(UPDATES[:2], NAMES[:2]))


def test_the_tags_of_one_site_are_hidden_by_its_pad():
    seen = {tuple(tags.tagged(UPDATES[0], LAYOUT, tags.round_key(b"k" * 32, 1, index), "a")["~tags"]) for index in range(20)}
    assert len(seen) == 20
    assert not np.array_equal(tags.pad(KEY, "a"), tags.pad(KEY, "b"))


def test_sums_longer_than_a_chunk_are_checked_piece_by_piece():
    layout = ring.Layout((ring.Leaf("a", "int64", (40_000,)), ring.Leaf("w", "float32", (70_001,))), 2)
    wider, most = tags.extended(layout), 0
    updates = [{"a": np.arange(40_000), "w": np.arange(70_001, dtype=np.float32)}] * 2
    made = [tags.tagged(u, layout, KEY, name) for u, name in zip(updates, "ab", strict=True)]
    total = fold_bytes(wider, [bytes(frame(ring.encode(u, wider), wider.nbytes)) for u in made])

    def read(at, size):
        nonlocal most
        most = max(most, size)
        return total[at : at + size]

    assert tags.holds(read, wider, KEY, "ab")
    assert most <= tags.CHUNK


def test_all_sites_of_a_verified_study_and_nobody_else_have_its_key():
    f = Federation(5, verified=True).prepare()
    keys = {site.machine.rows["study key"] for site in f.sites.values()}
    assert len(keys) == 1
    assert len(bytes.fromhex(keys.pop())) == 32
    f.round()
    for site in f.sites.values():
        assert site.machine.rows["study key"] not in str(f.hub.orders)
    assert "study key" not in Federation(5).prepare().sites["site000"].machine.rows


def test_without_the_sealed_key_a_verified_study_does_not_begin():
    f = Federation(5, verified=True)
    f.hub.tell(Open())
    for name in f.names:
        f.poll(name)
    f.deaf = {"site000"}  # the site that draws the key advertised, and fell silent
    f.settle()
    f.late()
    assert f.hub.found(Failed) == [Failed("epoch", "0 sites hold whole shares, 4 must; accused: none")]
    assert {site.machine.epoch.phase for site in f.sites.values()} == {"adverted", "dealt"}
