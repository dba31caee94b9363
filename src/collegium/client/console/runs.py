"""One run: as it goes on, with what each hospital does; and, when it is over, its results in words and pictures."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from collegium.client.console.today import BADGES
from collegium.client.network import OVER, PAUSED, Network, Run, standing
from collegium.client.results import Results
from collegium.study import manifest
from collegium.study.outflow import STEPS
from collegium.study.report.comparison import headline
from collegium.study.report.document import Record
from collegium.study.report.page import body, parts
from collegium.study.report.quality import learning
from collegium.web.app import Ask, File, Go, Shown

EVENTS = 30  # of the newest
TONES = {"has answered": "ok", "computes": "run", "took part": "idle", "waits": "idle", "rests": "idle"}


def shown(network: Network, ask: Ask) -> Shown:
    """The run's page, whichever way it stands."""
    run = network.run(ask.parts["run"])
    status = run.status()
    told = network.study(status["study"])
    study = manifest.read(told["manifest"])
    over = status["status"] in OVER
    record = record_of(
        ended(run) if over else Results(study, {}, {}, {}, status), events=run.history() if status["status"] != "finished" else []
    )
    return Shown("run.html", {
        "run": run.name, "title": study.title, "purpose": study.purpose, "status": status, "tone": BADGES.get(status["status"], "idle"),
        "over": over, "paused": status["status"] == PAUSED, "step": step(status), "hospitals": hospitals(status),
        "events": [(event["at"], event["says"]) for event in reversed(run.history()[-EVENTS:])],
        "headline": headline(record) if over else "", "sections": parts(record) if over else [],
        "learning": "" if over else body(learning(record).blocks),
    })  # fmt: skip


@lru_cache(16)
def kept(network: Network, name: str) -> Results:
    """What came of a run that is over; it does not change any more."""
    return Run(network, name).found()


def ended(run: Run) -> Results:
    """The same."""
    return kept(run.network, run.name)


def record_of(found: Results, events: list[dict[str, Any]]) -> Record:
    """Results as a report reads them."""
    facts = {**found.run, "events": events}
    return Record(found.study, found.trees, facts.get("figures", ()), sorted(found.lines.items()), found.pooled or None, facts)


def step(status: Mapping[str, Any]) -> dict[str, Any]:
    """Where a run stands, in words, and how far its present step is."""
    stages, number, most = list(status["stages"]), int(status["round"]), int(status.get("rounds_of_stage") or 0)
    return {
        "number": stages.index(status["stage"]) + 1, "of": len(stages), "name": STEPS.get(status["stage"], status["stage"]),
        "round": number, "most": most, "ranging": status.get("phase") == "range",
    }  # fmt: skip


def hospitals(status: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each hospital: its name, what it does, in which tone that is shown."""
    said = {name: standing(status, name) for name in sorted(status["sites"])}
    return [(name, words, TONES.get(words, "warn")) for name, words in said.items()]


def turned(verb: str, says: str) -> Callable[[Network, Ask], Go]:
    """The page that pauses, resumes or stops a run."""

    def page(network: Network, ask: Ask) -> Go:
        run = network.run(ask.parts["run"])
        getattr(run, verb)()
        return Go(f"/studies/{run.name}", says)

    return page


def report(network: Network, ask: Ask) -> File:
    """The report as a file by itself."""
    run = network.run(ask.parts["run"])
    found = run.found()
    events = [] if found.run["status"] == "finished" else run.history()
    return File(f"report-{run.name}.html", found.page(events=events).encode(), "text/html; charset=utf-8")


def results(network: Network, ask: Ask) -> File:
    """Every figure of a run, for a program."""
    run = network.run(ask.parts["run"])
    return File(f"results-{run.name}.json", json.dumps(run.results().to_dict(), indent=1, ensure_ascii=False).encode(), "application/json")
