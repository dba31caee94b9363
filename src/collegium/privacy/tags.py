"""Verified sums, an option: sites find out if the coordinator returns another sum than that of their vectors.

The sites of a study share a key that the coordinator does not have. Each adds to its vector four *tags*: random combinations of
all its words, modulo four primes of 31 bits. Tags add up like everything else, so the sum must have the tags that its own words
give. Every tag carries a pad that only sites can take off: without it a coordinator that sees the tags of the sum S could return
3 S with three times the tags. One altered word passes with probability 2^-60 at most: a change of a 64-bit word is a multiple of
two of the primes at most, and one of a shorter word of one at most, so that two primes are always left to see it.

It holds against a coordinator that colludes with no site; one colluding site would give it the key.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from collegium import tree as T
from collegium.privacy import ring
from collegium.privacy.masks import CHUNK, derive, keystream
from collegium.privacy.ring import Draw, Layout, Leaf

PRIMES = np.array([2**31 - 1, 2**31 - 19, 2**31 - 61, 2**31 - 69], np.uint64)
LEAF = Leaf("~tags", "int64", (len(PRIMES),))  # after every name that a tree may hold
BYTES = 8 * len(PRIMES)
Read = Callable[[int, int], Any]  # (offset, bytes) of a vector


def extended(layout: Layout) -> Layout:
    """The layout with room for the tags; what a verified round asks for."""
    leaves = sorted((*layout.leaves, LEAF), key=lambda x: (-x.bits, x.name))
    return Layout(tuple(leaves), layout.sites)


def bare(layout: Layout) -> Layout:
    """The layout without the tags: what they are combinations of."""
    return Layout(tuple(leaf for leaf in layout.leaves if leaf != LEAF), layout.sites)


def round_key(study_key: bytes, epoch: int, index: int) -> bytes:
    """The key of one round's combinations and pads: a combination is used once, or two sums would tell it."""
    return derive(study_key, "tags", epoch, index)


def tagged(update: T.Tree, layout: Layout, key: bytes, site: str, draw: Draw | None = None) -> dict[str, Any]:
    """The update with its tags, to be encoded by the extended layout. It is encoded twice, with the same `draw`: a tag sees what
    will be sent."""
    padded = (combine(ring.encode(update, layout, draw), key) + pad(key, site)) % PRIMES
    return {**update, LEAF.name: padded.astype(np.int64)}


def holds(read: Read, layout: Layout, key: bytes, survivors: Iterable[str]) -> bool:
    """Whether a sum, in the extended layout, is that of the survivors' vectors."""
    at = 8 * sum(leaf.size for leaf in layout.leaves if leaf.bits == 64 and leaf.name < LEAF.name)
    found = np.frombuffer(read(at, BYTES), "<u8") % PRIMES
    pads = sum((pad(key, site) for site in survivors), start=np.zeros(len(PRIMES), np.uint64)) % PRIMES
    return bool(np.array_equal((found + PRIMES - pads) % PRIMES, combine(words(read, layout, at), key)))


def words(read: Read, layout: Layout, at: int) -> Iterator[np.ndarray]:
    """The words of a vector a chunk at a time, the tags (from byte `at`) left out."""
    (_, wide, word), *rest = layout.regions
    for low, high, kind in ((0, at, word), (at + BYTES, wide, word), *rest):
        for start in range(low, high, CHUNK):
            yield np.frombuffer(read(start, min(CHUNK, high - start)), kind)


def combine(vector: Iterable[np.ndarray], key: bytes) -> np.ndarray:
    """For each prime, the sum of all words (as signed integers) times secret factors, modulo the prime."""
    streams = [Cipher(algorithms.AES(derive(key, "factors", k)), modes.CTR(bytes(16))).encryptor() for k in range(len(PRIMES))]
    total = np.zeros(len(PRIMES), np.uint64)
    for piece in vector:
        signed = piece.view(f"<i{piece.dtype.itemsize}").astype(np.int64)
        for k, (prime, stream) in enumerate(zip(PRIMES, streams, strict=True)):
            factors = np.frombuffer(stream.update(bytes(4 * len(signed))), "<u4") >> np.uint32(1)  # 31 bits: a product has 62
            products = (signed % np.int64(prime)).astype(np.uint64) * factors % prime
            total[k] = (total[k] + products.sum(dtype=np.uint64)) % prime
    return total


def pad(key: bytes, site: str) -> np.ndarray:
    """What hides one site's tags in the sum from who does not have the key."""
    return np.frombuffer(keystream(derive(key, "pad", site), BYTES), "<u8") % PRIMES
