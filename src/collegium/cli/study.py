"""`collegium study`: start runs, follow them, end them, and read what they found."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from collegium import identity
from collegium.cli import complete, dry, settings, sheet
from collegium.cli.shell import Screen, command
from collegium.cli.watch import follow
from collegium.client import first as starts
from collegium.client.connect import connect
from collegium.client.network import Network
from collegium.errors import NotFound
from collegium.study import manifest, participants
from collegium.words import words

PATH = click.Path()
FOLDER = click.Option(
    ["--folder"], metavar="FOLDER", shell_complete=complete.COORDINATORS, help="the coordinator's folder; else the one this user made last"
)
URL = click.Option(["--url"], metavar="URL", help="the coordinator's address, with --key, from another machine")
KEY = click.Option(["--key"], metavar="FILE", type=PATH, help="the key to sign with, for --url")
WHICH = click.Option(["--coordinator"], default="", metavar="FINGERPRINT", help="which coordinator is meant, for --url")
THERE = (FOLDER, URL, KEY, WHICH)
RUN = click.Argument(["run"], default="", shell_complete=complete.RUNS)


def network(folder: str | None, url: str | None, key: str | None, coordinator: str) -> Network:
    """The federation that the options name."""
    where = url or settings.folder("coordinator", folder)
    return connect(where, key=key, coordinator=coordinator, environ=os.environ)


def listed(screen: Screen, **there: Any) -> None:
    """List the studies at the coordinator, and their runs."""
    with network(**there) as net:
        studies, runs = net.studies, net.runs
    rows = [(one["study"][:12], one.get("title", ""), sum(run.get("study") == one["study"] for run in runs)) for one in studies]
    ran = [(run["run"], run.get("title", "") or str(run.get("study", ""))[:12], run["status"], run.get("round", "")) for run in runs]
    text = screen.table(rows, ("study", "title", "runs")) if rows else "No study yet: collegium study new, then collegium study start FILE"
    screen.show({"studies": studies, "runs": runs}, text + (f"\n\n{screen.table(ran, ('run', 'study', 'status', 'round'))}" if ran else ""))


def shown(screen: Screen, study: str, **there: Any) -> None:
    """Show one study: its manifest, its digest, its runs. STUDY is a digest, its first letters, or a title."""
    import yaml

    with network(**there) as net:
        found = net.study(study)
    text = yaml.safe_dump(found["manifest"], sort_keys=False, allow_unicode=True)
    who = participating(screen, found)
    runs = ", ".join(str(run["run"]) if isinstance(run, Mapping) else str(run) for run in found.get("runs", []))
    screen.show(found, f"{text}\n{who}\n\ndigest {found['study']}\nin words {words(found['study'])}\nruns {runs or 'none'}")


def participating(screen: Screen, found: Mapping[str, Any]) -> str:
    """Who takes part, as the lead signed it: with the words that stewards compare by telephone."""
    pins = participants.read(participants.entries_of(found["participants"]), str(found["study"]), str(found["lead"]))
    if not pins:
        return "Nobody takes part yet: collegium study start signs the list of participants."
    rows = [(name, words(identity.fingerprint(key))) for name, key in pins.items()]
    return f"lead {words(identity.fingerprint(str(found['lead'])))}\n{screen.table(rows, ('participant', 'fingerprint'))}"


def started(screen: Screen, study: str, site: tuple[str, ...], first: str, watch: bool, dry_run: bool, **there: Any) -> None:
    """Submit a manifest, or name a study that was submitted, and start a run.

    STUDY is a file, or a study's digest or its first letters. All sites that have joined take part, or those of --site. They are
    put on the study's participant list, signed with your key: each hospital's data steward approves exactly that list.
    With --dry-run nothing is submitted or started: it says which sites would be asked, and what each would send at most. Training
    begins from weights drawn at random, or from those of a model, which --first names: a folder that `study results --save` or
    `simulate --save` wrote, or a safetensors file with the arrays 0/weight, 0/bias and so on.
    """
    path = Path(study)
    if not path.is_file() and (path.suffix in (".yaml", ".yml", ".json") or path.name != study):
        raise NotFound(f"there is no file {study!r}", hint="check the path; or name a study that was submitted: collegium study list")
    with network(**there) as net:
        if dry_run:
            read = manifest.read(path.read_text() if path.is_file() else net.study(study)["manifest"])
            if first:
                starts.first(first, read)
            screen.show(*dry.asked(screen, read, net.sites(), site))
            return
        name = net.submit(path) if path.is_file() else str(net.study(study)["study"])
        run = net.start(name, site, first=first)
        found = {"study": name, "run": run.name}
        text = f"run {run.name} of study {name[:12]} has started.\nFollow it: collegium study watch {run.name}\n"
        text += f"The study's fingerprint, to read out to each hospital's data steward: {words(name)}"
        if watch:
            screen.note(text.split("\n")[0])
            found["status"] = str(follow(screen, run)["status"])
            text = f"run {run.name} is {found['status']}: collegium study results {run.name}"
        screen.show(found, text)


def watched(screen: Screen, run: str, jsonl: bool, **there: Any) -> None:
    """Follow a run; Ctrl-C leaves it running. RUN is a run's name or its first letters; the newest one without.

    Exit code 0 when it finished, 1 when it failed or was stopped, 7 when it is paused. --jsonl prints one JSON line for each
    event as it happens, --json one document at the end.
    """
    with network(**there) as net:
        chosen = net.run(run)
        found = follow(screen, chosen, jsonl=jsonl)
    if not jsonl:
        screen.show(found, f"run {chosen.name} is {found['status']}: collegium study results {chosen.name}")


def turn(verb: str, says: str) -> Callable[..., None]:
    """The command that pauses, resumes or stops a run."""

    def turned(screen: Screen, run: str, **there: Any) -> None:
        with network(**there) as net:
            chosen = net.run(run)
            if verb == "stop":
                screen.agreed(f"Stop run {chosen.name}? All hospitals end after their present step; it cannot be taken up again.")
            found = getattr(chosen, verb)()
        screen.show(found, f"run {chosen.name} {says}")

    turned.__doc__ = f"{verb.capitalize()} a run. RUN is a run's name or its first letters; the newest one without."
    return turned


def found(screen: Screen, run: str, save: str | None, **there: Any) -> None:
    """Print the comparison sheet of a finished run; --save keeps its model in a folder for `collegium model use`."""
    with network(**there) as net:
        results = net.run(run).results()
    if save:
        results.save(save)
        screen.note(f"model saved in {save}")
    screen.show(results.to_dict(), sheet.text(results, screen))


def reported(screen: Screen, run: str, out: str | None, **there: Any) -> None:
    """Write a run's report as one HTML file, with its charts inside; it opens without a network.

    Of a run that was stopped, failed or goes on the report says what happened, and shows what there is.
    """
    with network(**there) as net:
        chosen = net.run(run)
        path = chosen.report(out or f"report-{chosen.name}.html")
    screen.show({"file": str(path)}, f"report written to {path}")


list_studies = command("list", listed, *THERE)
show = command("show", shown, click.Argument(["study"], shell_complete=complete.STUDIES), *THERE)
start = command(
    "start",
    started,
    click.Argument(["study"], shell_complete=complete.MANIFESTS),
    click.Option(
        ["--site"], multiple=True, metavar="NAME", shell_complete=complete.SITES, help="a site that takes part; once for each; else all"
    ),
    click.Option(["--first"], default="", metavar="MODEL", type=PATH, help="a model's folder or weights, from which training begins"),
    click.Option(["--watch"], is_flag=True, help="follow the run until it is over"),
    click.Option(["--dry-run"], is_flag=True, help="say what would be asked of whom, and start nothing"),
    *THERE,
)
watch = command("watch", watched, RUN, click.Option(["--jsonl"], is_flag=True, help="one JSON line for each event"), *THERE)
pause = command("pause", turn("pause", "rests after its present round."), RUN, *THERE)
resume = command("resume", turn("resume", "goes on."), RUN, *THERE)
stop = command("stop", turn("stop", "is stopped; what it has learned is kept."), RUN, *THERE)
results = command(
    "results", found, RUN, click.Option(["--save"], metavar="FOLDER", type=PATH, help="keep the model in this folder"), *THERE
)
report = command(
    "report", reported, RUN, click.Option(["--out"], metavar="FILE", type=PATH, help="the file to write; else report-RUN.html"), *THERE
)
