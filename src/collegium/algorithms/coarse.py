"""Weights in sixteen bits, as they go down to sites on links that are slow: half the bytes.

A leaf becomes whole steps of a power of two, 32,767 each way, the step set by its largest weight. What is rounded is a copy: the
coordinator goes on from exact weights, so a rounding lasts for one round and never adds up.

    >>> opened(packed({"w": np.array([0.5, -0.25, 1e-9], np.float32)}))["w"].block(0, 3)
    array([ 0.5 , -0.25,  0.  ], dtype=float32)
"""

from typing import Any

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.table import Table

BITS = 16
TOP = 2 ** (BITS - 1) - 1
LEAST = -100  # powers of two below it are taken for this one: its steps are still numbers of float32


def coarse(inner: Algorithm) -> Algorithm:
    """Run `inner` on sites that are sent its weights (`params`, float32) in sixteen bits; its state stays as it is."""

    def share(state: T.Tree) -> T.Tree:
        shared = inner.share(state)
        return {**shared, "params": packed(shared["params"])}

    def local(shared: T.Tree, table: Table, memory: T.Tree) -> tuple[T.Tree, T.Tree]:
        return inner.local({**shared, "params": opened(shared["params"])}, table, memory)

    return inner._replace(local=local, share=share)


class Power:
    """The power of two that bounds a leaf: a whole number, found when it is first read."""

    shape, dtype = (), np.dtype(np.int64)

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf
        self.found: np.ndarray | None = None

    def block(self, start: int, stop: int) -> np.ndarray:
        """The number. Raises `UpdateError` for weights that are not finite."""
        if self.found is None:
            top = max((float(np.abs(b).max()) for b in T.blocks(self.leaf)), default=0.0)
            T.check_finite("params", np.asarray(top))  # the largest of weights with a NaN among them is NaN
            self.found = np.array([max(int(np.frexp(top)[1]), LEAST)])
        return self.found[start:stop]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.block(0, 1).reshape(()).astype(dtype or self.dtype, copy=False)


class Steps:
    """A leaf of weights as whole steps, computed when a block of it is asked for."""

    dtype = np.dtype(np.int16)

    def __init__(self, leaf: Any, power: Power) -> None:
        self.leaf, self.power, self.shape = leaf, power, tuple(leaf.shape)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Elements `start` to `stop` of the flattened leaf."""
        scaled = T.block(self.leaf, start, stop) * np.float32(2.0 ** (BITS - 1 - int(np.asarray(self.power))))
        return np.clip(np.rint(scaled), -TOP, TOP).astype(np.int16)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.block(0, T.size(self)).reshape(self.shape).astype(dtype or self.dtype, copy=False)


def packed(params: T.Tree) -> dict[str, Any]:
    """Weights as steps (int16), and the power of two of each leaf. Nothing is computed yet: weights may be on a disk."""
    flat = T.flatten(params)
    power = {name: Power(leaf) for name, leaf in flat.items()}
    steps = {name: Steps(leaf, power[name]) for name, leaf in flat.items()}
    return {"power": T.unflatten(power), "steps": T.unflatten(steps)}


def opened(shared: T.Tree) -> dict[str, Any]:
    """The weights (float32) that `packed` stands for, to within half a step; large leaves are computed when read."""

    def weights(steps: np.ndarray, power: Any) -> np.ndarray:
        return np.asarray(steps * np.float32(2.0 ** (int(np.asarray(power)) - BITS + 1)))

    flat, power = T.flatten(shared["steps"]), T.flatten(shared["power"])
    return T.unflatten({name: T.map(lambda x, p=power[name]: weights(x, p), {"w": leaf}, later=True)["w"] for name, leaf in flat.items()})
