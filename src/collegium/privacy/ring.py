"""Real numbers as integers modulo 2^64, 2^32 or 2^16: the only form in which an update leaves a site.

Integer addition has no rounding, so a sum is the same bytes in whatever order the sites answer, and (with masks) a sum of
integers can be hidden where a sum of floats could not. A leaf's dtype says its ring: int64 exactly and float64 in Z_2^64,
float32 (weights) in Z_2^32, or in Z_2^16 where a stage asks for that. Floats are multiplied by a power of two, fixed for a stage
by a *ranging* round: each site says, one-hot, the power of two that bounds each leaf of its first update, and the coordinator adds
those up. The scale leaves room for the sum of all sites at `HEADROOM` times the largest bound; a value beyond that is clipped, and
the clipped entries are counted inside the sum.

A vector is: the 64-bit leaves, the 32-bit leaves and the 16-bit leaves (each kind zero-padded to eight bytes), then two 64-bit
words: entries clipped, sites.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.errors import StudyError, UpdateError

LOWEST, BUCKETS = -80, 160  # powers of two told apart by a ranging round; the first bucket means all zero
HEADROOM = {"float32": 2, "float64": 16}  # bits: weights may grow 4x beyond the first round, Newton sums 65,536x
BITS = {"int64": 64, "float64": 64, "float32": 32}
SHORT = 16  # bits of a weight on links that are slow
MOST = 1024  # sites that a sum in Z_2^16 has room for: each then has 31 steps up and down
TRAILER = 16
WORDS: dict[int, np.dtype[Any]] = {64: np.dtype("<u8"), 32: np.dtype("<u4"), SHORT: np.dtype("<u2")}
FLOATS: dict[str, Any] = {"float32": np.float32, "float64": np.float64}
Draw = Callable[[int], np.ndarray]  # so many random uint16 numbers, by which weights are rounded


class Leaf(NamedTuple):
    """One array of an update; a float of it is `integer * 2**exponent`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    exponent: int = 0
    short: bool = False  # a weight in Z_2^16

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Of an entry, as it travels: the sum is modulo two to this power."""
        return SHORT if self.short else BITS[self.dtype]


@dataclass(frozen=True)
class Layout:
    """What a round's vector holds, where, and how large a number may be; the same at every site."""

    leaves: tuple[Leaf, ...]  # the widest first, each kind by name
    sites: int  # how many may answer: sets the room that each has

    @cached_property
    def regions(self) -> tuple[tuple[int, int, np.dtype[Any]], ...]:
        """First and last byte of the words of each kind, padding included; the trailer is the last."""
        out, at = [], 0
        for bits, kind in WORDS.items():
            nbytes = sum(leaf.size for leaf in self.leaves if leaf.bits == bits) * kind.itemsize
            out.append((at, at := at + nbytes + -nbytes % 8, kind))
        return (*out, (at, at + TRAILER, WORDS[64]))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole vector."""
        return self.regions[-1][1]

    @cached_property
    def entries(self) -> int:
        """Numbers in the vector, the trailer left out."""
        return sum(leaf.size for leaf in self.leaves)

    def limit(self, leaf: Leaf) -> int:
        """The largest integer that one site may send: the sum of all sites then cannot leave the ring."""
        return int((2 ** (leaf.bits - 1) - 1) // self.sites)

    def document(self) -> dict[str, Any]:
        """As JSON, for the task and the log."""
        leaves = [[x.name, x.dtype, list(x.shape), x.exponent, *([SHORT] if x.short else [])] for x in self.leaves]
        return {"sites": self.sites, "leaves": leaves}


def layout_of(document: Any) -> Layout:
    """The inverse of `Layout.document`."""
    leaves = (
        Leaf(str(n), str(d), tuple(int(k) for k in s), int(e), short == [SHORT] and d == "float32")
        for n, d, s, e, *short in document["leaves"]
    )
    return Layout(tuple(leaves), int(document["sites"]))


def plain(update: T.Tree, sites: int, *, short: bool = False) -> Layout:
    """The layout of an update whose floats have no scale yet; `short` puts its weights (float32) into Z_2^16.

    Raises `UpdateError` for a dtype that no sum takes, `StudyError` for more sites than 16 bits have room for.
    """
    leaves = [Leaf(name, leaf.dtype.name, tuple(leaf.shape)) for name, leaf in T.flatten(update).items()]
    for leaf in leaves:
        if leaf.dtype not in BITS:
            raise UpdateError(f"leaf {leaf.name!r} has dtype {leaf.dtype}; updates hold {', '.join(BITS)}")
    leaves = [leaf._replace(short=short and leaf.dtype == "float32") for leaf in leaves]
    if sites > MOST and any(leaf.short for leaf in leaves):
        raise StudyError(f"a sum in 16 bits has room for {MOST} sites, {sites} take part", hint="use `method: {bits: 32}`")
    return Layout(tuple(sorted(leaves, key=lambda x: (-x.bits, x.name))), sites)


def ranging(layout: Layout) -> Layout | None:
    """The layout of the ranging round that comes before `layout` can be used; None if it holds no floats."""
    floats = sum(leaf.dtype != "int64" for leaf in layout.leaves)
    return Layout((Leaf("ranges", "int64", (floats, BUCKETS)),), layout.sites) if floats else None


def ranges(update: T.Tree, layout: Layout) -> dict[str, np.ndarray]:
    """One-hot, for each float leaf: the power of two above its largest absolute value."""
    flat = T.flatten(update)
    floats = [leaf for leaf in layout.leaves if leaf.dtype != "int64"]
    out = np.zeros((len(floats), BUCKETS), np.int64)
    for row, leaf in enumerate(floats):
        top = max((float(np.abs(b).max()) for b in T.blocks(flat[leaf.name])), default=0.0)
        T.check_finite(leaf.name, np.asarray(top))  # the largest of values with a NaN among them is NaN
        power = int(np.frexp(top)[1]) if top else LOWEST
        out[row, min(max(power - LOWEST, 0), BUCKETS - 1)] = 1
    return {"ranges": out}


def settle(layout: Layout, counts: np.ndarray) -> Layout:
    """The layout with each float leaf's scale set by the summed `counts` of a ranging round."""
    powers = iter(int(np.flatnonzero(row).max(initial=0)) + LOWEST for row in counts)
    room = (layout.sites - 1).bit_length()
    leaves = (
        leaf if leaf.dtype == "int64" else leaf._replace(exponent=next(powers) + HEADROOM[leaf.dtype] + room - (leaf.bits - 1))
        for leaf in layout.leaves
    )
    return Layout(tuple(leaves), layout.sites)


def encode(update: T.Tree, layout: Layout, draw: Draw | None = None) -> Iterator[np.ndarray]:
    """The update as one vector, a block at a time: uint64 blocks, then uint32 ones, then uint16 ones, then the trailer.

    With `draw`, weights are rounded at random; without, and always for statistics, to the nearest. The coordinator's layout is
    checked first, and NaN or infinity is refused by the name of its leaf: `UpdateError`.
    """
    flat, clipped = T.flatten(update), 0
    T.check_like(flat, {leaf.name: leaf for leaf in layout.leaves})
    for leaf in layout.leaves:
        if flat[leaf.name].dtype != leaf.dtype:
            raise UpdateError(f"leaf {leaf.name!r} has dtype {flat[leaf.name].dtype}, the round asks for {leaf.dtype}")
    for start, stop, kind in layout.regions[:-1]:
        left = stop - start
        for leaf in (leaf for leaf in layout.leaves if WORDS[leaf.bits] == kind):
            for piece in T.blocks(flat[leaf.name]):
                whole, over = to_ring(piece, leaf, layout.limit(leaf), draw)
                clipped, left = clipped + over, left - whole.nbytes
                yield whole
        if left:
            yield np.zeros(left // kind.itemsize, kind)
    yield np.array([clipped, 1], np.uint64)


def to_ring(piece: np.ndarray, leaf: Leaf, limit: int, draw: Draw | None = None) -> tuple[np.ndarray, int]:
    """A block of one leaf as ring integers, and how many of its entries were clipped."""
    word = WORDS[leaf.bits]
    if leaf.dtype == "int64":
        over = int(np.count_nonzero((piece > limit) | (piece < -limit)))
        return (np.clip(piece, -limit, limit) if over else piece).astype(word), over
    kind = FLOATS[leaf.dtype]
    top = kind(limit)
    if int(top) > limit:  # the float nearest to the limit lies above it
        top = np.nextafter(top, kind(0))
    scaled = piece * kind(2.0**-leaf.exponent)  # a power of two: exact
    whole = np.rint(scaled, out=scaled) if draw is None or leaf.dtype == "float64" else at_random(scaled, draw)
    over = 0
    if len(whole) and not np.abs(whole).max() <= top:  # also where there is a NaN
        T.check_finite(leaf.name, piece)
        over = int(np.count_nonzero(np.abs(whole) > top))
        np.clip(whole, -top, top, out=whole)
    return whole.astype(f"<i{word.itemsize}").view(word), over


def at_random(scaled: np.ndarray, draw: Draw) -> np.ndarray:
    """Each number (float32, changed in place) rounded down or up: up as often as its fraction says, to within 2^-17."""
    whole: np.ndarray = np.floor(scaled)
    with np.errstate(invalid="ignore"):  # infinity is refused by the name of its leaf, a step later
        scaled -= whole  # exact: a float32 of 2^23 and more is whole
    scaled *= np.float32(65536)
    scaled -= np.float32(0.5)
    whole += scaled > draw(len(scaled))
    return whole


def add(total: np.ndarray, vector: np.ndarray, start: int, layout: Layout) -> None:
    """Add bytes `start`... of a vector into the same bytes of `total`, both uint8 and cut at multiples of eight."""
    for a, b, kind in spans(layout, start, start + len(vector)):
        part = total[a:b].view(kind)
        np.add(part, vector[a:b].view(kind), out=part)


def spans(layout: Layout, start: int, stop: int) -> Iterator[tuple[int, int, np.dtype[Any]]]:
    """The words among bytes `start` to `stop` of a vector: first and last byte, counted from `start`, and their kind.

    >>> [(a, b, kind.name) for a, b, kind in spans(Layout((), 3), 0, 16)]
    [(0, 16, 'uint64')]
    """
    for low, high, kind in layout.regions:
        a, b = max(low, start), min(high, stop)
        if a < b:
            yield a - start, b - start, kind


class Sum:
    """One leaf of a summed vector as real numbers, decoded a block at a time from wherever the vector is kept."""

    def __init__(self, read: Any, at: int, leaf: Leaf) -> None:
        self.read, self.at, self.leaf = read, at, leaf
        self.shape, self.dtype = leaf.shape, np.dtype(leaf.dtype)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Elements `start` to `stop` of the flattened leaf."""
        width = self.leaf.bits // 8
        whole = np.frombuffer(self.read(self.at + start * width, (stop - start) * width), f"<i{width}")
        return whole if self.leaf.dtype == "int64" else whole.astype(self.dtype) * self.dtype.type(2.0**self.leaf.exponent)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.block(0, self.leaf.size).reshape(self.shape).astype(dtype or self.dtype, copy=False)


def decode(read: Any, layout: Layout, *, keep: int = T.BLOCK) -> tuple[dict[str, Any], int, int]:
    """The total as a tree, the number of clipped entries, and of sites. `read(offset, bytes)` gives the summed vector.

    If there are more than `keep` weights (float32) they stay where they are and are decoded when used; statistics never do.
    """
    flat, at = dict[str, Any](), {kind: start for start, _, kind in reversed(layout.regions)}
    weights = sum(leaf.size for leaf in layout.leaves if leaf.dtype == "float32")
    for leaf in layout.leaves:
        lazy = Sum(read, at[word := WORDS[leaf.bits]], leaf)
        at[word] += leaf.size * word.itemsize
        flat[leaf.name] = lazy if leaf.dtype == "float32" and weights > keep else np.asarray(lazy)
    clipped, sites = np.frombuffer(read(layout.nbytes - TRAILER, TRAILER), "<u8")
    return T.unflatten(flat), int(clipped), int(sites)


def wellformed(read: Any, layout: Layout, sites: int, phase: str) -> bool:
    """Whether a sum can be one of so many vectors made by `encode`, as far as a sum tells: the number of sites that it holds, and
    in a ranging round one power of two a leaf from each."""
    _, found = np.frombuffer(read(layout.nbytes - TRAILER, TRAILER), "<u8")
    if int(found) != sites or phase != "range":
        return int(found) == sites
    counts = np.frombuffer(read(0, 8 * layout.leaves[0].size), "<i8").reshape(-1, BUCKETS)
    return bool((counts >= 0).all() and (counts.sum(axis=1) == sites).all())
