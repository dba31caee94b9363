"""One run in the coordinator's memory: where it stands, who takes part, and who waits for its next task."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from collegium import tree as T
from collegium.canonical import pack
from collegium.coordinator.blobs import SMALL, Frame
from collegium.coordinator.cohorts import Cohorts
from collegium.coordinator.states import Kept
from collegium.engine import round as rounds
from collegium.engine.messages import Place, Task, document, place_of
from collegium.engine.round import Event, Failed, Order, Round
from collegium.engine.run import Stage
from collegium.identity import digest
from collegium.study.manifest import Study

Status = Literal["running", "paused", "finished", "stopped", "failed"]
OVER: tuple[Status, ...] = ("finished", "stopped", "failed")


class Member(NamedTuple):
    """A site in a run: the place of its last update that was used, and why it left, if it did."""

    counted: Place | None = None
    left: str = ""


class Shown(NamedTuple):
    """The sum of one cohort in the last round that closed, for its sites to check."""

    cohort: int
    epoch: int
    number: int  # the index of its keys
    place: Place  # of the round
    frame: Frame

    def document(self) -> dict[str, Any]:
        """As it is told."""
        return {
            "epoch": self.epoch, "index": self.number, "place": list(self.place), "sum": self.frame.digest, "bytes": self.frame.nbytes
        }  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """What sites are told, and an array beside it; packed once, for it is the same for many."""

    message: Mapping[str, Any]
    inside: bytes = b""

    @cached_property
    def body(self) -> bytes:
        return pack(self.message, self.inside)

    @cached_property
    def digest(self) -> str:
        return digest(self.body)


class Signal:
    """Wakes all that wait at a moment; who comes later waits for the next."""

    def __init__(self) -> None:
        self.waiting: set[asyncio.Future[bool]] = set()

    def send(self) -> None:
        """Wake everybody."""
        for each in self.waiting:
            wake(each, True)

    async def wait(self, seconds: float) -> bool:
        """True when woken, False after so many seconds."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(seconds, wake, mine, False)
        self.waiting.add(mine)
        try:
            return await mine
        finally:
            timer.cancel()
            self.waiting.discard(mine)


def wake(waiting: asyncio.Future[bool], outcome: bool) -> None:
    """Resolve a future once."""
    if not waiting.done():
        waiting.set_result(outcome)


@dataclass
class Live:
    """A run that is not over. Only the event loop changes it."""

    id: str
    digest: str  # of the study
    study: Study
    stages: Sequence[Stage]
    given: Mapping[str, T.Tree]
    kept: Kept
    roster: dict[str, Member]
    status: Status = "running"
    says: str = ""
    first: str = ""  # the digest of the weights that were brought and training began from
    tries: int = 1  # how often the present round was asked since the run was last started or resumed
    closed: list[str] | None = None  # whose answers count, where that was committed before they are added up
    abandoned: bool = False  # the present round was given up: `resume` asks it again
    results: Frame | None = None
    round: Round | None = None  # None: not open yet
    opened: float = 0.0
    order: Order | None = None  # what the round asks to be done
    digests: dict[str, str] = field(default_factory=dict)  # answers committed for this place
    held: dict[str, bytes] = field(default_factory=dict)  # their vectors, while all of them are small: saves reading them back
    reasons: dict[str, str] = field(default_factory=dict)  # why sites failed in this round
    shown: Sequence[Shown] = ()  # the sums of the last round that closed, where sites check them
    secure: Cohorts | None = None  # None: the study asks for plain sums
    here: set[str] = field(default_factory=set)  # called for this run since this process started
    enough_at: float | None = None  # when so many were here that keys can be made
    silent: set[str] = field(default_factory=set)  # missed a round and not heard from since
    stewards: set[str] = field(default_factory=set)  # wait for their own data steward, who has not approved the study
    turn: Signal = field(default_factory=Signal)  # a task, or another status, for sites
    news: Signal = field(default_factory=Signal)  # an event, for people
    nudge: asyncio.Event = field(default_factory=asyncio.Event)  # for the driver
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while the run moves to another place or status
    driver: asyncio.Task[None] | None = None
    replies: dict[Any, Reply] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Where the run stands."""
        return self.kept.run.place

    @property
    def active(self) -> frozenset[str]:
        """Sites that take part and have not left."""
        return frozenset(name for name, member in self.roster.items() if not member.left)

    @property
    def stage(self) -> Stage:
        """The stage being computed."""
        return self.stages[self.place.stage]

    def ask(self, now: float) -> None:
        """Open the round of the present place, nobody having answered yet; who has refused it before a restart has."""
        sites, asked = self.study.sites, self.secure.roster if self.secure else self.active
        quorum = max(self.study.quorum, self.secure.fewest) if self.secure else self.study.quorum
        self.round = rounds.open_round(
            self.place.round, asked, quorum=quorum, now=now, deadline_s=sites.deadline_s, grace_s=sites.grace_s,
            silent=frozenset(self.silent),
        )  # fmt: skip
        self.opened, self.order = now, None
        for site, why in self.secure.refusals.items() if self.secure else ():
            self.reasons.setdefault(site, why)
            self.feed(Failed(site, why))

    def feed(self, event: Event) -> None:
        """Tell the round what happened, and wake the driver if there is something to do."""
        if self.round is None:
            return
        before = self.round.wake
        self.round, orders = rounds.step(self.round, event)
        if orders:
            self.order = orders[0]
        if orders or self.round.wake != before:
            self.nudge.set()

    def changed(self) -> None:
        """Sites that wait look again."""
        self.replies.clear()
        self.turn.send()

    @property
    def awaited(self) -> frozenset[str]:
        """The sites without which it does not go on now: their answer is waited for, or their part in the keys of a secure sum."""
        if self.round and self.round.waiting:
            return self.round.waiting
        if self.secure is None or self.status != "running":
            return frozenset()
        return self.secure.absent if self.secure.begun else self.active - self.here

    def enough(self, now: float) -> bool:
        """Whether the keys of secure sums can be made: all sites that take part have called, or enough have and the rest is late."""
        here = len(self.here & self.active)
        if here < self.fewest:
            return False
        self.enough_at = now if self.enough_at is None else self.enough_at
        return here == len(self.active) or now >= self.enough_at + self.study.sites.grace_s

    @property
    def fewest(self) -> int:
        """How many sites must be here for the keys of secure sums to be made."""
        return max(self.study.sites.minimum, self.study.quorum, 2)

    @property
    def keyless(self) -> str:
        """Why no round is open yet under secure sums, in words."""
        if self.secure and self.secure.absent:
            return "the sites make keys for their secure sums"
        return f"waits for sites: {len(self.here & self.active)} of {len(self.active)} are here, {self.fewest} must be"

    def reply(self, site: str, sealed: Mapping[str, str] | None = None) -> Reply | None:
        """What to tell a site now; None if there is nothing to do yet. `sealed` are shares that were dealt to it."""
        member = self.roster[site]
        if self.status in OVER:
            return self.closing()
        if member.left:
            return says("stopped", f"this site left the run: {member.left}")
        said = None
        if self.status == "running" and self.secure:
            said = self.secure.told(site, sealed or {})
            if said is None or said["kind"] != "ask":
                return self.told(says("running", self.says, secure=said)) if said else None
        if self.status != "running" or self.round is None or site not in self.round.waiting:
            return None
        key = member.counted, *(said["seen"] if said else ())
        if key not in self.replies:
            self.replies[key] = self.task(member.counted, said)
        return self.replies[key]

    def task(self, counted: Place | None, said: Mapping[str, Any] | None) -> Reply:
        """The task of the present place, its state beside it when that is small, and what the secure sum asks with it."""
        shared = self.kept.shared
        task = Task(self.id, self.digest, self.place, self.kept.run.layout, shared.digest, shared.nbytes, counted)
        inside = shared.body if shared.body is not None and shared.nbytes <= SMALL else b""
        reply = Reply({"status": "running", "says": self.says, "task": document(task)} | ({"secure": said} if said else {}), inside)
        return self.told(reply)

    def closing(self) -> Reply:
        """The last word of a run."""
        return self.told(says(self.status, self.says, self.results, first=self.first))

    def idle(self) -> Reply:
        """Nothing to do within the time that the site waits."""
        return says(self.status, self.says)

    def told(self, reply: Reply) -> Reply:
        """A reply, and beside it where the sums are that the sites check."""
        return replace(reply, message={**reply.message, "sums": [each.document() for each in self.shown]}) if self.shown else reply


def says(
    status: str,
    sentence: str,
    results: Frame | None = None,
    secure: Mapping[str, Any] | None = None,
    sums: Sequence[Any] = (),
    *,
    first: str = "",
) -> Reply:
    """A reply without a task; `secure` is a message of the secure sum, `sums` are those that sites check, `first` what the model
    of the results began from."""
    message: dict[str, Any] = {"status": status, "says": sentence, "task": None} | ({"secure": secure} if secure else {})
    message |= {"sums": [*sums]} if sums else {}
    if results:
        message |= {"results": results.digest, "results_bytes": results.nbytes, "first": first}
    return Reply(message)


def roster_text(roster: Mapping[str, Member]) -> str:
    """A roster as JSON."""
    return json.dumps({name: [list(m.counted) if m.counted else None, m.left] for name, m in roster.items()})


def roster_of(document: str) -> dict[str, Member]:
    """The inverse of `roster_text`."""
    return {name: Member(place_of(counted) if counted else None, left) for name, (counted, left) in json.loads(document).items()}


def figures(run_state: T.Tree | None) -> dict[str, float]:
    """The scalars that an algorithm wants people to watch: `state["progress"]`."""
    progress = run_state.get("progress", {}) if run_state else {}
    return {name: float(leaf) for name, leaf in T.flatten(progress).items() if T.size(leaf) == 1}


Reached = Callable[[str, Place], object]
