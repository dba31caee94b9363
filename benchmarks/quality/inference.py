"""Hazard ratios, odds ratios and survival curves through secure sums, beside the same on pooled rows.

    python benchmarks/quality/inference.py [--json] [--quick] [--data FOLDER]

Cox on Dialysis (67 centres, months) and on NCCTG lung cancer (18 institutions, days), with risk sets of all hospitals and of each;
a logistic regression of a trial in 4 hospitals; Kaplan-Meier and log-rank on Dialysis. Each study is a manifest run by
`simulate(secure=True)`: every sum under masks. `value` is the largest difference from the pooled reference, which is lifelines' and
statsmodels' on all rows in one table; `published` differences are from the figures published of these rows. `--quick` leaves
the 67 centres' masks out, which take minutes: sums are the same integers with masks and without.
"""

import csv
import gzip
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row, arguments, folder, show

from collegium.client.results import Results
from collegium.client.simulate import simulate

TASK = "inference"
SURVIVAL, TRIALS = "survival_multicentre", "trials_with_sites"
BECAUSE = {"because": "These rows are public."}
PUBLISHED = {
    ("Dialysis", "pooled"): ([0.034387993, 0.006505927, 0.987546045, 0.693364592, 0.729817027, 0.740076315], -13013.498548),
    ("Dialysis", "site"): ([0.034520502, 0.002675221, 1.026904179, 0.627356465, 0.750336770, 0.569405015], -6516.189466),
    ("NCCTG lung", "pooled"): ([0.011066727, -0.552610408, 0.463728143], None),
}
EARLY = "NCCTG lung"
Columns = dict[str, np.ndarray]


def read(path: Path) -> list[dict[str, str]]:
    """A table's rows."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def dialysis(data: Path) -> tuple[Columns, np.ndarray]:
    """Age, time of entry and disease (congenital ones are the reference), and the centre of each row."""
    rows = read(data / SURVIVAL / "Dialysis.csv.gz")
    columns = {name: numbers(rows, of) for name, of in (("time", "time"), ("event", "event"), ("age", "num_age"), ("begin", "num_begin"))}
    columns |= {kind: np.array([float(row["fac_disease"] == kind) for row in rows]) for kind in ("diabetes", "hypert", "other", "renal")}
    return columns, np.array([row["fac_center"] for row in rows])


def lung(data: Path) -> tuple[Columns, np.ndarray]:
    """Age, sex (2 is a woman) and ECOG, of the rows that have them, and the institution."""
    rows = read(data / SURVIVAL / "cancer.csv.gz")
    rows = [row for row in rows if row["fac_ph_ecog"] != "missing"]
    named = (("time", "time"), ("event", "event"), ("age", "num_age"), ("sex", "fac_sex"), ("ecog", "fac_ph_ecog"))
    return {name: numbers(rows, of) for name, of in named}, np.array([row["fac_inst"] for row in rows])


def trial(data: Path) -> tuple[Columns, np.ndarray]:
    """Indomethacin against pancreatitis: outcome, treatment, age and risk, and the site."""
    rows = read(data / TRIALS / "indo_rct.csv.gz")
    columns = {"age": numbers(rows, "age"), "risk": numbers(rows, "risk")}
    columns |= {name: np.array([float(row[name].startswith("1_")) for row in rows]) for name in ("outcome", "rx")}
    return columns, np.array([row["site"] for row in rows])


def numbers(rows: list[dict[str, str]], name: str) -> np.ndarray:
    """A column as numbers."""
    return np.array([float(row[name]) for row in rows])


def study(columns: Columns, method: Mapping[str, Any], *, high: int = 0) -> dict[str, Any]:
    """A manifest of these columns; all numbers but the outcome."""
    kinds: dict[str, Any] = {name: {"kind": "number"} for name in columns if name not in ("event", "outcome")}
    outcome: dict[str, Any] = {"task": "binary", "target": "outcome"}
    if high:
        kinds |= {"time": {"kind": "number", "high": high}, "event": {"kind": "binary"}}
        outcome = {"task": "survival", "time": "time", "event": "event"}
    else:
        kinds["outcome"] = {"kind": "binary"}
    about = {"title": TASK, "purpose": "To be compared with pooled rows.", "privacy": BECAUSE, "sites": {"minimum": 3}}
    return {**about, "variables": kinds, "outcome": outcome, "method": {**method}}


def split(columns: Columns, site: np.ndarray) -> dict[str, Columns]:
    """Each hospital's rows."""
    return {f"site {name}": {key: column[site == name] for key, column in columns.items()} for name in np.unique(site)}


def ran(document: Mapping[str, Any], sites: Mapping[str, Columns], *, secure: bool) -> tuple[Results, float]:
    """The run and its seconds."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = simulate(document, sites, pooled=False, secure=secure)
    return found, time.perf_counter() - began


def apart(a: Any, b: Any) -> float:
    """The largest difference."""
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max(initial=0.0))


def hazards(name: str, columns: Columns, site: np.ndarray, *, high: int, secure: bool) -> Iterator[Row]:
    """Cox with risk sets of all hospitals, and of each."""
    import pandas as pd
    from lifelines import CoxPHFitter

    frame, features = pd.DataFrame(columns), sorted(set(columns) - {"time", "event"})
    for risk_sets in ("pooled", "site"):
        method = {"kind": "cox", "risk_sets": risk_sets, "fewest": 1}
        found, seconds = ran(study(columns, method, high=high), split(columns, site), secure=secure)
        fit = found.trees["fit"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            by = {"strata": "site"} if risk_sets == "site" else {}
            rows = frame.assign(site=site) if by else frame
            want = CoxPHFitter().fit(rows, "time", "event", fit_options={"precision": 1e-13}, **by)
        note = f"{len(np.unique(site))} sites, {int(fit['rounds'])} rounds, masks {'on' if secure else 'off'}"
        label = f"Cox, {name}, risk sets {'of all' if risk_sets == 'pooled' else 'of each site'}"
        table = {
            "coefficients": apart(fit["coef"], want.params_[features]),
            "standard errors": apart(fit["se"], want.standard_errors_[features]),
            "log-likelihood": apart(fit["loglik"], want.log_likelihood_),
            "likelihood-ratio test": apart(fit["test"]["chi2"], want.log_likelihood_ratio_test().test_statistic),
        }
        for metric, value in table.items():
            yield Row(TASK, label, f"{metric}: apart from lifelines", value, seconds=round(seconds, 2), note=note)
        if known := PUBLISHED.get((name, risk_sets)):
            order = [features.index(feature) for feature in columns if feature in features]
            remark = f"{note}{'; published as lifelines stops by default, a step early' if name == EARLY else ''}"
            yield Row(TASK, label, "coefficients: apart from published", apart(np.asarray(fit["coef"])[order], known[0]), note=remark)
            if known[1] is not None:
                yield Row(TASK, label, "log-likelihood: apart from published", apart(fit["loglik"], known[1]), note=note)


def odds(columns: Columns, site: np.ndarray) -> Iterator[Row]:
    """The trial's treatment effect, with errors of the model and by hospital."""
    import statsmodels.api as sm

    features = ["age", "risk", "rx"]
    x = sm.add_constant(np.column_stack([columns[name] for name in features]))
    whose = np.unique(site, return_inverse=True)[1]
    for errors in ("model", "site"):
        found, seconds = ran(study(columns, {"kind": "glm", "errors": errors}), split(columns, site), secure=True)
        fit, more = found.trees["fit"], {} if errors == "model" else {"cov_type": "cluster", "cov_kwds": {"groups": whose}}
        want = sm.GLM(columns["outcome"], x, family=sm.families.Binomial()).fit(tol=1e-14, tol_criterion="params", maxiter=50, **more)
        label = f"logistic, indo_rct, errors by {errors}"
        table = {
            "coefficients": (fit["coef"], want.params),
            "standard errors": (fit["se"], want.bse),
            "log-likelihood": (fit["loglik"], want.llf),
        }
        for metric, pair in table.items():
            yield Row(TASK, label, f"{metric}: apart from statsmodels", apart(*pair), seconds=round(seconds, 2), note="4 sites, masks on")
        if errors == "model":
            yield Row(TASK, label, "indomethacin: coefficient", float(fit["coef"][3]), published=-0.763231589, note="published: 9 digits")
            yield Row(TASK, label, "indomethacin: standard error", float(fit["se"][3]), published=0.256306)


def curves(name: str, columns: Columns, site: np.ndarray, by: str, *, high: int, secure: bool) -> Iterator[Row]:
    """Kaplan-Meier and the log-rank test."""
    from lifelines import KaplanMeierFitter
    from lifelines.statistics import multivariate_logrank_test

    kept = {key: columns[key] for key in ("time", "event")} | {by: columns[by]}
    document = study(kept, {"kind": "survival", "by": by, "fewest": 1}, high=high)
    document["variables"][by] = {"kind": "binary"}
    found, seconds = ran(document, split(kept, site), secure=secure)
    tree = found.trees["survival"]
    far: dict[str, float] = dict.fromkeys(("survival", "limits", "median"), 0.0)
    for at, value in enumerate((0.0, 1.0)):
        mine = columns[by] == value
        want = KaplanMeierFitter().fit(columns["time"][mine], columns["event"][mine])
        here = np.asarray(tree["group"]) == at
        times, share = np.asarray(tree["time"])[here], np.asarray(tree["survival"])[here]
        inside = (share > 0) & (share < 1)  # at 0 and 1 the log-log limits do not exist
        limits = want.confidence_interval_.loc[times].to_numpy()[inside]
        far["survival"] = max(far["survival"], apart(share, want.survival_function_at_times(times)))
        far["limits"] = max(far["limits"], apart(np.stack([tree["low"][here], tree["high"][here]], 1)[inside], limits))
        median = float(tree["median"][at])
        far["median"] = max(far["median"], apart(median if median >= 0 else 0.0, np.nan_to_num(want.median_survival_time_, posinf=0.0)))
    test = multivariate_logrank_test(columns["time"], columns[by], columns["event"])
    far |= {
        "log-rank chi-squared": apart(tree["logrank"]["chi2"], test.test_statistic),
        "log-rank p": apart(tree["logrank"]["p"], test.p_value),
    }
    note = f"{len(np.unique(site))} sites, masks {'on' if secure else 'off'}"
    for metric, value in far.items():
        yield Row(TASK, f"curves, {name} by {by}", f"{metric}: apart from lifelines", value, seconds=round(seconds, 2), note=note)


def measure(data: Path, *, quick: bool) -> Iterator[Row]:
    """All rows of this benchmark."""
    yield from odds(*trial(data))
    columns, site = lung(data)
    yield from hazards("NCCTG lung", columns, site, high=1100, secure=True)
    yield from curves("NCCTG lung", {**columns, "woman": columns["sex"] - 1}, site, "woman", high=1100, secure=True)
    columns, site = dialysis(data)
    yield from curves("Dialysis", columns, site, "diabetes", high=44, secure=not quick)
    yield from hazards("Dialysis", columns, site, high=44, secure=not quick)


if __name__ == "__main__":
    asked = arguments("Cox, logistic regression and survival curves through secure sums, beside pooled rows.").parse_args()
    show(measure(folder(asked.data, SURVIVAL, TRIALS), quick=asked.quick), asked.json)
