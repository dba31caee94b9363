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
PATIENT = click.Option(["--patient"], default="", metavar="COLUMN", help="what this table calls the column that names the patient")
FILE = click.Path(exists=True, dir_okay=False)


def added(screen: Screen, name: str, place: str, patient: str, folder: str | None, query: str, **options: str) -> None:
    """Make a table known to the agent under a name; it stays where it is, and nothing is sent.

    PLACE is a file (CSV, Parquet, NDJSON, Excel, AnnData, an SQLite or DuckDB database), a folder of an OMOP or FHIR export, or the
    address of a database: postgresql://user@host/database. A password is never part of it.
    """
    from collegium.data import registry
    from collegium.data.place import Place

    where = settings.folder("site", folder)
    asked = Path(query).read_text(encoding="utf8") if query.endswith(".sql") else query
    source = registry.add(where, name, Place(place, query=asked, **options), patient=patient)
    hint = f"What studies may read of it is said in {where / 'policy.yaml'}, under tables: {name}."
    screen.show({"name": name, **source.document()}, f"{name} is {source.place.path}.\n{hint}")


def there(path: str) -> str:
    """Whether a place's file is there; a server is not asked."""
    return "ask: data check" if "://" in path else "yes" if Path(path).exists() else "no"


def list_known(screen: Screen, folder: str | None) -> None:
    """List the tables that the agent knows."""
    from collegium.data import registry

    found = registry.listed(settings.folder("site", folder))
    table = screen.table(
        [(s.name, s.place.path, s.place.view or s.place.table, s.patient, there(s.place.path)) for s in found],
        ("name", "place", "table or view", "patient column", "there"),
    )
    screen.show(
        {"tables": [{"name": source.name, **source.document()} for source in found]},
        table if found else "No table yet: collegium data add NAME PLACE",
    )


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
        report = quality.check(source.place, read, patient=patient or source.patient)
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
    click.Argument(["place"], shell_complete=complete.PATHS),
    PATIENT,
    click.Option(["--table"], default="", metavar="TABLE", help="of a database: the table, or the view of its own, to take"),
    click.Option(["--query"], default="", metavar="SQL", help="of a database: one SELECT instead of a table, or a file ending in .sql"),
    click.Option(["--schema"], default="", metavar="SCHEMA", help="of a database: where its tables are, if not where its user looks"),
    click.Option(["--password-file"], default="", metavar="FILE", help="of a database: a file that only the agent's user can read"),
    click.Option(["--view"], default="", metavar="MODEL/VIEW", help="make the table of a recipe: omop/readmission, fhir/readmission"),
    click.Option(["--panel"], default="", metavar="FILE", help="of an .h5ad file: the genes, a line each, with their other names"),
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
