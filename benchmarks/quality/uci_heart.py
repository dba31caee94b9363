"""Four real hospitals, FLamby's Fed-Heart-Disease: our federation against its published figures, and a better way beside it.

    python benchmarks/quality/uci_heart.py [--json] [--quick] [--data FOLDER]

Five strategies run with FLamby's rows, split, model, budget, settings and first weights through a manifest, the plan and the
engine, five seeds each; FedAvg once more from first weights of our own. Then the recommended way: values standardised by sums
over the hospitals, no setting tuned. `alone` is the same training by one hospital on its own rows, and for "all" the mean of the
hospitals' own models; `pooled` is the same training on everybody's rows.

"accuracy all" is FLamby's pooled test: all test rows, standardised by all hospitals' training rows. Switzerland, where all 30
training patients and 15 of 16 test patients are ill, can compare nothing: it is left out of the means over hospitals and of AUROC.
"""

import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flamby
import numpy as np
import trial
from rows import ROOT, Row, arguments, folder, show

from collegium.client.tables import together
from collegium.errors import CollegiumError
from collegium.study import manifest
from collegium.study.manifest import Study
from collegium.study.plan import rows as ready
from collegium.table import Table

EXAMPLE = ROOT / "examples" / "uci_heart"
sys.path.insert(0, str(EXAMPLE))
import prepare  # noqa: E402 - it stands with the example that it belongs to

TASK = "uci_heart"
Tables = Mapping[str, Table]


class Rows(NamedTuple):
    """The hospitals' tables for training and their own tests, and the rows of the test on everybody."""

    sites: Tables
    everybody: Tables


class Trial(NamedTuple):
    """A study and what comes with it."""

    study: Study
    rows: Rows
    first: Any = None


def standardised(study: Study, hospitals: Mapping[str, prepare.Hospital]) -> Rows:
    """Rows that each hospital has standardised by itself."""
    found = (prepare.standardised(hospitals, pooled_test=pooled) for pooled in (False, True))
    made = ({s: table(study, dict(zip(prepare.INPUTS, x[s].T, strict=True)), h) for s, h in hospitals.items()} for x in found)
    return Rows(*made)


def recorded(study: Study, hospitals: Mapping[str, prepare.Hospital]) -> Rows:
    """Rows as they were recorded."""
    made = {site: table(study, prepare.columns(h), h) for site, h in hospitals.items()}
    return Rows(made, made)


def table(study: Study, values: Mapping[str, np.ndarray], h: prepare.Hospital) -> Table:
    """One hospital's rows as the study's stages use them."""
    numbers = {name: x if x.dtype.kind == "U" else x.astype(np.float64) for name, x in values.items()}
    part = np.where(h.test, "test", "train")
    return ready(study, Table({**numbers, "disease": h.disease.astype(np.float64), "part": part}))


class Judged(NamedTuple):
    """One figure of the joint model, of hospitals alone and of pooled rows."""

    joint: float | None
    alone: float | None
    pooled: float | None


def judge(one: Trial, *, peers: bool) -> tuple[dict[str, Judged], float]:
    """Each figure, and the seconds that joint training took."""
    fit = partial(trial.train, one.study, first=one.first)
    sites, everybody = one.rows.sites, together(one.rows.everybody.values())
    trial.warm(one.study)
    started = time.perf_counter()
    joint = fit(sites)
    seconds = time.perf_counter() - started
    pooled = fit({"pooled": together(sites.values())}) if peers else None
    own = {site: attempt(fit, {site: rows}) for site, rows in sites.items()} if peers else {}
    out: dict[str, Judged] = {}
    for metric, figure in (("accuracy", trial.accuracy), ("AUROC", area)):
        at = {site: Judged(*(figure(m, rows) if m else None for m in (joint, own.get(site), pooled))) for site, rows in sites.items()}
        out |= {f"{metric} {site}": x for site, x in at.items()}
        out[f"{metric} mean of hospitals"] = mean_of([at[site] for site, rows in sites.items() if area(joint, rows) is not None])
        apart = mean([figure(model, everybody) if model else None for model in own.values()])
        out[f"{metric} all"] = Judged(figure(joint, everybody), apart, figure(pooled, everybody) if pooled else None)
    return {metric: x for metric, x in out.items() if x.joint is not None}, seconds


def attempt(fit: Any, sites: Tables) -> trial.Model | None:
    """A hospital's own model; none where its rows can train none, as with one outcome only."""
    try:
        return fit(sites)  # type: ignore[no-any-return]  # it is partial(trial.train)
    except CollegiumError:
        return None


def area(model: trial.Model, rows: Table) -> float | None:
    """The area under the ROC curve."""
    found = trial.auroc(model, rows)
    return found[0] if found else None


def mean_of(figures: list[Judged]) -> Judged:
    """The mean of each of the three."""
    return Judged(*(mean(column) for column in zip(*figures, strict=True)))


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are there."""
    known = [x for x in values if x is not None]
    return statistics.mean(known) if known else None


def seeded(name: str, seeds: Mapping[int, Trial], published: Mapping[int, Mapping[str, float]], *, peers: bool) -> Iterator[Row]:
    """Rows of every seed, then their means, then how far the pooled test is from FLamby's."""
    found: dict[str, list[Row]] = {}
    for seed, one in seeds.items():
        figures, seconds = judge(one, peers=peers)
        for metric, x in figures.items():
            theirs = published.get(seed, {}).get(metric.removeprefix("accuracy "))
            found.setdefault(metric, []).append(Row(TASK, name, metric, *x, theirs, seed, round(seconds, 3)))
    yield from summed_up(found)
    if published:
        yield distance(found["accuracy all"])


def summed_up(found: Mapping[str, list[Row]]) -> Iterator[Row]:
    """Each figure's rows and their mean; of a single seed the mean only."""
    for rows in found.values():
        yield from rows if len(rows) > 1 else ()
        fields = {name: mean(getattr(row, name) for row in rows) for name in ("value", "alone", "pooled", "published", "seconds")}
        note = f"mean of {len(rows)} seeds" if len(rows) > 1 else ""
        yield replace(rows[0], **fields, seed=None, note=note)  # type: ignore[arg-type]  # each field its own type


def distance(rows: list[Row]) -> Row:
    """Our mean minus FLamby's in standard errors of the difference: within two is agreement."""
    ours, theirs = [float(r.value or 0) for r in rows], [float(r.published or 0) for r in rows]
    error = math.sqrt((statistics.variance(ours) + statistics.variance(theirs)) / len(rows))
    gap = statistics.mean(ours) - statistics.mean(theirs)
    return Row(rows[0].task, rows[0].method, "accuracy all: standard errors apart", gap / error, note=f"{gap:+.4f}, one is {error:.4f}")


def again(hospitals: Mapping[str, prepare.Hospital], published: Any, methods: Mapping[str, flamby.Method]) -> Iterator[Row]:
    """FLamby's own loop on our rows: the same digits show that rows, split and protocol are FLamby's."""
    local, wide = (prepare.standardised(hospitals, pooled_test=pooled) for pooled in (False, True))
    training = {site: (local[site][~h.test], h.disease[~h.test]) for site, h in hospitals.items()}
    tests = {site: [(local[site][h.test], h.disease[h.test])] for site, h in hospitals.items()}
    tests["all"] = [(wide[site][h.test], h.disease[h.test]) for site, h in hospitals.items()]
    for name, method in methods.items():
        found: dict[str, list[Row]] = {}
        for seed in flamby.SEEDS:
            started = time.perf_counter()
            theirs = published[method.published, seed]
            calls_ill = flamby.loop(seed, method, training)
            seconds = round(time.perf_counter() - started, 3)
            for test, parts in tests.items():
                value = float(np.concatenate([calls_ill(x) == (y == 1) for x, y in parts]).mean())
                label = f"{name}, FLamby's loop", f"accuracy {test}"
                row = Row(TASK, *label, value, published=theirs[test], seed=seed, seconds=seconds)
                found.setdefault(test, []).append(row)
        yield from summed_up(found)


def measure(data: Path, *, quick: bool) -> Iterator[Row]:
    """All rows of this benchmark."""
    hospitals, published = prepare.read(data / TASK), flamby.published(data / "published_results")
    document = (EXAMPLE / "fedavg.yaml").read_text()
    order = [prepare.INPUTS.index(name) for name in trial.read(document).features]
    apart = standardised(trial.read(document), hospitals)
    methods = {"FedAvg": flamby.METHODS["FedAvg"]} if quick else flamby.METHODS
    for name, method in methods.items():
        study = trial.read(
            document, mu=method.mu, local={"lr": method.lr, "batch": flamby.BATCH, "steps": flamby.STEPS}, server=flamby.server(method)
        )
        theirs = {seed: published[method.published, seed] for seed in flamby.SEEDS}
        given = {seed: Trial(at(study, seed), apart, flamby.first_weights(seed, order)) for seed in flamby.SEEDS}
        yield from seeded(name, given, theirs, peers=not quick)
        if name == "FedAvg":
            drawn = {seed: Trial(at(study, seed), apart) for seed in flamby.SEEDS}
            yield from seeded("FedAvg, first weights of our own", drawn, theirs, peers=not quick)
    yield from recommended(hospitals, quick=quick)
    yield from again(hospitals, published, methods)


def recommended(hospitals: Mapping[str, prepare.Hospital], *, quick: bool) -> Iterator[Row]:
    """What standardising is worth once training is finished, then our defaults, then FLamby's budget for the same."""
    plain = trial.read((EXAMPLE / "fedavg.yaml").read_text())
    exact = manifest.read({**plain.model_dump(mode="json"), "method": {"kind": "glm", "ridge": "1"}})
    apart = standardised(exact, hospitals).sites
    yield from seeded("standardised per hospital, regression", {1: Trial(exact, Rows(apart, apart))}, {}, peers=True)
    exact = trial.read((EXAMPLE / "regression.yaml").read_text())
    yield from seeded("standardised by sums, regression", {1: Trial(exact, recorded(exact, hospitals))}, {}, peers=True)
    budget = {"rounds": flamby.ROUNDS, "local": {"lr": "0.001", "batch": flamby.BATCH, "steps": flamby.STEPS}}
    for name, changes in (("standardised by sums, FedAvg", {}), ("standardised by sums, FLamby's budget", budget)):
        study = trial.read((EXAMPLE / "recommended.yaml").read_text(), **changes)
        rows = recorded(study, hospitals)
        yield from seeded(name, {s: Trial(at(study, s), rows) for s in flamby.SEEDS[: 1 if quick else None]}, {}, peers=not quick)


def at(study: Study, seed: int) -> Study:
    """The same study with another seed."""
    return study.model_copy(update={"seed": seed})


if __name__ == "__main__":
    asked = arguments("Four hospitals' heart patients against FLamby's published figures.").parse_args()
    show(measure(folder(asked.data, TASK, "published_results"), quick=asked.quick), asked.json)
