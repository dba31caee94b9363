"""The comparison sheet: figures by hand, only sums leaving, and headlines that do not flatter."""

import numpy as np
import pytest

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.averaging import averaging
from collegium.algorithms.compare import SUMS, alone, compare, sentence, sheet
from collegium.algorithms.roc import auroc, variance
from collegium.engine.run import Stage
from collegium.errors import RunError
from collegium.simulation.local import walk
from collegium.table import Table
from collegium.wire import decode, encode

FIRST = {"first": {"params": {"w": np.zeros(5, np.float32)}}}
WEIGHTS = np.array([1.0, -1.0, 0.7, 0.0, 0.4])


def chance(params, table):
    return 1 / (1 + np.exp(-table["x"] @ np.asarray(params["w"], float)))


def train(params, table, pull, seed):
    w = params["w"].astype(float)
    for _ in range(5):
        w = w - 0.5 * table["x"].T @ (chance({"w": w}, table) - table["y"]) / len(table)
    return {"w": w.astype(np.float32)}, 5


def loss(params, table):
    p = np.clip(chance(params, table), 1e-9, 1 - 1e-9)
    return float(-np.log(np.where(table["y"] == 1, p, 1 - p)).sum())


def hospital(n, seed, weights=WEIGHTS):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    y = (rng.random(n) < 1 / (1 + np.exp(-x @ weights))).astype(float)
    return Table({"x": x, "y": y, "part": rng.choice([0, 1, 2], n, p=[0.4, 0.2, 0.4])})


FED = averaging(train, loss, patience=3)
HOSPITALS = {name: hospital(n, i) for i, (name, n) in enumerate([("a", 120), ("b", 90), ("c", 1500), ("d", 100)])}


def study(sites, inner=FED, score=chance, task="binary", joint=None, **options):
    """Fit together, then compare: the result, and each site's own line."""
    empty = next(iter(sites.values())).where(np.zeros(0, int))
    stages = [Stage("compare", compare(inner, score, task=task, rounds=10, **options), 9, empty)]
    given = FIRST | {"fit": {"params": joint}}
    if joint is None:
        stages, given = [Stage("fit", inner, 10, empty), *stages], FIRST
    end, memory = walk(stages, sites, given=given, seed=1)
    return end.results["compare"], {site: kept["compare"].get("line") for site, kept in memory.items()}


def by_hand(table, own, joint):
    held = table.where(table["part"] == 2)
    (a, i), (b, j) = auroc(held["y"], chance(own, held)), auroc(held["y"], chance(joint, held))
    return a, b, variance(j - i)


def fixed(weights):
    """An inner algorithm whose every site alone ends with these weights."""
    params = {"params": {"w": np.asarray(weights, float)}}
    return Algorithm(lambda given: params, lambda s, t, m: ({"n": np.array(len(t))}, m), lambda s, total: s)


def test_figures_are_the_means_of_what_each_site_finds_by_hand():
    joint = {"w": WEIGHTS * 0.9}
    result, lines = study(HOSPITALS, joint=joint)
    hand = []
    for name, table in HOSPITALS.items():
        own = alone(FED, FED.init(FIRST), table, {}, 10)["params"]
        hand.append(by_hand(table, own, joint))
        assert float(lines[name]["gain"]) == pytest.approx(hand[-1][1] - hand[-1][0])
        assert float(lines[name]["gain_variance"]) == pytest.approx(hand[-1][2])
    a, b, v = np.array(hand).T
    found = {name: float(result[name]["value"]) for name in ("alone", "joint", "gain")}
    assert found == {"alone": pytest.approx(a.mean()), "joint": pytest.approx(b.mean()), "gain": pytest.approx((b - a).mean())}
    assert float(result["gain"]["high"] - result["gain"]["low"]) == pytest.approx(2 * 1.959964 * np.sqrt(v.sum()) / 4)
    assert {name: int(x) for name, x in result["sites"].items() if x} == {"compared": 4} | {
        name: int(count) for name, count in (("gaining", (b > a).sum()), ("alone_better", (b < a).sum())) if count
    } | {k: int(result["sites"][k]) for k in ("gaining_clearly", "alone_clearly") if result["sites"][k]}


def test_small_hospitals_gain_from_a_model_fitted_together():
    result, _ = study({str(i): hospital(70, i) for i in range(12)})
    assert float(result["gain"]["low"]) > 0
    assert sentence(result).startswith("Working together helped")
    assert abs(float(result["pooled"]["auroc"]["value"]) - float(result["joint"]["value"])) < 0.06


def test_alone_stops_early_as_the_joint_fit_would_and_never_sees_held_out_rows():
    table, seen = hospital(300, 0), []

    def watched(params, rows, pull, seed):
        seen.append((len(rows), seed))
        return train(params, rows, pull, seed)

    inner = averaging(watched, loss, patience=1)
    result = alone(inner, inner.init(FIRST), table, {"seed": np.array(7), "line": {}}, 500)
    assert int(result["rounds"]) == len(seen) < 500
    assert {n for n, _ in seen} == {int((table["part"] == 0).sum())}
    assert len({seed for _, seed in seen}) == len(seen)
    spoilt = table.with_columns(y=np.where(table["part"] == 2, 1 - table["y"], table["y"]))
    again = alone(inner, inner.init(FIRST), spoilt, {"seed": np.array(7)}, 500)
    np.testing.assert_array_equal(again["params"]["w"], result["params"]["w"])


def test_sites_that_cannot_be_compared_are_left_out_and_counted_by_reason():
    def fails(params, rows, pull, seed):
        if len(rows) == 99:
            raise RunError("no summit")
        return train(params, rows, pull, seed) if len(rows) != 98 else ({"w": np.full(5, np.nan, np.float32)}, 1)

    few, healthy = hospital(20, 5), hospital(200, 6)
    sites = HOSPITALS | {
        "few": few.with_columns(part=np.where(np.arange(20) < 4, 2, 0)),
        "healthy": healthy.with_columns(y=np.zeros(200)),
        "one ill": healthy.with_columns(y=np.where(np.arange(200) == np.flatnonzero(healthy["part"] == 2)[0], 1.0, 0.0)),
        "no rows held out": healthy.with_columns(part=np.zeros(200)),
        "singular": hospital(200, 7).with_columns(part=np.where(np.arange(200) < 99, 0, 2)),
        "diverges": hospital(200, 8).with_columns(part=np.where(np.arange(200) < 98, 0, 2)),
        "empty": few.where(np.zeros(0, int)),
    }
    result, lines = study(sites, inner=averaging(fails, loss), joint={"w": WEIGHTS})
    reasons = {name: int(result["sites"][name]) for name in ("compared", "one_class", "too_few", "untrained")}
    assert reasons == {"compared": 4, "one_class": 1, "too_few": 3, "untrained": 2}
    assert lines["empty"] is None
    assert "gain" not in lines["few"]
    assert "6 hospitals were left out: 1 had one outcome only, 3 had too few held-out patients, 2 could not train" in sentence(result)


@pytest.mark.parametrize("count", [0, 1])
def test_the_figures_of_a_single_site_are_not_kept(count):
    small = {str(i): hospital(12, i).with_columns(part=np.full(12, 0)) for i in range(3)}
    result, _ = study(small | dict(list(HOSPITALS.items())[:count]), joint={"w": WEIGHTS})
    assert int(result["sites"]["compared"]) == count
    assert not {"alone", "joint", "gain"} & set(result)
    assert not {"gaining", "alone_better"} & set(result["sites"])
    assert ("Only one hospital" if count else "No hospital could be compared.") in sentence(result)
    assert sheet(result)[0].gain is None


def test_a_useless_joint_model_is_said_to_be_worse_and_at_how_many_hospitals():
    result, lines = study(HOSPITALS, joint={"w": -WEIGHTS})
    assert int(result["sites"]["alone_better"]) == 4
    assert "did not help" in sentence(result)
    assert "At 4 of 4 hospitals its own model was better, clearly so at 4." in sentence(result)
    rows = sheet(result, list(lines.items()))
    assert [row.name for row in rows] == ["Mean over hospitals", "All held-out patients together", *HOSPITALS]
    assert all(row.note == "alone better, clearly" for row in rows[2:])
    assert "alone better at 4 (clearly at 4)" in rows[0].note


def test_one_hospital_that_is_unlike_the_others_is_named_as_better_off_alone():
    sites = {str(i): hospital(400, i) for i in range(5)} | {"unlike": hospital(400, 9, -WEIGHTS)}
    result, lines = study(sites, joint={"w": WEIGHTS})
    assert int(result["sites"]["alone_clearly"]) == 1
    assert float(lines["unlike"]["gain_high"]) < 0
    assert "clearly so at 1" in sentence(result)


def test_equal_models_make_no_difference():
    result, lines = study(HOSPITALS, inner=fixed(WEIGHTS), joint={"w": 2 * WEIGHTS})
    assert [int(result["sites"][name]) for name in ("gaining", "alone_better")] == [0, 0]
    assert "no clear difference: the joint model was better at 0 of 4" in sentence(result)
    assert "At no hospital was its own model better." in sentence(result)
    assert sheet(result, [("a", lines["a"])])[2].note == "no difference"


def test_noise_alone_is_rarely_a_clear_difference():
    rng, clear, compared = np.random.default_rng(0), 0, 0
    for _ in range(20):
        sites = {str(i): hospital(120, int(rng.integers(1 << 30))) for i in range(5)}
        w = WEIGHTS + np.array([0, 0, 0, 0.5, 0])  # equally wrong in two directions that mean the same
        result, _ = study(sites, inner=fixed(w - np.array([0, 0, 0, 1.0, 0])), joint={"w": w})
        clear += int(result["sites"]["gaining_clearly"]) + int(result["sites"]["alone_clearly"])
        compared += int(result["sites"]["compared"])
    assert clear / compared < 0.12


def test_a_site_tells_its_line_to_nobody():
    result, lines = study(HOSPITALS, joint={"w": WEIGHTS})
    public = [float(x) for leaf in T.flatten(result).values() for x in np.ravel(leaf)]
    for line in lines.values():
        assert not {round(float(line[name]), 12) for name in ("alone", "joint", "gain")} & {round(x, 12) for x in public}


def test_an_empty_site_adds_zeros_in_both_rounds_and_keeps_no_line():
    algorithm, table = compare(FED, chance, task="binary", rounds=3), HOSPITALS["a"]
    state = algorithm.init(FIRST | {"fit": {"params": {"w": WEIGHTS}}})
    names = []
    for _ in range(2):
        nothing, memory = algorithm.local(algorithm.share(state), table.where(np.zeros(0, int)), {})
        update, _ = algorithm.local(algorithm.share(state), table, {})
        assert memory == {}
        assert not any(np.any(leaf) for leaf in T.flatten(nothing).values())
        T.check_like(update, nothing)
        names.append({(name, leaf.dtype, leaf.shape) for name, leaf in T.flatten(update).items()})
        state = algorithm.apply(state, update)
    assert names[0] == names[1]
    assert all(f"sites/{name}" in T.flatten(update) for name in SUMS)
    assert algorithm.done(state)


def test_the_start_survives_the_wire_and_is_sent_once():
    algorithm = compare(FED, chance, task="binary", rounds=3)
    state = algorithm.init(FIRST | {"fit": {"params": {"w": WEIGHTS}}})
    shared = decode(b"".join(encode(algorithm.share(state))))
    update, _ = algorithm.local(shared, HOSPITALS["a"], {})
    assert int(update["sites"]["compared"]) == 1
    assert "start" not in algorithm.share(algorithm.apply(state, update))


@pytest.mark.parametrize("task", ["multiclass", "regression", "survival"])
def test_other_tasks(task):
    rng = np.random.default_rng(0)
    sites = {}
    for i in range(4):
        x = rng.normal(size=200)
        y = x + rng.normal(0, 0.5, 200) if task == "regression" else np.digitize(x, [0, 1])
        time, event = rng.exponential(np.exp(-x)), rng.random(200) < 0.7
        sites[str(i)] = Table({"x": x, "y": y.astype(float), "time": time, "event": event.astype(float)})

    def score(params, table):
        s = params["w"][0] * table["x"]
        cuts = np.stack([-s, 0.5 - np.abs(s - 0.5), s - 1], 1)
        return np.exp(cuts) / np.exp(cuts).sum(1, keepdims=True) if task == "multiclass" else s

    result, lines = study(sites, fixed([0.1]), score, task, {"w": np.array([1.0])} if task != "survival" else {"w": -np.ones(1)}, classes=3)
    sign = -1 if task == "survival" else 1
    assert sign * float(result["gain"]["value"]) > 0.05
    assert int(result["sites"]["gaining" if sign > 0 else "alone_better"]) == 4
    assert float(lines["0"]["alone_low"]) < float(lines["0"]["alone"]) < float(lines["0"]["alone_high"])
    assert sheet(result)[1].joint is not None
    assert all(np.isfinite(leaf).all() for leaf in T.flatten(result).values())


def test_one_wild_model_does_not_drown_the_others_figures():
    rng = np.random.default_rng(0)
    sites = {str(i): Table({"x": (x := rng.normal(size=100)), "y": x + rng.normal(0, 0.5, 100)}) for i in range(3)}
    sites["wild"] = sites["0"].with_columns(x=1e200 * sites["0"]["x"])
    result, lines = study(sites, fixed([0.9]), lambda params, t: params["w"][0] * t["x"], "regression", {"w": np.ones(1)})
    assert "untrained" in lines["wild"]
    assert float(result["joint"]["value"]) == pytest.approx(0.8, abs=0.1)
