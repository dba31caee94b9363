"""The model that a manifest can describe in one line, `hidden: [64, 32]`: layers of sums with a ramp between them.

No hidden layer makes it logistic or linear regression. It is plain NumPy, so the coordinator can give the first weights and a
hospital can use the finished model without a training library; only training itself (`recipes.training`) needs one.

    >>> params = first(3, (4,), 1, seed=1)
    >>> {name: leaf.shape for name, leaf in T.flatten(params).items()}
    {'0/bias': (4,), '0/weight': (4, 3), '1/bias': (1,), '1/weight': (1, 4)}
    >>> forward(params, np.zeros((5, 3))).shape
    (5, 1)
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from collegium import tree as T
from collegium.errors import StudyError
from collegium.study.manifest import Study


def outputs(study: Study) -> int:
    """How many numbers the model gives for a row: one for each class of a multiclass outcome, else one."""
    if study.outcome is None or study.outcome.task != "multiclass":
        return 1
    return len(study.variables[study.outcome.target].categories)


def shapes(inputs: int, hidden: Sequence[int], outputs: int) -> dict[str, tuple[int, ...]]:
    """The name and shape of every array, such as `0/weight`: (rows of the layer, what comes in), as `torch.nn.Linear` has it."""
    widths = (inputs, *hidden, outputs)
    out: dict[str, tuple[int, ...]] = {}
    for layer, (came, goes) in enumerate(pairwise(widths)):
        out |= {f"{layer}/weight": (goes, came), f"{layer}/bias": (goes,)}
    return out


def first(inputs: int, hidden: Sequence[int], outputs: int, seed: int) -> dict[str, Any]:
    """The first weights, float32, the same on every machine: uniform in +-1/sqrt(fan in), as `torch.nn.Linear` starts.

    Raises `StudyError` when nothing comes in: no variable gave a single column.
    """
    if inputs < 1:
        raise StudyError("the model has no input: no variable gave a column to learn from", hint="check the variables of the manifest")
    sizes, out, at = shapes(inputs, hidden, outputs), {}, 0
    for name, shape in sizes.items():
        leaf = Drawn(seed, at, shape, 1 / np.sqrt(sizes[f"{name.split('/')[0]}/weight"][1]))
        out[name] = leaf if T.size(leaf) > T.BLOCK else np.asarray(leaf)  # a large one is drawn while it is written
        at += T.size(leaf)
    return T.unflatten(out)


class Drawn:
    """An array of random weights that is never whole in memory: the numbers from place `at` of the seed's stream."""

    dtype = np.dtype(np.float32)

    def __init__(self, seed: int, at: int, shape: tuple[int, ...], bound: float) -> None:
        self.seed, self.at, self.shape, self.bound = seed, at, shape, bound

    def block(self, start: int, stop: int) -> np.ndarray:
        """Elements `start` to `stop` of the flattened array."""
        bits = np.random.Philox(self.seed)  # its raw bits never change; NumPy promises less for the distributions made of them
        before, extra = divmod(self.at + start, 4)  # it draws four at a time
        bits.advance(before)
        share = (bits.random_raw(stop - start + extra)[extra:] >> 40) / 2.0**24
        return np.asarray((2 * share - 1) * self.bound, np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.block(0, T.size(self)).reshape(self.shape).astype(dtype or self.dtype, copy=False)


def order(params: T.Tree) -> list[str]:
    """The names of the layers, first to last: "10" comes after "9"."""
    return sorted(params, key=int)


def described(params: T.Tree) -> bool:
    """Whether these are the weights of such a model, so that `forward` can use them."""
    layers = [leaf for name, leaf in params.items() if name.isascii() and name.isdigit()]
    return 0 < len(layers) == len(params) and all(isinstance(layer, Mapping) and layer.keys() == {"weight", "bias"} for layer in layers)


def forward(params: T.Tree, x: np.ndarray) -> np.ndarray:
    """Log odds, class scores or values, one row of (rows, outputs) for each row of `x`; the ramp max(0, .) stands between layers."""
    names = order(params)
    out = np.asarray(x)
    for name in names:
        out = out @ np.asarray(params[name]["weight"]).T + np.asarray(params[name]["bias"])
        if name != names[-1]:
            out = np.maximum(out, 0)
    return out


def scores(logits: np.ndarray, task: str) -> np.ndarray:
    """What people read: a probability (binary), one for each class (multiclass), or the value itself, from a model's last layer.

    >>> scores(np.array([[0.0], [1000.0]]), "binary")
    array([0.5, 1. ])
    """
    if task == "multiclass":
        odds = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))
    single = logits.reshape(len(logits))
    if task != "binary":
        return np.asarray(single)
    tail = np.exp(-np.abs(single))  # never overflows: the exponent is at most nought
    return np.asarray(np.where(single >= 0, 1, tail) / (1 + tail))
