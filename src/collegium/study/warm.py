"""First weights that come with a study: checked against it, and carried over to what its own first step finds.

A model reads its inputs as a run found them: this mean, this spread, these levels of a category. Another run finds others, and
the same weights would mean something else there. What comes with its `features` is therefore carried over exactly: with the new
run's inputs the first weights say what the model said. A level it was not taught adds nothing, as a level unseen does.

    >>> layer = {"weight": np.array([[2.0]], np.float32), "bias": np.array([1.0], np.float32)}
    >>> old, new = ({"numbers": {"mean": [mean], "sd": [sd], "flag": np.array([0])}} for mean, sd in ((60.0, 10.0), (50.0, 5.0)))
    >>> found = carried({"params": {"0": layer}, "features": old}, {"features": new}, [Column("age", "number")])
    >>> 2.0 * (70 - 60) / 10 + 1.0, float(found["0"]["weight"][0, 0]) * (70 - 50) / 5 + float(found["0"]["bias"][0])
    (3.0, 3.0)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from collegium import tree as T
from collegium.algorithms.features import Column, Level, features, levels, measured
from collegium.errors import StudyError, UpdateError
from collegium.study import layers
from collegium.study.manifest import Averaging, Study

HINT = "give the weights of a model of the same layers, or change `hidden` in the manifest"


def check(study: Study, columns: Sequence[Column], came: T.Tree) -> T.Tree:
    """What came, as a run takes it; bare weights are put under `params`. Raises `StudyError` that names the first leaf at fault.

    How many inputs there are is only known once the first step has found them; whatever came with its `features` tells its own.
    """
    if not isinstance(study.method, Averaging):
        raise StudyError(f"method {study.method.kind!r} trains nothing, so it takes no first weights", hint="leave them out")
    whole = came if "params" in came else {"params": came}
    if strange := sorted(whole.keys() - {"params", "features", "outcome"}):
        raise StudyError(f"first weights: {strange[0]!r} is no part of a model; wanted are `0/weight`, `0/bias` and so on", hint=HINT)
    first = T.flatten(whole["params"]).get("0/weight")
    inputs = int(first.shape[-1]) if first is not None and first.shape else 0
    for name, known in (("features", columns), ("outcome", [Column("y", "number")])):
        if name in whole:
            prepare = features(known)
            try:
                T.check_like(whole[name], prepare.result(prepare.init({})))
            except UpdateError as e:
                raise StudyError(f"first weights: of {name!r}, {e}", hint="give a model of a study with the same variables") from None
            held = {leaf: np.asarray(value) for leaf, value in T.flatten(whole[name]).items()}  # few, and needed as a whole
            whole = {**whole, name: T.unflatten(held)}
    if "features" in whole and inputs != (width := len(levels(columns, whole["features"]))):
        raise StudyError(f"first weights: leaf '0/weight' reads {inputs} inputs, its 'features' make {width}", hint=HINT)
    fit(whole["params"], layers.shapes(inputs, study.method.hidden, layers.outputs(study)))
    return whole


def fit(params: T.Tree, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `StudyError` unless these are weights of these shapes, naming the first leaf at fault, layer by layer."""
    found = T.flatten(params)
    for name, shape in wanted.items():
        if name not in found:
            raise StudyError(f"first weights: leaf {name!r} is not there; the study's model has {len(wanted)} leaves", hint=HINT)
        have = tuple(found[name].shape)
        if have != shape:
            raise StudyError(f"first weights: leaf {name!r} has the shape {have}, the study's model has {shape} there", hint=HINT)
        if np.dtype(found[name].dtype).kind != "f":
            raise StudyError(f"first weights: leaf {name!r} holds {found[name].dtype}, weights are floating-point numbers", hint=HINT)
    if strange := sorted(found.keys() - wanted.keys()):
        raise StudyError(f"first weights: leaf {strange[0]!r} has no place in the study's model", hint=HINT)


def weights(study: Study, method: Averaging, columns: Sequence[Column], given: T.Tree) -> T.Tree:
    """The first weights of a run, float32: what came with the study, for the inputs that this run has found."""
    came, width = given["first"], int(given["encoded"]["width"])
    if "features" in came:
        fit(came["params"], layers.shapes(len(levels(columns, came["features"])), method.hidden, layers.outputs(study)))
        params = carried(came, given, columns)
    else:
        params = came["params"]
        fit(params, layers.shapes(width, method.hidden, layers.outputs(study)))
    return T.map(lambda leaf: leaf.astype(np.float32, copy=False), params)


def carried(came: T.Tree, given: T.Tree, columns: Sequence[Column]) -> dict[str, Any]:
    """Weights for inputs prepared in one way, turned into weights that say the same of inputs prepared in another."""
    params, names = {**came["params"]}, layers.order(came["params"])
    into = carry_inputs(params["0"], came["features"], given["features"], columns)
    params["0"] = into
    if "outcome" in came and "outcome" in given:
        (mean, sd), (new_mean, new_sd) = (scale(one["outcome"], 0) for one in (came, given))
        last = params[names[-1]]
        weight, bias = (np.asarray(last[leaf], np.float64) * (sd / new_sd) for leaf in ("weight", "bias"))
        params[names[-1]] = {"weight": weight, "bias": bias + (mean - new_mean) / new_sd}
    return params


def carry_inputs(layer: T.Tree, old: T.Tree, new: T.Tree, columns: Sequence[Column]) -> dict[str, Any]:
    """The layer that reads the inputs. A missing value is read as the mean, so its own column makes up for another mean."""
    weight, bias = np.asarray(layer["weight"], np.float64), np.asarray(layer["bias"], np.float64)
    place = {key(level): at for at, level in enumerate(levels(columns, old))}
    number = {column.name: at for at, column in enumerate(measured(columns))}
    wanted = levels(columns, new)
    out = np.zeros((len(weight), len(wanted)))
    for at, level in enumerate(wanted):
        if (was := place.get(key(level))) is not None:
            out[:, at] += weight[:, was]
        if level.column.kind == "category":
            continue
        (mean, sd), (new_mean, new_sd) = (scale(one, number[level.column.name]) for one in (old, new))
        value = weight[:, place[level.column.name, None]]
        if level.place is not None:
            out[:, at] += value * ((mean - new_mean) / sd if level.column.kind == "number" else mean - new_mean)
        elif level.column.kind == "number":
            out[:, at] *= new_sd / sd
            bias = bias + value * ((new_mean - mean) / sd)
    return {"weight": out, "bias": bias}


def key(level: Level) -> tuple[str, int | None]:
    """What makes a level the same in two runs of a study: its column, and its place in the list of the manifest."""
    return level.column.name, level.place


def scale(prepared: T.Tree, at: int) -> tuple[float, float]:
    """The mean and spread of a number."""
    return float(np.asarray(prepared["numbers"]["mean"])[at]), float(np.asarray(prepared["numbers"]["sd"])[at])
