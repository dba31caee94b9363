"""Examples of every algorithm, for the laws that all of them keep.

A file `tests/laws/examples_<room>.py` with a list `EXAMPLES` joins by being there; see this one for how an entry looks.
"""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import collegium.algorithms
from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.features import Column, encoded, features, made, values
from collegium.algorithms.glm import glm
from collegium.algorithms.sketches import quantiles, sketch
from collegium.algorithms.statistics import correlation, counts, crosstab, histograms, moments
from collegium.table import Table


class Example(NamedTuple):
    """One algorithm on one kind of rows.

    `factory` is the module and the function, such as "glm.glm". `exact` says that k sites give what one site gives with all
    rows, to `rtol` (and `atol`, for results near zero). `empty` says that a site without rows changes nothing. `given` makes
    the results of earlier stages from the pooled table.
    """

    factory: str
    algorithm: Algorithm
    table: Callable[[np.random.Generator], Table]
    note: str = ""
    exact: bool = True
    rounds: int = 40
    rtol: float = 1e-6
    atol: float = 1e-9
    empty: bool = True
    given: Callable[[Table], Mapping[str, Any]] = lambda table: {}

    @property
    def id(self) -> str:
        return f"{self.factory} {self.note}".strip()


def patients(rng: np.random.Generator, rows: int = 210) -> Table:
    """Raw columns as hospitals have them: other units, missing values, rare codes, several visits of a patient."""
    age, stay = rng.normal(65, 12, rows).round(), rng.lognormal(1, 0.7, rows)
    sex = rng.choice(np.array(["F", "M", ""]), rows, p=[0.5, 0.4, 0.1])
    code = rng.choice(np.array(["I50.9", "I50.1", "N18.3", "E11", "J44", "Z99"]), rows, p=[0.4, 0.25, 0.2, 0.1, 0.04, 0.01])
    platelets = rng.normal(2.6e5, 9e4, rows)
    diabetic = (rng.random(rows) < 0.3).astype(float)
    risk = 0.04 * (age - 65) + 0.5 * (sex == "M") + 0.6 * diabetic - 0.3
    y = (rng.random(rows) < 1 / (1 + np.exp(-risk))).astype(float)
    platelets[rng.random(rows) < 0.15], y[0] = np.nan, np.nan
    part = (np.arange(rows) % 5 == 0).astype(np.int8) * 2
    columns = {"age": age, "stay": stay, "sex": sex, "code": code, "platelets": platelets, "diabetic": diabetic}
    return Table({**columns, "y": y, "part": part}, np.array([f"p{k // 2}" for k in range(rows)]))


def numbers(rng: np.random.Generator, family: str = "binomial") -> Table:
    """A ready matrix and an outcome, with an offset and weights."""
    x = rng.normal(size=(180, 3)) * (1, 30, 1e-3) + (0, 2000, 0)
    offset, eta = rng.normal(0, 0.2, 180), 0.8 * x[:, 0] + 0.02 * (x[:, 1] - 2000) + 300 * x[:, 2]
    y = {
        "gaussian": 5e4 + 1e4 * (eta + rng.normal(size=180)),
        "binomial": (rng.random(180) < 1 / (1 + np.exp(-eta))).astype(float),
        "poisson": rng.poisson(np.exp(np.clip(eta, -3, 3) + offset)).astype(float),
    }[family]
    return Table({"x": x, "y": y, "offset": offset, "weight": rng.integers(1, 4, 180).astype(float)})


COLUMNS = [
    Column("age", "number"),
    Column("platelets", "number"),
    Column("diabetic", "binary"),
    Column("sex", "category", ("F", "M")),
    Column("code", "category", buckets=64),
]
MEASURED = ["age", "stay", "platelets"]


def prepared(table: Table) -> Mapping[str, Any]:
    """What the stage `features` finds in all rows."""
    stage = features(COLUMNS)
    state = stage.init({})
    for _ in range(2):
        state = stage.apply(state, stage.local(stage.share(state), table, {})[0])
    return {"features": stage.result(state)}


PLAIN = (
    {"features": "features"},
    lambda table, found: np.nan_to_num(values(table, COLUMNS)),
    lambda found: {"encoded": {"width": np.array(3)}},
    lambda found: ["age", "platelets", "diabetic"],
)

EXAMPLES = [
    Example("features.features", features(COLUMNS), patients),
    Example("features.encoded", encoded(glm(ridge=0.1), COLUMNS), patients, "glm", given=prepared),
    Example("features.encoded", encoded(glm(), COLUMNS, reference=True), patients, "reference", given=prepared),
    Example("features.made", made(glm(ridge=0.1), COLUMNS, *PLAIN), patients, "numbers as they are", given=prepared),
    Example("glm.glm", glm(family="gaussian", width=3), lambda rng: numbers(rng, "gaussian"), "gaussian"),
    Example("glm.glm", glm(family="binomial", width=3), numbers, "binomial"),
    Example("glm.glm", glm(family="poisson", width=3), lambda rng: numbers(rng, "poisson"), "poisson"),
    Example("glm.glm", glm(family="binomial", ridge=2.0, intercept=False, width=3), numbers, "ridge, no intercept"),
    Example("glm.glm", glm(errors="patient", width=3), numbers, "errors by patient"),
    # Whose rows belong together depends on the cut
    Example("glm.glm", glm(errors="site", width=3), numbers, "errors by site", exact=False, empty=True),
    Example("statistics.counts", counts(["age", "sex", "platelets"]), patients),
    Example("statistics.moments", moments(MEASURED), patients),
    Example("statistics.correlation", correlation(MEASURED), patients),
    Example("statistics.histograms", histograms({"age": [0, 40, 60, 80], "platelets": [1e5, 2e5, 3e5]}), patients),
    Example("statistics.crosstab", crosstab("sex", "code", row_levels=["F", "M"], column_levels=["I50.9", "I50.1"]), patients),
    Example("sketches.quantiles", quantiles(MEASURED, [0.25, 0.5, 0.9]), patients),
    Example("sketches.quantiles", quantiles(MEASURED, [0.5], tol=0, fewest=1), patients, "to the last bit", rounds=70),
    Example("sketches.sketch", sketch(MEASURED, error=0.05), patients),
]


def factories() -> dict[str, Callable[..., Algorithm]]:
    """Every public function of the package's algorithms that returns an Algorithm."""
    found: dict[str, Callable[..., Algorithm]] = {}
    for info in pkgutil.iter_modules(collegium.algorithms.__path__):
        module = importlib.import_module(f"collegium.algorithms.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            mine = function.__module__ == module.__name__ and not name.startswith("_")
            if mine and typing.get_type_hints(function).get("return") is Algorithm:
                found[f"{info.name}.{name}"] = function
    return found


def collect() -> list[Example]:
    """The examples of this file and of every `examples_*.py` beside it."""
    found = list(EXAMPLES)
    for path in sorted(Path(__file__).parent.glob("examples_*.py")):
        found += importlib.import_module(f"tests.laws.{path.stem}").EXAMPLES
    return found


def cut(table: Table, sites: int, rng: np.random.Generator) -> dict[str, Table]:
    """The patients dealt to uneven sites: the first has the most, the last a handful."""
    share = 0.5 ** np.arange(sites)
    who, patient = np.unique(np.arange(len(table)) if table.patient is None else table.patient, return_inverse=True)
    site = rng.choice(sites, len(who), p=share / share.sum())
    site[:sites] = np.arange(sites)  # everyone has a patient
    return {f"site {k}": table.where(np.flatnonzero(site[patient] == k)) for k in range(sites)}


def nobody(table: Table) -> Table:
    """A site of the same columns without rows."""
    return table.where(np.zeros(0, np.int64))
