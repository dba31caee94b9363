"""The models that this hospital has, each with its card, and their use on its own patients: nothing is sent."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collegium.data import mapping, registry
from collegium.errors import DataError, NotFound
from collegium.models import card, kept, predict
from collegium.web.app import Ask, File, Shown

TRAINED = (("sites", "hospitals"), ("rows", "rows"), ("rounds", "rounds"))
SHOWN = 100  # rows on a page; the file has all


def listed(folder: Path, ask: Ask) -> Shown:
    """Every model in the site's folder."""
    rows = [
        {"run": path.name, "title": one["title"], "created": one["created"], "sites": card.said(one["trained_on"]["sites"]),
         "headline": one["quality"]["headline"]}
        for path, one in kept.found(folder / "models")
    ]  # fmt: skip
    return Shown("models.html", {"rows": rows})


def place(folder: Path, run: str) -> Path:
    """The folder of a model. Raises `NotFound`."""
    models = folder / "models"
    found = next((path for path in models.iterdir() if path.name == run), None) if models.exists() else None
    if found is None or not kept.complete(found):
        raise NotFound(f"there is no model {run[:32]!r} here", hint="see the list of models")
    return found


def shown(folder: Path, ask: Ask) -> Shown:
    """A model's card, its files checked against their digests."""
    return Shown("model.html", about(folder, ask.parts["run"]) | {"applied": None, "chosen": {}})


def about(folder: Path, run: str) -> dict[str, Any]:
    """A model's card in words, and the tables on which it may be used."""
    found = predict.load(place(folder, run)).card
    quality, trained = found["quality"], found["trained_on"]
    return {
        "run": run, "card": found,
        "trained": ", ".join(f"{card.said(trained[what])} {word}" for what, word in TRAINED),
        "lines": [(one["name"], *map(card.interval, (one["alone"], one["joint"], one["gain"])), one["note"]) for one in quality["lines"]],
        "inputs": [card.asked(one) for one in found["inputs"]],
        "tables": [source.name for source in registry.listed(folder)],
    }  # fmt: skip


def used(folder: Path, ask: Ask) -> Shown | File:
    """The model's estimates for each row of a table of this hospital, with a note on rows unlike those it learned from."""
    run, name, typed = ask.parts["run"], ask.form.get("table", ""), ask.form.get("file", "").strip()
    if not name and not typed:
        raise DataError("no table was named", hint="choose one of this hospital's tables, or name a file on this machine")
    source = registry.find(folder, name) if not typed else None
    file, patient = (source.place, source.patient) if source else (typed, ask.form.get("patient", "").strip())
    rules = mapping.of(folder, source.name) if source else None
    found = predict.use(place(folder, run), file, patient=patient, rules=rules)
    if ask.form.get("as") == "csv":
        return File(f"estimates-{run}.csv", written(found.columns))
    rows = list(zip(*found.columns.values(), strict=True))
    applied = {"head": list(found.columns), "rows": rows[:SHOWN], "count": len(rows), "noted": found.noted, "most": SHOWN}
    applied["of"] = name or Path(typed).name
    return Shown("model.html", about(folder, run) | {"applied": applied, "chosen": dict(ask.form)})


def written(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Columns as CSV."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue().encode()
