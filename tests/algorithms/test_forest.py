"""Rows as bins, and the leaves they reach."""

import numpy as np
import pytest

from collegium.algorithms.cuts import cuts
from collegium.algorithms.features import Column, features
from collegium.algorithms.forest import binned, codes, described, empty, importance, leaves, margins, packed, shape
from collegium.algorithms.trees import trees
from collegium.errors import StudyError
from collegium.simulation.local import simulate
from collegium.table import Table

COLUMNS = [Column("age", "number"), Column("ill", "binary"), Column("ward", "category", ("a", "b", "c"))]
TABLE = Table(
    {
        "age": np.array([30.0, 50.0, 70.0, np.nan] * 30),
        "ill": np.array([0.0, 1.0, np.nan, 1.0] * 30),
        "ward": np.array([*(["a", "b", "", "b"] * 30)[:-1], "c"]),
    }
)
FOUND = {
    "features": simulate(features(COLUMNS), {"one": TABLE}),
    "bins": simulate(cuts(COLUMNS, least=10), {"one": TABLE}),
}


def test_every_kind_of_value_has_its_bin_and_missing_the_last():
    x = codes(TABLE, COLUMNS, FOUND)
    assert x[:4].tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 4], [3, 1, 1]]  # of the wards two were kept, in their order
    assert x[-1, 2] == 3  # a rare ward is one of the others
    assert shape(COLUMNS, FOUND).widths.tolist() == [4, 3, 5]


def test_a_tree_is_walked_as_far_as_it_has_grown():
    tree = {name: leaf[0, 0] for name, leaf in empty(1, 1, 2, 4).items()}
    tree["feature"][0], tree["feature"][2] = 0, 1
    tree["left"][0], tree["left"][2] = packed(np.array([1, 1, 0, 0], bool)), packed(np.array([0, 0, 0, 1], bool))
    rows = np.array([[0, 0], [1, 3], [2, 3], [3, 0]])
    assert leaves(tree["feature"], tree["left"], rows).tolist() == [1, 1, 5, 6]


def test_margins_go_on_from_where_they_were():
    rng = np.random.default_rng(0)
    model = {"base": np.array([0.25, -1.0]), **empty(5, 4, 3, 6)}
    model["feature"] = rng.integers(-1, 2, model["feature"].shape).astype(np.int16)
    model["left"] = rng.integers(0, 256, model["left"].shape).astype(np.uint8)
    model["value"] = rng.normal(size=model["value"].shape)
    x = rng.integers(0, 6, (40, 2))
    first = {**model, **{name: model[name][:3] for name in ("feature", "left", "value")}}
    np.testing.assert_array_equal(margins(model, x, 3, margins(first, x)), margins(model, x))
    assert described(model)
    assert not described({"0": {}})


def test_importance_is_a_share_of_the_gain():
    found = importance(COLUMNS, {"gain": np.array([1.0, 0.0, 3.0]), "uses": np.array([2, 0, 5])})
    assert found == [("ward", 0.75, 5), ("age", 0.25, 2), ("ill", 0.0, 0)]


def test_bins_are_asked_for_by_name():
    with pytest.raises(StudyError, match="needs the result of a stage 'bins' before it"):
        binned(trees("binary"), COLUMNS).init({"features": FOUND["features"]})
