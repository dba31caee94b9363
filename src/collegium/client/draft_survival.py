"""The first text of a study of survival: from nothing, or from a file's columns, with a remark wherever a person should decide."""

import json

import numpy as np

from collegium.client import draft, propose
from collegium.errors import StudyError
from collegium.study.schema import Variable, decimal
from collegium.table import Table

COX = """\
method:
  kind: cox                  # hazard ratios with standard errors, exact
  risk_sets: site            # compare patients within each hospital; pooled: over all, on the time grid
  grid: 1                    # cells of the time grid, in the unit of time; wider is more private and less exact
  # strata: {name}           # a variable with listed categories, each with a baseline of its own
  # horizons: [365]          # times for which the model tells a patient's risk
sites: {{minimum: 3}}            # hospitals without which no run starts
"""
CURVES = """\
method:
  kind: survival             # Kaplan-Meier curves, medians, mean times, and the log-rank test
  by: {name}                 # a variable with listed categories: one curve each; leave it out for one curve of all
  grid: 1                    # cells of the time grid, in the unit of time
sites: {{minimum: 3}}            # hospitals without which no run starts
"""
AGE = "  age: {kind: number, unit: years, low: 0, high: 120}\n"
FOLLOWED = """\
  arm: {kind: category, categories: [control, treated]}
  days: {kind: number, unit: days, low: 0, high: 1825, meaning: from entry to the event or the end of follow-up}
  died: {kind: binary, meaning: 1 where the event was seen and 0 where follow-up ended without it}
outcome: {task: survival, time: days, event: died}
"""


def from_nothing(kind: str, name: str) -> str:
    """A manifest of the time until an event, to be mended."""
    title = "Time until death" if kind == "cox" else "Who lives longer?"
    head = draft.HEAD.format(name=name, title=json.dumps(title), purpose=json.dumps("Say in one or two sentences what the result is for."))
    return (
        head
        + "patient: patient_id\nvariables:\n"
        + (AGE if kind == "cox" else "")
        + FOLLOWED
        + (COX if kind == "cox" else CURVES).format(name="arm")
    )


def from_table(rows: Table, kind: str, target: str | None, time: str | None, patient: str | None, name: str) -> str:
    """A manifest of the time until an event, of a file's columns."""
    if time is None or time not in rows:
        raise StudyError("a study of survival names its column of time", hint=f"--time COLUMN, one of {', '.join(rows.columns)}")
    aim, who = target or draft.last_yes_no(rows), patient if patient is not None else propose.patient_column(rows)
    seen = {column: one for column, one in propose.look(rows, target=aim).items() if column != who}
    high = propose.beyond(np.asarray(rows[time]))
    seen[time] = propose.Seen(
        Variable(kind="number", low=decimal(0), high=decimal(f"{high:g}")), "until the event or the end of follow-up; mend `high`"
    )
    if seen[aim].variable is None or seen[aim].variable.kind != "binary":  # type: ignore[union-attr]  # asked just before
        raise StudyError(f"column {aim!r} does not hold yes or no, so it cannot be the event", hint="name another one with --target")
    parted = [column for column, one in seen.items() if one.variable and one.variable.kind == "category"]
    if kind == "survival":  # curves are made of nothing else, so a study of them asks for nothing else
        seen = {column: one for column, one in seen.items() if column in (time, aim, *parted[:1])}
    head = draft.HEAD.format(name=name, title=json.dumps(f"Time until {aim}"), purpose=json.dumps("Say what the result is for."))
    lines = [
        head,
        f"patient: {json.dumps(who)}\n" if who else "",
        "variables:\n",
        *(draft.variable(column, one) for column, one in seen.items()),
    ]
    lines.append(f"outcome: {{task: survival, time: {json.dumps(time)}, event: {json.dumps(aim)}}}\n")
    tail = (COX if kind == "cox" else CURVES).format(name=json.dumps(parted[0]) if parted else "GROUP")
    return "".join([*lines, tail if parted or kind == "cox" else tail.replace("  by: GROUP", "  # by: GROUP")])
