"""How the model learned, and how good it is on patients it never saw: told apart, meant as said, useful at a threshold."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from collegium.algorithms.compare import triple
from collegium.algorithms.roc import Z
from collegium.charts import Bin, Series, Table, calibration, line, roc, written
from collegium.charts import numbers as as_table
from collegium.study.report.cells import HIDDEN, hidden
from collegium.study.report.document import Block, Drawing, Grid, Record, Say, Section, real
from collegium.study.report.drawn import drawing
from collegium.study.report.spoken import about, digits, number, share, spread

CURVES = {
    "loss": ("Error", "Error on the patients kept for checking", "Lower is better. The rounds before the lowest error improve the model."),
    "auroc": ("AUROC", "How well the model tells patients apart", "Higher is better; 0.5 is chance."),
    "concordance": ("Concordance", "How well the model orders patients by risk", "Higher is better; 0.5 is chance."),
    "r2": ("R2", "How much of the differences between patients is explained", "Higher is better."),
    "loglik": ("Log-likelihood", "How well the fit describes the rows", "Higher is better. A flat line is the end of the climb."),
}


def learning(record: Record) -> Section:
    """The learning curve: the figure that was watched, over the rounds."""
    title, course = "How did it learn?", record.course("fit")
    name = next((name for name in CURVES if sum(name in figures for _, figures in course) > 1), "")
    points = [(number, figures[name]) for number, figures in course if name in figures]
    if name == "loglik":  # the first round looks for scales, before there is any likelihood
        points = [point for point in points if point[1]]
    if len(points) < 2:
        return Section("learning", title, [Say("Not measured: no figure was recorded round by round.")])
    rounds, values = [at for at, _ in points], [value for _, value in points]
    label, asked, note = CURVES[name]
    series = [Series(label, values, rounds, "together")]
    best = rounds[int(np.argmin(values) if name == "loss" else np.argmax(values))]
    kept = f"the one that went into round {best}" if best < rounds[-1] else "the newest"
    said = f"Of all models the best by this figure is kept: {kept}." if name == "loss" else ""
    head = {"x": "Round"}
    drawn = drawing(line, series, title=asked, numbers=as_table(thinned(series), head=head), note=note, places=3, y_label=label)
    ended = f"The figure was taken in {written(len(points), 0)} rounds, the last of them round {rounds[-1]}."
    return Section("learning", title, [Say(" ".join(filter(None, [ended, said]))), drawn])


def thinned(series: list[Series], most: int = 60) -> list[Series]:
    """Curves with at most so many points, the last one among them: a table that can still be read."""
    out = []
    for one in series:
        xs, ys = list(one.x if one.x is not None else ()), list(one.y)
        kept = sorted(set(np.linspace(0, len(ys) - 1, min(most, len(ys))).round().astype(int).tolist()))
        out.append(one._replace(x=[xs[at] for at in kept], y=[ys[at] for at in kept]))
    return out


def quality(record: Record) -> Section:
    """The joint model on everybody's held-out patients."""
    title, found = "How good is it on patients it never saw?", record.quality
    if not found:
        return Section("quality", title, [Say(record.why("the test on held-out patients"))])
    who = f"The joint model was tried on {about(found.get('patients'))} patients of all hospitals together who were kept out of training."
    lost = int(found.get("unscored", 0))
    who += f" {about(lost)[0].upper()}{about(lost)[1:]} rows have no outcome or no estimate and are left out." if lost else ""
    blocks: list[Block] = [Say(who), *curves(found), *bars(found), measures(record, found)]
    blocks += [thresholds(found)] if "confusion" in found else []
    return Section("quality", title, blocks)


def curves(found: Mapping[str, Any]) -> list[Drawing]:
    """The ROC curve."""
    if "roc" not in found:
        return []
    title = "Does it tell patients apart?"
    label = f"AUROC {spread(triple(found['auroc']), 2)}"
    false, true = (np.asarray(found["roc"][name], float) for name in ("false_positive_rate", "true_positive_rate"))
    false, true = (np.concatenate([[0.0], x, [1.0]]) if (x[0], x[-1]) != (0, 1) else x for x in (false, true))
    series = [Series(label, true, false, "together")]
    shown = thinned([Series("", true, false)], 21)[0]
    cells = [[share(x, 1), share(y, 1)] for x, y in zip(shown.x or (), shown.y, strict=True)]
    table = Table(["False alarms", "Cases found"], cells)
    note = "The further the curve is above the dotted line, the better: more cases found for as many false alarms."
    return [drawing(roc, series, title=title, numbers=table, note=note, half=True)]


def bars(found: Mapping[str, Any]) -> list[Drawing]:
    """The calibration chart: groups of similar estimated risk, and what happened to them."""
    if "calibration" not in found or "roc" not in found:
        return []
    part = found["calibration"]
    groups = list(zip(*(np.asarray(part[name], float).tolist() for name in ("predicted", "observed", "rows")), strict=True))
    bins = [Bin(p, seen, *wilson(seen, n), patients=int(n)) for p, seen, n in groups]
    cells = [[share(b.predicted, 1), share(b.observed, 1), f"{share(b.low)} to {share(b.high)}", written(b.patients or 0, 0)] for b in bins]
    table = Table(["Estimated risk", "Happened", "95 % interval", "Rows"], cells)
    note = "Each dot is a group with similar estimates. On the dotted line the estimate is right; below it, risks are put too high."
    title = "When it says 20 %, does it happen in 20 %?"
    return [drawing(calibration, bins, title=title, numbers=table, note=note, half=True, counted="Rows in each group")]


def wilson(part: float, n: float) -> tuple[float, float]:
    """A 95 % interval of a share, good for few patients too (Wilson 1927).

    >>> [round(x, 3) for x in wilson(0.5, 10)]
    [0.237, 0.763]
    """
    middle, half = part + Z**2 / (2 * n), Z * math.sqrt(part * (1 - part) / n + Z**2 / (4 * n**2))
    low, high = (min(max(x / (1 + Z**2 / n), 0.0), 1.0) for x in (middle - half, middle + half))
    return low, high


def measures(record: Record, found: Mapping[str, Any]) -> Grid:
    """Every figure with what it says."""
    rows = {"binary": binary, "multiclass": classes, "regression": values, "survival": risks}[record.task](record, found)
    return Grid("Measures of quality", ["Measure", "Value", "What it says"], rows, frozenset({2}))


def binned(found: Mapping[str, Any], name: str, label: str, meaning: str) -> list[list[str]]:
    """A figure that was computed from patients counted in groups, and what that can have moved."""
    if name not in found:
        return [[label, "Not measured", f"{meaning} It needs patients with and without the outcome."]]
    one = found[name]
    said = spread(triple(one)) if "low" in one else number(one.get("value"))
    return [[label, said, f"{meaning} Counting in groups can have moved it by at most {number(one.get('error'), 4)}."]]


def binary(record: Record, found: Mapping[str, Any]) -> list[list[str]]:
    """Yes or no."""
    rows, positives = int(found["rows"]), int(found.get("positives", 0))
    out = [["Held-out rows", *people(rows, positives)]]
    out += binned(found, "auroc", "AUROC", "How often it ranks a patient with the outcome above one without; 0.5 is chance.")
    base = share(positives / rows) if rows else "Not measured"
    precise = f"How pure the top of the list is, averaged over all lengths of the list; chance would give {base}."
    out += binned(found, "average_precision", "Average precision", precise)
    out.append(["Brier score", number(found.get("brier")), "The mean squared distance between estimate and outcome; 0 is best."])
    out.append(["Log loss", number(found.get("log_loss")), "As the Brier score, but harder on estimates that are sure and wrong."])
    out.append(["Accuracy at 50 %", number(found.get("accuracy")), "How often “more likely than not” is right."])
    part = found.get("calibration", {})
    for name, label, meaning in (
        ("intercept", "Calibration intercept", "0 is right; above 0, risks are put too low on the whole, below 0 too high."),
        ("slope", "Calibration slope", "1 is right; below 1, high estimates are too high and low ones too low."),
    ):
        value, error = real(part.get(name)), real(part.get(f"{name}_error"))
        said = "Not measured" if value is None else spread((value, value - Z * (error or 0), value + Z * (error or 0)))
        out.append([label, said, meaning])
    return out


def people(rows: int, positives: int) -> list[str]:
    """How many rows were tried and how many had the outcome, unless either group is small."""
    secret = hidden(np.array([positives, rows - positives]))
    return [written(rows, 0), f"{HIDDEN if secret[0] else written(positives, 0)} of them with the outcome."]


def classes(record: Record, found: Mapping[str, Any]) -> list[list[str]]:
    """One of several classes."""
    out = [["Held-out rows", written(int(found["rows"]), 0), "Rows that the figures below rest on."]]
    out.append(["Accuracy", number(found.get("accuracy")), "How often the likeliest class is the right one."])
    many = f"{int(found['auroc']['classes'])} classes" if "auroc" in found else "the classes"
    out += binned(found, "auroc", "AUROC, each class against the rest", f"The mean over {many}; 0.5 is chance.")
    out.append(["Brier score", number(found.get("brier")), "The mean squared distance between estimates and outcome; 0 is best."])
    out.append(["Log loss", number(found.get("log_loss")), "As the Brier score, but harder on estimates that are sure and wrong."])
    return out


def values(record: Record, found: Mapping[str, Any]) -> list[list[str]]:
    """A number."""
    target = record.study.outcome.target if record.study.outcome else ""
    unit = record.study.variables[target].unit if target else ""
    behind = f" {unit}" if unit else ""
    return [
        ["Held-out rows", written(int(found["rows"]), 0), "Rows that the figures below rest on."],
        ["R2", number(found.get("r2")), "The share of the differences between patients that is explained; 0 is no better than the mean."],
        ["Typical error (RMSE)", digits(found.get("rmse")) + behind, "The root of the mean squared error: large errors count most."],
        ["Mean error (MAE)", digits(found.get("mae")) + behind, "How far off an estimate is on average."],
        ["Bias", digits(found.get("bias")) + behind, "Above 0, estimates are too high on average; below 0, too low."],
        ["Slope", number(found.get("slope")), "1 is right; below 1, high estimates are too high and low ones too low."],
    ]


def risks(record: Record, found: Mapping[str, Any]) -> list[list[str]]:
    """The time until an event."""
    events = int(found.get("events", 0))
    out = [["Held-out rows", *people(int(found["rows"]), events)]]
    return out + binned(found, "concordance", "Concordance", "How often the patient with the higher estimated risk has the event first.")


def thresholds(found: Mapping[str, Any]) -> Grid:
    """What would happen if everybody above a threshold were called in."""
    part, rows = found["confusion"], int(found["rows"])
    base = int(found.get("positives", 0)) / max(rows, 1)
    out = []
    for asked, used, sensitivity, specificity, ppv, npv in zip(
        *(np.asarray(part[name], float).tolist() for name in ("asked", "threshold", "sensitivity", "specificity", "ppv", "npv")),
        strict=True,
    ):
        found_of, alarms = 100 * base * sensitivity, 100 * (1 - base) * (1 - specificity)
        said = (
            f"Of 100 patients it marks about {written(found_of + alarms, 0)}; about {written(found_of, 0)} of these have the outcome. "
            f"It misses about {written(100 * base - found_of, 0)}."
        )
        cells = [share(x, 1) for x in (used, sensitivity, specificity, ppv, npv)]
        out.append([share(asked), *cells, said])
    head = ["Threshold asked for", "Threshold used", "Sensitivity", "Specificity", "PPV", "NPV", "In plain numbers"]
    note = "A threshold is used at the nearest border between two groups of patients, so that no group is small."
    return Grid("If patients above a threshold were marked", head, out, frozenset({6}), note)
