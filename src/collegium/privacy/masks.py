"""Masks: keystreams that hide one site's vector, and vanish from the sum of all.

A mask is an AES-256-CTR keystream, added to or subtracted from the words of a `ring` vector in place: byte k of the stream acts
on byte k of the vector, in the words that stand there (`ring.spans`). Masked vectors therefore fold by the same
`ring.add` as plain ones, and what was added at one site and subtracted at another is gone without a rounding. A stream can be
entered at any multiple of 16 bytes, so a vector is masked, and a sum unmasked, a block at a time.

The keys come from HKDF-SHA256 (RFC 5869). Every key is bound to the epoch's transcript, the key index, the task and the
roster: two sites that were shown different models derive different masks, and their sum is noise (Pasquini 2022 is the attack).
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from collegium.privacy.ring import Layout, spans

CHUNK = 1 << 18  # bytes of keystream made at a time: it, the zeros and the words stay in the processor's cache
STEP = 16  # an AES block: where a stream can be entered
ZEROS = memoryview(bytes(CHUNK))
DOMAIN = b"collegium/secagg/1"


class Mask(NamedTuple):
    """One keystream, and whether it is added to a vector (+1) or taken from it (-1)."""

    key: bytes
    sign: int

    def __repr__(self) -> str:
        return f"Mask({self.sign:+d})"  # a key in a log or a traceback would open a vector


class Streams:
    """The keystreams of some masks, run side by side over one vector from its start, or from where one enters it."""

    def __init__(self, masks: Iterable[Mask]) -> None:
        self.masks = list(masks)
        self.buffer = np.empty(CHUNK + STEP, np.uint8)  # reused: first touch of fresh pages costs more than the cipher
        self.enter(0)

    def enter(self, start: int) -> None:
        """Go to byte `start`, a multiple of 16: CTR's counter is the number of the block."""
        if start % STEP:
            raise ValueError(f"a mask is entered at a multiple of {STEP} bytes, not at {start}")
        modes_ctr = modes.CTR((start // STEP).to_bytes(16, "big"))
        self.ciphers = [Cipher(algorithms.AES(mask.key), modes_ctr).encryptor() for mask in self.masks]
        self.at = start

    def apply(self, part: np.ndarray, start: int, layout: Layout) -> None:
        """Add every mask to bytes `start`... of a vector, in place; `part` is uint8, cut at multiples of eight."""
        if start != self.at:
            self.enter(start)
        for low in range(0, len(part), CHUNK):
            piece = part[low : low + CHUNK]
            stream = self.buffer[: len(piece)]
            words = [(piece[a:b].view(kind), stream[a:b].view(kind)) for a, b, kind in spans(layout, start + low, start + low + len(piece))]
            for mask, cipher in zip(self.masks, self.ciphers, strict=True):
                cipher.update_into(ZEROS[: len(piece)], self.buffer.data)
                for target, noise in words:
                    (np.add if mask.sign > 0 else np.subtract)(target, noise, out=target)
        self.at = start + len(part)


def apply(vector: np.ndarray, layout: Layout, masks: Iterable[Mask]) -> None:
    """Add every mask to a whole vector that is in memory (uint8), in place.

    >>> vector, masks = np.arange(16, dtype=np.uint8), [Mask(bytes(32), 1), Mask(bytes(32), -1)]
    >>> apply(vector, Layout((), 2), masks)  # what one site adds another takes away
    >>> vector.tolist() == list(range(16))
    True
    """
    Streams(masks).apply(vector, 0, layout)


def keystream(key: bytes, size: int) -> bytes:
    """The first `size` bytes of one stream: a generator of secret numbers."""
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(size))


def joined(parts: Iterable[bytes]) -> bytes:
    """Several byte strings as one that can be cut in one way only: each comes after its length."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def derive(secret: bytes, *parts: str | int | bytes) -> bytes:
    """A key of 32 bytes for one purpose; another purpose, said by `parts`, gives an unrelated key."""
    named = (p if isinstance(p, bytes) else p.to_bytes(8, "big") if isinstance(p, int) else p.encode() for p in parts)
    return HKDF(SHA256(), 32, None, DOMAIN + joined(named)).derive(secret)


def context(task: str, roster: Sequence[str]) -> bytes:
    """What a round's masks are bound to: the digest of the task (hex), and who takes part."""
    return hashlib.sha256(bytes.fromhex(task) + joined(name.encode() for name in sorted(roster))).digest()


def transcript(adverts: Iterable[str]) -> bytes:
    """One digest of all the key adverts of an epoch, in whatever order they came."""
    return hashlib.sha256(joined(sorted(text.encode() for text in adverts))).digest()


def self_key(seed: bytes, epoch: bytes, index: int, bound: bytes) -> bytes:
    """The key of the mask that a site lays over its own vector; `epoch` is the transcript, `bound` the context."""
    return derive(seed, "self", index, epoch, bound)


def pair_key(agreed: bytes, epoch: bytes, index: int, pair: tuple[str, str], bound: bytes) -> bytes:
    """The key of the mask that two sites share: the one with the lower name adds it, the other takes it away."""
    return derive(agreed, "pair", index, min(pair), max(pair), epoch, bound)


def share_key(agreed: bytes, epoch: bytes, sender: str, receiver: str) -> bytes:
    """The key that seals one site's shares for another: one for each direction, used once."""
    return derive(agreed, "share", sender, receiver, epoch)


def sign(site: str, peer: str) -> int:
    """Whether `site` adds (+1) the mask that it shares with `peer`, or takes it away (-1)."""
    return 1 if site < peer else -1
