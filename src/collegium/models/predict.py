"""A trained model as a folder, and in use: at the hospital, on its own file, with nothing sent anywhere.

    model.safetensors   the weights (`params/...`), how inputs are prepared (`features/...`, `bins/...`), the outcome's scale if it has one
    study.json          the manifest, canonical: what each input means, in which unit and range
    card.json, card.md  what the model is for, how good it is, what was not measured; and the digests of the files above

Models whose layers the manifest describes, boosted trees and exact fits (regressions, Cox's model) need NumPy only; others need
their recipe.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium import wire
from collegium.algorithms.columns import places, texts
from collegium.algorithms.features import Column, encode, kept_places, measured, values
from collegium.algorithms.forest import codes
from collegium.algorithms.glm import FAMILIES
from collegium.data.place import Place, place_of
from collegium.errors import DataError, FrameError, NotFound, StudyError
from collegium.models.card import FORMAT, markdown
from collegium.study import boosting, layers, manifest
from collegium.study.manifest import Averaging, Cox, Glm, Study, Trees
from collegium.study.plan import column
from collegium.study.schema import HeldOut
from collegium.table import Table

UNUSUAL = 4.0  # standard deviations from the training patients' mean
MISSING, UNKNOWN, RARE = "is missing", "is not a known category", "was hardly or never seen in training"
BESIDE = ("bins", "outcome")  # what a model needs besides `params` and `features`, where its study has it
WEIGHTS, STUDY, CARD, PAGE = "model.safetensors", "study.json", "card.json", "card.md"


@dataclass(frozen=True)
class Model:
    """A trained model, its study and its card."""

    study: Study
    trees: T.Tree  # params, features; bins for trees, outcome for a standardised one
    card: Mapping[str, Any]

    def predict(self, table: Table) -> np.ndarray:
        """A probability (rows,), class probabilities (rows, classes) or a value (rows,); NaN where an exact fit lacks an input.

        Of Cox's model the risk by each of the study's horizons (rows, horizons), or without any the hazard relative to that of the
        mean patient (rows,); NaN for a horizon that follow-up does not reach.

        It lacks one that is missing, and a category that training did not teach it.
        """
        study, columns = self.study, inputs(self.study)
        table = listed(table, columns)
        task = study.outcome.task if study.outcome else "regression"
        if isinstance(study.method, Trees):
            return self.unscaled(boosting.scores(self.trees["params"], codes(table, columns, self.trees), task), task)
        x = encode(table, columns, self.trees["features"], reference=study.exact)
        if isinstance(study.method, Glm | Cox):
            found = regression(study.method, self.trees["params"], x)
            lacking = np.any([missing(np.asarray(table[c.name])) | untaught(table, c, self.trees["features"]) for c in columns], axis=0)
            found[lacking] = np.nan
            return found
        if layers.described(self.trees["params"]):
            found = layers.scores(layers.forward(self.trees["params"], x), task)
        else:
            from collegium import recipes  # here, because only such models need a training library

            found = recipes.learner(study).score(self.trees["params"], Table({"x": x}))
        return self.unscaled(found, task)

    def unscaled(self, found: np.ndarray, task: str) -> np.ndarray:
        """The answers in the outcome's own unit: what was trained on had mean 0 and spread 1."""
        if task != "regression":
            return found
        scale = self.trees["outcome"]["numbers"]
        return found * float(np.asarray(scale["sd"])[0]) + float(np.asarray(scale["mean"])[0])

    def notes(self, table: Table, given: Table | None = None) -> list[str]:
        """For each row, in what it is unlike the patients the model learned from; "" if in nothing.

        `given` is the table before values out of range were made missing.
        """
        out: list[list[str]] = [[] for _ in range(len(table))]
        for one in self.remarks(table, given):
            for row in np.flatnonzero(one.where).tolist():
                out[row].append(f"{one.column} {one.says}")
        return ["; ".join(words) for words in out]

    def remarks(self, table: Table, given: Table | None = None) -> Iterator["Remark"]:
        """The same column by column: which rows, and what is said of them."""
        columns, prepared = inputs(self.study), self.trees["features"]
        given, table = given or table, listed(table, columns)
        for c in columns:
            lost = missing(np.asarray(table[c.name]))
            dropped = lost & ~missing(np.asarray(given[c.name]))
            yield Remark(c.name, MISSING, lost & ~dropped)
            yield Remark(c.name, "is out of range" if c.kind == "number" else UNKNOWN, dropped)
            if c.kind == "category":
                yield Remark(c.name, RARE, ~lost & (kept_places(table, c, prepared) == -2))
        if getattr(self.study.method, "standardise", isinstance(self.study.method, Trees)):
            for c, x, mean, sd in zip(measured(columns), values(table, columns).T, *scales(prepared), strict=True):
                yield Remark(c.name, "is unusual", np.abs(x - mean) > (UNUSUAL * sd if c.kind == "number" else np.inf))


def regression(method: Glm | Cox, params: T.Tree, x: np.ndarray) -> np.ndarray:
    """What an exact fit says of each row of encoded inputs."""
    coef = np.asarray(params["coef"])
    if isinstance(method, Glm):
        return np.asarray(FAMILIES[method.family].mean(coef[0] + x @ coef[1:]))
    relative = np.exp((x - np.asarray(params["centre"])) @ coef)
    if not method.horizons:
        return np.asarray(relative)
    times, hazard = (np.append(first, np.asarray(params[name])) for first, name in ((0.0, "time"), (0.0, "hazard")))
    asked = np.array([float(h) for h in method.horizons])
    reached = np.where(asked <= times[-1], hazard[np.searchsorted(times, asked, side="right") - 1], np.nan)
    return np.asarray(1 - np.exp(-relative[:, None] * reached))


class Remark(NamedTuple):
    """In what some rows are unlike the patients that a model learned from."""

    column: str
    says: str
    where: np.ndarray


class Applied(NamedTuple):
    """A model's answers about a file: the columns to write, and how many rows are unlike the training patients."""

    columns: dict[str, list[Any]]
    noted: int


def inputs(study: Study) -> list[Column]:
    """The study's features as columns to prepare."""
    return [column(name, study.variables[name]) for name in study.features]


def scales(prepared: T.Tree) -> tuple[np.ndarray, np.ndarray]:
    """Means and spreads of the number and binary columns."""
    return np.asarray(prepared["numbers"]["mean"]), np.asarray(prepared["numbers"]["sd"])


def missing(column: np.ndarray) -> np.ndarray:
    """Which values are missing."""
    return np.isnan(column) if column.dtype.kind == "f" else np.asarray(column == "")


def listed(table: Table, columns: list[Column]) -> Table:
    """The table with categories that the study does not list made missing, as a hospital's data check makes them."""
    found = {}
    for c in (c for c in columns if c.kind == "category" and c.categories is not None):
        text = texts(table, c.name)
        found[c.name] = np.where(places(text, c.categories or ()) == len(c.categories or ()), "", text)
    return table.with_columns(**found) if found else table


def untaught(table: Table, c: Column, prepared: T.Tree) -> np.ndarray:
    """Where a category is one that training hardly saw and has no coefficient for, not even one for all the rare ones."""
    if c.kind != "category" or int(np.asarray(prepared["categories"][c.name]["flag"])[0]):
        return np.zeros(len(table), bool)
    return np.asarray(kept_places(table, c, prepared) == -2)


# The folder ------------------------------------------------------------------------------------------------------------------


def save(folder: str | Path, study: Study, results: Mapping[str, T.Tree], card: Mapping[str, Any]) -> None:
    """Write a finished run's model; the card comes last and vouches for the rest. Raises `StorageError`, `StudyError`."""
    from collegium.data import atomic

    if "features" not in results or "params" not in results.get("fit", {}):
        raise StudyError(f"the run of {study.title!r} has no model: it has {', '.join(sorted(results)) or 'no results'}")
    trees: dict[str, Any] = {"params": results["fit"]["params"], "features": results["features"]}
    trees |= {name: results[name] for name in BESIDE if name in results}
    about = {"format": str(FORMAT), "kind": "collegium model", "study": manifest.digest(study)}
    files = {WEIGHTS: b"".join(bytes(piece) for piece in wire.encode(trees, about)), STUDY: manifest.signed(study)}
    digests = {name: "sha256:" + hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    full = {**card, "files": digests}
    files |= {PAGE: markdown(full).encode(), CARD: json.dumps(full, indent=1, ensure_ascii=False, allow_nan=False).encode()}
    for name, raw in files.items():
        atomic.write(Path(folder) / name, [raw], mode=0o644)


def load(folder: str | Path) -> Model:
    """The model of a folder, its digests checked. Raises `NotFound`, or `FrameError` if the files do not belong together."""
    folder = Path(folder)
    absent = [name for name in (WEIGHTS, STUDY, CARD) if not (folder / name).is_file()]
    if absent:
        raise NotFound(
            f"{str(folder)!r} is not a model's folder: {', '.join(absent)} is not there", hint="give the folder that holds card.json"
        )
    files = {name: (folder / name).read_bytes() for name in (WEIGHTS, STUDY)}
    try:
        card = json.loads((folder / CARD).read_bytes())
        vouched, version = {name: card["files"][name] for name in files}, card["format"]
        document = json.loads(files[STUDY])
    except (ValueError, KeyError, TypeError) as e:
        raise FrameError(f"{CARD} or {STUDY} in {str(folder)!r} is damaged ({type(e).__name__})", hint="copy the model again") from None
    if version != FORMAT:
        raise FrameError(f"the model has format {version!r}, this program reads {FORMAT}", hint="install the newer version of Collegium")
    for name, raw in files.items():
        if vouched[name] != "sha256:" + hashlib.sha256(raw).hexdigest():
            raise FrameError(f"{name} is not the file that {CARD} describes: it was changed or cut short", hint="copy the model again")
    study, trees = manifest.read(document), wire.decode(files[WEIGHTS])
    about = wire.layout(lambda at, size: files[WEIGHTS][at : at + size], len(files[WEIGHTS]))[2]
    if about.get("study") != manifest.digest(study):
        raise FrameError(f"{WEIGHTS} was trained for another study than {STUDY}", hint="copy the model again")
    return Model(study, trees, card)


# In use ----------------------------------------------------------------------------------------------------------------------


def use(folder: str | Path, file: str | Path | Place, *, patient: str = "", rules: Any = None) -> Applied:
    """The model's answers about every row of a hospital's file, with a note on rows that are unlike its training patients.

    The file needs the model's inputs in their units, or a mapping's `rules` that lead to them (`data.mapping`), and no outcome.
    Values out of range count as missing and are noted; a column that is absent or mostly in another unit raises `DataError`.
    """
    from collegium.data import files, intake, quality  # here, so that a model can be used on a table where no connector is installed

    model = load(folder)
    asked = to_ask(model.study)
    found = intake.file(file, asked, patient=patient, rules=rules)
    raw, who = Table(found.table.columns), found.table.patient
    asked = asked.model_copy(update={"patient": ""})  # a row without a patient's name gets its answer too
    for name in (name for name in model.study.features if name in found.absent and model.study.variables[name].required):
        says = f"{place_of(file).label}: there is no column {name!r}{files.nearest(name, found.header)}"
        raise DataError(says, hint=f"the model needs it; the file has {files.listed(found.header)}")
    absent = tuple(name for name in found.absent if name in asked.variables)
    try:
        clean, _ = quality.passed(found._replace(table=raw, absent=absent), asked)
    except DataError as e:
        raise DataError(f"{place_of(file).label}: {e}", hint=e.hint) from None
    notes = model.notes(clean, raw)
    columns: dict[str, list[Any]] = {"row": [*range(1, len(clean) + 1)]}
    if who is not None:
        columns[patient or model.study.patient] = who.tolist()
    columns |= answers(model, model.predict(clean)) | {"note": notes}
    return Applied(columns, sum(map(bool, notes)))


def to_ask(study: Study) -> Study:
    """The study as a file of new patients must answer it: the inputs only, any of which a patient may lack."""
    features = {name: study.variables[name].model_copy(update={"required": False}) for name in study.features}
    changes = {"variables": features, "outcome": None, "held_out": HeldOut()}
    return study.model_copy(update=changes)


def answers(model: Model, found: np.ndarray) -> dict[str, list[Any]]:
    """The model's answers under names that people read, four digits of a probability and six of a value."""
    outcome = model.study.outcome
    task = outcome.task if outcome and isinstance(model.study.method, Averaging | Trees) else ""
    if outcome and isinstance(model.study.method, Cox):
        if found.ndim == 1:
            return {"relative hazard": shown(found, 4)}
        unit = model.study.variables[outcome.time].unit
        named = [f"risk by {h}{f' {unit}' if unit else ''}" for h in model.study.method.horizons]
        return {name: shown(p, 4) for name, p in zip(named, found.T, strict=True)}
    if outcome and task == "multiclass":
        levels = model.study.variables[outcome.target].categories
        likely = [levels[place] for place in found.argmax(1).tolist()]
        return {f"probability of {level}": shown(p, 4) for level, p in zip(levels, found.T, strict=True)} | {"most likely": likely}
    if task == "binary" or (isinstance(model.study.method, Glm) and model.study.method.family == "binomial"):
        return {"probability": shown(found, 4)}
    return {"estimate": shown(found, 6)}


def shown(found: np.ndarray, digits: int) -> list[Any]:
    """Figures as text; nothing where there is none."""
    return ["" if np.isnan(x) else f"{x:.{digits}g}" for x in found.tolist()]


def write(path: str | Path, columns: Mapping[str, list[Any]]) -> None:
    """Write columns as a CSV file, whole or not at all. Raises `StorageError`."""
    from collegium.data import atomic

    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    atomic.write(Path(path), [out.getvalue().encode()])
