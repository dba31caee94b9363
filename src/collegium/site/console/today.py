"""What waits for people here, and what this machine is doing."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium.site import config, state, steward
from collegium.study.outflow import STEPS
from collegium.web.app import Ask, Go, Shown

ENDED = ("finished", "stopped", "failed", "left")
BADGES = {"finished": "ok", "running": "run", "waiting": "warn", "paused": "warn", "stopped": "bad", "failed": "bad", "left": "warn"}


def page(folder: Path, ask: Ask) -> Shown:
    """Today: what needs somebody, whether the coordinator is heard, what runs."""
    found = state.status(folder)
    runs = [run(name, facts) for name, facts in reversed(list(found["runs"].items()))]
    return Shown("today.html", {
        "site": found, "contact": ago(found["contact"]), "needs": needs(found), "steps": steps(folder, found),
        "active": [one for one in runs if one["status"] not in ENDED],
    })  # fmt: skip


def running(folder: Path, ask: Ask) -> Shown:
    """Every run that the agent knows of, and the switch that holds them all."""
    found = state.status(folder)
    return Shown("running.html", {"site": found, "runs": [run(name, facts) for name, facts in reversed(list(found["runs"].items()))]})


def paused(folder: Path, ask: Ask) -> Go:
    """Hold all work on this machine."""
    state.pause(folder)
    return Go("/running", "All work here is paused. Other hospitals go on where enough of them are left.")


def resumed(folder: Path, ask: Ask) -> Go:
    """Let work go on."""
    state.resume(folder)
    return Go("/running", "Work here goes on.")


def needs(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What somebody here has to do: a sentence, where, and the word on the button."""
    out = []
    for one in found["invitations"]:
        changed = one["state"] == "changed"
        says = f"“{one['title']}” {'has changed since it was approved' if changed else 'asks for this hospital'}."
        out.append((says, f"/invitations/{one['study']}", "Read it again" if changed else "Read and decide"))
    if found["trouble"]:
        out.append((f"{found['trouble']}.", "/running", "See what runs"))
    if found["paused"]:
        out.append(("All work here is paused by somebody of this hospital.", "/running", "Let it go on"))
    return out


def steps(folder: Path, found: Mapping[str, Any]) -> list[tuple[bool, str, str]]:
    """The way from an empty folder to a first study: whether it is done, what, and how."""
    return [
        (True, f"This machine has joined {found['federation']}", ""),
        (bool(config.tables(folder)), "A table is named for studies", "collegium data add NAME PLACE"),
        ((folder / steward.PUBLIC).exists(), "The data steward has a key", "collegium site steward init"),
        (bool(found["running"]), "The agent runs", "collegium site serve"),
    ]


def run(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """One run as it stands here, in words."""
    status, stages, stage = str(facts.get("status", "")), list(facts.get("stages") or ()), facts.get("stage")
    step = stages[stage] if isinstance(stage, int) and stage < len(stages) else ""
    doing = str(facts.get("doing") or "")
    return {
        "run": name, "title": str(facts.get("title") or name), "status": status or "waiting", "badge": BADGES.get(status, "idle"),
        "step": STEPS.get(step, step), "round": facts.get("round") or "", "doing": doing if status not in ENDED else "",
        "says": str(facts.get("detail") or facts.get("trouble") or facts.get("says") or ""), "model": bool(facts.get("model")),
    }  # fmt: skip


def ago(stamp: str) -> str:
    """How long ago a moment was, for people."""
    if not stamp:
        return "never"
    then = datetime.datetime.fromisoformat(stamp)
    seconds = max((datetime.datetime.now(datetime.UTC) - then).total_seconds(), 0)
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "less than a minute ago"
