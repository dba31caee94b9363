"""Boosted trees: XGBoost's own on the same rows, whoever is asked, stops, drops out or starts again."""

import numpy as np
import pytest
import xgboost

from collegium import tree as T
from collegium.algorithms.forest import Shape, margins
from collegium.algorithms.splits import Rules
from collegium.algorithms.trees import drawn, known_by, trees
from collegium.errors import RunError, StudyError
from collegium.simulation.local import simulate
from collegium.table import Table
from tests.laws.examples import cut

SHAPE = Shape(np.array([13, 5, 9]), np.array([False, False, False]))
PLAIN = Rules(least=1)
KNOBS = {"steps": 20, "depth": 4, "rate": 0.3, "patience": 0, "rules": PLAIN, "shape": SHAPE, "classes": 3}
THEIRS = {"binary": "binary:logistic", "regression": "reg:squarederror", "multiclass": "multi:softprob"}


def rows(n: int = 900, seed: int = 0, gaps: float = 0.0) -> Table:
    """Numbers as their own bins, with missing values and outcomes of every kind."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(0, width - 1, n) for width in SHAPE.widths.tolist()], axis=1)
    eta = np.sin(x[:, 0]) + 0.5 * (x[:, 1] == 2) - 0.2 * x[:, 2] + rng.normal(0, 0.7, n)
    x[rng.random(x.shape) < gaps] = 99
    x = np.where(x == 99, SHAPE.widths - 1, x).astype(np.uint16)
    part = rng.choice(np.array([0, 1, 2], np.int8), n, p=[0.7, 0.15, 0.15])
    return Table({"x": x, "eta": eta, "part": part}, np.array([f"p{k // 2}" for k in range(n)]))


def outcome(task: str, table: Table, part: bool = False) -> Table:
    eta = table["eta"]
    y = {"binary": (eta > -0.5).astype(float), "multiclass": np.digitize(eta, [-1.2, 0.0]).astype(float)}.get(task, eta)
    found = {"x": table["x"], "y": (y - y.mean()) / y.std() if task == "regression" else y}
    return Table({**found, **({"part": table["part"]} if part else {})}, table.patient)


def grown(task: str, sites, **knobs):
    return simulate(trees(task, **{**KNOBS, **knobs}), sites, rounds=400)


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("task", [*THEIRS])
def test_they_are_the_trees_of_xgboost_on_the_same_rows(task: str, gaps: float):
    table = outcome(task, rows(gaps=gaps))
    mine = grown(task, cut(table, 3, np.random.default_rng(1)))["params"]
    raw = np.where(table["x"] == SHAPE.widths - 1, np.nan, table["x"].astype(float))
    more = {"num_class": 3, "base_score": 0.5} if task == "multiclass" else {"base_score": float(table["y"].mean()) or 1e-9}
    base = np.tile(mine["base"].astype(np.float32), (len(table), 1)) if task == "multiclass" else None
    data = xgboost.DMatrix(raw, table["y"], base_margin=base)
    settings = {"objective": THEIRS[task], "eta": 0.3, "max_depth": 4, "lambda": 1, "min_child_weight": 1, "tree_method": "hist", **more}
    theirs = xgboost.train({**settings, "max_bin": 256, "nthread": 1}, data, 20).predict(data, output_margin=True)
    found = margins(mine, table["x"])
    apart = np.abs(found - theirs.reshape(found.shape)).max(axis=1)
    assert (apart < 1e-4).mean() > 0.98  # two splits of equal gain may be told apart by their rounding
    assert np.corrcoef(found.ravel(), theirs.ravel())[0, 1] > 0.9999


def test_the_trees_after_the_best_are_dropped():
    table = outcome("binary", rows(600), part=True)
    found = grown("binary", {"one": table}, steps=200, patience=8)
    best = len(found["params"]["feature"])
    assert 0 < best < 190
    assert int(found["rounds"]) < 1 + 200 * 4
    check = table.where(table["part"] == 1)

    def loss(stop):
        params = {name: leaf if name == "base" else leaf[:stop] for name, leaf in found["params"].items()}
        margin = margins(params, check["x"])[:, 0]
        return float((np.logaddexp(0, margin) - check["y"] * margin).mean())

    assert loss(best) < min(loss(stop) for stop in range(0, best, 3))
    again = grown("binary", {"one": table}, steps=best, patience=0)
    for name, leaf in again["params"].items():
        np.testing.assert_array_equal(found["params"][name], leaf)


def test_a_site_that_forgot_answers_the_same():
    table, boost = outcome("binary", rows()), trees("binary", **KNOBS)
    state, memory = boost.init({}), {}
    for number in range(12):
        shared = boost.share(state)
        update, memory = boost.local(shared, table, memory)
        forgetful, _ = boost.local(shared, table, {} if number % 2 else {"margin": np.zeros(3), "trees": np.array(1)})
        for name, leaf in T.flatten(update).items():
            np.testing.assert_array_equal(T.flatten(forgetful)[name], leaf)
        state = boost.apply(state, update)


@pytest.mark.parametrize("leaver", [0, 2])
def test_a_site_that_comes_and_goes_in_the_middle_of_a_tree_spoils_nothing(leaver: int):
    table, boost = outcome("binary", rows()), trees("binary", **KNOBS)
    parts = [*cut(table, 3, np.random.default_rng(1)).values()]
    state, memories = boost.init({}), [{}, {}, {}]
    number = 0
    while not boost.done(state):
        number += 1
        total = None
        for at, part in enumerate(parts):
            if at == leaver and number % 3 == 0:
                continue
            update, memories[at] = boost.local(boost.share(state), part, memories[at])
            total = update if total is None else T.add(total, update)
        state = boost.apply(state, total)
    margin = margins(boost.result(state)["params"], table["x"])[:, 0]
    assert np.isfinite(margin).all()
    y = table["y"]
    assert (np.logaddexp(0, margin) - y * margin).mean() < 0.8 * np.log(2)


def test_shares_are_of_patients_by_name_in_whatever_column():
    who = np.array([f"p{k // 3}" for k in range(6000)])
    known = known_by(Table({"x": np.zeros(6000)}, who))
    chosen = drawn(known, 0.3, (1, 2, 3))
    assert abs(chosen.mean() - 0.3) < 0.03
    assert (chosen.reshape(-1, 3).all(1) | ~chosen.reshape(-1, 3).any(1)).all()
    np.testing.assert_array_equal(chosen, drawn(known_by(Table({"x": np.zeros(6000)}, who.astype("U40"))), 0.3, (1, 2, 3)))
    other = drawn(known, 0.3, (1, 2, 4))
    assert 0.5 < (other == chosen).mean() < 0.7
    assert drawn(known_by(Table({"x": np.zeros(0)})), 0.5, (1, 1, 1)).shape == (0,)


def test_estimates_rise_with_a_column_that_may_only_rise():
    table = outcome("regression", rows())
    found = grown("regression", {"one": table}, monotone={0: 1, 2: -1}, steps=60)["params"]
    for column, way in ((0, 1), (2, -1)):
        others = np.random.default_rng(3).integers(0, 4, (50, 3))
        for one in others:
            x = np.tile(one, (int(SHAPE.widths[column]) - 1, 1))
            x[:, column] = np.arange(len(x))
            assert (way * np.diff(margins(found, x)[:, 0]) >= -1e-12).all()
    assert set(np.unique(found["feature"]).tolist()) >= {0, 2}


def test_trees_side_by_side_take_fewer_rounds():
    table = outcome("binary", rows())
    one, many = (grown("binary", {"one": table}, steps=s, parallel=p, rows=0.8, columns=0.7) for s, p in ((12, 1), (3, 4)))
    assert int(many["rounds"]) * 3 < int(one["rounds"])
    assert many["params"]["feature"].shape[:2] == (3, 4)


def test_what_was_gained_and_asked_is_counted():
    found = grown("binary", {"one": outcome("binary", rows())}, steps=5)
    assert found["uses"].sum() == (found["params"]["feature"] >= 0).sum()
    assert (found["gain"] > 0).all()


@pytest.mark.parametrize("knobs", [{"steps": 0}, {"depth": 0}, {"depth": 13}, {"rows": 0.0}, {"columns": 1.5}, {"parallel": 0}])
def test_settings_that_grow_nothing_are_refused(knobs):
    with pytest.raises(StudyError, match="asked for"):
        trees("binary", **{**KNOBS, **knobs})


def test_bins_must_be_known_and_outcomes_differ():
    with pytest.raises(StudyError, match="do not know the bins"):
        trees("binary").init({})
    table = outcome("binary", rows())
    with pytest.raises(RunError, match="same outcome"):
        grown("binary", {"one": table.with_columns(y=np.ones(len(table)))})
    with pytest.raises(RunError, match="no site has a training row"):
        grown("binary", {"one": table.where(np.zeros(0, int))})
