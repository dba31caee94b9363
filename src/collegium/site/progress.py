"""What a person at the site's terminal sees: a table that is kept up to date, or, in a log, one line for each event."""

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

WORDS = {
    "running": "takes part",
    "paused": "is paused",
    "finished": "is finished",
    "stopped": "was stopped",
    "failed": "failed",
    "waiting": "waits for this hospital's steward",
    "queued": "waits for its turn",
    "starting": "is taken up",
    "over": "ended before this hospital decided",
}


def sentence(run: str, facts: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """An event in words, with what is `known` of its run; nothing for those that only a table shows."""
    study = f"study {known['title']!r}" if known.get("title") else f"run {run}" if run else "site"
    if facts.get("trouble"):
        return f"{study}: {facts['trouble']}"
    if facts.get("status") == "left":
        return f"{study}: this site does not take part: {facts.get('detail') or facts['says']}"
    if "model" in facts:
        return f"{study}: the results are in {facts['model']}"
    if "status" in facts:
        says = f": {facts['says']}" if facts.get("says") else ""
        return f"{study} {WORDS.get(facts['status'], facts['status'])}{says}"
    if "round" in facts and facts.get("phase") == "sum":
        names = known.get("stages") or ()
        stage = names[facts["stage"]] if facts["stage"] < len(names) else facts["stage"] + 1
        return f"{study}: {stage}, round {facts['round']}"
    return str(facts.get("says", "")) if not run else ""


class Lines:
    """One line for each event, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None, *, now: Any = time.time) -> None:
        self.stream, self.now, self.said = stream or sys.stderr, now, dict[str, str]()

    def __call__(self, run: str, facts: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        says = sentence(run, facts, known)
        if says and self.said.get(run) != says:
            self.said[run] = says
            self.stream.write(f"{time.strftime('%H:%M:%S', time.localtime(self.now()))} {says}\n")
            self.stream.flush()

    def close(self) -> None:
        """Nothing is left open."""


class Live:
    """A table on a terminal."""

    def __init__(self) -> None:
        from rich.live import Live as Screen  # local: only where somebody looks at it

        self.runs: dict[str, Mapping[str, Any]] = {}
        self.notes: list[str] = []
        self.screen = Screen(refresh_per_second=4)
        self.screen.start()

    def __call__(self, run: str, facts: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        from rich.table import Table

        if run:
            self.runs[run] = dict(known)
        if facts.get("trouble") or facts.get("status") in ("left", "waiting") or not run:
            self.notes = [*self.notes, sentence(run, facts, known)][-1:]
        table = Table("study", "stage", "round", "now", caption=next(iter(self.notes), ""))
        for name, of in self.runs.items():
            names, stage = of.get("stages") or (), of.get("stage")
            shown = names[stage] if stage is not None and stage < len(names) else ""
            table.add_row(str(of.get("title", name)), str(shown), str(of.get("round", "")), str(of.get("doing") or of.get("status", "")))
        self.screen.update(table)

    def close(self) -> None:
        """Leave the last table on the screen."""
        self.screen.stop()


def fitting(stream: TextIO) -> Lines | Live:
    """A table for a person, lines for everything else."""
    return Live() if stream.isatty() else Lines(stream)
