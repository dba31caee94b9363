"""First weights that come with a study: what is wrong with them is said by name, and what they say is carried over."""

from typing import Any

import numpy as np
import pytest

from collegium import tree as T
from collegium.algorithms.features import Column, encode, features, levels
from collegium.engine import run as course
from collegium.errors import StudyError
from collegium.simulation.local import simulate
from collegium.study import layers, manifest, plan, warm
from collegium.table import Table

RNG = np.random.default_rng(3)
VARIABLES = {
    "age": {"kind": "number"},
    "pressure": {"kind": "number", "required": False},
    "smoker": {"kind": "binary", "required": False},
    "ward": {"kind": "category", "categories": ["heart", "lung", "surgery"], "required": False},
    "dose": {"kind": "number"},
}
STUDY: dict[str, Any] = {
    "title": "t",
    "purpose": "p",
    "variables": VARIABLES,
    "outcome": {"task": "regression", "target": "dose"},
    "method": {"kind": "averaging", "hidden": [5]},
}


def study(**method: Any) -> manifest.Study:
    return manifest.read({**STUDY, "method": {**STUDY["method"], **method}})


def hospital(rows: int, age: float, wards: list[str], gaps: float = 0.2) -> Table:
    """Rows of another kind at every hospital: older, fewer gaps, other wards."""
    columns: dict[str, Any] = {
        "age": RNG.normal(age, age / 5, rows),
        "pressure": RNG.normal(2 * age, 10, rows),
        "ward": RNG.choice(wards, rows),
    }
    columns["smoker"] = (RNG.random(rows) < age / 100).astype(float)
    for name in ("pressure", "smoker"):
        columns[name][RNG.random(rows) < gaps] = np.nan
    columns["ward"][RNG.random(rows) < gaps] = ""
    return Table(columns)


def prepared(columns: list[Column], table: Table) -> T.Tree:
    return simulate(features(columns), {"a": table}, rounds=2)


def test_a_model_says_the_same_with_the_inputs_of_another_run():
    """The law: whatever the old and the new run found, on rows that both can read the carried weights give the same answer."""
    columns = [plan.column(name, v) for name, v in study().variables.items() if name != "dose"]
    columns.sort()
    old = prepared(columns, hospital(400, 60, ["heart", "lung"]))
    new = prepared(columns, hospital(400, 45, ["heart", "lung", "surgery"]))
    assert len(levels(columns, old)) != len(levels(columns, new))
    params = layers.first(len(levels(columns, old)), (5,), 1, seed=4)
    scaled = [{"numbers": {"mean": np.array([mean]), "sd": np.array([sd])}} for mean, sd in ((140.0, 3.0), (90.0, 12.0))]
    came, given = {"params": params, "features": old, "outcome": scaled[0]}, {"features": new, "outcome": scaled[1]}
    carried = warm.carried(came, given, columns)
    rows = hospital(200, 52, ["heart", "lung"])
    one = layers.forward(params, encode(rows, columns, old)) * 3.0 + 140.0
    two = layers.forward(carried, encode(rows, columns, new)) * 12.0 + 90.0
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_the_same_inputs_leave_the_same_bits():
    columns = [Column("age", "number"), Column("ward", "category", ("heart", "lung"))]
    old = prepared(columns, hospital(100, 60, ["heart", "lung"]))
    params = layers.first(len(levels(columns, old)), (), 1, seed=4)
    carried = T.map(lambda leaf: leaf.astype(np.float32), warm.carried({"params": params, "features": old}, {"features": old}, columns))
    for name, leaf in T.flatten(params).items():
        np.testing.assert_array_equal(T.flatten(carried)[name], leaf)


def wrong(**changed: Any) -> T.Tree:
    return T.unflatten({**T.flatten(layers.first(7, (5,), 1, seed=1)), **changed})


@pytest.mark.parametrize(
    ("came", "says"),
    [
        (layers.first(7, (5, 5), 1, seed=1), "leaf '1/weight' has the shape (5, 5), the study's model has (1, 5) there"),
        (layers.first(7, (), 1, seed=1), "leaf '0/weight' has the shape (1, 7), the study's model has (5, 7) there"),
        (wrong(**{"0/bias": np.zeros(4, np.float32)}), "leaf '0/bias' has the shape (4,), the study's model has (5,) there"),
        (wrong(**{"1/bias": np.zeros(1, np.int64)}), "leaf '1/bias' holds int64, weights are floating-point numbers"),
        (wrong(**{"2/bias": np.zeros(1, np.float32)}), "leaf '2/bias' has no place in the study's model"),
        ({"0": {"bias": np.zeros(5, np.float32)}}, "leaf '0/weight' is not there; the study's model has 4 leaves"),
        (wrong(**{"0/weight": np.zeros(5, np.float32)}), "leaf '0/weight' has the shape (5,), the study's model has (5, 5) there"),
        ({"params": wrong(), "more": {}}, "'more' is no part of a model; wanted are `0/weight`, `0/bias` and so on"),
        ({"params": wrong(), "features": {"numbers": {"n": np.zeros(2)}}}, "of 'features', leaf 'categories/ward/counts' is absent"),
    ],
)
def test_the_first_leaf_at_fault_is_named(came: T.Tree, says: str):
    with pytest.raises(StudyError) as refused:
        plan.brought(study(), came)
    assert str(refused.value) == f"first weights: {says}"
    assert refused.value.hint


def test_only_what_trains_takes_first_weights():
    fit = manifest.read({**STUDY, "method": {"kind": "glm", "family": "gaussian"}})
    with pytest.raises(StudyError, match="method 'glm' trains nothing, so it takes no first weights"):
        plan.brought(fit, wrong())
    assert plan.brought(study(), wrong())["first"]["params"].keys() == {"0", "1"}


def test_weights_without_their_inputs_must_fit_what_the_run_finds():
    given = {"encoded": {"width": np.array(6)}, "first": {"params": layers.first(7, (5,), 1, seed=1)}}
    chosen = study()
    with pytest.raises(StudyError, match=r"leaf '0/weight' has the shape \(5, 7\), the study's model has \(5, 6\) there"):
        warm.weights(chosen, chosen.method, [], given)
    assert course.begin(plan.stages(chosen), 3, {"first": given["first"]}).results.keys() == {"first"}  # found out at its own stage
