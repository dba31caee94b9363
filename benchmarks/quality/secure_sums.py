"""What masks, and sixteen bits, cost a model: the heart and the readmission studies under secure sums and without.

    python benchmarks/quality/secure_sums.py [--json] [--quick] [--data FOLDER]

Training and exact regression of both tasks, on the rows and splits of `uci_heart.py` and `readmission.py`. `value` is the model
under masks; the note gives the model without, the largest difference between their numbers, and what the masks cost in
seconds. Training is run once more with weights in sixteen bits, up and down. The machines are those that hospitals and coordinators
run, in one process.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import encounters
import numpy as np
import readmission
import trial
import uci_heart
from rows import Row, arguments, folder, show

from collegium import tree as T
from collegium.client.tables import together
from collegium.study import manifest, plan
from collegium.study.manifest import Averaging, Glm, Study
from collegium.table import Table

TASK = "secure_sums"


def judge(name: str, study: Study, sites: Mapping[str, Table], everybody: Table) -> Iterator[Row]:
    """The figures of one study, without masks and with them."""
    trial.warm(study)
    began = time.perf_counter()
    plain = trial.train(study, sites)
    between = time.perf_counter()
    masked = trial.train(study, sites, secure=True)
    seconds, more = time.perf_counter() - between, time.perf_counter() - 2 * between + began
    value, low, high = trial.auroc(masked, everybody) or (None, None, None)
    other = (trial.auroc(plain, everybody) or (0.0,))[0]
    apart = max(float(np.abs(np.asarray(a) - np.asarray(b)).max(initial=0)) for a, b in zip(*map(numbers, (plain, masked)), strict=True))
    note = f"{other:.4f} without masks; numbers {apart:.1g} apart; {more:.2f} s for masks"
    yield Row(TASK, name, "AUROC all", value, seconds=round(seconds, 3), low=low, high=high, note=note)
    yield Row(TASK, name, "AUROC: with masks minus without", None if value is None else value - other)
    if isinstance(study.method, Averaging):
        short = trial.auroc(trial.train(trial.read(study.model_dump(mode="json"), bits=16), sites), everybody) or (0.0,)
        note = f"{short[0]:.4f} in 16 bits"
        yield Row(TASK, name, "AUROC: in 16 bits minus in 32", None if value is None else short[0] - other, note=note)
    if isinstance(study.method, Glm):
        se = [np.asarray(model.results["fit"]["se"]) for model in (plain, masked)]
        yield Row(TASK, name, "largest difference of a standard error", float(np.abs(se[0] - se[1]).max()))


def numbers(model: trial.Model) -> list[np.ndarray]:
    """All arrays of a trained study."""
    return [leaf for _, leaf in sorted(T.flatten(model.results).items())]


def measure(data: Path, *, quick: bool) -> Iterator[Row]:
    """All rows of this benchmark."""
    hospitals = uci_heart.prepare.read(data / uci_heart.TASK)
    for name in ("recommended", "regression"):
        study = trial.read((uci_heart.EXAMPLE / f"{name}.yaml").read_text())
        rows = uci_heart.recorded(study, hospitals)
        yield from judge(f"heart, {name}", study, rows.sites, together(rows.everybody.values()))
    for name, document, wide in readmission.studies(data):
        if not (quick and wide):
            study = manifest.read(document)
            raw = encounters.sites(data / readmission.DATA, study, wide=wide)
            sites = {site: plan.rows(study, table) for site, table in raw.items()}
            yield from judge(f"readmission, {name}", study, sites, readmission.whole(sites))


if __name__ == "__main__":
    asked = arguments("Heart and readmission under secure sums and without.").parse_args()
    show(measure(folder(asked.data, uci_heart.TASK, readmission.DATA), quick=asked.quick), asked.json)
