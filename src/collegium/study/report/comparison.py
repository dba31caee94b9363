"""Did working together help, and whom? The comparison sheet as a table and a chart."""

import re
from collections.abc import Sequence
from typing import Any

from collegium.algorithms.compare import REASONS, Figure, Line, sentence
from collegium.charts import Estimate, Row, forest, written
from collegium.charts import numbers as as_table
from collegium.study.report.document import Block, Drawing, Grid, Record, Say, Section
from collegium.study.report.drawn import drawing
from collegium.study.report.spoken import counted, spread

MOST = 40  # hospitals in the chart; the table has them all
CHANCE = {"AUROC": 0.5, "concordance": 0.5}
IN_ONE_PLACE = "All rows in one place"
MEANING = {
    "AUROC": "the AUROC: how often the model ranks a patient with the outcome above one without (0.5 is chance, 1 is always)",
    "concordance": "the concordance: how often the patient with the higher estimated risk has the event first (0.5 is chance, 1 is always)",
    "accuracy": "the accuracy: the share of patients for whom the likeliest class is the right one",
    "R2": "R2: the share of the differences between patients that the model explains (0 is no better than the mean, 1 is all)",
}
OF_A_HUNDRED = {
    "AUROC": "of 100 pairs of one patient with the outcome and one without, the joint model ranks about {} right",
    "concordance": "of 100 pairs of patients, the joint model puts about {} in the order of their events",
    "accuracy": "of 100 patients, the joint model names the right class for about {}",
}


def comparison(record: Record) -> Section:
    """The section, whether or not there is anything to compare."""
    title, lines = "Does working together help?", record.sheet
    if not lines:
        return Section("comparison", title, [Say(record.why("the comparison"))])
    asked = (
        "Each hospital trained a model alone, by the same rules, and both models were tried on that hospital's own held-out patients. "
        f"The figure is {MEANING[record.metric]}. The interval in brackets holds the true figure in about 95 of 100 such studies."
    )
    said = [Say(asked), *frequencies(record, lines[0])]
    drawn: list[Block] = [*chart(record, lines)]
    return Section("comparison", title, [*said, *drawn, table(record, lines), *(Say(one, "note") for one in remarks(record))])


def headline(record: Record) -> str:
    """The first sentence of the report, whatever it is."""
    if not record.trains:
        return "This study describes patients. It trains no model, so there is nothing to compare."
    if "compare" not in record.results:
        return record.why("the comparison")
    return re.sub(r"-(?=\d)", "\N{MINUS SIGN}", sentence(record.results["compare"]))


def frequencies(record: Record, mean: Line) -> list[Say]:
    """Both models' mean figures as so many of a hundred."""
    if mean.joint is None or mean.alone is None or record.metric not in OF_A_HUNDRED:
        return []
    joint, alone = (written(100 * figure[0], 0) for figure in (mean.joint, mean.alone))
    return [Say(f"In plain numbers, {OF_A_HUNDRED[record.metric].format(joint)}; a model trained alone, about {alone}.")]


def pooled(record: Record, lines: Sequence[Line]) -> list[Figure | None]:
    """For each line, what the model of all rows in one place reached there: first the mean over the compared hospitals."""
    known = record.pooled or {}
    found = [known[name][0] for name, line in record.lines if name in known and "gain" in line]
    mean = sum(found) / len(found) if found else None
    return [(mean, mean, mean) if mean is not None else None, *(known.get(line.name) for line in lines[1:])]


def table(record: Record, lines: Sequence[Line]) -> Grid:
    """The sheet: every line with its figures."""
    beside = [spread(one) for one in pooled(record, lines)] if record.pooled else None
    head = ["Hospital", "Alone", "Together", "Gain", *([IN_ONE_PLACE] if beside else []), "Remark"]
    rows = [
        [
            line.name,
            spread(line.alone),
            spread(line.joint),
            spread(line.gain, plus=True),
            *([beside[at]] if beside else []),
            line.note or "–",
        ]
        for at, line in enumerate(lines)
    ]
    return Grid(f"The comparison sheet: {record.metric} on held-out patients", head, rows, frozenset({len(head) - 1}))


def chart(record: Record, lines: Sequence[Line]) -> list[Drawing]:
    """The sheet as a forest plot: hospitals first, what sums them up last."""
    mean, everyone, *hospitals = lines
    shown = [line for line in hospitals if line.joint is not None]
    if len(shown) > MOST:
        shown = sorted(shown, key=lambda line: line.gain[0] if line.gain else 0)
        shown = [*shown[-MOST // 2 :][::-1], *shown[: MOST // 2][::-1]]
    rows = [Row(line.name, estimate(line.alone), estimate(line.joint), estimate(line.gain)) for line in shown]
    if mean.joint is not None:
        rows.append(Row(mean.name, estimate(mean.alone), estimate(mean.joint), estimate(mean.gain), kind="summary"))
    reached = pooled(record, lines)[0]
    rows += [Row(IN_ONE_PLACE, None, estimate(reached))] if reached else []
    rows += [Row("All held-out patients", None, estimate(everyone.joint))] if everyone.joint is not None else []
    if not rows:
        return []
    note = "Hollow: trained alone. Filled: trained together. Lines are 95 % intervals, diamonds are means over hospitals."
    note += f" Shown are the {MOST // 2} hospitals that gain most and the {MOST // 2} that gain least." if len(hospitals) > MOST else ""
    head = {"label": "Hospital", "gain": "Gain", "note": "Remark"}
    title = "Alone or together, hospital by hospital" if shown else "Alone or together, on average"
    numbers, by_chance = as_table(rows, head=head), CHANCE.get(record.metric)
    options: dict[str, Any] = {"heads": ("", "Gain"), "x_label": record.metric, "reference": by_chance, "desc": described(mean)}
    return [drawing(forest, rows, title=title, numbers=numbers, note=note, **options)]


def estimate(figure: Figure | None) -> Estimate | None:
    """A figure as charts take it; one without an interval is a point."""
    if figure is None:
        return None
    return Estimate(figure[0]) if figure[1] == figure[2] else Estimate(*figure)


def described(mean: Line) -> str:
    """The chart in a sentence, for those who cannot see it."""
    if mean.gain is None:
        return "No mean over hospitals can be given."
    return f"On average the joint model reaches {spread(mean.joint, 2)}, a model trained alone {spread(mean.alone, 2)}."


def remarks(record: Record) -> list[str]:
    """Who is not in the table by name, and what the last columns are."""
    counts = {name: int(x) for name, x in record.results["compare"].get("sites", {}).items()}
    asked = record.sites or counts.get("compared", 0) + sum(counts.get(name, 0) for name in REASONS)
    silent = max(asked - len(record.lines), 0)
    out = []
    if silent:
        their = "its own line" if silent == 1 else "their own lines"
        out.append(
            f"{counted(silent, 'hospital')} of {asked} {'keeps' if silent == 1 else 'keep'} {their}: such figures are in the mean, "
            "each hospital sees its own on its own machine, and nobody else does."
        )
    elif record.simulated:
        out.append("Every hospital's line is shown because this was a simulation; a real hospital decides whether to publish its own.")
    if record.pooled:
        out.append(
            f"“{IN_ONE_PLACE}” is the same method on everybody's rows in one table: what nobody may do with real hospitals, "
            "and what joint training is measured against."
        )
    out.append("Remark of the second line: how far counting patients in groups of similar scores can have moved the figure.")
    return out
