"""Thirty-day readmission after heart failure: eight payers stand for hospitals, and the joint model meets pooled rows.

    python benchmarks/quality/readmission.py [--json] [--quick] [--data FOLDER]

16,912 stays of 12,717 patients (diabetes130; any diagnosis 428, death and hospice left out by the recipe), two tenths of the
patients held out by the study's own rule, under five salts. Three studies: the recipe `readmission` as it comes, an exact
regression on the recipe's variables, and one on most of what the data set holds. `alone` is a hospital's own model: the sheet's
for "at NAME" and their mean, the mean of all eight on everybody's held-out rows for "all". `pooled` is the same study on all rows in
one place. Intervals count a patient's stays as one draw. The regression is the pooled one whatever the salt; a recipe that stops by
validation loss stops elsewhere on pooled rows, so there the difference to pooled goes either way with the salt.
"""

import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import encounters
import numpy as np
import trial
from rows import Row, arguments, folder, show

from collegium.algorithms import compare
from collegium.algorithms.metrics import measure as exactly
from collegium.algorithms.roc import Z, variance
from collegium.client.tables import together
from collegium.recipes import readmission
from collegium.study import manifest, plan
from collegium.study.manifest import Study
from collegium.table import Table

TASK, DATA = "readmission", "diabetes130"
SALTS = ("readmission", "second", "third", "fourth", "fifth")
REGRESSION = {"kind": "glm", "family": "binomial", "ridge": "1", "standardise": True}


def studies(data: Path) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Each study's name, its manifest, and whether it wants the data set's other columns."""
    recipe = readmission.template()
    yield "recipe readmission", recipe, False
    yield "regression", {**recipe, "method": REGRESSION}, False
    yield "regression, all columns", {**encounters.widened(data / DATA, recipe), "method": REGRESSION}, True


def judge(name: str, study: Study, raw: Mapping[str, Table], salt: str, *, quick: bool) -> Iterator[Row]:
    """Every figure of one study under one salt."""
    sites = {site: plan.rows(study, table) for site, table in raw.items()}
    everybody = whole(sites)
    trial.warm(study)
    started = time.perf_counter()
    joint = trial.train(study, sites, sheet=True)
    seconds = round(time.perf_counter() - started, 3)
    pooled = trial.train(study, {"pooled": everybody})
    apart = {} if quick else {site: area(trial.train(study, {site: rows}), everybody)[0] for site, rows in sites.items()}

    def row(metric: str, figure: tuple[float, float | None, float | None] | None, **more: Any) -> Row:
        value, low, high = figure or (None, None, None)
        return Row(TASK, name, metric, value, low=low, high=high, seed=salt, seconds=seconds, **more)

    alone = statistics.mean(apart.values()) if apart else None
    yield row("AUROC all", area(joint, everybody), alone=alone, pooled=area(pooled, everybody)[0])
    yield row("AUROC all: joint minus pooled", paired(joint, pooled, everybody))
    for site, figure in apart.items():
        yield row(f"AUROC all, trained at {site} only", (figure, None, None))
    lines = compare.sheet(joint.results["compare"], [(site, kept["compare"]["line"]) for site, kept in joint.memory.items()])
    reached = {site: area(pooled, rows)[0] for site, rows in sites.items()}
    mean = lines[0]
    yield row("AUROC mean of hospitals", mean.joint, alone=first(mean.alone), pooled=statistics.mean(reached.values()))
    yield row("gain, mean of hospitals", mean.gain, note=mean.note)
    for line in lines[2:]:
        yield row(f"AUROC at {line.name}", line.joint, alone=first(line.alone), pooled=reached[line.name], note=line.note)
        yield row(f"gain at {line.name}", line.gain, note=line.note)


def whole(sites: Mapping[str, Table]) -> Table:
    """All rows in one table; a patient whose stays two payers paid for is one patient."""
    rows = together(sites.values())
    assert rows.patient is not None
    return replace(rows, patient=np.array([name.split(":", 1)[1] for name in rows.patient.tolist()]))


def first(figure: trial.Figure | None) -> float | None:
    """A figure without its interval."""
    return figure[0] if figure else None


def area(model: trial.Model, rows: Table) -> trial.Figure:
    """The exact AUROC of held-out rows that have both outcomes."""
    found = trial.auroc(model, rows)
    assert found is not None
    return found


def paired(joint: trial.Model, pooled: trial.Model, table: Table) -> trial.Figure:
    """The difference of two AUROCs on the same patients, with its interval (DeLong 1988)."""
    rows = trial.held_out(table)
    (one, influence), (other, against) = (exactly("binary", rows, m.scores(rows)) or (0.0, np.zeros(0)) for m in (joint, pooled))
    half = Z * float(np.sqrt(variance(influence - against, rows.patient)))
    return one - other, one - other - half, one - other + half


def measure(data: Path, *, quick: bool) -> Iterator[Row]:
    """All rows of this benchmark."""
    for name, document, wide in studies(data):
        if quick and wide:
            return
        raw = encounters.sites(data / DATA, manifest.read(document), wide=wide)
        found: dict[str, list[Row]] = {}
        for salt in SALTS:
            salted = manifest.read({**document, "held_out": {**document["held_out"], "salt": salt}})
            for row in judge(name, salted, raw, salt, quick=quick):
                found.setdefault(row.metric, []).append(row)
                yield row
        yield from (mean_row(rows) for rows in found.values())
        if not quick and document["method"] == REGRESSION:
            yield reference(name, document, raw)


def reference(name: str, document: Mapping[str, Any], raw: Mapping[str, Table]) -> Row:
    """The joint model where one fifth of the patients is held out by MD5, for which a pooled regression is known: AUROC 0.606."""
    study = manifest.read({**document, "held_out": {"column": "part"}})
    sites = {site: plan.rows(study, table.with_columns(part=by_md5(table))) for site, table in raw.items()}
    started = time.perf_counter()
    joint, pooled = trial.train(study, sites), trial.train(study, {"pooled": whole(sites)})
    value, low, high = area(joint, whole(sites))
    seconds = round(time.perf_counter() - started, 3)
    label = f"{name}, reference split"
    return Row(
        TASK, label, "AUROC all", value, pooled=area(pooled, whole(sites))[0], seconds=seconds, low=low, high=high, note="known: 0.606"
    )


def by_md5(table: Table) -> np.ndarray:
    """Who is held out in the reference."""
    assert table.patient is not None
    digits = [int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16) % 5 for name in table.patient.tolist()]
    return np.where(np.array(digits) == 0, "test", "train")


def mean_row(rows: list[Row]) -> Row:
    """The mean over salts, with the range of the value: salts share patients, so no interval follows from them."""
    fields: dict[str, Any] = {}
    for name in ("value", "alone", "pooled", "seconds"):
        known = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        fields[name] = statistics.mean(known) if known else None
    values = [row.value for row in rows if row.value is not None]
    note = f"{min(values):.4f} to {max(values):.4f} over {len(values)} salts" if values else ""
    return replace(rows[0], **fields, seed=None, low=None, high=None, note=note)


if __name__ == "__main__":
    asked = arguments("Readmission after heart failure: joint, pooled and each hospital alone.").parse_args()
    show(measure(folder(asked.data, DATA), quick=asked.quick), asked.json)
