"""Real simulated runs to report on: every method, and the hospitals that spoil a table."""

from functools import cache

import numpy as np

from collegium import tree as T
from collegium.algorithms.averaging import Learner
from collegium.simulation.local import walk
from collegium.study import layers
from collegium.study.manifest import read
from collegium.study.plan import rows, stages
from collegium.study.report.document import Record
from collegium.table import Table

NAMES = ("Northfield General", "Eastgate Hospital", "Södra Clinic", "Lindenhof")
SIZES = (1400, 640, 300, 60)
VARIABLES = {
    "age": {"kind": "number", "unit": "years", "low": 0, "high": 120, "meaning": "age at admission"},
    "pressure": {"kind": "number", "unit": "mm Hg", "low": 40, "high": 260, "meaning": "systolic blood pressure", "required": False},
    "sex": {"kind": "category", "categories": ["F", "M"]},
    "ward": {"kind": "category", "categories": ["heart", "lung", "surgery", "ice cream"]},
    "smoker": {"kind": "binary", "required": False},
}
LEAST = {
    "title": "Heart failure: 30-day readmission",
    "purpose": "A score that warns when a patient may be back within thirty days, so that a nurse calls in the first week.",
    "patient": "patient",
    "lead": "Study lead, Northfield General",
}


def hospital(number: int, n: int, outcome: str = "binary") -> Table:
    """One hospital's rows, with an outcome of some kind."""
    rng = np.random.default_rng(number)
    age, pressure = rng.normal(66 + 3 * number, 11, n).clip(20, 105), rng.normal(138, 19, n).clip(60, 240)
    male, smoker = rng.random(n) < 0.55, rng.random(n) < 0.3
    ward = rng.choice(["heart", "lung", "surgery", "ice cream"], n, p=[0.55, 0.3, 0.147, 0.003])
    risk = (age - 68) / 11 + (pressure - 138) / 30 + 0.7 * male + 0.8 * smoker + 0.5 * (ward == "heart") - 1.5
    columns = {
        "age": age.round(),
        "pressure": pressure.round(),
        "sex": np.where(male, "M", "F"),
        "ward": ward,
        "smoker": smoker.astype(float),
    }
    columns["pressure"][rng.random(n) < 0.06] = np.nan
    columns["smoker"][:4] = np.nan
    columns["y"] = {
        "binary": (rng.random(n) < 1 / (1 + np.exp(-risk))).astype(float),
        "regression": 140 + 3 * risk + rng.normal(0, 2, n),
        "multiclass": np.select([risk + rng.normal(0, 1, n) < -1, risk < 0.7], ["home", "ward"], "intensive"),
    }[outcome]
    return Table(columns, np.array([f"{number}-{i // 2}" for i in range(n)]))


def learner(task: str) -> Learner:
    """Logistic, softmax or linear regression by full-batch gradient steps: no training library needed."""

    def wanted(params, table):
        y = np.asarray(table["y"], np.float64)
        return np.eye(len(params["0"]["bias"]))[y.astype(int)] if task == "multiclass" else y[:, None]

    def score(params, table):
        return layers.scores(layers.forward(params, np.asarray(table["x"])), task)

    def train(params, table, pull, seed):
        weight, bias = (np.asarray(params["0"][name], np.float64) for name in ("weight", "bias"))
        x, y = np.asarray(table["x"]), wanted(params, table)
        for _ in range(4):
            off = score({"0": {"weight": weight, "bias": bias}}, table).reshape(len(x), -1) - y
            weight, bias = weight - 0.3 * off.T @ x / len(x), bias - 0.3 * off.mean(0)
        return {"0": {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}}, 4

    def loss(params, table):
        p, y = score(params, table).reshape(len(table), -1), wanted(params, table)
        if task == "regression":
            return float(np.square(p - y).sum())
        return -float(np.log(np.maximum(np.where(y == 1, p, 1 - p), 1e-12)).sum())

    return Learner(train, loss, score)


def study(method, outcome="binary", **fields):
    kinds = {
        "binary": {"kind": "binary", "meaning": "back within 30 days"},
        "regression": {"kind": "number", "unit": "mmol/L", "meaning": "sodium in serum"},
        "multiclass": {"kind": "category", "categories": ["home", "ward", "intensive"]},
    }
    described = {"outcome": {"task": outcome, "target": "y"}} if outcome and method["kind"] != "statistics" else {}
    return read({**LEAST, "variables": {**VARIABLES, "y": kinds[outcome]}, "method": method, **described, **fields})


def walked(chosen, tables, *, rounds=None, **facts):
    """A run of a study over hospitals' tables, as a report is given it; `rounds` stops it early."""
    plan, figures = stages(chosen, learner(chosen.outcome.task if chosen.outcome else "")), []
    ready = {name: rows(chosen, table) for name, table in tables.items()}

    def watch(run):
        found = {name: float(value) for name, value in T.flatten(run.state.get("progress", {})).items()}
        if found and run.place.phase == "sum":
            figures.append({"stage": plan[run.place.stage].name, "round": run.place.round - (0 if run.over else 1), **found})

    end, memory = walk(plan, ready, seed=1, watch=watch)
    lines = [(name, kept["compare"]["line"]) for name, kept in memory.items() if "line" in kept.get("compare", {})]
    return Record(chosen, end.results, tuple(figures), tuple(lines), None, {"status": "finished", "sites": [*tables], **facts})


@cache
def run(name: str) -> Record:
    """One of the runs below, made once."""
    return RUNS[name]()


def four(outcome="binary", sizes=SIZES):
    return {name: hospital(at, n, outcome) for at, (name, n) in enumerate(zip(NAMES, sizes, strict=True))}


def binary() -> Record:
    facts = {
        "seconds": 6720.0,
        "sent_bytes": 1_940_000,
        "received_bytes": 2_310_000,
        "started": "2026-03-02 09:14",
        "ended": "2026-03-02 11:06",
    }
    found = walked(study({"kind": "averaging", "rounds": 40, "patience": 12}), four(), **facts, run="r-7", versions={"collegium": "0.1.0"})
    return found._replace(lines=found.lines[:2])


def simulated() -> Record:
    found = run("binary")
    every = walked(study({"kind": "averaging", "rounds": 15}), four(), simulated=True, source="Made-up patients")
    pooled = {name: (0.79 + at / 100, 0.7, 0.88) for at, (name, _) in enumerate(every.lines)}
    return every._replace(pooled=pooled, figures=found.figures)


def regression() -> Record:
    return walked(study({"kind": "averaging", "rounds": 20}, "regression"), four("regression"))


def multiclass() -> Record:
    return walked(study({"kind": "averaging", "rounds": 20}, "multiclass"), four("multiclass"))


def logistic() -> Record:
    return walked(study({"kind": "glm"}, held_out={"test": 2, "validation": 0}), four(), simulated=True)


def linear() -> Record:
    return walked(study({"kind": "glm", "family": "gaussian", "standardise": True}, "regression"), four("regression"))


def poisson() -> Record:
    return walked(study({"kind": "glm", "family": "poisson"}), four())


def trees() -> Record:
    return walked(study({"kind": "trees", "trees": 12, "depth": 3}), four())


def statistics() -> Record:
    method = {"kind": "statistics", "cross": [["sex", "ward"]], "correlations": True}
    return walked(study(method), four(), seconds=12.5)


def followed(method, **fields):
    """A study of the time until an event, over four hospitals in which the old and smokers fare worse."""
    kinds = {"days": {"kind": "number", "unit": "days", "high": 365}, "died": {"kind": "binary", "meaning": "death"}}
    outcome = {"task": "survival", "time": "days", "event": "died"}
    chosen = read({**LEAST, "variables": {**VARIABLES, **kinds}, "outcome": outcome, "method": method, **fields})
    tables = {}
    for at, (name, table) in enumerate(four().items()):
        rng, smoker = np.random.default_rng(at), np.nan_to_num(np.asarray(table["smoker"]))
        time = rng.exponential(400 * np.exp(-(np.asarray(table["age"]) - 68) / 20 - smoker))
        end = rng.uniform(30, 365, len(table))
        tables[name] = table.with_columns(days=np.ceil(np.minimum(time, end)), died=(time <= end).astype(float))
    return walked(chosen, tables)


def cox() -> Record:
    return followed({"kind": "cox", "risk_sets": "pooled", "horizons": [90, 270], "grid": 7})


def cox_by_site() -> Record:
    return followed({"kind": "cox", "strata": "sex"}, held_out={"test": 2, "validation": 0})


def curves() -> Record:
    return followed({"kind": "survival", "by": "sex"})


def one_curve() -> Record:
    return followed({"kind": "survival", "horizon": 180})


def clustered() -> Record:
    return walked(study({"kind": "glm", "errors": "site"}), four())


def empty_curves() -> Record:
    return Record(run("curves").study, {}, facts={"status": "failed"})


def empty_cox() -> Record:
    return Record(run("cox").study, {}, facts={"status": "failed"})


def one_class() -> Record:
    tables = four()
    for name in NAMES[1:]:
        tables[name] = tables[name].with_columns(y=np.zeros(len(tables[name])))
    return walked(study({"kind": "averaging", "rounds": 5}), tables)


def nobody_held_out() -> Record:
    return walked(study({"kind": "averaging", "rounds": 5}, held_out={"test": 0, "validation": 0}), four())


def tiny() -> Record:
    return walked(study({"kind": "averaging", "rounds": 3}), four(sizes=(12, 8, 6, 5)))


def stopped() -> Record:
    found = run("binary")
    kept = {name: tree for name, tree in found.results.items() if name == "features"}
    return found._replace(
        results=kept, lines=(), figures=found.figures[:7], facts={"status": "stopped", "says": "the study lead stopped it"}
    )


def never_begun() -> Record:
    """As the coordinator tells of a run that was stopped while the first answers were awaited."""
    told = ["started with 4 sites", "features: 0 of 4 sites answered, 3 must", "stopped on request"]
    events = [{"id": at, "at": "2026-03-02T09:14:00Z", "kind": "stopped", "says": says, "site": ""} for at, says in enumerate(told, 1)]
    stands = {"stage": "features", "stages": ["features", "fit", "compare"], "round": 1, "attempt": 1, "phase": "range"}
    facts = {"run": "r9", "status": "stopped", "says": "stopped on request", "sites": [*NAMES], "rounds": [], "events": events, **stands}
    return Record(
        study({"kind": "averaging"}), {}, facts={**facts, "left": {NAMES[3]: "its policy says no"}, "answered": [], "waiting": []}
    )


def resting() -> Record:
    """A run that is paused, with nothing but a round that two have answered."""
    stands = {"stage": "counts", "stages": ["counts", "moments"], "round": 1, "answered": [*NAMES[:2]], "waiting": [NAMES[2]]}
    facts = {"run": "r9", "status": "paused", "says": "paused on request.", "sites": [*NAMES], **stands}
    return Record(study({"kind": "statistics"}), {}, facts=facts)


def empty() -> Record:
    return Record(study({"kind": "averaging"}), {}, facts={"status": "failed"})


def empty_glm() -> Record:
    return Record(study({"kind": "glm"}), {}, facts={"status": "failed", "says": "no site answered"})


def empty_statistics() -> Record:
    return Record(study({"kind": "statistics", "cross": [["sex", "ward"]]}), {}, facts={"status": "running"})


RUNS = {
    one.__name__: one
    for one in (
        binary, simulated, regression, multiclass, logistic, linear, poisson, trees, statistics, one_class, nobody_held_out, tiny,
        cox, cox_by_site, curves, one_curve, clustered, stopped, never_begun, resting, empty, empty_glm, empty_statistics,
        empty_curves, empty_cox,
    )
}  # fmt: skip
