"""What became of a run that did not come to its end: where it stood, who left, what was said, and how to go on."""

from collections.abc import Mapping, Sequence
from typing import Any

from collegium.study.outflow import STEPS
from collegium.study.report.document import Block, Grid, Record, Say, Section, real
from collegium.study.report.spoken import counted, listed

NEWEST = 30  # events in the table
ROUND = "round"  # the kind of event that tells of a closed round: only the newest of them are of use here
NEXT = {
    "stopped": "A stopped run is not taken up again. To try once more, mend the cause and start the study anew: collegium study start.",
    "failed": "A failed run is not taken up again. To try once more, mend the cause and start the study anew: collegium study start.",
    "paused": "Nothing is lost. When the cause is mended the run goes on where it stood: collegium study resume{}.",
    "running": "It goes on while this page is read: collegium study watch{} shows how far it is.",
}


def happened(record: Record) -> list[Section]:
    """The section of a run without an end; none for a run that is finished."""
    if record.over:
        return []
    blocks: list[Block] = [Say(f"The run {record.stands}{why(record)}."), *where(record), *waited(record)]
    if record.left:
        gone = listed([f"{name} ({said})" for name, said in record.left.items()])
        blocks.append(Say(f"{counted(len(record.left), 'hospital')} left before its end: {gone}."))
    blocks.append(Say(learned(record)))
    if way := NEXT.get(record.status):
        name = record.facts.get("run")
        blocks.append(Say(way.format(f" {name}" if name else "")))
    return [Section("happened", "What happened?", [*blocks, *events(record)])]


def why(record: Record) -> str:
    """The reason as it was told, to follow a colon."""
    said = str(record.facts.get("says") or "").rstrip(".")
    return f": {said}" if said else "; no reason was given"


def where(record: Record) -> list[Say]:
    """The step and the round, as the coordinator's document has them."""
    facts, stages = record.facts, record.facts.get("stages")
    if not facts.get("stage") or not isinstance(stages, Sequence) or facts["stage"] not in stages:
        return []
    at, number = list(stages).index(facts["stage"]) + 1, real(facts.get("round"))
    name = STEPS.get(str(facts["stage"]), str(facts["stage"]))
    told = f"It stood at step {at} of {len(stages)}, “{name}”"
    told += f", in round {number:.0f}" if number else ""
    ranged = ", where hospitals say how large their numbers are before the first sum" if facts.get("phase") == "range" else ""
    return [Say(f"{told}{ranged}.")]


def waited(record: Record) -> list[Say]:
    """Who has answered the round that is open now, where there is one."""
    answered, waiting = (found if isinstance(found := record.facts.get(name), list) else [] for name in ("answered", "waiting"))
    if not (answered or waiting):
        return []
    return [Say(f"Of this round's answers {len(answered)} are there, from {listed(answered)}; asked and waited for: {listed(waiting)}.")]


def learned(record: Record) -> str:
    """What there is to show."""
    steps = [STEPS.get(name, name) for name in record.results]
    if steps:
        return f"There are results of: {listed(steps)}."
    return "No step came to its end, so there are no results: what follows says what the study would have measured and sent."


def events(record: Record) -> list[Grid]:
    """The newest things that happened, oldest first."""
    told = [one for one in record.facts.get("events") or () if isinstance(one, Mapping) and one.get("says")]
    last = [one for one in told if one.get("kind") == ROUND][-3:]
    shown = [one for one in told if one.get("kind") != ROUND or one in last][-NEWEST:]
    if not shown:
        return []
    note = "Of rounds that closed only the last three are listed." if len(shown) < len(told) else ""
    return [Grid("What was noted at the coordinator", ["When (UTC)", "What"], [moment(one) for one in shown], frozenset({1}), note)]


def moment(event: Mapping[str, Any]) -> list[str]:
    """An event as a row."""
    at = str(event.get("at") or "–").replace("T", " ").removesuffix("Z")
    return [at, str(event["says"])]
