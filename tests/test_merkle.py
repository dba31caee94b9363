"""The log's tree: the vectors of RFC 6962's reference, a naive tree beside it, and not one altered proof accepted."""

import base64
import hashlib
import json
import random
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from collegium import identity, merkle
from collegium.errors import IdentityError
from collegium.merkle import Checkpoint

VECTORS = json.loads((Path(__file__).parent / "vectors" / "merkle.json").read_text())
KEY = identity.key(b"k" * 32)
ORIGIN = "collegium.log/test"


class Grown:
    """A log in memory, built entry by entry."""

    def __init__(self, entries=()):
        self.nodes, self.size = {}, 0
        for entry in entries:
            self.append(entry)

    def append(self, entry: bytes) -> int:
        made = merkle.completed(merkle.leaf(entry), self.size, self.read)
        for level, digest in enumerate(made):
            self.nodes[level, self.size >> level] = digest
        self.size += 1
        return len(made)

    def read(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


MANY = [b"entry %d" % number for number in range(5000)]
LOG = Grown(MANY)


@cache
def naive(start: int, end: int) -> bytes:
    """The definition of section 2.1, word by word, over MANY."""
    count = end - start
    if count == 0:
        return hashlib.sha256(b"").digest()
    if count == 1:
        return hashlib.sha256(b"\x00" + MANY[start]).digest()
    k = 1
    while k * 2 < count:
        k *= 2
    return hashlib.sha256(b"\x01" + naive(start, start + k) + naive(start + k, end)).digest()


def naive_path(index: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]) of section 2.1.1."""
    count = end - start
    if count == 1:
        return []
    k = 1
    while k * 2 < count:
        k *= 2
    if index < k:
        return [*naive_path(index, start, start + k), naive(start + k, end)]
    return [*naive_path(index - k, start + k, end), naive(start, start + k)]


def naive_subproof(old: int, start: int, end: int, known: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of section 2.1.2."""
    count = end - start
    if old == count:
        return [] if known else [naive(start, end)]
    k = 1
    while k * 2 < count:
        k *= 2
    if old <= k:
        return [*naive_subproof(old, start, start + k, known), naive(start + k, end)]
    return [*naive_subproof(old - k, start + k, end, False), naive(start, start + k)]


def test_the_reference_vectors():
    entries = [bytes.fromhex(one) for one in VECTORS["leaves"]]
    tops = [bytes.fromhex(one) for one in VECTORS["roots"]]
    log = Grown(entries)
    assert [merkle.root(log.read, size) for size in range(9)] == tops
    for one in VECTORS["inclusion"]:
        proof = [bytes.fromhex(each) for each in one["proof"]]
        assert merkle.inclusion(log.read, one["index"], one["size"]) == proof
        assert merkle.included(merkle.leaf(entries[one["index"]]), one["index"], one["size"], proof, tops[one["size"]])
    for one in VECTORS["consistency"]:
        proof = [bytes.fromhex(each) for each in one["proof"]]
        assert merkle.consistency(log.read, one["old"], one["new"]) == proof
        assert merkle.consistent(one["old"], tops[one["old"]], one["new"], tops[one["new"]], proof)


def test_ten_thousand_sizes_agree_with_the_definition():
    rng = random.Random(6962)
    for _ in range(10_000):
        new = rng.randint(1, len(MANY))
        old, index = rng.randint(1, new), rng.randrange(new)
        top = merkle.root(LOG.read, new)
        assert top == naive(0, new)
        path, between = merkle.inclusion(LOG.read, index, new), merkle.consistency(LOG.read, old, new)
        assert path == naive_path(index, 0, new)
        assert between == naive_subproof(old, 0, new, True)
        assert merkle.included(merkle.leaf(MANY[index]), index, new, path, top)
        assert merkle.consistent(old, naive(0, old), new, top, between)


def test_every_pair_of_small_sizes():
    for new in range(1, 34):
        top = naive(0, new)
        for old in range(new + 1):
            assert merkle.consistent(old, naive(0, old), new, top, merkle.consistency(LOG.read, old, new))
        for index in range(new):
            assert merkle.included(merkle.leaf(MANY[index]), index, new, merkle.inclusion(LOG.read, index, new), top)


def altered(proof: list[bytes], rng: random.Random) -> list[list[bytes]]:
    """A proof spoilt in every way: a bit, a hash less, one more, two exchanged."""
    out = [[*proof, rng.randbytes(32)], [rng.randbytes(32), *proof]]
    for at in range(len(proof)):
        bit = 1 << rng.randrange(256)
        flipped = (int.from_bytes(proof[at]) ^ bit).to_bytes(32)
        out += [[*proof[:at], flipped, *proof[at + 1 :]], proof[:at] + proof[at + 1 :], [*proof[:at], proof[at], *proof[at:]]]
    out += [[*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :]] for at in range(len(proof) - 1)]
    return out


def test_not_one_altered_proof_is_accepted():
    rng = random.Random(4)
    for _ in range(400):
        new = rng.randint(2, len(MANY))
        old, index = rng.randint(1, new - 1), rng.randrange(new)
        top, before, entry = naive(0, new), naive(0, old), merkle.leaf(MANY[index])
        path, between = merkle.inclusion(LOG.read, index, new), merkle.consistency(LOG.read, old, new)
        for spoilt in altered(path, rng):
            assert not merkle.included(entry, index, new, spoilt, top)
        for spoilt in altered(between, rng):
            assert not merkle.consistent(old, before, new, top, spoilt)
        assert not merkle.included(merkle.leaf(b"another"), index, new, path, top)
        assert not merkle.consistent(old, merkle.leaf(b"another"), new, top, between)
        assert not merkle.consistent(old, before, new, merkle.leaf(b"another"), between)


def test_sizes_that_make_no_sense_are_refused():
    top, entry = naive(0, 5), merkle.leaf(MANY[4])
    path = merkle.inclusion(LOG.read, 4, 5)
    assert not merkle.included(entry, 5, 5, path, top)
    assert not merkle.included(entry, -1, 5, path, top)
    assert not merkle.included(entry, 0, 1, path, entry)
    assert not merkle.consistent(5, top, 4, naive(0, 4), [])
    assert not merkle.consistent(5, top, 5, naive(0, 4), [])
    assert not merkle.consistent(5, top, 5, top, path)
    assert not merkle.consistent(3, naive(0, 3), 5, top, [])
    assert not merkle.consistent(0, top, 5, top, [])
    assert merkle.consistent(0, merkle.EMPTY, 5, top, [])
    assert not merkle.included(entry, 4, 5, [top] * 1000, top)
    assert not merkle.consistent(3, naive(0, 3), 5, top, [top] * 1000)


def test_an_entry_cannot_pass_for_a_node():
    inner = Grown([b"a", b"b"])
    two = inner.read(0, 0) + inner.read(0, 1)
    assert merkle.leaf(two) != merkle.root(inner.read, 2)


def test_an_entry_costs_two_hashes_on_average():
    log = Grown()
    assert sum(log.append(entry) for entry in MANY) <= 2 * len(MANY)


def note(size: int = 5, origin: str = ORIGIN, key: identity.Key = KEY) -> str:
    return merkle.sign(Checkpoint(origin, size, naive(0, size)), key.public, key.sign)


def test_a_checkpoint_is_a_signed_note():
    text = note()
    assert merkle.opened(text, ORIGIN, KEY.public, identity.verify) == Checkpoint(ORIGIN, 5, naive(0, 5))
    lines = text.split("\n")
    assert lines[:2] == [ORIGIN, "5"]
    assert base64.b64decode(lines[2]) == naive(0, 5)
    assert (lines[3], lines[5]) == ("", "")
    dash, name, mark = lines[4].split(" ")
    assert (dash, name) == ("\u2014", ORIGIN)
    raw = base64.b64decode(mark)
    assert raw[:4] == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + bytes.fromhex(KEY.public)).digest()[:4]
    assert identity.verify(KEY.public, raw[4:], "\n".join(lines[:3]).encode() + b"\n")


def test_signatures_of_witnesses_stand_beside_ours():
    text, other = note(), identity.key(b"w" * 32)
    theirs = merkle.sign(Checkpoint("witness.example", 5, naive(0, 5)), other.public, other.sign).splitlines()[-1]
    lines = text.splitlines(keepends=True)
    assert merkle.opened("".join([*lines[:4], theirs + "\n", *lines[4:]]), ORIGIN, KEY.public, identity.verify).size == 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.replace("\n5\n", "\n6\n"), "does not hold"),
        (lambda t: t.replace("\n5\n", "\n05\n"), "not in its form"),
        (lambda t: t.replace("\n5\n", "\n-5\n"), "not in its form"),
        (lambda t: t.replace("\n5\n", "\n" + "9" * 30 + "\n"), "not in its form"),
        (lambda t: t.replace("\n\n", "\nmore\n\n"), "not in its form"),
        (lambda t: t.replace("=\n\n", "\n\n"), "not in its form"),
        (lambda t: t.replace("\u2014 " + ORIGIN, "\u2014 other"), "does not hold"),
        (lambda t: t.rsplit("\n", 2)[0] + "\n", "does not hold"),
        (lambda t: t.replace(ORIGIN, "collegium.log/other"), "of the log"),
        (lambda t: t[:-10] + "\n", "does not hold"),
        (lambda t: "", "not in its form"),
        (lambda t: "x" * 100_000, "not in its form"),
    ],
)
def test_a_note_that_is_not_the_coordinators_is_refused(change, says):
    with pytest.raises(IdentityError, match=says):
        merkle.opened(change(note()), ORIGIN, KEY.public, identity.verify)


def test_a_note_by_another_key_is_refused():
    with pytest.raises(IdentityError, match="does not hold"):
        merkle.opened(note(key=identity.key(b"x" * 32)), ORIGIN, KEY.public, identity.verify)


def test_not_one_changed_letter_of_a_note_is_accepted():
    text = note()
    for at, other in product(range(len(text)), "0A \n"):
        changed = text[:at] + other + text[at + 1 :]
        if changed != text and changed.rstrip("\n") != text.rstrip("\n"):
            with pytest.raises(IdentityError):
                merkle.opened(changed, ORIGIN, KEY.public, identity.verify)
