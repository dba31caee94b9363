"""From a manifest to stages: every method end to end in process, against fits of pooled rows."""

import numpy as np
import pytest

from collegium import tree as T
from collegium.algorithms.averaging import Learner
from collegium.algorithms.features import names
from collegium.errors import DataError, StudyError
from collegium.simulation.local import walk
from collegium.study import layers, manifest, plan
from collegium.table import Table

HEAD = """
collegium: 1
title: t
purpose: p
patient: who
variables:
  age: {kind: number, low: 0, high: 120}
  sex: {kind: category, categories: [F, M]}
  ward: {kind: category}
  ill: {kind: binary, categories: ["no", "yes"]}
  stay: {kind: number}
  group: {kind: category, categories: [a, b, c]}
"""


def study(tail):
    return manifest.read(HEAD + tail)


def table(rows=600, seed=0):
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(60, 10, rows).round(), rng.choice(np.array(["F", "M"]), rows)
    age[::31] = np.nan
    eta = np.nan_to_num(age - 60) / 10 + (sex == "M")
    ill = np.where(rng.random(rows) < 1 / (1 + np.exp(-eta)), "yes", "no").astype(object)
    ill[::97] = ""
    columns = {"age": age, "sex": sex, "ill": ill.astype(np.str_), "ward": rng.choice(np.array(["x", "y"]), rows)}
    columns |= {"stay": 1000 + 300 * eta + rng.normal(0, 50, rows), "group": np.array(["a", "b", "c"])[np.digitize(eta, [0, 1])]}
    return Table(columns, np.array([f"p{k // 2}" for k in range(rows)]))


def numpy_learner(study):
    """Full-batch gradient descent on the declarative layers without a hidden one."""
    task = study.outcome.task

    def score(params, t):
        z = layers.forward(params, t["x"])
        if task == "multiclass":
            e = np.exp(z - z.max(1, keepdims=True))
            return e / e.sum(1, keepdims=True)
        return 1 / (1 + np.exp(-z[:, 0])) if task == "binary" else z[:, 0]

    def error(params, t):
        s = score(params, t)
        y = np.eye(3)[t["y"].astype(int)] if task == "multiclass" else t["y"]
        return (s - y).reshape(len(t), -1)

    def train(params, t, pull, seed):
        w = T.map(np.array, params)
        for _ in range(5):
            e = error(w, t)
            w = {"0": {"weight": w["0"]["weight"] - 0.5 * e.T @ t["x"] / len(t), "bias": w["0"]["bias"] - 0.5 * e.mean(0)}}
        return T.map(lambda x: x.astype(np.float32), w), 5

    return Learner(train, lambda params, t: float(np.square(error(params, t)).sum()), score)


def run(study, learner=None, sites=3):
    rows = plan.rows(study, table())
    parts = {f"h{i}": rows.where(which) for i, which in enumerate(np.array_split(np.arange(len(rows)), sites))}
    return walk(plan.stages(study, learner), parts, seed=study.seed)


@pytest.mark.parametrize(
    ("outcome", "metric", "least"),
    [
        ("{task: binary, target: ill}", "auroc", 0.75),
        ("{task: regression, target: stay}", "r2", 0.9),
        ("{task: multiclass, target: group}", "accuracy", 0.7),
    ],
)
def test_training_learns_and_is_compared(outcome, metric, least):
    s = study(f"outcome: {outcome}\nmethod: {{kind: averaging, rounds: 15}}")
    end, memory = run(s, numpy_learner(s))
    quality = end.results["compare"]["pooled"][metric]
    assert float(quality["value"] if isinstance(quality, dict) else quality) > least
    assert int(end.results["compare"]["sites"]["compared"]) == 3
    assert all("line" in kept["compare"] for kept in memory.values())


def test_a_cross_table_counts_a_yes_and_a_no_under_their_names():
    end, _ = run(study("method: {kind: statistics, cross: [[ill, sex]]}"))
    whole = table()
    found = end.results["cross ill sex"]["counts"]
    want = [[int(((whole["ill"] == said) & (whole["sex"] == sex)).sum()) for sex in ("F", "M")] for said in ("no", "yes")]
    assert found.tolist() == [[*row, 0] for row in want] + [[0, 0, 0]]
    assert int(end.results["cross ill sex"]["missing"]) == int((whole["ill"] == "").sum())


def test_a_description_counts_all_rows():
    end, _ = run(study('method: {kind: statistics, correlations: true, cross: [[sex, group]], quantiles: ["0.5"]}'))
    assert int(end.results["counts"]["rows"]) == 600
    assert int(end.results["cross sex group"]["counts"].sum()) == 600
    whole = table()
    assert end.results["moments"]["mean"][0] == pytest.approx(np.nanmean(whole["age"]), rel=1e-12)
    assert abs(float(end.results["quantiles"]["value"][1][0]) - np.median(whole["stay"])) < 10
    assert end.results["correlations"]["n"].max() == 600
    assert int(end.results["histograms"]["age"]["counts"].sum()) == np.isfinite(whole["age"]).sum()


def test_a_glm_uses_complete_rows_in_their_own_units():
    s = study("outcome: {task: binary, target: ill}\nmethod: {kind: glm}")
    end, _ = run(s)
    complete = np.isfinite(table()["age"]) & (table()["ill"] != "")
    assert int(end.results["fit"]["n"]) == complete.sum()
    assert [x.name for x in plan.stages(s)] == ["features", "fit"]  # nobody is held out, so nothing is compared


def test_the_coordinator_plans_without_a_learner_and_cannot_train():
    s = study("outcome: {task: binary, target: ill}\nmethod: {kind: averaging}")
    fit = plan.stages(s)[1].algorithm
    state = fit.init({"features": run(s, numpy_learner(s))[0].results["features"]})
    assert all(not np.any(x) for x in T.flatten(fit.local(fit.share(state), plan.like(s), {})[0]).values())
    with pytest.raises(StudyError, match="never at the coordinator"):
        fit.local(fit.share(state), plan.rows(s, table()), {})


def test_weights_may_come_with_the_study():
    s = study("outcome: {task: binary, target: ill}\nmethod: {kind: averaging, rounds: 1}")
    rows = plan.rows(s, table())
    learner = numpy_learner(s)._replace(train=lambda params, t, pull, seed: (params, 1))
    end, _ = walk(plan.stages(s, learner)[:1], {"a": rows})
    columns = [plan.column(name, s.variables[name]) for name in s.features]
    width = len(names(columns, end.results["features"]))
    given = {"first": {"params": {"0": {"weight": np.full((1, width), 0.5, np.float32), "bias": np.zeros(1, np.float32)}}}}
    end, _ = walk(plan.stages(s, learner), {"a": rows, "b": rows}, given=given)
    assert np.array_equal(end.results["fit"]["params"]["0"]["weight"], given["first"]["params"]["0"]["weight"])


def test_all_rows_of_a_patient_have_one_part_and_a_column_may_say_which():
    s = study("outcome: {task: binary, target: ill}\nmethod: {kind: averaging}")
    parts = plan.parts(s, table())
    assert (parts[::2] == parts[1::2]).all()
    assert set(parts.tolist()) == {0, 1, 2}
    s = study("outcome: {task: binary, target: ill}\nmethod: {kind: averaging}\nheld_out: {column: split}")
    split = np.array(["train", "validation", "test"])[np.arange(600) % 3]
    assert plan.parts(s, table().with_columns(split=split)).tolist() == (np.arange(600) % 3).tolist()
    assert len(plan.like(s)) == 0
    assert [stage.name for stage in plan.stages(s)] == ["features", "fit", "compare"]


def test_text_where_numbers_are_wanted_is_named():
    s = study("outcome: {task: regression, target: stay}\nmethod: {kind: averaging}")
    with pytest.raises(DataError, match="'stay' holds text"):
        plan.rows(s, table().with_columns(stay=np.full(600, "1,5")))


def test_yes_and_no_may_be_numbers():
    s = study("outcome: {task: binary, target: ill}\nmethod: {kind: averaging}")
    rows = plan.rows(s, table().with_columns(ill=(table()["ill"] == "yes").astype(float)))
    assert set(np.unique(rows["y"])) == {0.0, 1.0}
