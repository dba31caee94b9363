"""Time until the event: survival curves with those at risk below them, what differs between groups, and a Cox model's baseline."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from collegium.algorithms.survival import NEVER
from collegium.charts import Kind, Series, Table, survival, written
from collegium.study.manifest import Cox, Survival, levels
from collegium.study.report.cells import FEWEST, HIDDEN, WHY, hidden, shown
from collegium.study.report.document import Block, Drawing, Grid, Record, Say, Section
from collegium.study.report.drawn import drawing
from collegium.study.report.spoken import chance, digits, number, share

KINDS: Sequence[Kind] = ("a", "b", "c", "d", "e", "f")
EVERYONE = "All patients"
NOT_REACHED = "Not reached"


def followed(record: Record, method: Survival) -> Section:
    """The section of a study of survival curves."""
    title, found = "Who stays free of the event?", record.results.get("survival")
    if found is None:
        return Section("survival", title, [Say(f"Not measured: the run {record.stands}, and nothing was counted.")])
    names = groups(record)
    said = (
        "A curve says what share of the patients is still free of the event at each time; whoever is followed no further counts as long as "
        "it was seen (Kaplan and Meier). Times are rounded up to the study's grid."
    )
    blocks: list[Block] = [Say(said), *curves(record, method, names), table(record, names)]
    if "logrank" in found:
        blocks.append(difference(record))
    return Section("survival", title, blocks)


def groups(record: Record) -> list[str]:
    """What the curves are called."""
    parted = record.study.parted
    if not parted:
        return [EVERYONE]
    variable = record.study.variables[parted]
    return [f"{parted}: {level}" if variable.categories else f"{parted}: {('no', 'yes')[at]}" for at, level in enumerate(levels(variable))]


def unit(record: Record) -> str:
    """The unit of time."""
    return (record.study.outcome and record.study.variables[record.study.outcome.time].unit) or "units of time"


def curves(record: Record, method: Survival, names: Sequence[str]) -> list[Drawing]:
    """The curves, and those at risk below them; of few patients nothing is drawn."""
    found = record.results["survival"]
    group = np.asarray(found["group"])
    series = []
    for at, name in enumerate(names):
        mine = group == at
        x, y, low, high, still = (np.asarray(found[part])[mine].tolist() for part in ("time", "survival", "low", "high", "at_risk"))
        if x:
            kind = KINDS[at % len(KINDS)] if len(names) > 1 else "together"
            series.append(Series(name, y, x, kind, low, high, [int(n) for n in still]))
    if not series:
        return []
    head = ["Time", "Group", "Free of the event (95 % interval)", "At risk"]
    cells = [
        [digits(x), one.label, f"{share(y, 1)} ({share(low, 1)} to {share(high, 1)})", written(n or 0, 0)]
        for one in series
        for x, y, low, high, n in zip(one.x or (), one.y, one.low or (), one.high or (), one.at_risk or (), strict=True)
    ]
    note = (
        f"Bands are 95 % intervals of single times (log-log). A curve has points only before which {method.fewest} patients or more are "
        f"still followed, and between which as many leave: no step is about a few."
    )
    label = unit(record).capitalize()
    return [drawing(survival, series, title="Who stays free of the event?", numbers=Table(head, cells), note=note, x_label=label)]


def table(record: Record, names: Sequence[str]) -> Grid:
    """Each group in figures."""
    found: Any = record.results["survival"]
    n, events = (np.asarray(found[part], np.int64) for part in ("n", "events"))
    secret = [hidden(np.array([had, all_of_it - had])) for had, all_of_it in zip(events.tolist(), n.tolist(), strict=True)]
    rows = []
    for at, name in enumerate(names):
        few = n[at] < FEWEST
        mean, se = float(np.asarray(found["mean"])[at]), float(np.asarray(found["mean_se"])[at])
        middle = HIDDEN if few else median(*(float(np.asarray(found[part])[at]) for part in ("median", "median_low", "median_high")))
        average = HIDDEN if few else f"{digits(mean)} ({digits(mean - 1.96 * se)} to {digits(mean + 1.96 * se)})"
        rows.append([name, HIDDEN if few else written(int(n[at]), 0), shown(int(events[at]), bool(secret[at][0])), middle, average])
    span = f"{float(found['horizon']):g}"
    head = ["Group", "Patients", "Events", f"Median in {unit(record)} (95 % interval)", f"Mean up to {span} (95 % interval)"]
    note = f"The median is the first point at which half have had the event. The mean is of the time free of it, up to {span}. {WHY}"
    return Grid("Each group in figures", head, rows, note=note)


def median(value: float, low: float, high: float) -> str:
    """A median with its limits, any of which may lie beyond the end of follow-up."""
    said = [NOT_REACHED if x == NEVER else digits(x) for x in (value, low, high)]
    return said[0] if low == high == NEVER else f"{said[0]} ({said[1]} to {said[2].lower()})"


def difference(record: Record) -> Grid:
    """The log-rank test, of all patients and hospital by hospital."""
    rows = []
    for name, label, meaning in (
        ("logrank", "Log-rank test", "Whether the curves differ by more than chance, all patients together."),
        ("stratified", "Log-rank test, stratified by hospital", "The same, comparing patients within each hospital only."),
    ):
        one = record.results["survival"][name]
        rows.append([label, f"{number(one['chi2'], 2)}, df {int(one['df'])}", chance(one["p"]), meaning])
    return Grid("Do the groups differ?", ["Test", "Chi-squared", "p", "What it says"], rows, frozenset({3}))


def baseline(record: Record, method: Cox) -> list[Block]:
    """The curve of the mean patient that a Cox model implies."""
    base = record.results.get("fit", {}).get("baseline")
    if base is None or not len(np.asarray(base["time"])):
        return []
    parted = record.study.parted
    names = levels(record.study.variables[parted]) if parted else (EVERYONE,)
    series = []
    for at, name in enumerate(names):
        mine = np.asarray(base["stratum"]) == at
        x, y, still = np.asarray(base["time"])[mine].tolist(), np.exp(-np.asarray(base["hazard"])[mine]).tolist(), base["at_risk"][mine]
        if x:
            label = f"{parted}: {name}" if parted else "Mean patient"
            kind = KINDS[at % len(KINDS)] if parted else "together"
            series.append(Series(label, y, x, kind, at_risk=[int(n) for n in np.asarray(still)]))
    title = "How does the mean patient fare?"
    rows = [[digits(x), one.label, share(y, 1)] for one in series for x, y in zip(one.x or (), one.y, strict=True)]
    numbers = Table(["Time", "Curve", "Free of the event"], rows)
    note = (
        "Of a patient whose variables are all at their means, by Breslow's estimate; at points between which at least "
        f"{max(method.fewest, FEWEST)} patients leave."
    )
    return [drawing(survival, series, title=title, numbers=numbers, note=note, x_label=unit(record).capitalize())]
