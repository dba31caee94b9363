"""Optimisers at the coordinator: FedAvg, FedAvgM, FedAdam, FedYogi and FedAdagrad differ only here.

Source: Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2; FedAvgM: Hsu et al. 2019.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from collegium import tree as T
from collegium.algorithms.averaging import Optimizer


def sgd(lr: float = 1.0, momentum: float = 0.0) -> Optimizer:
    """Plain averaging at the defaults; FedAvgM with `momentum`.

    >>> sgd(0.5).update({"w": np.ones(2)}, {})[0]
    {'w': array([0.5, 0.5])}
    """
    if not momentum:
        return Optimizer(lambda params: {}, lambda delta, state: (delta if lr == 1.0 else T.scale(delta, lr), {}))

    def update(delta: T.Tree, state: T.Tree) -> tuple[T.Tree, T.Tree]:
        m = T.map(lambda m, d: m * d.dtype.type(momentum) + d, state["m"], delta)
        return T.scale(m, lr), {"m": m}

    return Optimizer(lambda params: {"m": T.zeros_like(params)}, update)


def adaptive(
    rule: Literal["adam", "yogi", "adagrad"], lr: float = 0.01, b1: float | None = None, b2: float = 0.99, eps: float = 1e-3
) -> Optimizer:
    """FedAdam, FedYogi or FedAdagrad; `eps` is the paper's tau, the degree of adaptivity. No bias correction, as there.

    `b1` is the momentum: 0.9 where it is not given, and none for FedAdagrad, as in the paper's experiments.
    """
    second: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "adam": lambda v, d: b2 * v + (1 - b2) * d * d,
        "yogi": lambda v, d: v - (1 - b2) * d * d * np.sign(v - d * d),
        "adagrad": lambda v, d: v + d * d,
    }
    first = b1 if b1 is not None else 0.0 if rule == "adagrad" else 0.9

    def update(delta: T.Tree, state: T.Tree) -> tuple[T.Tree, T.Tree]:
        m = T.map(lambda m, d: (first * m + (1 - first) * d).astype(d.dtype), state["m"], delta)
        v = T.map(lambda v, d: second[rule](v, d).astype(d.dtype), state["v"], delta)
        return T.map(lambda m, v: (lr * m / (np.sqrt(v) + eps)).astype(m.dtype), m, v), {"m": m, "v": v}

    return Optimizer(lambda params: {"m": T.zeros_like(params), "v": T.zeros_like(params)}, update)
