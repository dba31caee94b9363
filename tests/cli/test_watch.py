"""What a person sees of a run that goes on."""

from typing import Any

import pytest

from collegium.cli.shell import Screen
from collegium.cli.watch import Lines, follow
from collegium.client.network import Run
from collegium.errors import ConflictError


def test_an_event_is_a_line(capsys):
    event = {"at": "2026-01-02T03:04:05Z", "says": "round 1", "kind": "round", "id": 1}
    with Lines(Screen(), jsonl=False) as plain, Lines(Screen(), jsonl=True) as stream:
        plain.tell(event)
        stream.tell(event)
    shown = capsys.readouterr()
    assert shown.err == "03:04:05 round 1\n"
    assert '"schema_version": 1' in shown.out


def test_what_a_hospital_says_moves_no_cursor(capsys):
    with Lines(Screen(), jsonl=False) as plain:
        plain.tell({"at": "2026-01-02T03:04:05Z", "says": "\x1b[2Jleft: no\nmore", "kind": "left", "id": 1})
    assert capsys.readouterr().err == "03:04:05  [2Jleft: no more\n"


class Rests(Run):
    """A run that was resumed once and now is paused: nothing more happens."""

    def __init__(self) -> None:
        self.name, self.left = "r1", [["paused", "resumed", "round"], ["paused"]]

    def status(self) -> dict[str, Any]:
        stands = {"status": "running", "says": ""} if self.left else {"status": "paused", "says": "2 of 3 hospitals are away"}
        return {"run": self.name, **stands}

    def events(self, after: int = 0, wait_s: int = 0) -> list[dict[str, Any]]:
        return [{"id": after + at, "kind": kind, "says": kind, "at": "2026-01-02T03:04:05Z"} for at, kind in enumerate(self.left.pop(0), 1)]


def test_a_paused_run_ends_the_watching(capsys):
    with pytest.raises(ConflictError, match="run r1 is paused: 2 of 3 hospitals are away") as refused:
        follow(Screen(), Rests())
    assert refused.value.hint == "collegium study resume r1"
    assert refused.value.exit_code == 7
    assert capsys.readouterr().err.count("round") == 1
