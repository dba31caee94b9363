"""What a coordinator and a site say to each other, as values: JSON with sorted keys and no floats.

The arrays travel beside these messages: a state as a `wire` frame, an update as a `ring` vector.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from collegium.errors import FrameError
from collegium.privacy.ring import Layout, layout_of

VERSION = 1
Phase = Literal["range", "sum"]


class Place(NamedTuple):
    """Where a run stands. `attempt` grows when a round is asked again; the phases of a round are ranging and summing."""

    stage: int
    round: int
    attempt: int
    phase: Phase

    def __str__(self) -> str:
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"stage {self.stage + 1}, round {self.round}{' (ranging)' if self.phase == 'range' else ''}{again}"


@dataclass(frozen=True)
class Task:
    """What one site is asked in one round."""

    run: str
    study: str  # the manifest's digest
    place: Place
    layout: Layout  # of the vector to return
    state: str  # digest of the frame that holds the shared state
    state_bytes: int
    counted: Place | None = None  # the last place at which this site's update went into the sum: its memory may be kept


@dataclass(frozen=True)
class Answer:
    """One site's update, or the reason why there is none."""

    run: str
    place: Place
    digest: str = ""  # of the vector: BLAKE3 of its bytes, or of its chunks' digests where it is sent in chunks
    nbytes: int = 0
    failure: str = ""  # the stable code of an error; its text stays at the site
    says: str = ""  # a sentence without data, for people
    final: bool = False  # the site leaves the run


def document(message: Task | Answer) -> dict[str, Any]:
    """A message as JSON-ready values."""
    out: dict[str, Any] = {"version": VERSION}
    for name, value in vars(message).items():
        out[name] = value.document() if isinstance(value, Layout) else list(value) if isinstance(value, Place) else value
    return out


def task_of(document: Any) -> Task:
    """The inverse of `document`; a message of another version or shape raises `FrameError`."""
    fields = checked(document, Task)
    fields["layout"] = layout_of(fields["layout"])
    return Task(**fields)


def answer_of(document: Any) -> Answer:
    """The inverse of `document`; a message of another version or shape raises `FrameError`."""
    return Answer(**checked(document, Answer))


def checked(document: Any, kind: type[Task] | type[Answer]) -> dict[str, Any]:
    """The fields of a message, its places rebuilt."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        found = document.get("version") if isinstance(document, dict) else type(document).__name__
        raise FrameError(f"a message of version {found!r} came, this Collegium speaks {VERSION}", hint="bring both sides to one release")
    fields = {name: value for name, value in document.items() if name != "version"}
    if strange := fields.keys() ^ kind.__dataclass_fields__.keys():
        raise FrameError(f"{kind.__name__.lower()}: field {min(strange)!r} is missing or not known")
    for name in ("place", "counted"):
        if fields.get(name) is not None:
            fields[name] = place_of(fields[name])
    return fields


def place_of(value: Any) -> Place:
    """A place from its JSON list."""
    match value:
        case [int(stage), int(number), int(attempt), "range" | "sum" as phase] if min(stage, number, attempt) >= 0:
            return Place(stage, number, attempt, phase)
    raise FrameError(f"a place is [stage, round, attempt, phase]; found {str(value)[:80]!r}")
