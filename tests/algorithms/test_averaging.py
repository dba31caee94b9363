"""Federated averaging: what each knob does, early stopping, and a model larger than memory."""

import numpy as np
import pytest

from collegium import tree as T
from collegium.algorithms.averaging import Pull, averaging, part, seed_of
from collegium.algorithms.optimizers import adaptive, sgd
from collegium.simulation.local import simulate
from collegium.table import Table
from tests.laws.examples_averaging import FIRST, loss, rows, train
from tests.trees import Disk


def sites(k=3, n=240, parts=True):
    table = rows(np.random.default_rng(0))
    table = table if parts else table.with_columns(part=np.zeros(n, np.int8))
    return {f"h{i}": table.where(which) for i, which in enumerate(np.array_split(np.arange(n), k))}


def newton():
    """The maximum likelihood fit of all rows."""
    table = rows(np.random.default_rng(0))
    w = np.zeros(3)
    for _ in range(20):
        mu = 1 / (1 + np.exp(-table["x"] @ w))
        w += np.linalg.solve((table["x"].T * (mu * (1 - mu))) @ table["x"], table["x"].T @ (table["y"] - mu))
    return w


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"mu": 0.1},
        {"normalise": True},
        {"optimizer": sgd(1.0, 0.5)},
        {"optimizer": adaptive("adam", 0.1)},
        {"optimizer": adaptive("yogi", 0.1)},
        {"optimizer": adaptive("adagrad", 0.3)},
    ],
    ids=["fedavg", "fedprox", "fednova", "fedavgm", "fedadam", "fedyogi", "fedadagrad"],
)
def test_first_order_methods_come_near_newton(knobs):
    found = simulate(averaging(train, loss, **knobs), sites(parts=False), rounds=200, given=FIRST)["params"]["w"]
    assert np.abs(found - newton()).max() < 0.15


def test_the_mean_is_weighted_by_rows():
    def jump(params, table, pull, seed):
        return {"w": np.full(3, len(table), np.float32)}, 1

    table = Table({"x": np.zeros((10, 3)), "y": np.zeros(10)})
    two = {"small": table.where(np.arange(2)), "large": table.where(np.arange(2, 10))}
    found = simulate(averaging(jump, loss), two, rounds=1, given={"first": {"params": {"w": np.zeros(3, np.float32)}}})
    np.testing.assert_allclose(found["params"]["w"], (2 * 2 + 8 * 8) / 10, rtol=1e-6)


def test_fednova_takes_out_the_number_of_steps():
    def walk(params, table, pull, seed):
        steps = len(table)  # a site with more rows takes more steps, each of length 1
        return {"w": (params["w"] + steps).astype(np.float32)}, steps

    table = Table({"x": np.zeros((10, 3)), "y": np.zeros(10)})
    two = {"small": table.where(np.arange(2)), "large": table.where(np.arange(2, 10))}
    found = simulate(averaging(walk, loss, normalise=True), two, rounds=1, given={"first": {"params": {"w": np.zeros(3, np.float32)}}})
    np.testing.assert_allclose(found["params"]["w"], (2 * 2 + 8 * 8) / 10, rtol=1e-6)  # the mean number of steps, times 1


def test_fedprox_pulls_towards_the_shared_weights():
    far = simulate(averaging(train, loss), sites(), rounds=1, given=FIRST)["params"]["w"]
    near = simulate(averaging(train, loss, mu=3.0), sites(), rounds=1, given=FIRST)["params"]["w"]
    start = FIRST["first"]["params"]["w"]
    assert np.abs(near - start).max() < np.abs(far - start).max()


def test_it_stops_early_and_keeps_the_best():
    calls = []

    def worse(params, table, pull, seed):
        calls.append(seed)
        return {"w": (params["w"] * 2 + 1).astype(np.float32)}, 1

    found = simulate(averaging(worse, loss, patience=2), sites(), rounds=50, given=FIRST)
    assert int(found["rounds"]) == 3
    assert np.array_equal(found["params"]["w"], FIRST["first"]["params"]["w"])
    assert len(set(calls)) == len(calls) == 9  # another seed for every site and round


def test_without_validation_rows_the_newest_weights_count():
    table = {name: t.with_columns(part=np.zeros(len(t), np.int8)) for name, t in sites().items()}
    found = simulate(averaging(train, loss, patience=1), table, rounds=4, given=FIRST)
    assert int(found["rounds"]) == 4


def test_nobody_having_rows_changes_nothing():
    empty = {name: t.where(np.zeros(0, int)) for name, t in sites().items()}
    found = simulate(averaging(train, loss), empty, rounds=2, given=FIRST)
    assert np.array_equal(found["params"]["w"], FIRST["first"]["params"]["w"])


def test_one_round_of_a_model_that_is_not_in_memory_reads_it_block_by_block():
    disk = Disk(np.linspace(0, 1, 3 * T.BLOCK, dtype=np.float32))
    algorithm = averaging(train, loss, optimizer=adaptive("adam", 0.1))
    state = algorithm.init({"first": {"params": {"w": disk}}})
    empty = Table({"x": np.zeros((0, 3)), "y": np.zeros(0)})
    update, _ = algorithm.local(algorithm.share(state), empty, {})
    assert disk.most == 0
    total = {**update, "delta": {"w": T.scale({"w": disk}, 10.0)["w"]}, "rows": np.array(10)}
    after = algorithm.apply(state, total)
    assert disk.most == 0
    assert isinstance(after["params"]["w"], T.Lazy)
    first = T.block(after["params"]["w"], 0, 5)
    assert disk.most == 5
    delta = disk.values[:5]
    np.testing.assert_allclose(first, delta + 0.1 * 0.1 * delta / (np.sqrt(0.01 * delta**2) + 1e-3), rtol=1e-5)


def test_rows_of_a_table_without_parts_are_all_for_training():
    table = Table({"x": np.zeros((4, 3))})
    assert [len(part(table, which)) for which in (0, 1, 2)] == [4, 0, 0]


def test_seeds_are_the_same_when_a_round_is_run_again():
    assert seed_of({"seed": np.array(5)}, 3) == seed_of({"seed": np.array(5)}, 3) != seed_of({"seed": np.array(6)}, 3)
    assert Pull() == Pull(0.0, {}, {})


def test_training_that_diverges_ends_and_keeps_the_best():
    def burst(params, table, pull, seed):
        return {"w": (params["w"] * np.float32(1e12) + np.float32(1e12)).astype(np.float32)}, 1

    found = simulate(averaging(burst, loss), sites(), rounds=50, given=FIRST)
    assert (int(found["diverged"]), int(found["rounds"])) == (1, 2)
    assert np.array_equal(found["params"]["w"], FIRST["first"]["params"]["w"])


def test_a_loss_that_is_no_number_ends_the_training_too():
    def none(params, table):
        return loss(params, table) if np.array_equal(params["w"], FIRST["first"]["params"]["w"]) else float("nan")

    found = simulate(averaging(train, none), sites(), rounds=50, given=FIRST)
    assert (int(found["diverged"]), int(found["rounds"])) == (1, 2)
    assert np.array_equal(found["params"]["w"], FIRST["first"]["params"]["w"])
