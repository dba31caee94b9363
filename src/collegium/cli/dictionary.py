"""`collegium study dictionary`: a study's variables as hospitals need them to collect alike."""

from pathlib import Path

import click

from collegium.cli import complete
from collegium.cli.shell import Screen, command
from collegium.errors import StudyError
from collegium.study import dictionary, manifest

FORMS = {"markdown": dictionary.markdown, "csv": dictionary.table, "template": dictionary.template, "redcap": dictionary.redcap}
ENDS = {".md": "markdown", ".csv": "csv", ".xlsx": "excel"}


def written(screen: Screen, study: str, form: str | None, out: str | None) -> None:
    """Write a study's variables as a data dictionary, as an empty table to fill, or for REDCap.

    STUDY is a manifest. Without --out it is printed; the end of a file's name (.md, .csv, .xlsx) tells the form where --as does
    not. The Excel workbook has an empty sheet that takes allowed values only, and the dictionary beside it.
    """
    read = manifest.read(Path(study).read_text())
    chosen = form or (ENDS.get(Path(out).suffix.lower(), "") if out else "markdown")
    if not chosen:
        raise StudyError(f"{out!r} does not tell the form; wanted {', '.join(ENDS)}", hint="or say --as")
    if chosen == "excel":
        if not out:
            raise StudyError("an Excel workbook is written into a file", hint="--out study.xlsx")
        from collegium.data import template  # local: the base install has no Excel

        template.workbook(read, Path(out))
    elif out:
        Path(out).write_text(FORMS[chosen](read), encoding="utf8")
    if out:
        screen.show({"file": out, "form": chosen}, f"{chosen} written to {out}")
    else:
        found = FORMS[chosen](read)
        screen.show({"form": chosen, "text": found}, found.rstrip("\n"))


export = command(
    "dictionary",
    written,
    click.Argument(["study"], type=click.Path(exists=True, dir_okay=False), shell_complete=complete.MANIFESTS),
    click.Option(["--as", "form"], type=click.Choice([*FORMS, "excel"]), help="the form; else the one that --out tells"),
    click.Option(["--out"], metavar="FILE", type=click.Path(), help="the file to write; else it is printed"),
)
