"""A run that goes on, drawn in the room that a terminal has: where it stands, each hospital, what happened last.

>>> status = {"run": "4a81", "status": "running", "stages": ["features", "fit"], "stage": "fit", "round": 3, "rounds_of_stage": 50,
...           "sites": ["north", "south"], "answered": ["north"], "waiting": ["south"]}
>>> told = [{"at": "2026-01-02T03:04:05Z", "kind": "round", "says": "fit: round 2 of at most 50, 2 of 2 sites"}]
>>> for line, style in drawn(status, told, title="Readmission", columns=60, lines=12):
...     print(line)
Readmission - run 4a81 goes on
Step 2 of 2: Fit the model, round 3 of at most 50  ━────────
<BLANKLINE>
north  has answered
south  computes
<BLANKLINE>
03:04:05  fit: round 2 of at most 50, 2 of 2 sites
"""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from collegium.cli.shell import clean
from collegium.client.network import ANSWERED, COMPUTES, OVER, PARTED, standing
from collegium.client.results import STANDS
from collegium.study.outflow import STEPS

Line: TypeAlias = tuple[str, str]  # the text, and how it is set
EVENTS = 4  # of the newest, so many are shown
BAR = (8, 30)  # the least and the most columns of the bar
MANY = {ANSWERED: "have answered", COMPUTES: "compute", "waits": "wait", "took part": "took part", "rests": "rest"}
STYLES = {"finished": "bold green", "paused": "bold yellow", "stopped": "bold red", "failed": "bold red"}


def drawn(status: Mapping[str, Any], told: Sequence[Mapping[str, Any]], *, title: str, columns: int, lines: int) -> list[Line]:
    """The whole picture, of at most so many columns and lines."""
    name = f"{clean(title)} - run {status['run']}" if title else f"run {status['run']}"
    head: list[Line] = [(part, STYLES.get(status["status"], "bold")) for part in filled(f"{name} {STANDS[status['status']]}", columns)]
    head += [(step(status, columns), ""), ("", "")]
    foot: list[Line] = [("", "")]
    for event in newest(told):
        foot += [(part, "") for part in filled(f"{event['at'][11:19]}  {clean(event['says'])}", columns, 10)]
    foot = foot[:1] + foot[1:][-max(lines // 3, 2) :]
    return [*head, *hospitals(status, columns, lines - len(head) - len(foot)), *foot][:lines]


def step(status: Mapping[str, Any], columns: int) -> str:
    """The step and the round, with a bar where there is room."""
    stages, number, most = list(status["stages"]), int(status["round"]), int(status.get("rounds_of_stage") or 0)
    ranged = ", how large the numbers are" if status.get("phase") == "range" else ""
    text = f"Step {stages.index(status['stage']) + 1} of {len(stages)}: {STEPS.get(status['stage'], status['stage'])}, round {number}"
    text += (f" of at most {most}" if most else "") + ranged
    room = min(columns - len(text) - 2, BAR[1])
    if not most or room < BAR[0] or status["status"] in OVER:
        return textwrap.shorten(text, columns, placeholder=" ...")
    done = min(round(room * (number - 1) / most), room)
    return f"{text}  {'━' * max(done, int(number > 1))}{'─' * (room - max(done, int(number > 1)))}"


def hospitals(status: Mapping[str, Any], columns: int, room: int) -> list[Line]:
    """Each hospital; where there are more than fit, those first that something is the matter with, and the others counted."""
    found = {name: standing(status, name) for name in sorted(status["sites"])}
    width = min(max(map(len, found), default=0), columns // 2)
    every = [(name, line) for name in found for line in row(name, found[name], width, columns)]
    if len(every) <= room:
        return [line for _, line in every]
    order = sorted(found, key=lambda name: found[name] in MANY)
    shown, out = set[str](), list[Line]()
    for name in order:
        more = row(name, found[name], width, columns)
        if len(out) + len(more) >= room:
            break
        out += more
        shown.add(name)
    rest = Counter(said.partition(":")[0] for name, said in found.items() if name not in shown)
    counted = ", ".join(f"{many} {MANY.get(says, says) if many > 1 else says}" for says, many in rest.most_common())
    text = f"{'and ' if shown else ''}{sum(rest.values())} {'more' if shown else 'hospitals'}: {counted}"
    return [*out, (textwrap.shorten(text, columns, placeholder=" ..."), "")]


def row(name: str, said: str, width: int, columns: int) -> list[Line]:
    """One hospital, its reasons broken between words."""
    text = f"{clean(name)[:width].ljust(width)}  {clean(said)}"
    style = "red" if said.startswith(PARTED) else "yellow" if "steward" in said else "green" if said == ANSWERED else ""
    return [(part, style) for part in filled(text, columns, width + 2)]


def newest(told: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last things that happened; of closed rounds only the last one, for there are hundreds."""
    closed = [event for event in told if event["kind"] == "round"][-1:]
    return [event for event in told if event["kind"] != "round" or event in closed][-EVENTS:]


def filled(text: str, columns: int, indent: int = 0) -> list[str]:
    """A text in lines, broken between words."""
    return textwrap.wrap(text, columns, subsequent_indent=" " * min(indent, columns // 2), break_on_hyphens=False) or [""]
