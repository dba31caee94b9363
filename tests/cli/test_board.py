"""The picture of a run fits any terminal, hides nobody who needs a person, and shows what strangers wrote as plain text."""

from typing import Any

import pytest

from collegium.cli.board import drawn, newest, step
from collegium.client.network import standing

STAGES = ["features", "fit", "compare"]
STATUS: dict[str, Any] = {
    "run": "4a81", "status": "running", "stages": STAGES, "stage": "fit", "round": 26, "rounds_of_stage": 50, "phase": "sum",
    "sites": ["a", "b", "c", "d"], "answered": ["d"], "waiting": ["b"], "left": {"c": "its policy says no"},
}  # fmt: skip


def event(says: str, kind: str = "round") -> dict[str, Any]:
    return {"at": "2026-01-02T03:04:05Z", "kind": kind, "says": says}


def text(status: dict[str, Any], *told: dict[str, Any], columns: int = 80, lines: int = 24, title: str = "Age") -> list[str]:
    return [line for line, _ in drawn(status, told, title=title, columns=columns, lines=lines)]


def test_it_says_where_the_run_stands_and_who_is_waited_for():
    assert text(STATUS, event("round 24"), event("round 25")) == [
        "Age - run 4a81 goes on",
        f"Step 2 of 3: Fit the model, round 26 of at most 50  {'━' * 14}{'─' * 14}",
        "",
        "a  waits",
        "b  computes",
        "c  left: its policy says no",
        "d  has answered",
        "",
        "03:04:05  round 25",
    ]
    assert step(STATUS, 40) == "Step 2 of 3: Fit the model, round 26 ..."
    assert step({**STATUS, "phase": "range"}, 80).endswith("round 26 of at most 50, how large the numbers are")


def test_the_last_of_a_run_is_not_that_anybody_waits():
    over = {**STATUS, "status": "finished", "answered": [], "waiting": []}
    assert text(over)[0] == "Age - run 4a81 is finished"
    assert [line for line in text(over) if "waits" in line or "━" in line] == []
    assert [standing(over, name) for name in "abc"] == ["took part", "took part", "left: its policy says no"]
    assert standing({**STATUS, "status": "paused"}, "b") == "rests"


@pytest.mark.parametrize(("columns", "lines"), [(20, 8), (40, 10), (80, 24), (200, 50)])
def test_it_fits_the_terminal_whatever_stands_in_it(columns: int, lines: int):
    sites = [f"hospital number {at} of a very large federation" for at in range(300)]
    status = {**STATUS, "sites": sites, "waiting": sites[:100], "answered": sites[100:], "left": {sites[7]: "no room on its disk " * 9}}
    shown = text(status, event("a long reason " * 30, "abandoned"), event("short"), columns=columns, lines=lines, title="Age " * 60)
    assert max(map(len, shown)) <= columns
    assert len(shown) <= lines


def test_of_many_hospitals_those_come_first_that_something_is_the_matter_with():
    sites = [f"h{at:03}" for at in range(300)]
    status = {**STATUS, "sites": sites, "waiting": sites[:100], "answered": sites[100:], "left": {"h250": "no"}, "stewards": ["h007"]}
    shown = text(status, event("now"))
    assert shown[3:5] == ["h007  waits for its data steward", "h250  left: no"]
    [rest] = [line for line in shown if line.startswith("and ")]
    assert rest == "and 282 more: 199 have answered, 83 compute"
    assert shown[-1] == "03:04:05  now"


def test_what_strangers_write_moves_nothing():
    shown = text({**STATUS, "left": {"c": "\x1b[2Jno [red]records[/red]\nhere"}}, event("\x1b]0;x\x07said", "left"), title="\x1b[31mAge")
    assert all(line.isprintable() for line in shown)
    assert "c  left:  [2Jno [red]records[/red] here" in shown


def test_of_closed_rounds_only_the_last_is_kept():
    told = [event("1"), event("left", "left"), event("2"), event("again", "abandoned"), event("3")]
    assert [one["says"] for one in newest(told)] == ["left", "again", "3"]
