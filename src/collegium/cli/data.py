"""`collegium data`: name the hospital's tables, and hold one against a study before anything starts."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from collegium.cli import complete, settings
from collegium.cli.shell import Screen, columns, command
from collegium.client.names import pick
from collegium.errors import CollegiumError, PolicyRefusal
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


def checked(
    screen: Screen,
    name: str,
    study: str,
    patient: str,
    mapping: str | None,
    html: str | None,
    waive: str,
    because: str,
    folder: str | None,
) -> None:
    """Hold a table against a study: what fits, what to mend.

    NAME is a table of this site, or the path of a file. A table is read through mappings/NAME.yaml if the site has it, a file
    through --mapping; of a table, also policy.yaml is asked. Exit code 1 if the site could not take part. Columns that seem to
    name patients stop a table until they are waived: --waive writes that, and the reason, into policy.yaml.
    """
    from collegium import recipes
    from collegium.data import quality, readiness

    read = manifest.read(Path(study).read_text())
    if waive:
        waived(screen, settings.folder("site", folder), name, waive, because)
    found, refusals = taken(read, name, patient, mapping, folder)
    rows, left = recipes.cleaned(read, found.table) if not found.absent else (found.table, {})
    report = quality.check(found._replace(table=rows, left_out={**found.left_out, **left}), read)
    report = replace(report, lines=(*refusals(report.rows), *report.lines))
    if html:
        Path(html).write_text(readiness.html(report, read, name), encoding="utf8")
        screen.note(f"report written to {html}")
    found_lines = [(line.light, line.variable, line.says + (f" - {line.way_out}" if line.way_out else "")) for line in report.lines]
    screen.show(report.document(), f"{report.sentence}\n\n{columns(found_lines, ('light', 'variable', 'finding'))}")
    if report.light == "red":
        raise click.exceptions.Exit(1)


def taken(read: manifest.Study, name: str, patient: str, mapping: str | None, folder: str | None) -> tuple[Any, Callable[[int], list[Any]]]:
    """What a table or a file holds for a study, and what the policy says against it once its rows are counted."""
    from collegium.data import intake, quality
    from collegium.data.mapping import load
    from collegium.site import policy

    if Path(name).is_file():
        rules = load(Path(mapping)) if mapping else None
        return intake.file(Path(name), read, patient=patient, rules=rules, terms=intake.OPEN), lambda rows: []
    if mapping or patient:
        raise CollegiumError(
            "--mapping and --patient are for files", hint="a table's mapping is mappings/NAME.yaml; data add names its patients"
        )
    where = settings.folder("site", folder)
    terms = intake.Terms(*policy.terms(policy.load(where / "policy.yaml"), name))

    def against(rows: int) -> list[Any]:
        no = refused(where, read, name, rows) if (where / "site.toml").exists() else None
        return [quality.Line("policy.yaml", "red", str(no), no.hint)] if no else []

    return intake.named(where, name, read, terms), against


def waived(screen: Screen, where: Path, table: str, column: str, because: str) -> None:
    """Write into the policy that a column may be read though it seems to name patients."""
    from collegium.site import policy

    if not because.strip():
        raise CollegiumError(f"why may {column!r} be read?", hint="--because 'three digits of a postcode name nobody'")
    screen.agreed(f"Shall studies read {column} of {table}, though it seems to name patients?")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    policy.waive(where / "policy.yaml", table, column, f"{because.strip()} ({today})")
    screen.note(f"{column} is waived in {where / 'policy.yaml'}")


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
    click.Option(["--mapping"], metavar="FILE", type=FILE, help="how the columns of a file become the study's variables"),
    click.Option(["--html"], metavar="FILE", type=click.Path(), help="also write the report as one page"),
    click.Option(["--waive"], default="", metavar="COLUMN", help="let studies read this column though it seems to name patients"),
    click.Option(["--because"], default="", metavar="REASON", help="why, for --waive"),
    FOLDER,
)
