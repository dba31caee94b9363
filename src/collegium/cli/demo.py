"""`collegium demo`: four real hospitals train one model together on this machine, as processes that talk over HTTPS."""

import contextlib
import csv
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import click
import numpy as np

from collegium.cli import sheet
from collegium.cli.household import Household
from collegium.cli.shell import Screen, columns, command
from collegium.client import propose, tables
from collegium.client.network import OVER, Run
from collegium.client.results import Results
from collegium.errors import DataError, RunError
from collegium.simulation import heart
from collegium.table import Table

TABLE = "patients"
PATIENCE_S = 600.0
FEWEST = 20  # rows of a hospital of the user's own file
METHOD = {"kind": "averaging", "recipe": "tabular", "hidden": [16], "local": {"lr": "0.1", "batch": 32}}

FAIR = (
    "The first line of the sheet compares both kinds of model on the same patients: each hospital's held-out ones, averaged over the "
    "hospitals. The second line is the joint model on all held-out patients at once, which no hospital's own model was asked to do."
)


class Cast(NamedTuple):
    """Who takes part, and in what."""

    study: Mapping[str, Any]
    sites: Mapping[str, Sequence[Mapping[str, str]]]
    source: str


def demonstrated(
    screen: Screen, folder: str | None, rounds: int, data: str | None, site_column: str | None, target: str | None, patient: str | None
) -> None:
    """A whole federation on this machine: a coordinator, hospitals, real patients, one model.

    Four hospitals (Cleveland, Hungary, Switzerland, Long Beach) learn together to tell who has a narrowed coronary artery;
    each is a process of its own, and they talk over HTTPS. With --data your own file takes the patients' place. Exit code 0
    only if every step held.
    """
    began = time.monotonic()
    cast = own(Path(data), site_column, target, patient, rounds) if data else hearts(rounds)
    with place(folder) as where, Household(where, "Demonstration") as house:
        results, run = played(screen, house, cast)
        house.leave()
        left = {name: left_by(where / name) for name in cast.sites}
        model, report = where / "model", where / "report.html"
        results.save(model)
        results.report(report, source=cast.source, sent_bytes=sum(totals["bytes"] for totals in left.values()))
        one = estimate(model, where, cast, results)
        facts = {"run": run.name, "seconds": round(time.monotonic() - began, 1), "report": str(report), "model": str(model)}
        document = {**results.to_dict(), **facts, "left": left, "estimate": one, "source": cast.source}
        screen.show(document, told(screen, cast, results, document))
    judged(results, left, cast)


def hearts(rounds: int) -> Cast:
    """The four hospitals of UCI Heart Disease."""
    found = heart.read(heart.path())
    return Cast(heart.study(rounds), {name: one.rows for name, one in found.items()}, heart.SOURCE)


def own(file: Path, site_column: str | None, target: str | None, patient: str | None, rounds: int) -> Cast:
    """The user's own file, its rows by the hospital that a column names; the study is drafted from the other columns."""
    if not site_column or not target:
        raise DataError("--data needs --site-column and --target: which column names the hospital, which one the outcome?")
    whole = tables.table(file)
    labels = np_text(whole[site_column])
    rest = Table({name: column for name, column in whole.columns.items() if name != site_column})
    who = patient or propose.patient_column(rest)
    seen = Table({name: column for name, column in rest.columns.items() if name != who})
    drafted = propose.study(seen, target=target, method={**METHOD, "rounds": rounds}, patient=who)
    rows: dict[str, list[dict[str, str]]] = {name: [] for name in sorted(set(labels))}
    text = {name: np_text(column) for name, column in rest.columns.items()}
    for at, label in enumerate(labels):
        rows[label].append({name: column[at] for name, column in text.items()})
    sites = {slug(name): found for name, found in rows.items() if len(found) >= FEWEST}
    if len(sites) < 3:
        raise DataError(
            f"{len(sites)} hospitals have {FEWEST} rows or more; a federation has three or more", hint="choose another --site-column"
        )
    return Cast(drafted.model_dump(mode="json"), sites, file.name)


def np_text(column: Any) -> list[str]:
    """A column as the texts of a file."""
    return ["" if v != v else f"{v:.15g}" if isinstance(v, float) else str(v) for v in column.tolist()]


def slug(name: str) -> str:
    """A hospital's name as a folder is called."""
    kept = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    return kept or "unnamed"


@contextlib.contextmanager
def place(folder: str | None) -> Iterator[Path]:
    """The folder to work in: the one given, which must be empty, or a new one; it stays, for the report is in it."""
    where = Path(folder).resolve() if folder else Path(mkdtemp(prefix="collegium-demo-"))
    where.mkdir(parents=True, exist_ok=True)
    if any(where.iterdir()):
        raise DataError(f"{where} is not empty", hint="choose another --folder; nothing is ever overwritten")
    try:
        yield where
    except KeyboardInterrupt:
        if not folder:
            shutil.rmtree(where, ignore_errors=True)
        raise


def played(screen: Screen, house: Household, cast: Cast) -> tuple[Results, Run]:
    """The federation from its founding to its results. Raises `RunError`."""
    screen.note(f"patients: {cast.source}")
    screen.note("starting a coordinator, and a process for each hospital ...")
    network = house.open()
    for name, rows in cast.sites.items():
        written(house.folder / f"{name}.csv", rows)
        house.settle(name, TABLE, house.folder / f"{name}.csv", min(3, len(cast.sites)))
        house.begin(name)
        screen.note(f"  {name}: {len(rows)} patients, joined at {network.link.dialler.to} over HTTPS")
    run = network.start(network.submit(cast.study))
    for event in watched(house, run):
        if event["kind"] != "round" or event["figures"]["place"][1] % 10 == 0 or event["figures"]["stage"] != "fit":
            screen.note(f"  {event['says']}")
    status = run.status()
    if status["status"] != "finished":
        raise RunError(f"the run {status['status']}: {status['says']}", hint=f"see the logs in {house.folder}")
    return run.results(), run


def watched(house: Household, run: Run) -> Iterator[Mapping[str, Any]]:
    """What happens in the run until it is over, as long as every process is alive. Raises `RunError`, `TimeoutError`."""
    after, end = 0, time.monotonic() + PATIENCE_S
    while True:
        house.alive()
        found = run.events(after, 2)
        for event in found:
            after = int(event["id"])
            yield event
        if any(event["kind"] in OVER for event in found):
            return
        if held := [event["says"] for event in found if event["kind"] == "paused"]:
            raise RunError(f"the run does not go on: {held[-1]}", hint=f"see the logs in {house.folder}")
        if time.monotonic() > end:
            raise TimeoutError(f"the run is not over after {PATIENCE_S:.0f} s; see the logs in {house.folder}")


def written(file: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """A hospital's rows as the CSV file that it would have exported."""
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)


def left_by(folder: Path) -> dict[str, int]:
    """What has left a hospital, by its own ledger, whose chain is checked on the way. Raises `IdentityError`."""
    from collegium.site import ledger

    totals = {"sums": 0, "bytes": 0, "lines": 0, "failures": 0}
    names = {"sum": "sums", "line": "lines", "failure": "failures"}
    for entry in ledger.entries(folder / "state" / "ledger.jsonl"):
        if entry["what"] in names:
            totals[names[entry["what"]]] += 1
        totals["bytes"] += int(entry.get("bytes", 0))
    return totals


def estimate(model: Path, folder: Path, cast: Cast, results: Results) -> dict[str, str]:
    """One patient whom no model was trained on, as `collegium model use` sees them; and what was found in truth."""
    from collegium.models import predict

    study = results.study
    site, rows = next(iter(cast.sites.items()))
    who = [row.get(study.patient, str(at)) for at, row in enumerate(rows)]
    digits = Table({}, np.array(who)).tenths(study.holding.salt)
    row = rows[int(np.flatnonzero(digits < study.holding.test)[0])]
    target = study.outcome.target if study.outcome else ""
    written(folder / "new-patient.csv", [{name: value for name, value in row.items() if name not in (target, study.patient)}])
    found = predict.use(model, folder / "new-patient.csv")
    shown = {name: str(values[0]) for name, values in found.columns.items() if name != "row"}
    return {"hospital": site, **{name: row[name] for name in study.features if row[name]}, **shown, "in truth": f"{target} {row[target]}"}


def told(screen: Screen, cast: Cast, results: Results, document: Mapping[str, Any]) -> str:
    """What came out, in words and tables."""
    left, one = document["left"], dict(document["estimate"])
    rows = [
        (name, len(cast.sites[name]), t["sums"], f"{t['bytes'] / 1024:.0f} KiB", "yes" if t["lines"] else "no", 0)
        for name, t in left.items()
    ]
    heads = ("hospital", "patients", "sums sent", "size", "own line published", "records sent")
    site, truth = one.pop("hospital"), one.pop("in truth")
    parts = [
        f"{results.study.title}: {len(cast.sites)} hospitals, {sum(map(len, cast.sites.values()))} patients. {FAIR}",
        sheet.text(results, screen),
        f"One patient of {site} whom no model was trained on (collegium model use {document['model']}):\n{columns(one.items())}\n"
        f"In truth: {truth}. Research use only: not a medical device.",
        f"What left each hospital, by its own ledger:\n{screen.table(rows, heads)}\n" + hidden(results),
        f"Report: {Path(document['report']).as_uri()}\nDone in {document['seconds']:.0f} s.",
    ]
    return "\n\n".join(parts)


def hidden(results: Results) -> str:
    """From whom the hospitals' parts were hidden."""
    if results.study.secure:
        return "Each was masked before it left: the coordinator could read the sum of all hospitals, and no single one's part."
    return "With two hospitals no mask hides a part from the other one, so none was laid: the coordinator saw each while it added it."


def judged(results: Results, left: Mapping[str, Mapping[str, int]], cast: Cast) -> None:
    """Raise `RunError` unless everything held."""
    if silent := [name for name, totals in left.items() if not totals["sums"] or totals["failures"]]:
        raise RunError(f"{silent[0]} sent {left[silent[0]]}: it did not take part as it should")
    mean = results.sheet[0]
    if cast.source == heart.SOURCE and (mean.joint is None or mean.alone is None or mean.joint[0] <= mean.alone[0]):
        raise RunError(
            "the joint model was not better than the mean of the hospitals' own", hint="this data and study are known to gain: report it"
        )


demo = command(
    "demo",
    demonstrated,
    click.Option(
        ["--folder"], metavar="FOLDER", type=click.Path(), help="where to work, and leave model and report; else a temporary folder"
    ),
    click.Option(["--rounds"], type=click.IntRange(1, 10_000), default=50, show_default=True, help="rounds of training"),
    click.Option(["--data"], type=click.Path(exists=True, dir_okay=False), help="your own file, in place of the four hospitals"),
    click.Option(["--site-column"], metavar="COLUMN", help="the column of --data that names the hospital"),
    click.Option(["--target"], metavar="COLUMN", help="the column of --data that holds the outcome"),
    click.Option(["--patient"], metavar="COLUMN", help="the column of --data that names the patient"),
)
