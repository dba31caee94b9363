"""From words to functions: the only place where a manifest's words become code.

The coordinator calls `stages(study)` and uses what runs on sums; a site also passes the recipe's `Learner`. So the
coordinator runs no model code and needs no training library. `rows` makes a site's table into what the stages expect.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from collegium import tree as T
from collegium.algorithms import sketches, statistics
from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.averaging import HELD_OUT, TRAINING, VALIDATION, Learner, Optimizer, Pull, averaging
from collegium.algorithms.coarse import coarse
from collegium.algorithms.columns import texts
from collegium.algorithms.compare import compare
from collegium.algorithms.cox import cox
from collegium.algorithms.features import Column, encoded, features
from collegium.algorithms.glm import FAMILIES, glm
from collegium.algorithms.metrics import evaluate
from collegium.algorithms.optimizers import adaptive, sgd
from collegium.algorithms.survival import survival
from collegium.algorithms.timegrid import FEWEST, timegrid
from collegium.engine.run import Stage
from collegium.errors import DataError, StudyError
from collegium.privacy.ring import SHORT
from collegium.study import boosting, layers, warm
from collegium.study.manifest import Averaging, Cox, Glm, Server, Statistics, Study, Survival, Trees, levels
from collegium.study.outcomes import standardised
from collegium.study.schema import Variable
from collegium.table import Table


def stages(study: Study, learner: Learner | None = None) -> list[Stage]:
    """The computations of a study, in order: prepare, fit, compare; or its statistics."""
    match study.method:
        case Averaging():
            return trained(study, study.method, learner or nowhere())
        case Glm():
            return fitted(study, study.method)
        case Trees():
            columns = [column(name, study.variables[name]) for name in study.features]
            return boosting.stages(study, study.method, columns, like(study))
        case Cox():
            return hazards(study, study.method)
        case Survival() as how:
            curves = survival(
                cells(study, how.grid),
                width=float(how.grid),
                groups=groups(study),
                fewest=how.fewest,
                horizon=None if how.horizon is None else float(how.horizon),
            )
            return [Stage("survival", curves, 1, like(study))]
        case Statistics():
            return described(study, study.method)


def trained(study: Study, method: Averaging, learner: Learner) -> list[Stage]:
    """Federated averaging of a recipe's model, and the comparison sheet."""
    columns, empty = [column(name, study.variables[name]) for name in study.features], like(study)
    fit = averaging(
        learner.train,
        learner.loss,
        mu=float(method.mu),
        normalise=method.normalise,
        optimizer=optimizer(method.server),
        patience=method.patience,
        first=lambda given: first(study, method, columns, given),
    )
    fit = coarse(fit) if method.bits == SHORT else fit
    prepare = features(columns) if method.standardise else unscaled(features(columns))
    out = [Stage("features", prepare, 2, empty)]
    if scale := study.outcome is not None and study.outcome.task == "regression":
        out.append(Stage("outcome", features([Column("y", "number")]), 2, empty))
    wrap = (lambda inner: standardised(inner)) if scale else (lambda inner: inner)
    out.append(Stage("fit", encoded(wrap(fit), columns), method.rounds, empty, method.bits))
    return out + compared(study, columns, wrap, fit, learner.score, method.rounds)


def fitted(study: Study, method: Glm) -> list[Stage]:
    """A generalised linear model on complete rows, in the variables' own units unless the manifest standardises."""
    columns, empty = [column(name, study.variables[name]) for name in study.features], like(study)
    exact = glm(family=method.family, ridge=float(method.ridge), errors=method.errors)

    def result(state: T.Tree) -> T.Tree:
        found = exact.result(state)
        return {**found, "params": {"coef": found["coef"]}}

    fit = exact._replace(result=result)
    prepare = features(columns) if method.standardise else unscaled(features(columns))
    out = [Stage("features", prepare, 2, empty), Stage("fit", encoded(fit, columns, reference=True), method.rounds, empty)]
    mean = FAMILIES[method.family].mean

    def score(params: T.Tree, table: Table) -> np.ndarray:
        return mean(params["coef"][0] + np.asarray(table["x"]) @ params["coef"][1:])

    return out + compared(study, columns, lambda inner: inner, fit, score, method.rounds, reference=True)


def hazards(study: Study, method: Cox) -> list[Stage]:
    """Cox's model on complete rows: the time grid, the fit, and how well its risks put early events first."""
    columns, empty, width = [column(name, study.variables[name]) for name in study.features], like(study), float(method.grid)
    strata = groups(study)
    # Sites that keep their risk sets to themselves need no finer grid than may be told: it scales time, and tells the baseline
    finest = max(method.fewest, FEWEST) if method.risk_sets == "site" else method.fewest
    guarded = method.risk_sets == "pooled"
    grid = timegrid(cells(study, method.grid), width=width, strata=strata, fewest=finest, guarded=guarded)
    fit = cox(ties=method.ties, risk_sets=method.risk_sets, strata=strata, cell=width, ridge=float(method.ridge), fewest=method.fewest)
    prepare = features(columns) if method.standardise else unscaled(features(columns))
    out = [Stage("features", prepare, 2, empty), Stage("grid", grid, 1, empty)]
    out.append(Stage("fit", encoded(fit, columns, reference=True), method.rounds, empty))

    def score(params: T.Tree, table: Table) -> np.ndarray:
        return np.asarray(np.asarray(table["x"]) @ params["coef"])

    if study.holding.test or study.holding.column:
        return out + compared(study, columns, lambda inner: inner, fit, score, method.rounds, reference=True)
    return [*out, Stage("concordance", encoded(apparent(evaluate("survival", score)), columns, reference=True), 2, empty)]


def apparent(judge: Algorithm) -> Algorithm:
    """Quality on the very rows that a model was made from."""

    def local(shared: T.Tree, table: Table, memory: T.Tree) -> tuple[T.Tree, T.Tree]:
        return judge.local(shared, table.with_columns(part=np.full(len(table), HELD_OUT, np.int8)), memory)

    return judge._replace(local=local)


def cells(study: Study, grid: Decimal) -> int:
    """Cells of the time grid, up to where follow-up ends."""
    high = study.variables[study.outcome.time].high if study.outcome else None
    return math.ceil((high or Decimal(0)) / grid)


def groups(study: Study) -> tuple[str, ...]:
    """The groups into which patients are parted: strata, or curves."""
    return levels(study.variables[study.parted]) if study.parted else ()


def compared(
    study: Study,
    columns: list[Column],
    wrap: Callable[[Algorithm], Algorithm],
    fit: Algorithm,
    score: Callable[[T.Tree, Table], np.ndarray],
    rounds: int,
    *,
    reference: bool = False,
) -> list[Stage]:
    """The proof of benefit on held-out patients; none where nobody is held out."""
    if study.outcome is None or not (study.holding.test or study.holding.column):
        return []
    classes = max(layers.outputs(study), 2)
    sheet = compare(fit, score, task=study.outcome.task, rounds=rounds, classes=classes)
    return [Stage("compare", encoded(wrap(sheet), columns, reference=reference), 2, like(study))]


def described(study: Study, method: Statistics) -> list[Stage]:
    """Statistics of every variable: all rows, nobody held out."""
    kinds = {name: v.kind for name, v in sorted(study.variables.items())}
    values = [name for name, kind in kinds.items() if kind != "category"]
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    ranged = {name: edges(study.variables[name]) for name in numbers if study.variables[name].low is not None}
    categories = [column(name, study.variables[name]) for name, kind in kinds.items() if kind == "category"]
    out: list[tuple[str, Algorithm, int]] = [("counts", statistics.counts([*kinds]), 1)]
    if values:
        out.append(("moments", statistics.moments(values), 2))
    if numbers:
        out.append(("quantiles", sketches.quantiles(numbers, [float(q) for q in method.quantiles]), 200))
    if found := {name: ends for name, ends in ranged.items() if len(ends)}:
        out.append(("histograms", statistics.histograms(found), 1))
    if categories:
        out.append(("categories", features(categories), 2))
    if method.correlations and len(values) > 1:
        out.append(("correlations", statistics.correlation(values), 3))
    for a, b in method.cross:
        down, across = (("0", "1") if kinds[name] == "binary" else study.variables[name].categories for name in (a, b))  # yes/no: a number
        out.append((f"cross {a} {b}", statistics.crosstab(a, b, row_levels=down, column_levels=across), 1))
    return [Stage(name, algorithm, rounds, like(study)) for name, algorithm, rounds in out]


def edges(variable: Variable, bins: int = 20) -> list[float]:
    """The ends of a histogram's bins, where the manifest says how large the values may be."""
    if variable.low is None or variable.high is None:
        return []
    return [float(x) for x in np.linspace(float(variable.low), float(variable.high), bins + 1)]


def column(name: str, variable: Variable) -> Column:
    """A variable as the column of a computation."""
    return Column(name, variable.kind, variable.categories or None)


def first(study: Study, method: Averaging, columns: list[Column], given: T.Tree) -> T.Tree:
    """First weights: those that came with the study, or drawn from the manifest's seed."""
    if "first" in given:
        return warm.weights(study, method, columns, given)
    return layers.first(int(given["encoded"]["width"]), method.hidden, layers.outputs(study), study.seed)


def brought(study: Study, came: T.Tree) -> dict[str, T.Tree]:
    """What comes with a study: first weights, checked as far as they can be before the run. Raises `StudyError`."""
    return {"first": warm.check(study, [column(name, study.variables[name]) for name in study.features], came)}


def planned(study: Study, came: T.Tree | None = None) -> tuple[list[Stage], dict[str, T.Tree]]:
    """A study as its coordinator needs it: the stages without a recipe's training, and what came with it. Raises `StudyError`."""
    return stages(study), {} if came is None else brought(study, came)


def optimizer(server: Server) -> Optimizer:
    """The coordinator's optimiser."""
    if server.kind == "sgd":
        return sgd(float(server.lr), float(server.momentum))
    b1 = None if server.b1 is None else float(server.b1)
    return adaptive(server.kind, float(server.lr), b1=b1, b2=float(server.b2), eps=float(server.tau))


def unscaled(prepare: Algorithm) -> Algorithm:
    """Categories are found, numbers stay in their own units: mean 0, spread 1."""

    def result(state: T.Tree) -> T.Tree:
        found = prepare.result(state)
        numbers = found["numbers"]
        return {**found, "numbers": {**numbers, "mean": np.zeros_like(numbers["mean"]), "sd": np.ones_like(numbers["sd"])}}

    return prepare._replace(result=result)


def nowhere() -> Learner:
    """Stands where a recipe's learner would at a site: the coordinator trains nothing."""

    def refuse(*_: Any) -> Any:
        raise StudyError("training and scoring run at a site, never at the coordinator")

    def train(params: T.Tree, table: Table, pull: Pull, seed: int) -> tuple[T.Tree, int]:
        return refuse()  # type: ignore[no-any-return]  # it never returns

    return Learner(train, refuse, refuse)


def like(study: Study) -> Table:
    """An empty table in the form of `rows`: it tells the shapes of every update."""
    plain = {name for name, v in study.variables.items() if v.kind == "number" or (v.kind == "binary" and not v.categories)}
    words = {*study.variables, study.holding.column} - plain - {""}
    kinds = dict.fromkeys(plain, np.zeros(0)) | dict.fromkeys(sorted(words), np.zeros(0, np.str_))
    return rows(study, Table(kinds, np.zeros(0, np.str_)))


def rows(study: Study, table: Table) -> Table:
    """A site's checked table as the stages use it: the features, `part`, and `y` or `time` and `event`.

    Rows without outcome are left out, and for exact fits rows with any missing variable. Raises `DataError`.
    """
    outcome, columns = study.outcome, {name: table[name] for name in study.features}
    if outcome is None or isinstance(study.method, Statistics):
        return Table({name: valued(table, name, v) for name, v in study.variables.items()}, table.patient)
    if outcome.task == "survival":
        columns |= {"time": numeric(table, outcome.time), "event": binary(table, outcome.event, study.variables[outcome.event])}
    elif outcome.task == "regression":
        columns["y"] = numeric(table, outcome.target)
    elif outcome.task == "binary":
        columns["y"] = binary(table, outcome.target, study.variables[outcome.target])
    else:
        levels = study.variables[outcome.target].categories
        found = texts(table, outcome.target)
        columns["y"] = np.select([found == level for level in levels], np.arange(len(levels), dtype=float), np.nan)
    if study.parted:
        columns["stratum"] = named(table, study.parted, study.variables[study.parted])
    ready = Table({**columns, "part": parts(study, table)}, table.patient)
    known = ~np.any([np.isnan(ready[name]) for name in ("y", "time", "event") if name in ready], axis=0)
    if isinstance(study.method, Glm | Cox | Survival):
        for name in (*study.features, *(("stratum",) if study.parted else ())):
            known &= ~absent(ready[name])
    return ready if known.all() else ready.where(known)


def valued(table: Table, name: str, variable: Variable) -> np.ndarray:
    """A variable as a number or, if it is a category, as text."""
    return binary(table, name, variable) if variable.kind == "binary" else np.asarray(table[name])


def named(table: Table, name: str, variable: Variable) -> np.ndarray:
    """A variable as the name of a listed group, "" where it is missing or not listed."""
    listed = levels(variable)
    if variable.kind == "binary":
        value = binary(table, name, variable)
        return np.select([value == 0, value == 1], listed, "")
    found = texts(table, name)
    return np.where(np.isin(found, listed), found, "")


def absent(values: np.ndarray) -> np.ndarray:
    """Which values are missing."""
    return np.isnan(values) if values.dtype.kind == "f" else np.asarray(values == "")


def numeric(table: Table, name: str) -> np.ndarray:
    """A column of numbers."""
    values = np.asarray(table[name])
    if values.dtype.kind not in "fiub":
        raise DataError(f"column {name!r} holds text; the study wants numbers", hint="check its mapping and its decimal sign")
    return values.astype(np.float64)


def binary(table: Table, name: str, variable: Variable) -> np.ndarray:
    """A yes/no column as 1, 0 and NaN where it is missing."""
    values = np.asarray(table[name])
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    no, yes = variable.categories or ("0", "1")
    return np.select([values == no, values == yes], [0.0, 1.0], np.nan)


def parts(study: Study, table: Table) -> np.ndarray:
    """What each row is for: training, validation or test; the same for all rows of a patient."""
    held = study.holding
    if held.column:
        names = texts(table, held.column)
        return np.select([names == "test", names == "validation"], [HELD_OUT, VALIDATION], TRAINING).astype(np.int8)
    digit = table.tenths(held.salt)
    return np.select([digit < held.test, digit < held.test + held.validation], [HELD_OUT, VALIDATION], TRAINING).astype(np.int8)
