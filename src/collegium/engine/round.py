"""One round as a pure state machine: `step(round, event) -> (round, orders)`.

The coordinator feeds it events (a site answered, the clock moved) and carries out the orders it returns. It never reads a
clock or a socket, so every timeout and dropout is a unit test. Times are seconds of one clock that only moves forward.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias


@dataclass(frozen=True)
class Answered:
    """The site's update is committed."""

    site: str
    now: float


@dataclass(frozen=True)
class Failed:
    """The site said that it cannot answer; `final` if it will not be able to in a later round either."""

    site: str
    reason: str
    final: bool = False


@dataclass(frozen=True)
class Tick:
    """The clock moved."""

    now: float


@dataclass(frozen=True)
class Close:
    """Sum exactly these sites' updates."""

    sites: frozenset[str]


@dataclass(frozen=True)
class Abandon:
    """Too few sites can answer; nothing of the round is used."""

    reason: str


Event: TypeAlias = Answered | Failed | Tick
Order: TypeAlias = Close | Abandon


@dataclass(frozen=True)
class Round:
    """Who was asked, who answered, and when enough is enough."""

    number: int
    asked: frozenset[str]
    quorum: int
    deadline: float  # the last moment
    grace_s: float  # how long stragglers are waited for once the quorum is there
    answered: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()  # failed for good: not asked again in this run
    silent: frozenset[str] = frozenset()  # not heard from since it missed a round: may answer, but nobody waits for it
    enough_at: float | None = None  # when the quorum was reached
    over: bool = False

    @property
    def waiting(self) -> frozenset[str]:
        """Sites that may still answer."""
        return self.asked - self.answered - self.failed

    @property
    def wake(self) -> float:
        """When the next `Tick` can matter."""
        return self.deadline if self.enough_at is None else min(self.deadline, self.enough_at + self.grace_s)


def open_round(
    number: int,
    sites: frozenset[str],
    *,
    quorum: int,
    now: float,
    deadline_s: float,
    grace_s: float,
    silent: frozenset[str] = frozenset(),
) -> Round:
    """A new round that asks `sites` and needs answers of `quorum` of them; nobody waits for the `silent` ones among them."""
    return Round(number, sites, quorum, now + deadline_s, grace_s, silent=silent)


def step(r: Round, event: Event) -> tuple[Round, list[Order]]:
    """The round after an event, and what to do: nothing, close it, or abandon it. A repeated event changes nothing."""
    if r.over:
        return r, []
    late = False
    match event:
        case Answered(site, now) if site in r.waiting:
            r = replace(r, answered=r.answered | {site})
            if len(r.answered) >= r.quorum and r.enough_at is None:
                r = replace(r, enough_at=now)
        case Failed(site, _, final) if site in r.waiting:
            r = replace(r, failed=r.failed | {site}, left=r.left | {site} if final else r.left)
        case Tick(now) if now >= r.wake:
            late = True
        case _:
            return r, []
    if len(r.answered) >= r.quorum and (late or r.waiting <= r.silent):
        return replace(r, over=True), [Close(r.answered)]
    if late or len(r.answered) + len(r.waiting) < r.quorum:
        silent = f"; {len(r.waiting)} did not answer in time" if late else ""
        why = f"round {r.number}: {len(r.answered)} of {len(r.asked)} sites answered, {r.quorum} must{silent}"
        return replace(r, over=True), [Abandon(why)]
    return r, []
