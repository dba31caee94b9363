"""Following a run: a table that keeps itself up to date for a person, one line an event for everything else."""

import json
import threading
from collections.abc import Mapping
from typing import Any

import click

from collegium.cli.board import drawn, filled, newest
from collegium.cli.shell import SCHEMA, Screen, clean
from collegium.client.network import OVER, PAUSED, Run, paused
from collegium.errors import CollegiumError, ConflictError, RunError

LOOK_S = 1.0  # between two looks at how a run stands


def follow(screen: Screen, run: Run, *, jsonl: bool = False) -> Mapping[str, Any]:
    """Show what happens until the run is over or the watching is interrupted; where it then stands.

    Raises `RunError` if the run failed or was stopped, `ConflictError` if it is paused: nothing happens until somebody resumes it.
    """
    with Board(run, screen) if screen.lively and not jsonl else Lines(screen, jsonl) as shown:
        last = ""
        for event in run.watch():
            last = str(event["kind"])
            shown.tell(event)
    found = run.status()
    if found["status"] == PAUSED:
        raise ConflictError(paused(found), hint=f"collegium study resume {run.name}")
    if last not in OVER:
        screen.note(f"run {run.name} goes on without you watching: collegium study watch {run.name}")
    elif last != "finished":
        raise RunError(f"run {run.name} {'was stopped' if last == 'stopped' else 'failed'}: {found.get('says') or 'no reason given'}")
    return found


class Lines:
    """One line for each event: JSON on standard output, or words beside the data."""

    def __init__(self, screen: Screen, jsonl: bool) -> None:
        self.screen, self.jsonl = screen, jsonl

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """An event, as it happened."""
        if self.jsonl:
            click.echo(json.dumps({"schema_version": SCHEMA, **event}, ensure_ascii=False))
        else:
            self.screen.note(f"{event['at'][11:19]} {clean(event['says'])}")


class Board:
    """The run as it stands, drawn anew as it goes on; an answer is no event, so the coordinator is also asked now and then."""

    def __init__(self, run: Run, screen: Screen) -> None:
        from rich.console import Console  # local: only where somebody looks at it
        from rich.live import Live

        self.run, self.title, self.trouble = run, "", ""
        self.status: Mapping[str, Any] = {}
        self.told: list[Mapping[str, Any]] = []
        self.live = Live(console=Console(no_color=screen.no_color), refresh_per_second=4, vertical_overflow="crop")
        self.over = threading.Event()
        self.looking = threading.Thread(target=self.look_on, daemon=True)

    def __enter__(self) -> "Board":
        self.live.start()
        self.looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.looking.join(LOOK_S)
        self.look()
        self.live.stop()

    def tell(self, event: Mapping[str, Any]) -> None:
        """One thing more has happened. Only what is shown is kept: a long run has thousands."""
        self.told = newest([*self.told, event])

    def look_on(self) -> None:
        """See how the run stands, as long as somebody watches."""
        self.look()
        while not self.over.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Ask how the run stands, and draw it."""
        try:
            self.status, self.trouble = self.run.status(), ""
            self.title = self.title or str(self.run.network.study(str(self.status["study"]))["title"])
        except CollegiumError as e:
            self.trouble = f"no news: {e}"
        self.draw()

    def draw(self) -> None:
        """What is known, in the room that the terminal has now."""
        from rich.text import Text  # local: only where somebody looks at it

        size = self.live.console.size
        lines = drawn(self.status, self.told, title=self.title, columns=size.width, lines=size.height - 2) if self.status else []
        shown = [*lines, *((part, "yellow") for part in filled(clean(self.trouble), size.width) if self.trouble)]
        text = Text(no_wrap=True, overflow="crop", end="")  # a text, not markup: what a hospital says may hold brackets
        for at, (line, style) in enumerate(shown):
            text.append("\n" * bool(at) + line, style)
        self.live.update(text, refresh=True)
