"""`collegium study new` and `check`: a manifest from a template or a file's columns, and what a manifest asks of a hospital."""

import json
from pathlib import Path
from typing import Any

import click
import yaml

from collegium.cli.shell import Screen, columns, command
from collegium.client import propose
from collegium.client.tables import table
from collegium.errors import ConflictError, StudyError
from collegium.study import manifest
from collegium.study.manifest import Study
from collegium.table import Table
from collegium.words import words

TEMPLATES = ("tabular", "readmission")
HEAD = """\
# A study, as every hospital will read it. Mend it where it guesses wrongly, then: collegium study check {name}
collegium: 1
title: {title}
purpose: {purpose}
"""
TAIL = """\
method:
  kind: averaging            # or glm: the exact fit with standard errors
  recipe: tabular
  hidden: []                 # [16] adds a hidden layer of 16
  rounds: 50
  patience: 10               # stop when the validation loss has not fallen for so many rounds
"""
TREES = """\
method:
  kind: trees                # boosted trees; averaging trains a network or a logistic regression
  trees: 100                 # steps, at most; a step takes `depth` rounds
  depth: 4
  learning_rate: 0.1
  patience: 10               # stop when the validation loss has not fallen for so many steps
"""
END = "sites: {minimum: 3}            # hospitals without which no run starts\n"


def drafted(
    screen: Screen, template: str, data: str | None, target: str | None, patient: str | None, method: str, out: str
) -> None:  # fmt: skip
    """Draft a manifest, from a template or from a file's columns.

    With --data the columns of FILE become variables: kinds and categories as they look, remarks where a person should decide.
    A manifest carries no single patient's value: ranges in the remarks are rounded, rare categories are left out.
    """
    path = Path(out)
    if path.exists() and not screen.yes:
        raise ConflictError(f"{path} exists", hint="choose another --out, or add --yes to write over it")
    text = from_file(Path(data), target, patient, path.name, method) if data else from_template(template, method)
    manifest.read(text)  # a draft that could not be run would help nobody
    path.write_text(text)
    screen.show({"file": str(path), "manifest": text}, f"{path} is written. Read it, mend it, then: collegium study check {path}")


def from_template(name: str, method: str) -> str:
    """A recipe's own manifest, with another method where one is asked for; the recipe's rules about rows stay."""
    from collegium import recipes  # local: it loads a training library

    document = recipes.find(name).template()
    if method == "trees":
        document["method"] = {"kind": "trees", "recipe": name}
    return f"# From the template {name!r}: put your own words and variables in.\n" + yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True
    )


def from_file(path: Path, target: str | None, patient: str | None, name: str, method: str) -> str:
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
    return "".join([*lines, f"outcome: {{task: {task['task']}, target: {json.dumps(aim)}}}\n", TREES if method == "trees" else TAIL, END])


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


def checked(screen: Screen, study: str) -> None:
    """Read a manifest as a hospital would, and say what it asks for."""
    from collegium.study.plan import stages  # local: whoever only asks for help does not wait for it

    read = manifest.read(Path(study).read_text())
    plan = [(stage.name, stage.rounds) for stage in stages(read)]
    facts = said(read)
    data = {"study": manifest.digest(read), "stages": [{"name": name, "rounds": rounds} for name, rounds in plan], **facts}
    reads = [(name, v.kind, v.unit or ", ".join(v.categories[:6]), v.meaning) for name, v in read.variables.items()]
    course = "; ".join(f"{name}, at most {rounds} round{'s' * (rounds > 1)}" for name, rounds in plan)
    parts = [
        f"{read.title}\n{read.purpose}",
        columns(facts.items()),
        columns(reads, ("variable", "kind", "unit or categories", "meaning")),
        f"Course: {course}\nDigest: {data['study']}\nIn words: {words(data['study'])}\nIt can be run as written.",
    ]
    screen.show(data, "\n\n".join(parts))


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


FILE = click.Path(exists=True, dir_okay=False)
new = command(
    "new",
    drafted,
    click.Option(["--template"], type=click.Choice(TEMPLATES), default="tabular", help="the recipe to start from"),
    click.Option(["--data"], type=FILE, help="a file whose columns become the variables"),
    click.Option(["--target"], metavar="COLUMN", help="the outcome; else the last column that says yes or no"),
    click.Option(["--patient"], metavar="COLUMN", help="the column that names the patient"),
    click.Option(["--method"], type=click.Choice(["averaging", "trees"]), default="averaging", help="how the model is trained"),
    click.Option(["--out"], metavar="FILE", type=click.Path(), default="study.yaml", show_default=True, help="the file to write"),
)
check = command("check", checked, click.Argument(["study"], type=FILE))
