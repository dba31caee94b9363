"""A log that can grow and cannot be changed unseen: the Merkle tree of RFC 6962, its proofs, and its signed checkpoints.

Whoever keeps the log stores one hash for each *complete subtree*: `read(level, index)` gives the one over the leaves
`index << level` up to `(index + 1) << level`. Such a hash never changes, so an entry costs two of them on average, and a proof
a few dozen reads whatever the size. Whoever watches the log keeps a size and a root, and checks.

>>> store = {}
>>> for number, entry in enumerate([b"founded", b"joined", b"started"]):
...     for level, digest in enumerate(completed(leaf(entry), number, lambda level, index: store[level, index])):
...         store[level, number >> level] = digest
>>> read = lambda level, index: store[level, index]
>>> included(leaf(b"joined"), 1, 3, inclusion(read, 1, 3), root(read, 3))
True
>>> consistent(2, root(read, 2), 3, root(read, 3), consistency(read, 2, 3))
True

A checkpoint is a C2SP signed note (c2sp.org/tlog-checkpoint), which other logs' tools read too. Pure: keys come in as functions.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from collegium.errors import IdentityError

Read = Callable[[int, int], bytes]
EMPTY = hashlib.sha256(b"").digest()  # the root of no entries
MAX_PROOF = 128  # hashes: more than a log of 2^63 entries needs


def leaf(entry: bytes) -> bytes:
    """The hash of an entry; its first byte keeps an entry from passing for an inner node."""
    return hashlib.sha256(b"\0" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


def completed(entry: bytes, index: int, read: Read) -> list[bytes]:
    """The hashes that appending this leaf hash at `index` makes final, from the leaf's own level upwards: those to store."""
    out, level = [entry], 0
    while index >> level & 1:
        out.append(node(read(level, (index >> level) - 1), out[-1]))
        level += 1
    return out


def root(read: Read, size: int) -> bytes:
    """The root over the first `size` entries."""
    return over(read, 0, size) if size else EMPTY


def split(count: int) -> int:
    """How many of `count` leaves, two or more, lie left of the top: the largest power of two below it."""
    return 1 << (count - 1).bit_length() - 1


def over(read: Read, start: int, end: int) -> bytes:
    """The hash over these leaves, which are a subtree of some tree: complete, or the ragged right edge."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return read(level, start >> level)
    middle = start + split(count)
    return node(over(read, start, middle), over(read, middle, end))


def inclusion(read: Read, index: int, size: int) -> list[bytes]:
    """The proof that entry `index` is among the first `size`: RFC 6962, section 2.1.1."""
    out, start, end = [], 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            out.append(over(read, middle, end))
            end = middle
        else:
            out.append(over(read, start, middle))
            start = middle
    return out[::-1]


def consistency(read: Read, old: int, new: int) -> list[bytes]:
    """The proof that the first `old` of `new` entries are what they were: RFC 6962, section 2.1.2."""
    if old in (0, new):
        return []
    out, start, end = [], 0, new
    while old < end:
        middle = start + split(end - start)
        if old <= middle:
            out.append(over(read, middle, end))
            end = middle
        else:
            out.append(over(read, start, middle))
            start = middle
    if start:  # else it is the old root itself, which the verifier has
        out.append(over(read, start, end))
    return out[::-1]


def included(entry: bytes, index: int, size: int, proof: Sequence[bytes], top: bytes) -> bool:
    """Whether a proof shows that this leaf hash stands at `index` in the tree of `size` leaves with root `top`."""
    if not 0 <= index < size or len(proof) > MAX_PROOF:
        return False
    at, last, found = index, size - 1, entry
    for each in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node(each, found)
            at, last = risen(at, last)
        else:
            found = node(found, each)
        at, last = at >> 1, last >> 1
    return last == 0 and found == top


def consistent(old: int, old_top: bytes, new: int, new_top: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the tree of `old` leaves is the beginning of that of `new`."""
    if not 0 <= old <= new or len(proof) > MAX_PROOF:
        return False
    if old in (0, new):
        return not proof and old_top == (EMPTY if old == 0 else new_top)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    whole = old & (old - 1) == 0
    first, rest = (old_top, proof) if whole else (proof[0] if proof else b"", proof[1:])
    before = after = first
    for each in rest:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node(each, before), node(each, after)
            at, last = risen(at, last)
        else:
            after = node(after, each)
        at, last = at >> 1, last >> 1
    return last == 0 and (before, after) == (old_top, new_top)


def risen(at: int, last: int) -> tuple[int, int]:
    """Past the levels at which a node on the right edge has no sibling."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


class Checkpoint(NamedTuple):
    """What a signed note says: that the log `origin` has `size` entries under this root."""

    origin: str
    size: int
    root: bytes


BODY = re.compile(r"([^\n]+)\n(0|[1-9]\d{0,18})\n([A-Za-z0-9+/]{43}=)\n")
SIGNATURE = re.compile(r"\u2014 (\S+) ([A-Za-z0-9+/]{91}=)")  # an em dash, as the form wants it; 4 + 64 bytes
ED25519 = b"\x01"


def key_hash(origin: str, public: str) -> bytes:
    """Four bytes by which a note tells which key has signed it."""
    return hashlib.sha256(origin.encode() + b"\n" + ED25519 + bytes.fromhex(public)).digest()[:4]


def sign(checkpoint: Checkpoint, public: str, signer: Callable[[bytes], bytes]) -> str:
    """A checkpoint as a note, signed by the Ed25519 key with these public bytes (hex)."""
    text = f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
    mark = base64.b64encode(key_hash(checkpoint.origin, public) + signer(text.encode())).decode()
    return f"{text}\n\u2014 {checkpoint.origin} {mark}\n"


def opened(note: str, origin: str, public: str, verify: Callable[[str, bytes, bytes], bool]) -> Checkpoint:
    """What a note says, its signature by this key checked; signatures of others beside it are passed over. Raises `IdentityError`."""
    text, _, marks = note[:8192].partition("\n\n")
    body = BODY.fullmatch(text + "\n")
    if not body or base64.b64encode(base64.b64decode(body[3])).decode() != body[3]:
        raise IdentityError(f"a checkpoint of the log is not in its form: it begins with {note[:60]!r}")
    if body[1] != origin:
        raise IdentityError(f"the checkpoint is of the log {body[1][:80]!r}, wanted was {origin!r}")
    for line in marks.splitlines():
        found = SIGNATURE.fullmatch(line)
        mark = base64.b64decode(found[2]) if found else b""
        if found and found[1] == origin and mark[:4] == key_hash(origin, public) and verify(public, mark[4:], body[0].encode()):
            return Checkpoint(origin, int(body[2]), base64.b64decode(body[3]))
    raise IdentityError(f"the checkpoint of the log {origin!r} is not signed by the coordinator's key: its signature does not hold")
