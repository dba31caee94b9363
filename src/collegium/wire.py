"""A tree as bytes: the safetensors layout, read and written a block at a time. No pickle, no code, no type names.

A frame is `uint64 header length | JSON header | little-endian buffers`, so any safetensors reader opens it. Frames that are
cut short, overlap, lie about sizes or hold NaN are refused by the name of the leaf at fault.

    >>> frame = b"".join(encode({"w": np.ones(2)}))
    >>> decode(frame)["w"]
    array([1., 1.])
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.errors import FrameError

NAMES = {
    "BOOL": np.dtype("bool"), "I8": np.dtype("i1"), "U8": np.dtype("u1"), "I16": np.dtype("<i2"), "U16": np.dtype("<u2"),
    "I32": np.dtype("<i4"), "U32": np.dtype("<u4"), "I64": np.dtype("<i8"), "U64": np.dtype("<u8"),
    "F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8"),
}  # fmt: skip
DTYPES = {dtype: name for name, dtype in NAMES.items()}
MAX_HEADER, MAX_LEAVES = 1 << 20, 100_000
Read = Callable[[int, int], Any]  # (offset, bytes) -> a bytes-like of that many bytes


class Slot(NamedTuple):
    """Where one leaf lies in a frame; `start` counts from the first byte after the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


class Stored:
    """A leaf inside a stored frame: read when asked for, a block at a time."""

    def __init__(self, read: Read, at: int, slot: Slot, name: str) -> None:
        self.read, self.at, self.name = read, at, name
        self.dtype, self.shape = slot.dtype, slot.shape

    def block(self, start: int, stop: int) -> np.ndarray:
        """Elements `start` to `stop` of the flattened leaf; NaN and infinity are refused."""
        width = self.dtype.itemsize
        out = np.frombuffer(self.read(self.at + start * width, (stop - start) * width), self.dtype)
        refuse_nan(self.name, out)
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.block(0, T.size(self)).reshape(self.shape).astype(dtype or self.dtype, copy=False)


def header(tree: T.Tree, metadata: Mapping[str, str] | None = None) -> tuple[bytes, int]:
    """The frame's first bytes and the length of the whole frame."""
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    at = 0
    for name, leaf in T.flatten(tree).items():
        dtype = np.dtype(leaf.dtype).newbyteorder("<")
        if dtype not in DTYPES:
            raise FrameError(f"leaf {name!r} has dtype {leaf.dtype}, which a frame does not carry")
        end = at + T.size(leaf) * dtype.itemsize
        entries[name] = {"dtype": DTYPES[dtype], "shape": list(leaf.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # buffers start on a multiple of eight, so views into them are aligned
    return struct.pack("<Q", len(text)) + text, 8 + len(text) + at


def encode(tree: T.Tree, metadata: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Yield the frame in pieces of a few MiB at most; arrays in memory are not copied."""
    yield header(tree, metadata)[0]
    for name, leaf in T.flatten(tree).items():
        for piece in T.blocks(leaf):
            refuse_nan(name, piece)
            yield np.ascontiguousarray(piece, np.dtype(piece.dtype).newbyteorder("<")).view(np.uint8).data


def decode(frame: Any) -> dict[str, Any]:
    """Rebuild the tree; arrays are read-only views into `frame`. Raises `FrameError`."""
    view = memoryview(frame).cast("B")
    stored = T.flatten(load(lambda at, count: view[at : at + count], len(view)))
    return T.unflatten({name: T.block(leaf, 0, T.size(leaf)).reshape(leaf.shape) for name, leaf in stored.items()})


def load(read: Read, size: int) -> dict[str, Any]:
    """The tree of a stored frame of `size` bytes, its leaves still where they are. Raises `FrameError`."""
    slots, at, _ = layout(read, size)
    return T.unflatten({name: Stored(read, at + slot.start, slot, name) for name, slot in slots.items()})


def layout(read: Read, size: int) -> tuple[dict[str, Slot], int, dict[str, str]]:
    """The leaves of a stored frame, the offset of its first buffer, its metadata. Raises `FrameError`."""
    if size < 8:
        raise FrameError(f"frame of {size} bytes ends before its header length")
    (length,) = struct.unpack("<Q", bytes(read(0, 8)))
    if length > MAX_HEADER or 8 + length > size:
        raise FrameError(f"frame header claims {length} bytes; the frame has {size}, a header at most {MAX_HEADER}")
    try:
        entries = json.loads(bytes(read(8, length)), object_pairs_hook=no_repeats)
    except (ValueError, RecursionError) as e:
        raise FrameError(f"frame header is not JSON: {e}") from None
    if not isinstance(entries, dict) or len(entries) > MAX_LEAVES:
        raise FrameError(f"frame header must be an object of at most {MAX_LEAVES} leaves")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FrameError("frame metadata must be text by name")
    slots = {name: slot(name, entry) for name, entry in entries.items()}
    end = 0
    for name, s in sorted(slots.items(), key=lambda item: (item[1].start, item[1].stop)):
        if s.start != end:
            raise FrameError(f"leaf {name!r} starts at byte {s.start}, the leaf before it ends at {end}")
        end = s.stop
    if 8 + length + end != size:
        raise FrameError(f"frame has {size} bytes, its leaves need {8 + length + end}: cut short or padded")
    return dict(sorted(slots.items())), 8 + length, metadata


def slot(name: str, entry: Any) -> Slot:
    """One checked entry of a frame's header."""
    match entry:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(start), int(stop)]} if len(entry) == 3:
            pass
        case _:
            raise FrameError(f"leaf {name!r} is described as {str(entry)[:80]!r}; wanted dtype, shape and data_offsets")
    if kind not in NAMES:
        raise FrameError(f"leaf {name!r} has dtype {kind[:20]!r}, which a frame does not carry")
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in shape) or len(shape) > 16:
        raise FrameError(f"leaf {name!r} has shape {str(shape)[:80]}, wanted whole numbers from 0")
    count = 1
    for n in shape:
        count *= n
    if start < 0 or stop - start != count * NAMES[kind].itemsize:
        raise FrameError(f"leaf {name!r} holds {stop - start} bytes, its shape and dtype need {count * NAMES[kind].itemsize}")
    return Slot(NAMES[kind], tuple(shape), start, stop)


def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name stands twice: readers differ in which one they take."""
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name stands twice")
    return out


def refuse_nan(name: str, values: np.ndarray) -> None:
    """Raise `FrameError` if floating-point `values` hold NaN or infinity."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise FrameError(f"leaf {name!r} holds NaN or infinity, which no frame carries")
