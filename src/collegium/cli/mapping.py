"""`collegium data map`: draft the mapping of a table, or try the one it has."""

from pathlib import Path
from typing import Any

import click

from collegium.cli import complete, settings
from collegium.cli.data import FILE, FOLDER, PATIENT
from collegium.cli.shell import Screen, command
from collegium.errors import ConflictError
from collegium.study import manifest


def mapped(
    screen: Screen,
    name: str,
    study: str,
    suggest: bool,
    check: bool,
    mapping: str | None,
    out: str | None,
    patient: str,
    folder: str | None,
) -> None:
    """Draft the mapping of a table for a study, or try the one it has.

    NAME is a table of this site, or the path of a file. With --suggest a draft is printed, or written by --out: each line says
    why it was guessed; read it, mend it, and keep it as mappings/NAME.yaml in the site's folder. With --check, or without either,
    the mapping is run over the whole table, and each variable is shown with where it comes from and what became of it. Nothing
    is sent. Exit code 1 if a variable that the study needs is not there.
    """
    read = manifest.read(Path(study).read_text())
    if suggest and not check:
        drafted(screen, read, name, out, folder)
    else:
        tried(screen, read, name, mapping, patient, folder)


def drafted(screen: Screen, read: manifest.Study, name: str, out: str | None, folder: str | None) -> None:
    """Print or write a draft."""
    from functools import partial

    from collegium.data import registry, sources, suggest
    from collegium.data.place import place_of

    place = place_of(Path(name)) if Path(name).is_file() else registry.find(settings.folder("site", folder), name).place
    text = suggest.draft(suggest.sample(partial(sources.load, place), read), read, name)
    if out:
        if Path(out).exists() and not screen.yes:
            raise ConflictError(f"{out} exists", hint="choose another --out, or add --yes to write over it")
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(text, encoding="utf8")
    screen.show({"draft": text, "file": out or ""}, f"draft written to {out}: read every line of it" if out else text.rstrip("\n"))


def tried(screen: Screen, read: manifest.Study, name: str, mapping: str | None, patient: str, folder: str | None) -> None:
    """Run a mapping over a table, and show each variable."""
    from collegium.data import intake, quality
    from collegium.data import mapping as mappings

    if Path(name).is_file():
        rules = mappings.load(Path(mapping)) if mapping else None
        found = intake.file(Path(name), read, patient=patient, rules=rules)
    else:
        where = settings.folder("site", folder)
        rules = mappings.load(Path(mapping)) if mapping else mappings.of(where, name)
        found = intake.named(where, name, read, rules=rules)
    report = quality.check(found, read)
    rows = []
    for variable in read.variables:
        counts: Any = report.counts.get(variable, {})
        rule = rules.columns.get(variable) if rules else None
        source = "not in the table" if variable in found.absent else origin(rule) if rule else "the column of its name"
        rows.append({"variable": variable, "from": source, **counts})
    figures = ("known", "missing", "unreadable", "impossible", "unlisted")
    shown = [(row["variable"], row["from"], *(row.get(figure, "-") for figure in figures)) for row in rows]
    unused = sorted(set(rules.columns) - set(read.variables) - {read.patient, read.holding.column}) if rules else []
    note = f"\n\nOf the mapping, this study does not ask for: {', '.join(unused)}." if unused else ""
    screen.show({"variables": rows, "unused": unused}, screen.table(shown, ("variable", "comes from", *figures)) + note)
    if any(read.variables[variable].required for variable in found.absent if variable in read.variables):
        raise click.exceptions.Exit(1)


def origin(rule: Any) -> str:
    """Where a variable comes from, in a few words."""
    if rule.sql:
        return f"sql: {rule.sql}" if len(rule.sql) < 40 else f"sql: {rule.sql[:37]}..."
    if rule.until:
        return f"from {rule.source} until {rule.until}"
    more = [f"in {rule.unit}"] if rule.unit else []
    more += [f"{len(rule.values)} words mapped"] if rule.values else []
    return ", ".join([rule.source, *more])


map_table = command(
    "map",
    mapped,
    click.Argument(["name"], shell_complete=complete.TABLES_OR_FILES),
    click.Argument(["study"], type=FILE),
    click.Option(["--suggest"], is_flag=True, help="draft a mapping, with the reasons"),
    click.Option(["--check"], is_flag=True, help="try the mapping on the whole table (the default)"),
    click.Option(["--mapping"], metavar="FILE", type=FILE, help="try this file; else mappings/NAME.yaml"),
    click.Option(["--out"], metavar="FILE", type=click.Path(), help="write the draft here"),
    PATIENT,
    FOLDER,
)
