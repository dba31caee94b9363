"""Trees of arrays, in memory or not."""

import numpy as np
import pytest
from hypothesis import given

from collegium import tree as T
from collegium.errors import UpdateError
from tests.trees import Disk, same, trees


@given(trees())
def test_flatten_and_unflatten_are_inverses(tree):
    flat = T.flatten(tree)
    assert list(flat) == sorted(flat)
    again = T.flatten(T.unflatten(flat))
    assert all(same(again[name], leaf) for name, leaf in flat.items())


def test_an_empty_branch_survives():
    tree = {"a": {"b": {}}, "c": np.array(1)}
    assert T.unflatten(T.flatten(tree)) == tree


@given(trees())
def test_a_tree_minus_itself_is_zero(tree):
    assert T.norm(T.sub(tree, tree)) == 0
    assert all(same(a, b) for a, b in zip(T.flatten(T.zeros_like(tree)).values(), T.flatten(T.sub(tree, tree)).values(), strict=True))


def test_scale_keeps_the_precision_of_a_leaf():
    assert T.scale({"w": np.ones(2, np.float32)}, 1 / 3)["w"].dtype == np.float32


def test_leaves_that_are_not_in_memory_are_mapped_block_by_block():
    values = np.arange(3 * T.BLOCK, dtype=np.float32).reshape(3, -1)
    disk = Disk(values)
    lazy = T.add({"w": disk}, T.scale({"w": disk}, 2.0))["w"]
    assert isinstance(lazy, T.Lazy)
    assert lazy.shape == values.shape
    assert lazy.dtype == np.float32
    assert disk.most == 0  # nothing is read before it is written
    for start, piece in zip(range(0, values.size, T.BLOCK), T.blocks(lazy), strict=True):
        assert np.array_equal(piece, 3 * values.reshape(-1)[start : start + T.BLOCK])
    assert disk.most == T.BLOCK
    assert same(np.asarray(lazy), 3 * values)


def test_a_lazy_leaf_may_be_empty_or_join_scalars():
    empty = T.scale({"w": Disk(np.zeros((0, 4)))}, 2.0)["w"]
    assert np.asarray(empty).shape == (0, 4)
    joined = T.map(lambda x, k: x + k, {"w": Disk(np.ones(3))}, {"w": np.array(2.0)})["w"]
    assert np.asarray(joined).tolist() == [3, 3, 3]


def test_the_norm_is_of_all_leaves_together():
    assert T.norm({"a": np.array([3.0]), "b": {"c": Disk(np.array([4.0], np.float32))}}) == 5


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"w": np.zeros(3)}, r"'w' has shape \(3,\), the round asks for \(2,\)"),
        ({}, "'w' is absent"),
        ({"w": np.zeros(2), "x": np.zeros(1)}, "'x' is not asked for"),
    ],
)
def test_a_wrong_leaf_is_named(tree, says):
    with pytest.raises(UpdateError, match=says):
        T.check_like(tree, {"w": np.zeros(2)})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_would_wipe_out_a_sum_are_refused(bad):
    with pytest.raises(UpdateError, match="'w' holds NaN or infinity"):
        T.check_finite("w", np.array([1.0, bad]))
