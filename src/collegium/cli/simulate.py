"""`collegium simulate`: a study over local files, each taken for a hospital, through the stages and sums of the real thing."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from collegium.cli import sheet
from collegium.cli.shell import Screen, command
from collegium.client.results import Results
from collegium.client.simulate import simulate as run
from collegium.client.tables import table
from collegium.engine.run import Run, Stage
from collegium.errors import CollegiumError, StudyError
from collegium.study import manifest
from collegium.study.manifest import Study


def simulated(
    screen: Screen,
    study: str,
    site: tuple[str, ...],
    mapping: tuple[str, ...],
    data: str | None,
    by: str | None,
    seed: int | None,
    repeat: int,
    first: str,
    pooled: bool,
    secure: bool,
    save: str | None,
    report: str | None,
) -> None:
    """Run a study over local files, as if each were a hospital, and print the comparison sheet.

    STUDY is a manifest. Give each hospital's file as --site NAME=FILE, with --mapping NAME=FILE where its columns have other names
    or units, or one file that holds all of them as --data FILE
    --by COLUMN. In a simulation every site's own line is known, and also what pooling all rows would have reached (--no-pooled
    leaves that out). A real federation shows a site's line only where that site publishes it, and can never show the other.
    """
    read = manifest.read(Path(study).read_text())
    sites = chosen(read, site, data, by)
    rules = pairs("--mapping", mapping)
    start = read.seed if seed is None else seed
    found = []
    for number in range(repeat):
        if repeat > 1:
            screen.note(f"seed {start + number} ({number + 1} of {repeat})")
        watch = partial(tell, screen)
        found.append(run(read, sites, mappings=rules, pooled=pooled, secure=secure, seed=start + number, first=first, watch=watch))
    if save:
        found[-1].save(save)
        screen.note(f"model saved in {save}")
    if report:
        found[-1].report(report)
        screen.note(f"report written to {report}")
    results = [{"seed": start + at, **one.to_dict()} for at, one in enumerate(found)]
    data_out: Mapping[str, Any] = results[0] if repeat == 1 else {"runs": results}
    screen.show(data_out, "\n\n".join(text(one, screen, start + at, repeat) for at, one in enumerate(found)))


def text(results: Results, screen: Screen, seed: int, repeat: int) -> str:
    """One run's results, under its seed where there are several, and what its masks cost."""
    spent, more = results.run.get("secure"), ""
    if spent:
        more = f"\n\n{spent['rounds']} secure sums took {spent['seconds']:.2g} s in all, their messages "
        more += f"{spent['bytes_a_site_and_round']:,} bytes a site and sum"
    return (f"seed {seed}\n" if repeat > 1 else "") + sheet.text(results, screen) + more


def tell(screen: Screen, now: Run, stage: Stage) -> None:
    """A line of progress every ten rounds."""
    if now.place.phase == "sum" and now.place.round % 10 == 0:
        screen.note(f"{stage.name}: round {now.place.round} of at most {stage.rounds}")


def chosen(study: Study, site: tuple[str, ...], data: str | None, by: str | None) -> dict[str, Any]:
    """The sites' files, or one file's rows by the column that names the site. Raises `StudyError`."""
    if site and not (data or by):
        return dict(pairs("--site", site))
    if not (data and by) or site:
        raise StudyError("give the hospitals' files as --site NAME=FILE, or one file as --data FILE --by COLUMN")
    return split(study, Path(data), by)


def pairs(option: str, given: tuple[str, ...]) -> dict[str, Path]:
    """Files by the hospital's name, from NAME=FILE. Raises `StudyError`."""
    found = [text.partition("=") for text in given]
    if wrong := [name for name, sign, path in found if not (name and sign and path)]:
        raise StudyError(f"{option} wants NAME=FILE, found {wrong[0]!r}")
    return {name: Path(path) for name, _, path in found}


def split(study: Study, path: Path, by: str) -> dict[str, Any]:
    """One file's rows as a table for each value of the column `by`."""
    from collegium.data import files  # local: whoever only asks for help does not wait for the connectors

    labels = table(path)[by]
    whole = files.read(path, study)
    if len(labels) != len(whole):
        raise CollegiumError(f"{path.name}: the column {by!r} has {len(labels)} rows, the study's columns have {len(whole)}")
    return {
        f"{label:g}" if labels.dtype.kind == "f" else str(label): whole.where(labels == label) for label in sorted(set(labels.tolist()))
    }


FILE = click.Path(exists=True, dir_okay=False)
simulate = command(
    "simulate",
    simulated,
    click.Argument(["study"], type=FILE),
    click.Option(["--site"], multiple=True, metavar="NAME=FILE", help="a hospital and its file; once for each"),
    click.Option(["--mapping"], multiple=True, metavar="NAME=FILE", help="a hospital's mapping of its columns; once for each that has one"),
    click.Option(["--data"], type=FILE, help="one file that holds all hospitals' rows"),
    click.Option(["--by"], metavar="COLUMN", help="the column of --data that names the hospital"),
    click.Option(["--seed"], type=click.IntRange(0), help="in place of the study's own seed"),
    click.Option(["--repeat"], type=click.IntRange(1, 1000), default=1, help="run it so often, each time with the next seed"),
    click.Option(
        ["--first"], default="", metavar="MODEL", type=click.Path(), help="a model's folder or weights, from which training begins"
    ),
    click.Option(["--pooled/--no-pooled"], default=True, help="also train on all rows in one place"),
    click.Option(["--secure"], is_flag=True, help="make every sum under masks, as hospitals would, to see what that costs"),
    click.Option(["--save"], metavar="FOLDER", type=click.Path(), help="keep the model of the last run"),
    click.Option(["--report"], metavar="FILE", type=click.Path(), help="write the last run's report as HTML"),
)
