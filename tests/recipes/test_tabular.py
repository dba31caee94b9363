import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from collegium import tree as T
from collegium.algorithms.averaging import averaging
from collegium.data import quality, synthetic
from collegium.recipes import tabular
from collegium.simulation.local import simulate, walk
from collegium.study import layers, manifest, plan
from collegium.table import Table


def study(task: str = "binary", **method: object) -> manifest.Study:
    document = tabular.template()
    document["method"] |= method
    if task == "regression":
        document["outcome"] = {"task": task, "target": "creatinine"}
    if task == "multiclass":
        document["variables"]["outcome"] = {"kind": "category", "categories": ["a", "b", "c"]}
        document["outcome"] = {"task": task, "target": "outcome"}
    return manifest.read(document)


def sites(task: str, n: int = 600, p: int = 6) -> dict[str, Table]:
    """Three hospitals of different size with one truth; the third has another mix of patients."""
    rng, out = np.random.default_rng(4), {}
    truth = rng.normal(size=(p, 3))
    for name, rows, shift in (("north", n, 0.0), ("south", n // 2, 0.3), ("west", n // 4, -0.8)):
        x = rng.normal(shift, 1, size=(rows, p))
        if task == "binary":
            y = (rng.random(rows) < 1 / (1 + np.exp(-(x @ truth[:, 0]) + 0.5))).astype(float)
        elif task == "regression":
            y = x @ truth[:, 0] + rng.normal(0, 0.1, rows)
        else:
            y = np.argmax(x @ truth + rng.gumbel(size=(rows, 3)), axis=1).astype(float)
        out[name] = Table({"x": x, "y": y})
    return out


def joint(task: str, tables: dict[str, Table], rounds: int = 40, **method: object) -> tuple[dict, np.ndarray, Table]:
    s = study(task, **method)
    learn = tabular.learner(s)
    first = layers.first(6, s.method.hidden, layers.outputs(s), s.seed)
    result = simulate(averaging(learn.train, learn.loss), tables, rounds=rounds, given={"first": {"params": first}}, seed=s.seed)
    pooled = Table({name: np.concatenate([t[name] for t in tables.values()]) for name in ("x", "y")})
    return result, learn.score(result["params"], pooled), pooled


def test_federated_logistic_regression_reaches_the_pooled_fit():
    _, score, pooled = joint("binary", sites("binary"))
    pooled_fit = LogisticRegression(C=np.inf).fit(pooled["x"], pooled["y"])
    best = roc_auc_score(pooled["y"], pooled_fit.predict_proba(pooled["x"])[:, 1])
    assert roc_auc_score(pooled["y"], score) == pytest.approx(best, abs=0.003)


def test_the_same_run_gives_the_same_bytes():
    tables = sites("binary", 100)
    one, two = (joint("binary", tables, rounds=3, hidden=[4])[0]["params"] for _ in range(2))
    assert one["0"]["weight"].tobytes() == two["0"]["weight"].tobytes()


def test_multiclass_and_regression_learn():
    _, score, pooled = joint("multiclass", sites("multiclass"), rounds=15)
    assert score.shape == (len(pooled), 3)
    np.testing.assert_allclose(score.sum(1), 1)
    assert (score.argmax(1) == pooled["y"]).mean() > 0.6
    _, value, pooled = joint("regression", sites("regression"), rounds=15, local={"lr": "0.05"})
    assert np.var(value - pooled["y"]) < 0.02 * np.var(pooled["y"])


def test_a_hidden_layer_learns_what_a_line_cannot():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 6))
    tables = {"a": Table({"x": x[:400], "y": (x[:400, 0] * x[:400, 1] > 0).astype(float)})}
    tables["b"] = Table({"x": x[400:], "y": (x[400:, 0] * x[400:, 1] > 0).astype(float)})
    _, score, pooled = joint("binary", tables, rounds=40, hidden=[16], local={"optimizer": "adam", "lr": "0.01", "batch": 32})
    assert roc_auc_score(pooled["y"], score) > 0.9


def test_an_empty_site_changes_nothing_and_a_one_class_site_takes_part():
    tables = sites("binary", 100)
    with_empty = tables | {"empty": tables["north"].where(np.zeros(0, int))}
    one, two = (joint("binary", t, rounds=5)[0]["params"]["0"]["weight"] for t in (tables, with_empty))
    np.testing.assert_allclose(one, two, rtol=1e-4)
    ill = tables["west"].where(tables["west"]["y"] == 1)
    three = joint("binary", tables | {"west": ill}, rounds=5)[0]["params"]["0"]["weight"]
    assert np.isfinite(three).all()
    assert not np.array_equal(one, three)


def test_mixed_columns_with_gaps_and_words_unseen_elsewhere_train_to_the_end():
    mixed = study(rounds=5, local={"batch": 32})
    tables = {}
    for k in range(3):
        table = synthetic.make(mixed, 200, seed=k, missing=0.2)
        if k == 2:  # a hospital with a code of its own, without one variable, and with one value in another
            table = table.with_columns(
                sex=np.where(np.arange(200) % 3 == 0, "X", table["sex"]), creatinine=np.full(200, np.nan), age=np.full(200, 50.0)
            )
        tables[f"h{k}"] = plan.rows(mixed, quality.ready(table, mixed))
    end, memory = walk(plan.stages(mixed, tabular.learner(mixed)), tables, seed=1)
    assert all(np.isfinite(leaf).all() for leaf in T.flatten(end.results["fit"]["params"]).values())
    assert int(end.results["compare"]["sites"]["compared"]) == 3
    assert set(memory) == {"h0", "h1", "h2"}
