"""`collegium data`: name the hospital's tables, and hold one against a study before anything starts."""

from dataclasses import replace
from pathlib import Path

import click

from collegium.cli import complete, settings
from collegium.cli.shell import Screen, columns, command
from collegium.client.names import pick
from collegium.errors import PolicyRefusal
from collegium.study import manifest

FOLDER = click.Option(
    ["--folder"], metavar="FOLDER", shell_complete=complete.SITE_FOLDERS, help="the site's folder; else the one this user joined last"
)
PATIENT = click.Option(["--patient"], default="", metavar="COLUMN", help="what this file calls the column that names the patient")
FILE = click.Path(exists=True, dir_okay=False)


def added(screen: Screen, name: str, file: str, patient: str, folder: str | None) -> None:
    """Make a file known to the agent under a name; the file stays where it is, and nothing is sent."""
    from collegium.data import registry

    where = settings.folder("site", folder)
    source = registry.add(where, name, file, patient=patient)
    hint = f"What studies may read of it is said in {where / 'policy.yaml'}, under tables: {name}."
    screen.show(source._asdict(), f"{name} is {source.path}.\n{hint}")


def list_known(screen: Screen, folder: str | None) -> None:
    """List the tables that the agent knows."""
    from collegium.data import registry

    found = registry.listed(settings.folder("site", folder))
    table = screen.table(
        [(s.name, s.path, s.patient, "yes" if Path(s.path).is_file() else "no") for s in found], ("name", "file", "patient column", "there")
    )
    screen.show({"tables": [source._asdict() for source in found]}, table if found else "No table yet: collegium data add NAME FILE")


def removed(screen: Screen, name: str, folder: str | None) -> None:
    """Forget a table; the file stays."""
    from collegium.data import registry

    where = settings.folder("site", folder)
    chosen = pick(name, [source.name for source in registry.listed(where)], "table")
    screen.agreed(f"Shall studies no longer find {chosen}?")
    registry.remove(where, chosen)
    screen.show({"removed": chosen}, f"{chosen} is forgotten; its file stays.")


def checked(screen: Screen, name: str, study: str, patient: str, folder: str | None) -> None:
    """Hold a table against a study: what fits, what to mend.

    NAME is a table of this site, or the path of a file. Of a table, also policy.yaml is asked. Exit code 1 if the site could not
    take part.
    """
    from collegium.data import quality, registry

    read = manifest.read(Path(study).read_text())
    if Path(name).is_file():
        report = quality.check(Path(name), read, patient=patient)
    else:
        where = settings.folder("site", folder)
        source = registry.find(where, name)
        report = quality.check(source.path, read, patient=patient or source.patient)
        if (where / "site.toml").exists() and (refusal := refused(where, read, source.name, report.rows)):
            no = quality.Line("policy.yaml", "red", str(refusal), refusal.hint)
            report = replace(report, lines=(no, *report.lines))
    rows = [(line.light, line.variable, line.says + (f" - {line.way_out}" if line.way_out else "")) for line in report.lines]
    screen.show(report.document(), f"{report.sentence}\n\n{columns(rows, ('light', 'variable', 'finding'))}")
    if report.light == "red":
        raise click.exceptions.Exit(1)


def refused(where: Path, study: manifest.Study, table: str, rows: int) -> PolicyRefusal | None:
    """What the policy of the site in a folder says against a study on one of its tables."""
    from collegium.site import policy

    asked, rules = study.model_dump(mode="json"), policy.load(where / "policy.yaml")
    try:
        policy.check(rules, asked, table)
        policy.check_rows(rules, asked, table, rows)
    except PolicyRefusal as e:
        return e
    return None


add = command(
    "add",
    added,
    click.Argument(["name"]),
    click.Argument(["file"], type=FILE),
    PATIENT,
    FOLDER,
)
list_tables = command("list", list_known, FOLDER)
remove = command("remove", removed, click.Argument(["name"], shell_complete=complete.TABLES), FOLDER)
check = command(
    "check",
    checked,
    click.Argument(["name"], shell_complete=complete.TABLES_OR_FILES),
    click.Argument(["study"], type=FILE),
    PATIENT,
    FOLDER,
)
