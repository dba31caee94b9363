"""`collegium model`: what came out of studies, read and used at the hospital; nothing is sent."""

import json
import textwrap
from pathlib import Path

import click

from collegium.cli.shell import Screen, columns, command

FOLDER = click.Path(exists=True, file_okay=False)
FILE = click.Path(exists=True, dir_okay=False)
HEADLINE = 60  # letters of it in a list; `model show` has all
SHOWN = 10  # rows on the screen; all of them go into a file


def listed(screen: Screen, folder: str) -> None:
    """List the models in a folder and the folders below it; a site's folder holds those of its runs."""
    from collegium.models import kept

    found = list(kept.found(Path(folder)))
    rows = [(path, card["title"], card["trained_on"]["sites"], shortened(card["quality"]["headline"])) for path, card in found]
    text = screen.table(rows, ("folder", "title", "hospitals", "how good")) if rows else f"There is no model in {folder}."
    screen.show({"models": [{"folder": str(path), "title": card["title"]} for path, card in found]}, text)


def shortened(headline: str) -> str:
    """The beginning of a headline, in whole words."""
    return textwrap.shorten(headline, HEADLINE, placeholder=" ...")


def shown(screen: Screen, folder: str) -> None:
    """Show a model's card: what for, learned from whom, how good. The digests of its files are checked."""
    from collegium.models import card, kept, predict

    kept.complete(Path(folder))
    model = predict.load(folder)
    screen.show(dict(model.card), card.markdown(model.card))


def used(screen: Screen, folder: str, data: str, mapping: str | None, patient: str, out: str | None) -> None:
    """Estimate for every row of a file; nothing is sent.

    FOLDER holds the model. The file needs the model's inputs under the study's names and in its units, or a mapping that leads
    to them, and no outcome. A note beside a row says in what it is unlike the patients the model learned from.
    """
    from collegium.models import kept, predict

    kept.complete(Path(folder))
    rules = None
    if mapping:
        from collegium.data.mapping import load  # local: a file without one needs no reader of mappings

        rules = load(Path(mapping))
    found = predict.use(folder, data, patient=patient, rules=rules)
    if out:
        predict.write(out, found.columns)
        screen.show({"file": out, "noted": found.noted}, f"estimates written to {out}; {found.noted} rows have a note")
        return
    rows = [list(row) for row in zip(*found.columns.values(), strict=True)]
    more = f"\n{len(rows) - SHOWN} more rows: --out FILE writes them all." if len(rows) > SHOWN else ""
    text = columns(rows[:SHOWN], list(found.columns)) + more
    screen.show({"rows": [dict(zip(found.columns, row, strict=True)) for row in rows], "noted": found.noted}, text)
    screen.note("Research use only: not a medical device.")


def exported(screen: Screen, folder: str, out: str) -> None:
    """Write boosted trees in the JSON that XGBoost loads; nothing of XGBoost is needed here.

    FOLDER holds the model. XGBoost is then given numbers as they are, 0 and 1 for no and yes, NaN where a value is missing, and for
    a category its place among the levels that are listed under `attributes`; its estimates are the model's.
    """
    from collegium.data import atomic
    from collegium.models import kept, predict, xgboost

    kept.complete(Path(folder))
    model = predict.load(folder)
    found = json.dumps(xgboost.document(model), ensure_ascii=False)
    atomic.write(Path(out), [found.encode()])
    codes = {
        name: xgboost.levels(model, name)
        for name, one in model.study.variables.items()
        if name in model.study.features and one.kind == "category"
    }
    said = "".join(f"\n  {name}: {', '.join(f'{at} = {level}' for at, level in enumerate(levels))}" for name, levels in codes.items())
    screen.show({"file": out, "categories": codes}, f"{out} is written." + (f" Categories:{said}" if said else ""))
    screen.note("Research use only: not a medical device.")


list_models = command("list", listed, click.Argument(["folder"], type=FOLDER, default="."))
show = command("show", shown, click.Argument(["folder"], type=FOLDER))
export = command(
    "export",
    exported,
    click.Argument(["folder"], type=FOLDER),
    click.Option(["--out"], metavar="FILE", type=click.Path(), default="xgboost.json", show_default=True, help="the file to write"),
)
use = command(
    "use",
    used,
    click.Argument(["folder"], type=FOLDER),
    click.Option(["--data"], type=FILE, required=True, help="the file with the patients"),
    click.Option(["--mapping"], metavar="FILE", type=FILE, help="how the columns of the file become the model's inputs"),
    click.Option(["--patient"], default="", metavar="COLUMN", help="what this file calls the column that names the patient"),
    click.Option(["--out"], metavar="FILE", type=click.Path(), help="write all estimates as CSV"),
)
