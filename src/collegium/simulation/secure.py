"""Secure sums in one process: the sites' and the coordinator's own machines, message for message, without a network or a disk.

A simulation under them computes what hospitals would, so it shows what that costs; its results are the bytes of one without.
Every site answers every round here. More sites than one sum takes are cut into cohorts, as in a federation.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from collegium import identity, wire
from collegium.engine import run as course
from collegium.engine.run import Run, Stage
from collegium.errors import IdentityError
from collegium.identity import digest
from collegium.privacy import masks, ring, secagg, secagg_coordinator, secagg_site, tags
from collegium.privacy.masks import Mask
from collegium.privacy.ring import Layout
from collegium.privacy.secagg import Persist, Terms, canonical
from collegium.privacy.secagg_coordinator import owed
from collegium.privacy.secagg_keys import Asked, Encode, Order, Send, Site
from collegium.privacy.secagg_messages import Ask, Message, document
from collegium.privacy.secagg_site import Event, Spooled
from collegium.privacy.secagg_stand import BULKY, Close, Coordinator, From, Open, Opened, Start, Unmask
from collegium.privacy.secagg_stand import Event as Happened

Vectors = Mapping[str, Callable[..., Any]]  # site -> makes its blocks, given what they are tagged with (`engine.task.vector`)


class Task(NamedTuple):
    """What a sum is of: the digests of the task and of its work, and the form of the vector."""

    task: str
    work: str
    layout: Layout


class Cohort:
    """Sites that make their sums together, and the coordinator's machine for them."""

    def __init__(self, study: str, names: Sequence[str], *, curious: bool, rounds: int, verified: bool) -> None:
        self.keys = {name: identity.key(os.urandom(32)) for name in names}
        pins = {name: key.public for name, key in self.keys.items()}
        self.terms: Terms = secagg.settle(study, pins, curious=curious, waived=True, rounds=rounds, verified=verified)
        self.sites = {name: Site(self.terms, name) for name in names}
        self.hub, self.sealed, self.unmask = Coordinator(self.terms), dict[str, str](), tuple[Mask, ...]()
        self.nbytes = 0  # of all messages so far

    def total(self, asked: Task, vectors: Vectors) -> np.ndarray:
        """The sum of the sites' vectors, each masked before it is added; a vector at a time is in memory."""
        if self.hub.stand.phase == "none" or self.hub.left <= 0:
            self.happens(Open())
            self.talk()
        self.happens(Start(asked.task))
        total = np.zeros(asked.layout.nbytes, np.uint8)
        for name in self.sites:
            ring.add(total, self.masked(name, asked, vectors[name]), 0, asked.layout)
        self.happens(Close(tuple(self.sites), ""))
        self.talk()
        masks.apply(total, asked.layout, self.unmask)
        for name in self.sites if self.terms.verified else ():
            if not tags.holds(lambda at, count: total[at : at + count].tobytes(), asked.layout, self.tag(name)[0], self.sites):
                raise IdentityError(f"site {name!r}: the sum is not that of the vectors that were sent")
        self.happens(Opened())
        return total

    def tag(self, name: str) -> tuple[bytes, str]:
        """What a site tags its vector of this round with."""
        key = bytes.fromhex(self.sites[name].rows["study key"])
        return tags.round_key(key, self.hub.stand.epoch, self.hub.round["index"]), name

    def masked(self, name: str, asked: Task, make: Callable[..., Any]) -> np.ndarray:
        """A site's vector under its masks; their keys are used up."""
        blocks = make(tag=self.tag(name)) if self.terms.verified else make()
        vector = np.concatenate([block.view(np.uint8) for block in blocks])
        ask = owed(self.hub, name, self.sealed.__getitem__)
        assert isinstance(ask, Ask)
        told = Asked(ask, asked.task, asked.work)
        for order in self.step(name, told):
            if isinstance(order, Encode):
                masks.apply(vector, asked.layout, order.masks)
        self.hand_in(name, self.step(name, Spooled(told, digest(vector.data))))
        return vector

    def talk(self) -> None:
        """Let every site hear and answer until nobody is owed anything."""
        while said := [(name, message) for name in self.sites if (message := owed(self.hub, name, self.sealed.__getitem__))]:
            for name, message in said:
                self.count(message)
                self.hand_in(name, self.step(name, message))  # type: ignore[arg-type]  # what a coordinator says is an event at a site

    def step(self, name: str, event: Event) -> list[Order]:
        """What a site answers; its rows are in its machine."""
        self.sites[name], orders = secagg_site.step(self.sites[name], event, signer=self.keys[name], entropy=os.urandom(32))
        return orders

    def hand_in(self, name: str, orders: Sequence[Order]) -> None:
        """Bring what a site says to the coordinator."""
        for order in orders:
            if isinstance(order, Send):
                self.count(order.message)
                self.happens(From(name, order.message))

    def happens(self, event: Happened) -> None:
        """Tell the coordinator's machine. The sealed shares are not in its rows: they are kept beside, for those to whom they go."""
        self.hub, orders = secagg_coordinator.step(self.hub, event, now=0.0)
        for order in orders:
            match order:
                case Persist(rows, forget):
                    if BULKY in forget:
                        self.sealed.clear()
                    self.sealed |= {row: text for row, text in rows.items() if row.startswith(BULKY)}
                case Unmask(_, found):
                    self.unmask = found

    def count(self, message: Message) -> None:
        """Add up what is said."""
        self.nbytes += len(canonical(document(message)))


class Sums:
    """The secure sums of a simulated run, and what they cost."""

    def __init__(
        self, study: str, stages: Sequence[Stage], names: Sequence[str], *, curious: bool = False, rounds: int = 128,
        largest: int = secagg.LARGEST, verified: bool = False,
    ) -> None:  # fmt: skip
        """`study` is the manifest's digest; `rounds` for how many rounds keys are made ahead; more sites than `largest` are cut into
        cohorts, and where it is `verified` each site checks every sum. Raises `StudyError` for one site."""
        self.study, self.stages, self.rounds, self.seconds = study, stages, 0, 0.0
        self.verified = verified
        self.cohorts = [
            Cohort(study, group, curious=curious, rounds=rounds, verified=verified)
            for group in secagg.cohorts(study, names, largest=largest)
        ]

    def add(self, run: Run, vectors: Vectors) -> bytes:
        """The sum of all sites' vectors at this place."""
        began = time.perf_counter()
        shared = digest(b"".join(wire.encode(course.shared(run, self.stages))))
        form = run.layout.document()
        found = secagg.digests(run="simulation", study=self.study, place=run.place, layout=form, state=shared)
        asked = Task(*found, run.layout)
        total = np.zeros(run.layout.nbytes, np.uint8)
        for cohort in self.cohorts:
            ring.add(total, cohort.total(asked, vectors), 0, run.layout)
        self.rounds, self.seconds = self.rounds + 1, self.seconds + time.perf_counter() - began
        return total.tobytes()

    def document(self) -> dict[str, Any]:
        """What they cost, JSON-ready."""
        sites = sum(len(cohort.sites) for cohort in self.cohorts)
        return {
            "rounds": self.rounds, "cohorts": len(self.cohorts), "seconds": round(self.seconds, 3),
            "bytes_a_site_and_round": round(sum(cohort.nbytes for cohort in self.cohorts) / max(sites * self.rounds, 1)),
            "badge": secagg.badge(min((cohort.terms for cohort in self.cohorts), key=lambda terms: len(terms.pins)), len(self.cohorts)),
        }  # fmt: skip
