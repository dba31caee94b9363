"""Trees: nested dicts of arrays, and the few operations a sum needs.

    >>> add({"w": np.ones(2), "n": np.array(3)}, {"w": np.ones(2), "n": np.array(4)})
    {'w': array([2., 2.]), 'n': array(7)}

A leaf is a NumPy array, or anything with `shape`, `dtype` and `block(start, stop)`: a file on a disk, or a `Lazy`
expression over such leaves. `map` over a leaf that is not in memory computes nothing yet; the result is computed block
by block when it is written, so a model may be larger than memory. Functions given to `map` must therefore be elementwise.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from collegium.errors import UpdateError

Tree: TypeAlias = Mapping[str, Any]  # str -> leaf | Tree; keys hold no "/"
BLOCK = 1 << 18  # elements worked on at a time: 1 or 2 MiB, which stays in the processor's cache
NOTHING = np.zeros(0, np.int64)  # stands for an empty branch


class Lazy:
    """An elementwise expression over leaves of one shape (and scalars), computed when a block of it is asked for."""

    def __init__(self, fn: Callable[..., Any], leaves: tuple[Any, ...]) -> None:
        self.fn, self.leaves = fn, leaves
        self.shape: tuple[int, ...] = next(tuple(x.shape) for x in leaves if hasattr(x, "block") or np.ndim(x))
        self.dtype = np.asarray(self.block(0, 0)).dtype

    def block(self, start: int, stop: int) -> np.ndarray:
        """Elements `start` to `stop` of the flattened leaf."""
        return np.asarray(self.fn(*(block(x, start, stop) if hasattr(x, "block") or np.ndim(x) else x for x in self.leaves)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.concatenate([*blocks(self)]) if size(self) else self.block(0, 0)
        return whole.reshape(self.shape).astype(dtype or self.dtype, copy=False)


def size(leaf: Any) -> int:
    """How many elements a leaf has."""
    return math.prod(leaf.shape)


def block(leaf: Any, start: int, stop: int) -> np.ndarray:
    """Elements `start` to `stop` of the flattened leaf, wherever it is kept."""
    if hasattr(leaf, "block"):
        return np.asarray(leaf.block(start, stop))
    return np.asarray(leaf).reshape(-1)[start:stop]


def blocks(leaf: Any, elements: int = BLOCK) -> Iterator[np.ndarray]:
    """The flattened leaf in order, a bounded piece at a time."""
    for start in range(0, size(leaf), elements):
        yield block(leaf, start, min(start + elements, size(leaf)))


def map(fn: Callable[..., Any], tree: Tree, *rest: Tree, later: bool = False) -> dict[str, Any]:
    """Apply an elementwise `fn` to each leaf of `tree` (and the same leaf of each of `rest`); `later`: to large ones when read."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        leaves = (value, *[r[key] for r in rest])
        if not hasattr(value, "shape") and isinstance(value, Mapping):
            out[key] = map(fn, *leaves, later=later)
        elif any(hasattr(x, "block") for x in leaves) or (later and size(value) > BLOCK):
            out[key] = Lazy(fn, leaves)
        else:
            out[key] = np.asarray(fn(*leaves))
    return out


def whole(tree: Tree) -> dict[str, Any]:
    """Each leaf as an array in memory: what was left for later is computed now, and not again at each look."""
    return unflatten({path: np.asarray(leaf) for path, leaf in flatten(tree).items()})


def add(a: Tree, b: Tree) -> dict[str, Any]:
    """`a + b`, leaf by leaf."""
    return map(np.add, a, b)


def sub(a: Tree, b: Tree) -> dict[str, Any]:
    """`a - b`, leaf by leaf."""
    return map(np.subtract, a, b)


def scale(a: Tree, by: float) -> dict[str, Any]:
    """Each leaf times one number; a leaf keeps its own precision."""
    return map(lambda x: x * np.asarray(x).dtype.type(by), a)


def zeros_like(a: Tree) -> dict[str, Any]:
    """A tree of the same names, shapes and dtypes, all zero."""
    return map(np.zeros_like, a)


def norm(tree: Tree) -> float:
    """The Euclidean norm of all leaves together, in double precision."""
    return float(np.sqrt(sum(float(np.square(b, dtype=np.float64).sum()) for x in flatten(tree).values() for b in blocks(x))))


def flatten(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": x}}` becomes `{"a/b": x}`, sorted: the order on the wire. An empty branch "c" becomes an empty leaf "c/"."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and not hasattr(value, "shape"):
            out |= flatten(value, f"{prefix}{key}/") if value else {f"{prefix}{key}/": NOTHING}
        else:
            out[prefix + key] = value if hasattr(value, "shape") else np.asarray(value)
    return dict(sorted(out.items()))  # by the whole path: "a." comes before "a/b"


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    out: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = out
        for parent in parents:
            node = node.setdefault(parent, {})
        if name:
            node[name] = leaf
    return out


def check_like(tree: Tree, like: Tree) -> None:
    """Raise `UpdateError` unless `tree` has the names and shapes of `like`, naming the first leaf at fault."""
    got, want = flatten(tree), flatten(like)
    if strange := want.keys() ^ got.keys():
        name = min(strange)
        raise UpdateError(f"leaf {name!r} is {'absent' if name in want else 'not asked for'}")
    for name, leaf in want.items():
        if tuple(got[name].shape) != tuple(leaf.shape):
            raise UpdateError(f"leaf {name!r} has shape {tuple(got[name].shape)}, the round asks for {tuple(leaf.shape)}")


def check_finite(name: str, values: np.ndarray) -> None:
    """Raise `UpdateError` if floats hold NaN or infinity: one such number would wipe out everybody's sum."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UpdateError(
            f"leaf {name!r} holds NaN or infinity", hint="lower the learning rate or check the site's data for extreme values"
        )
