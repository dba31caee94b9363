"""`collegium study new` and `check`: a manifest from a template or a file's columns, and what a manifest asks of a hospital."""

from pathlib import Path

import click

from collegium.cli.shell import Screen, columns, command
from collegium.client import draft
from collegium.errors import ConflictError
from collegium.study import manifest
from collegium.words import words


def drafted(
    screen: Screen, template: str, kind: str, data: str | None, target: str | None, time: str | None, patient: str | None, out: str
) -> None:
    """Draft a manifest, from a template or from a file's columns.

    With --data the columns of FILE become variables: kinds and categories as they look, remarks where a person should decide.
    A manifest carries no single patient's value: ranges in the remarks are rounded, rare categories are left out.
    """
    path = Path(out)
    if path.exists() and not screen.yes:
        raise ConflictError(f"{path} exists", hint="choose another --out, or add --yes to write over it")
    text = draft.begun(kind, template, path.name, Path(data) if data else None, target=target, time=time, patient=patient)
    manifest.read(text)  # a draft that could not be run would help nobody
    path.write_text(text)
    screen.show({"file": str(path), "manifest": text}, f"{path} is written. Read it, mend it, then: collegium study check {path}")


def checked(screen: Screen, study: str) -> None:
    """Read a manifest as a hospital would, and say what it asks for."""
    from collegium.study.plan import stages  # local: whoever only asks for help does not wait for it

    read = manifest.read(Path(study).read_text())
    plan = [(stage.name, stage.rounds) for stage in stages(read)]
    facts = draft.said(read)
    data = {"study": manifest.digest(read), "stages": [{"name": name, "rounds": rounds} for name, rounds in plan], **facts}
    reads = [(name, v.kind, v.unit, v.allowed, v.code, v.meaning) for name, v in read.variables.items()]
    course = "; ".join(f"{name}, at most {rounds} round{'s' * (rounds > 1)}" for name, rounds in plan)
    parts = [
        f"{read.title}\n{read.purpose}",
        columns(facts.items()),
        columns(reads, ("variable", "kind", "unit", "allowed", "code", "meaning")),
        f"Course: {course}\nDigest: {data['study']}\nIn words: {words(data['study'])}\nIt can be run as written.",
    ]
    from collegium.data import units  # local: as above

    if strange := sorted({v.unit for v in read.variables.values() if v.unit and not units.known(v.unit)}):
        screen.note(f"no hospital's unit can be converted to {', '.join(map(repr, strange))}: write it as UCUM does, if it is a unit")
    screen.show(data, "\n\n".join(parts))


FILE = click.Path(exists=True, dir_okay=False)
new = command(
    "new",
    drafted,
    click.Option(["--template"], type=click.Choice(draft.TEMPLATES), default="tabular", help="the recipe to start from"),
    click.Option(
        ["--kind"], type=click.Choice(draft.KINDS), default="averaging", help="training, trees, a regression, hazard ratios or curves"
    ),
    click.Option(["--data"], type=FILE, help="a file whose columns become the variables"),
    click.Option(["--target"], metavar="COLUMN", help="the outcome or event; else the last column that says yes or no"),
    click.Option(["--time"], metavar="COLUMN", help="the time to the event or the end of follow-up, of cox and survival"),
    click.Option(["--patient"], metavar="COLUMN", help="the column that names the patient"),
    click.Option(["--out"], metavar="FILE", type=click.Path(), default="study.yaml", show_default=True, help="the file to write"),
)
check = command("check", checked, click.Argument(["study"], type=FILE))
