import numpy as np
import pytest

from collegium import tree as T
from collegium.errors import StudyError
from collegium.study import layers
from collegium.study.manifest import EXAMPLE, read


def test_first_weights_are_the_same_everywhere():
    """Written down: another machine or another NumPy must give these very numbers, or an old run cannot be repeated."""
    params = T.flatten(layers.first(5, (8, 4), 3, seed=7))
    again = T.flatten(layers.first(5, (8, 4), 3, seed=7))
    assert [x.tobytes() for x in params.values()] == [x.tobytes() for x in again.values()]
    np.testing.assert_array_equal(layers.first(2, (), 1, seed=1)["0"]["weight"], np.array([[-0.61263454, -0.59536564]], np.float32))


def test_first_weights_have_the_spread_of_torch():
    params = layers.first(100, (400,), 1, seed=3)
    assert params["0"]["weight"].dtype == np.float32
    assert abs(params["0"]["weight"]).max() == pytest.approx(0.1, rel=0.01)
    assert params["0"]["weight"].std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


def test_seeds_differ():
    assert not np.array_equal(layers.first(3, (), 1, seed=1)["0"]["weight"], layers.first(3, (), 1, seed=2)["0"]["weight"])


def test_forward_is_the_product_of_layers_in_numeric_order():
    params = layers.first(2, (2,) * 11, 1, seed=5)  # twelve layers: "10" must not come before "2"
    x = np.random.default_rng(0).normal(size=(6, 2))
    want = x
    for number in range(12):
        want = want @ params[str(number)]["weight"].T + params[str(number)]["bias"]
        want = np.maximum(want, 0) if number < 11 else want
    np.testing.assert_array_equal(layers.forward(params, x), want)


def test_forward_of_no_rows():
    assert layers.forward(layers.first(3, (2,), 4, seed=1), np.zeros((0, 3))).shape == (0, 4)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_scores_are_finite_for_extreme_logits(task: str):
    logits = np.array([[-1e4, 1e4, 0.0]]) if task == "multiclass" else np.array([[-1e4], [0.0], [1e4]])
    out = layers.scores(logits, task)
    assert np.isfinite(out).all()
    if task == "multiclass":
        np.testing.assert_allclose(out, [[0, 1, 0]])
    if task == "binary":
        np.testing.assert_allclose(out, [0, 0.5, 1])
    assert len(layers.scores(logits[:0], task)) == 0


def test_outputs_follow_the_outcome():
    study = read(EXAMPLE)
    assert layers.outputs(study) == 1
    three = study.model_dump() | {"outcome": {"task": "multiclass", "target": "kind"}}
    three["variables"]["kind"] = {"kind": "category", "categories": ("a", "b", "c")}
    assert layers.outputs(read(three)) == 3


def test_weights_of_another_model_are_told_apart():
    assert layers.described(layers.first(3, (2,), 1, seed=1))
    assert not layers.described({"conv": {"weight": np.zeros(1), "bias": np.zeros(1)}})
    assert not layers.described({"0": {"weight": np.zeros(1)}})
    assert not layers.described({})


def test_no_input_is_refused():
    with pytest.raises(StudyError, match="no input"):
        layers.first(0, (), 1, seed=1)


def test_large_weights_are_drawn_while_they_are_written():
    params = layers.first(3, (600, 600), 1, seed=4)
    large = params["1"]["weight"]
    assert isinstance(large, layers.Drawn)
    whole = np.asarray(large)
    assert whole.shape == (600, 600)
    for start, stop in [(0, 7), (5, 1000), (359_990, 360_000)]:
        assert np.array_equal(large.block(start, stop), whole.reshape(-1)[start:stop])
    bits = np.random.Philox(4).random_raw(3 * 600 + 600 + 360_000)[2400:]
    bound = 1 / np.sqrt(600)
    assert np.array_equal(whole.reshape(-1), ((2 * ((bits >> 40) / 2.0**24) - 1) * bound).astype(np.float32))
