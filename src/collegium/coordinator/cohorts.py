"""All secure sums of a run: one machine for each cohort of its sites, brought to one round together.

Sites that are too many for one sum are cut into cohorts (`privacy.secagg.cohorts`), each of which makes keys, uploads, signs and
reveals by itself. A round opens once every cohort stands in it or cannot, and closes once every cohort has opened its sum or
cannot: it goes on with the cohorts that stand if they have the sites that the study's quorum asks for, and is asked again if not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from collegium.coordinator.secure import Sums
from collegium.engine.run import Run
from collegium.errors import StudyError
from collegium.privacy.masks import Mask
from collegium.privacy.secagg_messages import Message
from collegium.privacy.secagg_stand import Blame, Refused


class Cohorts:
    """The secure sums of one run, by cohort. Only the event loop calls it."""

    def __init__(self, each: Sequence[Sums]) -> None:
        self.each = each
        self.home = {site: sums for sums in each for site in sums.group}

    def of(self, site: str) -> Sums:
        """The sums that a site's part goes into."""
        return self.home[site]

    def recall(self, rows: Mapping[int, Mapping[str, str]]) -> None:
        """Stand where the rows stand."""
        for sums in self.each:
            sums.recall(rows.get(sums.number, {}))

    def become(self, other: "Cohorts") -> None:
        """Stand where another, who has read it all again, stands."""
        for mine, theirs in zip(self.each, other.each, strict=True):
            mine.become(theirs)

    def wake(self, woken: Callable[[], object]) -> None:
        """Let this be called when sites and the driver have to look again."""
        for sums in self.each:
            sums.woken = woken

    def agree(self, sites: Iterable[str]) -> int:
        """How many of these sites are in cohorts that can make a sum. Raises `StudyError` where all are in one, and it cannot."""
        found, present = 0, frozenset(sites)
        for sums in self.each:
            try:
                terms = sums.agree(present & sums.group)
            except StudyError:
                if len(self.each) == 1:
                    raise
            else:
                found += len(terms.pins) if len(terms.pins) >= terms.enough else 0
        return found

    # -- what the driver wants -----------------------------------------------------------------------------------------

    async def ask(self, run: Run, shared: str, active: frozenset[str], here: frozenset[str], enough: bool) -> float | None:
        """Bring every cohort to a round over this place, or out of it: None when all are, else how long to wait for a change."""
        waits, several = [], len(self.each) > 1
        for sums in self.each:  # where others can go on without it, a cohort does not wait twice for sites that kept silent
            there = (here & sums.group) - (sums.mute if several else frozenset())
            wait_s = await sums.ask(run, shared, active & sums.group, there, enough)
            if wait_s is not None and not sums.failure:
                waits.append(wait_s)
        return min(waits, default=None)

    async def opened(self, survivors: frozenset[str], root: Callable[[], str]) -> float | None:
        """Bring every cohort from its survivors' vectors to the masks of their sum, or out of the round: None when all are there.

        `root` gives the mark of the log that the survivors are to sign: one for all cohorts whose survivors are fixed now.
        """
        waits, mark = [], cache(root)
        for sums in self.each:
            if not sums.failure and (wait_s := await sums.opened(survivors & sums.group, mark)) is not None:
                waits.append(wait_s)
        return min(waits, default=None)

    @property
    def roster(self) -> frozenset[str]:
        """The sites of the present round."""
        return frozenset(chain.from_iterable(sums.roster for sums in self.each))

    @property
    def survivors(self) -> frozenset[str]:
        """The sites whose vectors are in the sums that were opened."""
        return frozenset(chain.from_iterable(sums.survivors for sums in self.each))

    @property
    def unmask(self) -> tuple[Mask, ...]:
        """The masks that are left on the sum of the survivors' vectors."""
        return tuple(chain.from_iterable(sums.unmask or () for sums in self.each))

    @property
    def fewest(self) -> int:
        """The fewest sites of which a sum of this round can be opened."""
        return min(sums.machine.terms.enough for sums in self.each if sums.roster)

    @property
    def absent(self) -> frozenset[str]:
        """The sites whose keys, signatures or shares are waited for."""
        return frozenset(chain.from_iterable(sums.absent for sums in self.each if not sums.failure))

    @property
    def begun(self) -> bool:
        """Whether keys were ever asked for in this epoch."""
        return any(sums.phase != "none" for sums in self.each)

    @property
    def refusals(self) -> dict[str, str]:
        """The sites that will not send a vector in the present round, and why."""
        return dict(chain.from_iterable(sums.refusals.items() for sums in self.each))

    @property
    def failures(self) -> dict[str, str]:
        """Why cohorts are not in the present round, by what they are called."""
        return {self.named(sums): sums.failure for sums in self.each if sums.failure}

    def named(self, sums: Sums) -> str:
        """What a cohort is called, where there are several."""
        return f"cohort {sums.number + 1} of {len(self.each)}" if len(self.each) > 1 else ""

    @property
    def why(self) -> str:
        """The reasons of all cohorts that are not in the present round, in words."""
        return "; ".join(f"{name}: {why}" if name else why for name, why in self.failures.items())

    @property
    def blamed(self) -> list[Blame]:
        """Whom the protocol has found at fault since the last look."""
        return [blame for sums in self.each for blame in sums.blamed]

    def forget(self, blamed: Iterable[Blame]) -> None:
        """These have been named: in the run's events, and in the log."""
        told = list(map(id, blamed))
        for sums in self.each:
            sums.blamed[:] = [blame for blame in sums.blamed if id(blame) not in told]

    def seen(self, site: str) -> None:
        """A site has called: it is asked for keys again."""
        sums = self.of(site)
        sums.mute -= {site}

    def spoil(self, sums: Sums) -> None:
        """The sum that a cohort has opened is none: one of its vectors was not of the form that was asked."""
        says = f"one of {', '.join(sorted(sums.survivors))} sent a vector that is not of the form that was asked, and masks hide which"
        sums.unmask, sums.failure = None, says
        sums.blamed.append(Blame("", says))

    def turn(self) -> None:
        """The place is over: every cohort may be in the next one."""
        for sums in self.each:
            sums.failure = ""

    # -- after a restart -----------------------------------------------------------------------------------------------

    def stands(self, run: Run, shared: str) -> bool:
        """Whether any cohort's machine is in a round over this place."""
        return any(sums.stands(run, shared) for sums in self.each)

    def stand_by(self, run: Run, shared: str) -> None:
        """Vectors of the present place were committed: a cohort that is not in its round any more cannot be in it anew.

        Under other masks its sites would answer with other bytes.
        """
        for sums in self.each:
            if not sums.stands(run, shared):
                sums.unmask, sums.failure = None, sums.failure or "the secure sum came to nothing before the coordinator stopped"

    def decided(self, run: Run, shared: str) -> bool:
        """Whether every cohort is in a round over this place, or out of it."""
        return all(sums.failure or sums.stands(run, shared) for sums in self.each)

    @property
    def fixed(self) -> bool:
        """Whether the survivors of some cohort are fixed, so that no more answers are waited for."""
        return any(sums.roster and sums.phase != "upload" for sums in self.each)

    # -- what sites say and hear ---------------------------------------------------------------------------------------

    async def gone(self, site: str, why: str) -> None:
        """A site takes no part from now on: nobody waits for what it was asked."""
        sums = self.of(site)
        if site in sums.machine.waiting or sums.phase == "upload":
            await sums.feed(Refused(site, why[:500]))

    async def without(self, site: str, why: str) -> None:
        """A site answers a round with a failure, and sends no vector."""
        if (sums := self.of(site)).phase == "upload":
            await sums.feed(Refused(site, why[:500]))

    async def heard(self, site: str, said: Any) -> str:
        """A message from a site; the reason where it refuses. Raises for what is not of the protocol, or comes too late."""
        return await self.of(site).heard(site, said)

    def told(self, site: str, sealed: Mapping[str, str]) -> dict[str, Any] | None:
        """What a site is to be told now, as it is sent."""
        sums = self.of(site)
        message: Message | None = sums.owed(site, sealed)
        return sums.told(message, site) if message else None
