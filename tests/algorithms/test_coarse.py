"""Weights in sixteen bits: within half a step, whatever their size, and read block by block."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from collegium import tree as T
from collegium import wire
from collegium.algorithms import coarse
from collegium.algorithms.averaging import averaging
from collegium.errors import UpdateError
from collegium.simulation.local import simulate
from tests.laws.examples_averaging import FIRST, loss, rows, train
from tests.trees import Disk


def sent(params):
    """What sites get, by way of the frame."""
    return wire.decode(b"".join(wire.encode(coarse.packed(params))))


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_each_weight_is_within_half_a_step_of_what_it_was(values):
    found = np.asarray(coarse.opened(sent({"a": {"w": values}}))["a"]["w"])
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    top = np.abs(values).max(initial=0.0)
    step = max(2.0 ** (int(np.frexp(top)[1]) - 15), 2.0**-115)
    assert np.all(np.abs(found.astype(np.float64) - values) <= np.where(np.abs(values) > 32767 * step, step, step / 2))


def test_a_weight_costs_two_bytes():
    values = np.linspace(-1, 1, 10_000, dtype=np.float32)
    assert len(b"".join(wire.encode(coarse.packed({"w": values})))) < 2 * values.size + 300


def test_a_model_on_a_disk_is_read_block_by_block_and_its_range_once():
    disk = Disk(np.linspace(-2, 1, 2 * T.BLOCK + 5, dtype=np.float32))
    packed = coarse.packed({"w": disk})
    assert disk.most == 0
    whole = np.concatenate([*T.blocks(packed["steps"]["w"])])
    assert disk.most == T.BLOCK
    back = coarse.opened({"power": packed["power"], "steps": {"w": whole}})["w"]
    assert isinstance(back, T.Lazy)
    np.testing.assert_allclose(np.asarray(back), disk.values, atol=2.0**-14)
    disk.values = disk.values * 100
    assert int(np.asarray(packed["power"]["w"])) == 2  # found before


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(UpdateError, match="'params' holds NaN or infinity"):
        sent({"w": np.array([1, bad], np.float32)})


def test_changes_far_below_a_step_of_what_sites_see_still_add_up():
    def creep(params, table, pull, seed):
        return {"w": (params["w"] + np.array([1e-6, 0, 0], np.float32)).astype(np.float32)}, 1

    algorithm, table = coarse.coarse(averaging(creep, loss)), rows(np.random.default_rng(1))
    state = algorithm.init(FIRST)
    for _ in range(30):
        update, _ = algorithm.local(T.whole(algorithm.share(state)), table, {})
        state = T.whole(algorithm.apply(state, update))
    assert float(state["params"]["w"][0]) == pytest.approx(0.1 + 30e-6, abs=2e-6)  # a step of what is sent is 3.8e-6


def test_training_ends_where_it_would_with_exact_weights():
    table = rows(np.random.default_rng(1))
    sites = {"a": table.where(np.arange(120)), "b": table.where(np.arange(120, 240))}
    fit = averaging(train, loss)
    exact, short = (simulate(algorithm, sites, rounds=30, given=FIRST) for algorithm in (fit, coarse.coarse(fit)))
    np.testing.assert_allclose(short["params"]["w"], exact["params"]["w"], atol=1e-3)
