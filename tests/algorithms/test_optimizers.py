"""The coordinator's optimisers, against the equations written out (Reddi et al. 2021, algorithm 2)."""

import numpy as np
import pytest

from collegium.algorithms.optimizers import adaptive, sgd

DELTAS = [np.array([0.5, -1.0]), np.array([0.25, 0.5]), np.array([-0.1, 0.0])]


def steps(optimizer):
    state, out = optimizer.init({"w": np.zeros(2)}), []
    for delta in DELTAS:
        step, state = optimizer.update({"w": delta}, state)
        out.append(step["w"])
    return out


def test_plain_averaging_takes_the_mean_change():
    assert all(np.array_equal(a, b) for a, b in zip(steps(sgd()), DELTAS, strict=True))
    assert np.array_equal(steps(sgd(0.5))[0], DELTAS[0] / 2)


def test_momentum_remembers():
    found = steps(sgd(2.0, momentum=0.9))
    m = np.zeros(2)
    for delta, step in zip(DELTAS, found, strict=True):
        m = 0.9 * m + delta
        np.testing.assert_allclose(step, 2 * m)


@pytest.mark.parametrize("rule", ["adam", "yogi", "adagrad"])
def test_adaptive_rules(rule):
    m, v, found = np.zeros(2), np.zeros(2), steps(adaptive(rule, lr=0.1))
    for d, step in zip(DELTAS, found, strict=True):
        m = d if rule == "adagrad" else 0.9 * m + 0.1 * d
        v = {"adam": 0.99 * v + 0.01 * d**2, "yogi": v - 0.01 * d**2 * np.sign(v - d**2), "adagrad": v + d**2}[rule]
        np.testing.assert_allclose(step, 0.1 * m / (np.sqrt(v) + 1e-3))


def test_adagrad_may_have_momentum():
    assert not np.allclose(steps(adaptive("adagrad", b1=0.9))[0], steps(adaptive("adagrad"))[0])


def test_weights_keep_their_precision():
    for optimizer in (sgd(0.5, 0.9), adaptive("adam")):
        step, state = optimizer.update({"w": np.ones(2, np.float32)}, optimizer.init({"w": np.zeros(2, np.float32)}))
        assert step["w"].dtype == np.float32
        assert all(leaf["w"].dtype == np.float32 for leaf in state.values())
