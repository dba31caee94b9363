"""The secure sums of one cohort at the coordinator: carries out what the pure machine orders, in the database and towards the sites.

The machine (`privacy.secagg_coordinator`) goes through an epoch's setup, and through upload, signatures and shares of each round.
Here its rows are written before anybody hears of what they say, its messages are handed to sites that ask for work, and
`ask` and `opened` bring it to where the run's driver wants it: a round opened, or the masks that are left on a sum known. A run
has as many of these as `cohorts` cuts its sites into: one, where all fit into one sum.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from collegium.coordinator import records
from collegium.coordinator.store import Store
from collegium.engine.messages import Place
from collegium.engine.run import Run
from collegium.errors import CollegiumError, IdentityError
from collegium.privacy import secagg, secagg_coordinator
from collegium.privacy.masks import Mask
from collegium.privacy.secagg import Persist, Terms, canonical
from collegium.privacy.secagg_coordinator import owed, restore
from collegium.privacy.secagg_messages import Ask, Message, Upload, document, message_of
from collegium.privacy.secagg_stand import (
    Blame,
    Close,
    Coordinator,
    Event,
    Failed,
    From,
    Open,
    Opened,
    Order,
    Refused,
    Start,
    Stop,
    Tick,
    Unmask,
)

UNDER_WAY = ("upload", "sign", "reveal", "opened")  # phases of a round
SETUP = ("adverts", "bundles", "ready")
FEW = 8  # rounds of an epoch after which it may be given up for a site that came late


class Sums:
    """The secure sums of one cohort of a run. Only the event loop calls it; what is shown to sites is what has been committed.

    `group` are the participants that belong to the cohort, `of` is how many the study has; `number` names the cohort's rows.
    """

    def __init__(
        self,
        store: Store,
        run: str,
        study: str,
        manifest: Mapping[str, Any],
        patience_s: float,
        now: Callable[[], float],
        group: Iterable[str] = (),
        of: int = 0,
        number: int = 0,
    ) -> None:
        self.group, self.of, self.number = frozenset(group), of, number
        self.store, self.run, self.study, self.manifest, self.patience_s, self.now = store, run, study, manifest, patience_s, now
        self.machine = self.shown = Coordinator(Terms(study, {}, 0), {}, patience_s)
        self.unmask: tuple[Mask, ...] | None = None  # what takes the masks off the sum of the present round
        self.failure = ""  # why the round or the epoch came to nothing: the cohort is not in the sum of the present place
        self.mute = frozenset[str]()  # kept silent while keys were made, which came to nothing
        self.blamed: list[Blame] = []
        self.outcast: set[str] = set()  # refused what the round asked: takes part again in the next epoch
        self.woken: Callable[[], object] = lambda: None  # sites and the driver look again
        self.keys: Mapping[str, str] = {}  # each site's identity key
        self.steps = self.committed = self.era = 0  # steps made, the last of them that is shown, and how often all was read again
        self.disk: Mapping[str, str] = {}  # the rows as the last of the steps leaves them on the disk
        self.unwritten: list[Persist] = []  # of the machine's rows: they go with the next step that has to last

    # -- its rows ------------------------------------------------------------------------------------------------------

    def recall(self, rows: Mapping[str, str]) -> None:
        """Stand where the rows stand: after a restart, or when a commit failed."""
        kept = dict(rows)
        pins = json.loads(kept.pop("pins", "{}"))
        self.disk, self.unwritten, self.unmask = kept, [], None
        if not pins:
            self.machine = self.shown = Coordinator(Terms(self.study, {}, 0), {}, self.patience_s)
            return
        terms = secagg.agreed(self.manifest, self.study, pins, of=self.of)
        machine, orders = restore(terms, kept, now=self.now(), patience_s=self.patience_s)
        if any(isinstance(order, Persist) for order in orders):  # a phase was over already: the next look at the clock ends it
            machine, orders = Coordinator(terms, kept, self.patience_s, self.now()), []
        self.machine = self.shown = machine
        self.note(orders)

    async def feed(self, event: Event, more: Mapping[str, str] | None = None) -> None:
        """Tell the machine what happened, and make its answer last before it is seen. Raises what the machine refuses."""
        self.machine, orders = secagg_coordinator.step(self.machine, event, now=self.now())
        machine, kept = self.machine, [order for order in orders if isinstance(order, Persist)]
        told = len(orders) > len(kept)
        if not any(order.now for order in kept):
            self.unwritten += kept
            self.note(orders)
            if self.committed < self.steps:  # what this builds on is on its way to the disk: the answer waits for it
                await self.store.commit(lambda c: None)
            self.show(self.committed, self.machine)
            if told:
                self.woken()
            return
        before, self.disk, kept, self.unwritten = self.disk, machine.rows, [*self.unwritten, *kept], []
        self.steps, era = self.steps + 1, self.era
        number = self.steps

        def write(c: Connection) -> None:
            records.refuse_gap(c, self.run, self.number, before)
            rows, forget, _ = secagg.together([Persist(more or {}), *kept])
            records.change_secure(c, self.run, self.number, rows, forget)

        try:
            await self.store.commit(write)
        except CollegiumError:
            self.reread()
            raise
        if self.era != era:  # a commit before this one failed: this machine held what is not on the disk
            self.reread()
            return
        self.show(number, machine)
        self.note(orders)
        if told:
            self.woken()

    def show(self, number: int, machine: Coordinator) -> None:
        """The rows of a step, `machine`'s, are on the disk. Commits are made in order, and heard of in any."""
        self.committed = max(self.committed, number)
        if self.committed == self.steps:
            self.shown = self.machine  # with what may wait
        elif number == self.committed:
            self.shown = machine

    def become(self, other: "Sums") -> None:
        """Stand where another, who has read it all again, stands."""
        self.machine = self.shown = other.machine
        self.disk, self.unwritten, self.unmask, self.failure = other.disk, [], other.unmask, other.failure
        self.era += 1

    def reread(self) -> None:
        """Stand where the rows stand; steps that are being committed now are looked at again when they are."""
        self.era += 1
        self.recall(self.store.read(lambda c: records.secure_rows(c, self.run)).get(self.number, {}))

    def note(self, orders: Collection[Order]) -> None:
        """What the driver has to know."""
        for order in orders:
            match order:
                case Unmask(_, found):
                    self.unmask = found
                case Failed(of, says):
                    self.failure = f"the secure sum came to nothing: {says}" if of == "round" else f"the keys were not agreed: {says}"
                case Blame():
                    self.blamed.append(order)

    # -- what the driver wants -----------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        """Where the machine stands."""
        return self.machine.stand.phase

    @property
    def roster(self) -> frozenset[str]:
        """The sites of the present round; none where the cohort is not in it."""
        return frozenset(self.machine.round["roster"]) if self.phase in UNDER_WAY and not self.failure else frozenset()

    @property
    def survivors(self) -> frozenset[str]:
        """The sites whose vectors are in the sum that was opened."""
        return frozenset(self.machine.round["survivors"]) if self.unmask is not None else frozenset()

    def task(self, run: Run, shared: str) -> str:
        """The digest of the task that a place is: masks are bound to it."""
        return secagg.digests(run=self.run, study=self.study, place=run.place, layout=run.layout.document(), state=shared)[0]

    @property
    def refusals(self) -> dict[str, str]:
        """The sites that will not send a vector in the present round, and why."""
        return {site: self.machine.rows[f"refused/{site}"] for site in self.machine.who("refused")} if self.phase == "upload" else {}

    @property
    def absent(self) -> frozenset[str]:
        """The sites whose keys, signatures or shares are waited for."""
        return frozenset(self.machine.waiting) if self.phase in (*SETUP, "sign", "reveal") else frozenset()

    def stands(self, run: Run, shared: str) -> bool:
        """Whether the machine's round is that of this place."""
        return self.phase in UNDER_WAY and self.machine.round["task"] == self.task(run, shared)

    async def ask(self, run: Run, shared: str, active: frozenset[str], here: frozenset[str], enough: bool) -> float | None:
        """Bring the machine to a round over this place: None when sites can be asked, else how long to wait for a change.

        `active` are the sites that take part, `here` those of them that have called; `enough` says that no more are waited for.
        """
        while True:
            if self.now() >= self.machine.deadline and self.phase in SETUP:
                self.mute = frozenset(self.machine.waiting)
                await self.feed(Tick())
            if self.failure:
                return 0.0
            if self.phase in SETUP:
                return max(self.machine.deadline - self.now(), 0.05)
            if self.stands(run, shared):
                return None
            if self.phase in UNDER_WAY:
                await self.feed(Opened() if self.phase == "opened" else Stop("the place has changed"))
                self.unmask, self.failure = None, ""
                continue
            roster = frozenset(self.machine.members) & active
            if self.phase == "none" or self.machine.left <= 0 or len(roster) < self.machine.terms.enough or self.stale(run.place, here):
                if not enough:
                    return 1.0
                if len(here) < (least := secagg.fewest(self.manifest, self.of)):
                    self.failure = f"{len(here)} of its {len(self.group)} sites are here, {least} must be"
                    return 0.0
                await self.open(here)
                continue
            await self.feed(Start(self.task(run, shared), tuple(sorted(roster))))

    def stale(self, place: Place, here: frozenset[str]) -> bool:
        """Whether sites are here that the epoch leaves out, and it is time to make new keys for all."""
        left_out = (here - {*self.machine.members}) | (here & self.outcast)
        return bool(left_out) and (self.machine.stand.free >= FEW or place.round == 1)

    async def open(self, sites: frozenset[str]) -> None:
        """A new epoch of keys among these sites."""
        terms = self.agree(sites)
        self.machine = replace(self.machine, terms=terms)
        self.outcast.clear()
        before = self.store.read(lambda c: records.last_epoch(c, self.study))
        await self.feed(Open(number=before + 1), {"pins": canonical(dict(terms.pins))})

    def agree(self, sites: Collection[str]) -> Terms:
        """The terms among these sites. Raises `StudyError` where they cannot make one secure sum."""
        return secagg.agreed(self.manifest, self.study, {name: self.keys[name] for name in sorted(sites)}, of=self.of)

    async def opened(self, survivors: frozenset[str], root: Callable[[], str]) -> float | None:
        """Bring the machine from the survivors' vectors to the masks of their sum: None when known, else how long to wait.

        `root` gives the mark of the log that the survivors are to sign.
        """
        if self.now() >= self.machine.deadline and self.phase in ("sign", "reveal"):
            await self.feed(Tick())
        if self.phase == "upload":
            await self.feed(Close(tuple(sorted(survivors)), root()))
        if self.failure or self.unmask is not None:
            return None
        return max(self.machine.deadline - self.now(), 0.05)

    # -- what sites say and hear ---------------------------------------------------------------------------------------

    async def uploaded(self, site: str, digest: str) -> None:
        """A site's masked vector is committed."""
        stand = self.machine.stand
        if "round" in self.machine.rows:
            await self.feed(From(site, Upload(stand.epoch, self.machine.round["index"], digest)))

    def recommitted(self, site: str, digest: str) -> None:
        """After a restart: a site's masked vector was committed in the round that goes on, if its cohort is in it."""
        stand = self.machine.stand
        if "round" not in self.machine.rows:
            return
        self.machine, orders = secagg_coordinator.step(
            self.machine, From(site, Upload(stand.epoch, self.machine.round["index"], digest)), now=self.now()
        )
        self.unwritten += [order for order in orders if isinstance(order, Persist)]
        self.show(self.committed, self.machine)

    async def heard(self, site: str, said: Any) -> str:
        """A message from a site; the reason where it refuses. Raises for what is not of the protocol, or comes too late."""
        match said:
            case {"kind": "refuse", "says": str(says)}:
                self.outcast.add(site)
                await self.feed(Refused(site, says[:500]))
                return says[:500]
        try:
            await self.feed(From(site, message_of(said)))
        except IdentityError as e:
            await self.lied(site, str(e))
            raise
        return ""

    async def lied(self, site: str, says: str) -> None:
        """Name a site that signed what it was not sent, once in a phase; nobody waits for another answer of it."""
        if f"refused/{site}" not in self.machine.rows:
            self.blamed.append(Blame(site, says))
            await self.feed(Refused(site, says[:500]))
            self.woken()

    def sealed(self, site: str) -> dict[str, str]:
        """The shares that were dealt to a site, from the database; none while none are owed. Blocks on the disk."""
        if self.shown.stand.phase != "ready" or site not in self.shown.waiting:
            return {}
        return self.store.read(lambda c: records.sealed_for(c, self.run, self.number, site, self.shown.who("dealt")))

    def owed(self, site: str, sealed: Mapping[str, str]) -> Message | None:
        """What a site is to be told now."""
        if self.shown.stand.phase == "ready" and not sealed:
            return None
        return owed(self.shown, site, lambda name: sealed[name])

    def told(self, message: Message, site: str) -> dict[str, Any]:
        """A message as it is sent; with a round's task goes what was last seen of the site."""
        seen = {"seen": list(self.shown.seen(site))} if isinstance(message, Ask) else {}
        return document(message) | seen
