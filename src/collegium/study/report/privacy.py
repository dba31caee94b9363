"""What left each hospital, who could have seen it, how it was protected and how it was not; and what it all cost."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from collegium.charts import written
from collegium.privacy import secagg
from collegium.study import outflow
from collegium.study.outflow import Step
from collegium.study.report.document import NOT_MEASURED, Block, Grid, Pairs, Points, Record, Say, Section, real
from collegium.study.report.spoken import counted, lasting, listed, size

UNMASKED = (
    "The coordinator sees each hospital's update while it adds it: this study has secure sums off{why}. No noise is added "
    "(differential privacy). Run it only where the hospitals trust the coordinator with single updates, and say so in the agreement."
)
MASKED = (
    "Nobody could read a single hospital's update (secure sums), but no noise is added (differential privacy): what the sums and the "
    "model say about patients is not limited. Before others than these hospitals get the model, have that tested."
)
LAID = (
    "Each is masked before it leaves the hospital; the masks vanish only from the sum of enough hospitals. With {sites}, {badge}. The "
    "coordinator sees who takes part, when, and how many bytes."
)
SUM = "The sum of all hospitals"
SUMS = "The sums of cohorts of hospitals, which are too many for one sum"
STAYED = "This was a simulation on one machine: nothing left any hospital. What follows is what a real run of this study would send."


class Message(NamedTuple):
    """What one hospital sends in a stage."""

    stage: str
    held: str
    numbers: int | None
    nbytes: int | None
    rounds: int | None
    most: int


def messages(record: Record) -> list[Message]:
    """Every stage's update, its size as the results before it have it; not measured where these are not known."""
    known = outflow.steps(record.study, sites=record.sites or record.study.sites.minimum, found=record.results)
    return [Message(one.name, one.held, one.numbers, one.nbytes, rounds_of(record, one), one.rounds) for one in known]


def rounds_of(record: Record, step: Step) -> int | None:
    """How many rounds a stage took, where that is known."""
    told, stage = record.facts.get("rounds"), step.stage
    if isinstance(told, Mapping) and real(told.get(stage)) is not None:
        return int(told[stage])
    if isinstance(told, Sequence) and not isinstance(told, str):  # the coordinator's own list of rounds
        wanted = {"stage": stage, "phase": "sum", "status": "applied"}
        return len([one for one in told if isinstance(one, Mapping) and wanted.items() <= one.items()])
    if stage == "fit":
        return record.rounds
    if closed := record.course(stage):
        return max(number for number, _ in closed)
    return step.rounds if stage in record.results and stage != "quantiles" else None


def privacy(record: Record) -> Section:
    """What left, who could see it, and what protected it: what did not comes first."""
    study = record.study
    why = f", for the reason \u201c{study.privacy.because.strip()}\u201d" if study.privacy.because.strip() else ""
    first = [Say(MASKED if study.secure else UNMASKED.format(why=why), "warning"), *([Say(STAYED, "warning")] if record.simulated else [])]
    said = (
        "No row, name, date or image is sent. A hospital sends updates: numbers made to be added to those of the other hospitals. "
        "A single update can carry traces of the patients behind it, most of all at a small hospital or with a large model."
    )
    verified = study.secure and study.privacy.verified
    blocks: list[Block] = [*first, Say(said), sent(record), seen(record), Say("What protects the updates", "heading")]
    protections = [
        *([LAID.format(sites=counted(sites_of(record), "hospital"), badge=badge_of(record))] if study.secure else []),
        *(["The hospitals of each sum check that it is that of their updates: the coordinator cannot return another."] * verified),
        "They travel encrypted (TLS) to a coordinator whose key each hospital has pinned, and every request is signed.",
        "They are deleted at the coordinator when their round is added up; only sums are kept.",
        "They are sent only for studies that the hospital's own data steward approved (or its auto_approve did), and tables and columns "
        "that its policy allows; its ledger lists each one.",
        f"A round is added up only if at least {counted(record.study.quorum, 'hospital')} answered.",
        "Small groups are left out of this report: bins of scores hold at least 10 patients, counts under 10 are hidden.",
    ]
    return Section("privacy", "What left each hospital, and who could see it?", [*blocks, Points(protections), *published(record)])


def sites_of(record: Record) -> int:
    """How many hospitals took part, or must at least."""
    return record.sites or record.study.sites.minimum


def badge_of(record: Record) -> str:
    """From whom the sum hides a hospital's part."""
    pins = {str(n): f"{n:064x}" for n in range(max(sites_of(record), 2))}
    found = secagg.cohorts("", pins, largest=record.study.privacy.cohort)
    group = {name: pins[name] for name in min(found, key=len)}
    least = secagg.fewest(record.study.model_dump(mode="json"), len(pins))
    terms = secagg.settle("", group, curious=record.study.privacy.curious, waived=True, least=max(least, 2))
    return secagg.badge(terms, len(found))


def crowded(record: Record) -> bool:
    """Whether they are too many for one sum."""
    return sites_of(record) > record.study.privacy.cohort


def sent(record: Record) -> Grid:
    """The updates, stage by stage."""
    rows = []
    for one in messages(record):
        many = f"at most {one.most}" if one.rounds is None else written(one.rounds, 0)
        numbers = NOT_MEASURED if one.numbers is None else written(one.numbers, 0)
        rows.append([one.stage, one.held[0].upper() + one.held[1:], numbers, size(one.nbytes), many])
    head = ["Step", "What one hospital's update holds", "Numbers", "Size", "Rounds"]
    note = "Sizes are computed from the study. Before a step's first sum each hospital also tells how large its numbers are, roughly."
    return Grid("What one hospital sends in a round", head, rows, frozenset({1}), note)


def seen(record: Record) -> Grid:
    """Who sees what."""
    rows = [
        ["The hospital itself", "Everything of its own: rows, update, own line of results.", "Always"],
        ["The coordinator", f"{SUMS if crowded(record) else SUM}, and who took part. No single update.", "Sums for good"]
        if record.study.secure
        else ["The coordinator", "Each hospital's update, and the sum of all.", "Updates until their round is added up, sums for good"],
        ["Other hospitals", "The joint model (or the sums) after each round. Never another hospital's update.", "During the run and after"],
        ["Who reads this report", "Figures of all hospitals together, and lines that hospitals publish.", "For good"],
        ["Who listens on the network", "That a hospital talks to the coordinator, when, and how much.", "During the run"],
    ]
    return Grid("Who could see what", ["Who", "What", "For how long"], rows, frozenset({1, 2}))


def published(record: Record) -> list[Block]:
    """Hospitals whose own line stands in this report."""
    if record.simulated or not record.trains:
        return []
    names = [name for name, _ in record.lines]
    if not names:
        return [Say("No hospital publishes its own line of results.")]
    return [Say(f"These hospitals publish their own line of results: {listed(names)}.")]


def cost(record: Record) -> Section:
    """Rounds, time, data."""
    facts: Mapping[str, Any] = record.facts
    known = messages(record)
    up = sum((one.nbytes or 0) * (one.rounds or one.most) for one in known) if all(one.nbytes for one in known) else None
    least = "at most " if any(one.rounds is None for one in known) else "about "
    rounds = [f"{one.stage} {one.rounds if one.rounds is not None else f'at most {one.most}'}" for one in known]
    items = [
        ("Rounds", "; ".join(rounds)),
        ("Time", lasting(record.seconds)),
        ("Hospitals", NOT_MEASURED if record.sites is None else written(record.sites, 0)),
        ("Sent by one hospital", NOT_MEASURED if up is None else f"{least}{size(up)}, computed from the study"),
        ("Sent by all hospitals", size(facts.get("sent_bytes"))),
        ("Received by all hospitals", size(facts.get("received_bytes"))),
        ("Started", record.started or NOT_MEASURED),
        ("Ended", str(facts.get("ended") or NOT_MEASURED)),
    ]
    return Section("cost", "What did it cost?", [Pairs(items)])
