"""Following a run: a table that keeps itself up to date for a person, one line an event for everything else."""

import json
from collections.abc import Mapping
from typing import Any

import click

from collegium.cli.shell import SCHEMA, Screen, columns
from collegium.client.network import OVER, PAUSED, Run, paused
from collegium.errors import ConflictError, RunError


def follow(screen: Screen, run: Run, *, jsonl: bool = False) -> Mapping[str, Any]:
    """Show what happens until the run is over or the watching is interrupted; where it then stands.

    Raises `RunError` if the run failed or was stopped, `ConflictError` if it is paused: nothing happens until somebody resumes it.
    """
    with Board(run) if screen.lively and not jsonl else Lines(screen, jsonl) as shown:
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
            self.screen.note(f"{event['at'][11:19]} {event['says']}")


class Board:
    """The hospitals and the newest event, drawn again with each event."""

    def __init__(self, run: Run) -> None:
        from rich.live import Live  # local: only where somebody looks at it

        self.run, self.live = run, Live(refresh_per_second=4, transient=False)

    def __enter__(self) -> "Board":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def tell(self, event: Mapping[str, Any]) -> None:
        """Draw where the run stands."""
        self.live.update(board(self.run.status(), event))


def board(status: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Where a run stands, as text: hospital by hospital, then what happened last.

    >>> print(board({"status": "running", "stage": "fit", "round": 3, "sites": ["a", "b"], "answered": ["a"], "waiting": ["b"]},
    ...             {"says": "fit: round 2, 2 of 2 sites"}))
    running - fit, round 3
    a  has answered
    b  computes
    fit: round 2, 2 of 2 sites
    """
    rows = columns((name, standing(status, name)) for name in status["sites"])
    return f"{status['status']} - {status['stage']}, round {status['round']}\n{rows}\n{event['says']}"


def standing(status: Mapping[str, Any], site: str) -> str:
    """What one hospital is doing in a run.

    >>> standing({"sites": ["a"], "waiting": ["a"], "stewards": ["a"]}, "a")
    'waits for its data steward'
    """
    left, answered, waiting, stewards = (status.get(name) or {} for name in ("left", "answered", "waiting", "stewards"))
    if site in left:
        return f"left: {left[site]}"
    if site in stewards:
        return "waits for its data steward"
    return "has answered" if site in answered else "computes" if site in waiting else "waits"
