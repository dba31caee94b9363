"""The first text of a study: from a recipe's template, or from the columns of a file, with a remark wherever a person should decide."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from collegium.client import propose
from collegium.client.tables import table
from collegium.errors import StudyError
from collegium.study.manifest import Study
from collegium.table import Table

TEMPLATES = ("tabular", "readmission")
KINDS = ("averaging", "trees", "glm", "cox", "survival")
HEAD = """\
# A study, as every hospital will read it. Mend it where it guesses wrongly, then: collegium study check {name}
collegium: 1
title: {title}
purpose: {purpose}
"""
GLM = """\
method:
  kind: glm                  # the exact fit with standard errors
  family: {family}
  errors: model              # or patient, or site: whose rows belong together
sites: {{minimum: 3}}            # hospitals without which no run starts
"""
TREES = """\
method:
  kind: trees                # boosted trees; averaging trains a network or a logistic regression
  trees: 100                 # steps, at most; a step takes `depth` rounds
  depth: 4
  learning_rate: 0.1
  patience: 10               # stop when the validation loss has not fallen for so many steps
sites: {minimum: 3}            # hospitals without which no run starts
"""
TAIL = """\
method:
  kind: averaging            # or glm: the exact fit with standard errors
  recipe: tabular
  hidden: []                 # [16] adds a hidden layer of 16
  rounds: 50
  patience: 10               # stop when the validation loss has not fallen for so many rounds
sites: {minimum: 3}            # hospitals without which no run starts
"""


def begun(
    kind: str, template: str, name: str, file: Path | None = None, *, target: str | None = None, time: str | None = None,
    patient: str | None = None,
) -> str:  # fmt: skip
    """A draft of this kind: of a file's columns, else of a template. Raises `StudyError`."""
    from collegium.client import draft_survival  # local: it builds on this module

    if kind in ("cox", "survival"):
        return (
            draft_survival.from_table(table(file), kind, target, time, patient, name) if file else draft_survival.from_nothing(kind, name)
        )
    return from_file(file, target, patient, name, kind) if file else from_template(template, kind)


def from_template(name: str, kind: str = "averaging") -> str:
    """A recipe's own manifest, with another method where one is asked for; the recipe's rules about rows stay."""
    from collegium import recipes  # local: it loads a training library

    document = {**recipes.find(name).template()}
    if kind != "averaging":
        document["method"] = {"kind": kind} | ({"recipe": name} if kind == "trees" else {})
    return f"# From the template {name!r}: put your own words and variables in.\n" + yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True
    )


def from_file(path: Path, target: str | None, patient: str | None, name: str, kind: str = "averaging") -> str:
    """A manifest of a file's columns, with a remark beside each. Raises `StudyError` if the outcome cannot be told."""
    rows = table(path)
    aim = target or last_yes_no(rows)
    who = patient if patient is not None else propose.patient_column(rows)
    seen = {column: one for column, one in propose.look(rows, target=aim).items() if column != who}
    outcome = seen[aim].variable
    if outcome is None:
        raise StudyError(f"column {aim!r} cannot be the outcome: {seen[aim].note}", hint="name another one with --target")
    lines = [
        HEAD.format(
            name=name, title=json.dumps(f"A score for {aim}"), purpose=json.dumps("Say in one or two sentences what the score is for.")
        )
    ]
    lines += [
        f"patient: {json.dumps(who)}            # rows of one patient are held out together\n"
        if who
        else "# patient: the column that names the patient; without it each row is one\n"
    ]
    lines += ["variables:\n", *(variable(column, one) for column, one in seen.items())]
    task = propose.outcome_of(outcome, aim)
    family = "gaussian" if task["task"] == "regression" else "binomial"
    tail = {"glm": GLM.format(family=family), "trees": TREES}.get(kind, TAIL)
    return "".join([*lines, f"outcome: {{task: {task['task']}, target: {json.dumps(aim)}}}\n", tail])


def variable(column: str, one: propose.Seen) -> str:
    """A column as a line of the manifest; left out, but named, where it had better stay out."""
    if one.variable is None:
        return f"  # {json.dumps(column)}: left out: {one.note}\n"
    return f"  {json.dumps(column)}: {json.dumps(propose.short(one.variable), ensure_ascii=False)}  # {one.note}\n"


def last_yes_no(rows: Table) -> str:
    """The outcome when nobody names it: the last column that says yes or no, where outcomes usually stand."""
    found = [name for name, one in propose.look(rows).items() if one.variable and one.variable.kind == "binary"]
    if not found:
        raise StudyError("no column holds yes or no, so the outcome must be named", hint="--target COLUMN")
    return found[-1]


def said(study: Study) -> dict[str, Any]:
    """What a hospital wants to know of a study, in short."""
    held = study.holding
    out = (
        "the column " + held.column if held.column else f"{held.test} of 10 patients to judge, {held.validation} of 10 to know when to stop"
    )
    return {
        "title": study.title,
        "method": study.method.kind + (f" ({study.method.recipe})" if study.method.kind == "averaging" else ""),
        "outcome": " and ".join(study.outcome.columns) if study.outcome else "none",
        "patients told apart by": study.patient or "nothing: each row is a patient",
        "held out": out,
        "hospitals": f"at least {study.sites.minimum}, {study.quorum} of them in every round",
    }


def worded(text: str, name: str, says: str) -> str:
    """The same draft with another title or purpose.

    >>> worded("title: a\\npurpose: b\\n", "title", "Who comes back?")
    'title: "Who comes back?"\\npurpose: b\\n'
    """
    return re.sub(rf"(?m)^{name}: .*(?:\n +.*)*$", lambda _: f"{name}: {json.dumps(says, ensure_ascii=False)}", text, count=1)
