"""Boosted trees in the JSON of XGBoost, which XGBoost itself loads and predicts the same with; nothing of XGBoost is needed here.

The format is the one that its documentation describes under "Introduction to Model IO". A column that is a number is compared as
it is, in single precision, as `forest.codes` does; yes/no is 0 and 1; a category is its place among `levels`, where all others
stand at the end; a missing value is NaN. What the trees begin from stands in trees of one leaf, so that no version's own idea of
`base_score` moves it. Estimates agree to the rounding of single precision.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from collegium.algorithms.features import measured, values
from collegium.algorithms.forest import places
from collegium.errors import StudyError
from collegium.models.predict import Model, inputs, listed
from collegium.study.manifest import Trees
from collegium.table import Table

OBJECTIVES: dict[str, tuple[str, dict[str, Any], str]] = {  # task: name, its parameters, the score that means a margin of nought
    "binary": ("binary:logistic", {"reg_loss_param": {"scale_pos_weight": "1"}}, "5E-1"),
    "multiclass": ("multi:softprob", {}, "5E-1"),
    "regression": ("reg:squarederror", {"reg_loss_param": {"scale_pos_weight": "1"}}, "0E0"),
    "survival": ("survival:cox", {}, "1E0"),
}
VERSION = [2, 1, 0]  # of the format: categories are understood from here on
NOBODY = 2**31 - 1  # the parent of a root
FURTHEST = float(np.finfo(np.float32).max)


def document(model: Model) -> dict[str, Any]:
    """The model as XGBoost's JSON. Raises `StudyError` for a model that is no boosted trees."""
    study = model.study
    if not isinstance(study.method, Trees) or study.outcome is None:
        raise StudyError(f"a model of method {study.method.kind!r} is no boosted trees, and XGBoost knows no other")
    task, params = study.outcome.task, {name: np.asarray(leaf) for name, leaf in model.trees["params"].items()}
    outputs, (name, extra, score) = len(params["base"]), OBJECTIVES[task]
    grown = [*begun(model, params["base"]), *trees(model, params)]
    each = params["feature"].shape[1] // outputs
    steps = [0, *np.cumsum([outputs, *[outputs * each] * len(params["feature"])]).tolist()]
    known = inputs(study)
    told = {"categories": {c.name: levels(model, c.name) for c in known if c.kind == "category"}}
    booster = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(grown))},
        "iteration_indptr": steps,
        "tree_info": [*range(outputs), *[at // each for _ in params["feature"] for at in range(outputs * each)]],
        "trees": [{**tree, "id": at} for at, tree in enumerate(grown)],
    }
    number = str(outputs) if outputs > 1 else "0"
    objective = {"name": name, **({"softmax_multiclass_param": {"num_class": number}} if outputs > 1 else extra)}
    size = {"base_score": score, "boost_from_average": "0", "num_class": number, "num_feature": str(len(known)), "num_target": "1"}
    learner = {
        "attributes": {"collegium": json.dumps(told, ensure_ascii=False)},
        "feature_names": [c.name for c in known],
        "feature_types": ["c" if c.kind == "category" else "float" for c in known],
        "gradient_booster": {"model": booster, "name": "gbtree"},
        "learner_model_param": size,
        "objective": objective,
    }
    return {"learner": learner, "version": VERSION}


def levels(model: Model, name: str) -> list[str]:
    """What each code of a category means: the levels that training kept, in order, and all others."""
    kept = np.asarray(model.trees["features"]["categories"][name]["kept"])
    known = model.study.variables[name].categories
    return [*(known[at] if known else f"bucket {at}" if at >= 0 else "" for at in kept.tolist()), "other"]


def matrix(model: Model, table: Table) -> np.ndarray:
    """The rows as XGBoost is given them, (rows, columns) float32."""
    known = inputs(model.study)
    table = listed(table, known)
    plain = dict(zip((c.name for c in measured(known)), values(table, known).T, strict=True))
    out = np.empty((len(table), len(known)), np.float32)
    for at, c in enumerate(known):
        if c.kind == "category":
            place = places(table, c, model.trees["features"])
            out[:, at] = np.where(place == len(levels(model, c.name)), np.nan, place)
        else:
            out[:, at] = plain[c.name]
    return out


def begun(model: Model, base: np.ndarray) -> Iterator[dict[str, Any]]:
    """A tree of one leaf for each output: what the sum begins from."""
    for value in (base * unit(model)[1] + unit(model)[0]).tolist():
        yield tree(model, np.full(1, -1), np.zeros((1, 1), bool), np.array([value]))


def unit(model: Model) -> tuple[float, float]:
    """The mean and spread of an outcome that is a number; training knew it with 0 and 1."""
    if "outcome" not in model.trees:
        return 0.0, 1.0
    scale = model.trees["outcome"]["numbers"]
    return float(np.asarray(scale["mean"])[0]), float(np.asarray(scale["sd"])[0])


def trees(model: Model, params: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """All trees, step by step."""
    sides = np.unpackbits(params["left"], axis=-1).astype(bool)
    for step, feature in enumerate(params["feature"]):
        for at in range(len(feature)):
            yield tree(model, feature[at], sides[step, at], params["value"][step, at] * unit(model)[1])


def tree(model: Model, feature: np.ndarray, left: np.ndarray, value: np.ndarray) -> dict[str, Any]:
    """One tree: nodes that exist are numbered by levels."""
    nodes, below = [0], {}
    for node in nodes:  # grows as it is walked
        if node < len(feature) and feature[node] >= 0:
            below[node] = (2 * node + 1, 2 * node + 2)
            nodes += below[node]
    number = {node: at for at, node in enumerate(nodes)}
    parents = {child: node for node, children in below.items() for child in children}
    out: dict[str, Any] = {name: [] for name in ("categories", "categories_nodes", "categories_segments", "categories_sizes")}
    rows: list[tuple[float, ...]] = []
    for node in nodes:
        if node not in below:
            rows.append((0, float(value[node]), 0, 0, -1, -1))
            continue
        threshold, right, lost = question(model, int(feature[node]), left[node])
        if right:
            out["categories_nodes"].append(number[node])
            out["categories_segments"].append(len(out["categories"]))
            out["categories_sizes"].append(len(right))
            out["categories"] += right
        rows.append((int(feature[node]), threshold, int(bool(right)), int(lost), *(number[child] for child in below[node])))
    names = ("split_indices", "split_conditions", "split_type", "default_left", "left_children", "right_children")
    none = [0.0] * len(nodes)
    return {
        **out,
        **{name: [row[at] for row in rows] for at, name in enumerate(names)},
        "base_weights": none,
        "loss_changes": none,
        "sum_hessian": none,
        "parents": [number[parents[node]] if node in parents else NOBODY for node in nodes],
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(len(model.study.features)),
            "num_nodes": str(len(nodes)),
            "size_leaf_vector": "1",
        },
    }


def question(model: Model, column: int, left: np.ndarray) -> tuple[float, list[int], bool]:
    """Of a split: below what a number goes left, or which categories go right, and whether missing values go left."""
    c = inputs(model.study)[column]
    if c.kind == "category":
        count = len(levels(model, c.name))
        return 0.0, [*np.flatnonzero(~left[:count]).tolist()] or [count], bool(left[count])  # a set holds one at least: a code of nobody
    if c.kind == "binary":
        return (0.5 if left[:2].sum() == 1 else FURTHEST), [], bool(left[2])
    at = [one.name for one in inputs(model.study) if one.kind == "number"].index(c.name)
    count = int(np.asarray(model.trees["bins"]["count"])[at])
    below = int(left[: count + 1].sum())
    edges = np.asarray(model.trees["bins"]["edges"])[at]
    return (float(edges[below - 1]) if below <= count else FURTHEST), [], bool(left[count + 1])
