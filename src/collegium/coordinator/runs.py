"""The coordinator's runs: begun, offered to sites, answered, paused, resumed, stopped.

A round's sum is a function of committed uploads, and a run's place changes in one transaction. So whatever happens to this
process, a run is rebuilt from the database and goes on: nothing is lost, nothing counts twice. Slow steps run in threads.
"""

import asyncio
import logging
import secrets
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from collegium import tree as T
from collegium.coordinator import driver, records, recovery, states, store
from collegium.coordinator.blobs import SMALL, Frame
from collegium.coordinator.live import OVER, Live, Member, Reply, Signal, roster_of, says
from collegium.coordinator.logbook import ITSELF
from collegium.coordinator.means import Means
from collegium.coordinator.records import Event
from collegium.coordinator.spool import Upload, operation
from collegium.engine import run as course
from collegium.engine.messages import Answer
from collegium.engine.round import Answered, Failed
from collegium.errors import CollegiumError, ConflictError, NotAllowed, StudyError, UpdateError
from collegium.identity import digest
from collegium.privacy.ring import TRAILER

log = logging.getLogger("collegium.coordinator.runs")
NONE: Mapping[str, T.Tree] = MappingProxyType({})
HELD = 4 << 20  # bytes of a round's vectors that stay in memory until they are added up


class Runs:
    """All runs of one coordinator that are not over, and how they go on."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.live: dict[str, Live] = {}
        self.beginning: dict[str, Live] = {}  # on their way to the disk
        self.over: dict[str, tuple[Reply, frozenset[str]]] = {}  # the last word of runs that are over, and who may hear it
        self.arrivals = Signal()  # a run has begun or goes on
        self.drivers: set[asyncio.Task[None]] = set()
        self.closing = False

    async def recover(self) -> None:
        """Take up every run that is not over, where it stood."""
        found, broken = await asyncio.to_thread(recovery.recover, self.means)
        for run, why in broken.items():
            log.error("run %s: %s", run, why)
            await self.means.store.commit(partial(broken_run, run=run, why=why, at=self.means.now()))
        for live, rows in found:
            self.live[live.id] = live
            recovery.reopen(self.means, live, rows)
            self.go(live)

    def go(self, live: Live) -> None:
        """Let a run go on by itself, and offer it to sites that wait."""
        self.arrivals.send()
        if live.status == "running" and not self.closing and (live.driver is None or live.driver.done()):
            live.driver = asyncio.get_running_loop().create_task(self.drive(live), name=f"run-{live.id}")
            self.drivers.add(live.driver)
            live.driver.add_done_callback(self.drivers.discard)

    async def drive(self, live: Live) -> None:
        """Until the run is paused or over; one that is over is only remembered for its last word."""
        await driver.drive(self.means, live)
        await self.retire(live)

    async def retire(self, live: Live) -> None:
        """Forget a run that is over: its state is large, its last word is short."""
        if live.status in OVER and live.id in self.live:
            del self.live[live.id]
            self.over[live.id] = (live.closing(), frozenset(live.roster))
        if not self.live:
            await asyncio.to_thread(self.means.blobs.tidy)

    def close(self) -> None:
        """The process ends: wake all that wait, take nothing more up. What is committed stands."""
        self.closing = True
        self.arrivals.send()
        for live in self.live.values():
            live.changed()
            live.news.send()
        for task in self.drivers:
            task.cancel()

    def tick(self) -> None:
        """Look at the clock again: for tests, whose clock jumps."""
        for live in self.live.values():
            live.nudge.set()

    # -- what people ask -----------------------------------------------------------------------------------------------

    async def start(
        self, study_digest: str, sites: Collection[str], brought: Mapping[str, T.Tree] = NONE, *, first: str = "", by: str = ITSELF
    ) -> str:
        """Begin a run of a study over these sites; its name. Raises `ConflictError` if they are too few.

        `brought` came with it; `first` is the digest of the file of first weights that this was.
        """
        live = await asyncio.to_thread(self.begin, study_digest, sites, brought)
        live.first = first
        start = f"; training begins from weights that were brought, of digest {first}" if brought else ""
        event = self.means.event(live, "started", f"started with {len(sites)} sites: {', '.join(sorted(sites))}{start}")

        def begun(c: Connection) -> None:
            c.execute(store.run.insert().values(**recovery.columns(live), created=event.at, results="", results_bytes=0, first=first))
            records.change_frames(c, live.id, live.kept.frames.values(), ())
            records.tell(c, event, by=by)
            records.open_round(c, live.id, live.place, event.at)

        try:
            self.refuse_second(live)
            self.beginning[live.id] = live
            await self.means.store.commit(begun)
            self.live[live.id] = live
        finally:
            self.beginning.pop(live.id, None)
            self.means.blobs.unpin(live.kept.new)
        self.means.told(live, event)
        self.go(live)
        return live.id

    def refuse_second(self, live: Live) -> None:
        """Raise `ConflictError` while another run of the same study makes secure sums here."""
        others = [*self.live.values(), *self.beginning.values()] if live.secure else []
        if other := next((each for each in others if each.digest == live.digest), None):
            raise ConflictError(
                f"run {other.id} of this very study is under way: the keys of secure sums serve one run of a study at a time",
                hint=f"wait for it, or end it: collegium study stop {other.id}",
            )

    def begin(self, study_digest: str, sites: Collection[str], brought: Mapping[str, T.Tree] = NONE) -> Live:
        """The first place of a run, its state kept; nothing is committed yet."""
        document = self.means.store.read(lambda c: records.study_document(c, study_digest))
        study, stages, given = recovery.planned(document, self.means.plan)
        given = {**given, **brought}
        if len(sites) < (least := max(study.sites.minimum, study.quorum)):
            raise ConflictError(
                f"the study needs {least} sites, {len(sites)} would take part",
                hint="invite more sites with `collegium site invite`, or lower `sites: {minimum: ...}` in the manifest",
            )
        try:
            run = course.begin(stages, len(sites), given, verified=study.privacy.verified)
        except CollegiumError:
            raise
        except Exception as e:
            log.exception("a study cannot begin")
            raise StudyError(f"the study's first state cannot be made: {type(e).__name__}: {e}") from e
        kept = states.keep(run, stages, None, self.means.blobs)
        given |= dict.fromkeys(brought, NONE)  # it is kept by now, and the file it came in may go
        roster = {name: Member() for name in sorted(sites)}
        live = Live(secrets.token_hex(6), study_digest, study, stages, given, kept, roster)
        sums = recovery.sums_of(self.means, live)
        if sums and (found := sums.agree(sites)) < least:  # a run that could make no sum does not begin
            raise ConflictError(
                f"the study needs {least} sites in secure sums; {found} of the {len(sites)} are in cohorts that have enough sites",
                hint="start it over more of its participants: who belongs to which cohort follows from the study, and cannot be chosen",
            )
        live.secure = sums
        return live

    async def pause(self, run: str, *, by: str = ITSELF) -> None:
        """Nothing new is asked until `resume`; answers under way are still taken."""
        live = self.find(run)
        async with live.lock:
            if live.status != "running":
                raise ConflictError(f"run {run} is {live.status}, so it cannot be paused")
            await driver.pause(self.means, live, by=by)

    async def resume(self, run: str, *, by: str = ITSELF) -> None:
        """Ask again, where the run stood."""
        if run not in self.live:
            await self.mend(run)
        live = self.find(run)
        async with live.lock:
            if live.status != "paused":
                raise ConflictError(f"run {run} is {live.status}, so it cannot be resumed")
            await driver.resume(self.means, live, by=by)
        self.go(live)

    async def mend(self, run: str) -> None:
        """Try again to take up a run whose rows or files could not be read at the start."""
        row = await asyncio.to_thread(self.means.store.read, lambda c: records.run_row(c, run))
        if row.status == "paused":
            live, rows = await asyncio.to_thread(recovery.take_up, self.means, run)
            self.refuse_second(live)
            self.live[run] = live
            recovery.reopen(self.means, live, rows)

    async def stop(self, run: str, *, by: str = ITSELF) -> None:
        """End a run now; results so far are kept."""
        live = self.find(run)
        async with live.lock:
            if live.status in OVER:
                raise ConflictError(f"run {run} is {live.status} already")
            await driver.end(self.means, live, "stopped", "stopped on request", by=by)
        await self.retire(live)

    def find(self, run: str) -> Live:
        """A run that is not over. Raises `NotFound`, or `ConflictError` for one that is."""
        if run not in self.live:
            row = self.means.store.read(lambda c: records.run_row(c, run))
            raise ConflictError(f"run {run} is {row.status}: nothing more happens in it")
        return self.live[run]

    # -- what sites ask ------------------------------------------------------------------------------------------------

    async def offer(self, site: str, serving: Collection[str], wait_s: float) -> Live | None:
        """A run that asks this site and that it does not serve yet."""
        end = now_s() + wait_s
        while not self.closing:
            for live in self.live.values():
                if live.status == "running" and site in live.active and live.id not in serving:
                    return live
            if not await self.arrivals.wait(end - now_s()):
                break
        return None

    async def told_late(self, site: str) -> None:
        """A site joined: those who watch runs that began without it hear so. It takes part from the next run on."""
        sentence = f"{site} joined after this run began; it takes part in the next one"
        events = [self.means.event(live, "joined", sentence, site) for live in self.live.values() if site not in live.roster]
        if events:
            await self.means.store.commit(lambda c: records.tell_all(c, events))
        for event in events:
            self.live[event.run].news.send()

    def member(self, run: str, site: str) -> Live | None:
        """The run, if this site takes part in it; None if it is over. Raises `NotFound` or `NotAllowed`."""
        live = self.live.get(run)
        if live is None and run not in self.over:
            row, sums = self.means.store.read(lambda c: (records.run_row(c, run), records.shown_sums(c, run)))
            results = Frame(row.results, row.results_bytes, None) if row.results else None
            self.over[run] = (says(row.status, row.says, results, sums=[*sums.values()], first=row.first), frozenset(roster_of(row.roster)))
        if site not in (live.roster if live else self.over[run][1]):
            raise NotAllowed(f"site {site!r} takes no part in run {run}: it began without it", hint="it is asked in the next run")
        if live:
            live.silent.discard(site)
            if site not in live.here:
                live.here.add(site)
                live.nudge.set()
            if live.secure:
                live.secure.seen(site)
            live.stewards.discard(site)
        return live

    async def next(self, run: str, site: str, wait_s: float) -> Reply:
        """The next task for a site, or what became of the run."""
        live = self.live.get(run)
        if live is None:
            return self.over[run][0]
        end, status = now_s() + wait_s, live.status
        while not self.closing:
            sums = live.secure.of(site) if live.secure else None
            sealed = await asyncio.to_thread(sums.sealed, site) if sums and sums.phase == "ready" else None
            if reply := live.reply(site, sealed):
                return reply
            if live.status != status or not await live.turn.wait(end - now_s()):
                break
        return live.idle()

    async def answer(self, live: Live, site: str, answer: Answer, payload: memoryview) -> None:
        """Commit a site's answer; an answer to a round that is over is left aside. Raises for one that does not fit."""
        place = live.place
        if answer.place != place or live.round is None or live.status in OVER:
            return
        if answer.failure:
            answer, body = Answer(answer.run, place, failure=answer.failure, says=answer.says[:2000], final=answer.final), None
        else:
            body = await self.checked(live, site, answer, payload)
        self.means.reached("spooled", place)
        outcome = await self.means.store.commit(lambda c: records.add_upload(c, live.id, site, answer, body, now=self.means.now()))
        if outcome == "late" or live.place != place or live.round is None:
            return
        self.means.reached("committed", place)
        live.digests[site] = answer.digest
        if answer.failure:
            live.reasons[site] = answer.says or answer.failure
            live.feed(Failed(site, live.reasons[site], answer.final))
            if live.secure:
                await live.secure.without(site, live.reasons[site])
        else:
            if live.secure:
                await live.secure.of(site).uploaded(site, answer.digest)
            if body is not None and len(body) * len(live.roster) <= HELD:
                live.held[site] = body
            live.feed(Answered(site, self.means.clock()))

    async def hear(self, run: str, site: str, said: Iterable[Any]) -> None:
        """What a site says in the secure sum; where it refuses to go on, the round goes on without it."""
        live = self.live.get(run)
        for message in said if live and live.secure else ():
            assert live is not None
            assert live.secure is not None
            leaves = isinstance(message, dict) and message.get("kind") == "leave"
            if left := live.roster[site].left:
                if leaves:  # it did not hear that it was heard
                    continue
                raise ConflictError(f"site {site!r} has left the run: {left}", hint="it is asked again when the run is resumed")
            if leaves:
                await driver.depart(self.means, live, site, str(message.get("says"))[:2000])
                continue
            if why := await live.secure.heard(site, message):
                event = self.means.event(live, "refused", f"{site} refuses: {why}", site)
                await self.means.store.commit(partial(records.tell_all, events=[event]))
                self.means.told(live, event)
                live.reasons[site] = why
                live.feed(Failed(site, why))
            live.nudge.set()

    async def checked(self, live: Live, site: str, answer: Answer, payload: memoryview) -> bytes | None:
        """A vector that is whole and as long as the round asks; its bytes if small. Raises `UpdateError`."""
        want, where = live.kept.run.layout.nbytes, f"{answer.place}, site {site!r}"
        if answer.nbytes != want:
            raise UpdateError(f"{where}: the vector has {answer.nbytes} bytes, the round asks for {want}")
        if want <= SMALL:
            if len(payload) != want:
                raise UpdateError(f"{where}: {len(payload)} bytes came, {want} were announced")
            body = bytes(payload)
            if digest(body) != answer.digest:
                raise UpdateError(f"{where}: the vector's digest does not hold")
            if live.secure is None:
                refuse_crowd(where, body[-TRAILER:])
            return body
        if live.digests.get(site) == answer.digest:
            return None  # a repetition: the file is sealed
        upload = self.upload(live, site)
        if upload.sealed != answer.digest:
            upload.sealed = await asyncio.to_thread(upload.seal)
        if upload.sealed != answer.digest:
            self.means.spool.drop([upload.path.name])
            raise UpdateError(f"{where}: the vector's digest does not hold", hint="upload it again from the start")
        if live.secure is None:
            refuse_crowd(where, upload.tail(TRAILER))
        return None

    def upload(self, live: Live, site: str, op: str = "") -> Upload:
        """A site's upload to the present round. Raises `ConflictError` if `op` names another, or the round is over."""
        if live.round is None or site not in live.active:
            raise ConflictError(f"run {live.id}: no round is open for site {site!r}", hint="ask for work: the next task says what counted")
        now = operation(live.id, live.place, site)
        if op not in ("", now) or live.kept.run.layout.nbytes <= SMALL:
            raise ConflictError("this upload belongs to no open round", hint="ask for work: the next task says what counted")
        return self.means.spool.upload(now, live.kept.run.layout.nbytes)

    async def note_line(self, run: str, site: str, document: str) -> None:
        """A site's own line of results, which its policy publishes; the newest stays."""
        event = Event(self.means.now(), run, site, "line", f"{site} published its own results")

        def noted(c: Connection) -> None:
            mine = (store.line.c.run == run) & (store.line.c.site == site)
            if not c.execute(store.line.update().where(mine).values(document=document, at=event.at)).rowcount:
                c.execute(store.line.insert().values(run=run, site=site, document=document, at=event.at))
                records.tell(c, event)

        await self.means.store.commit(noted)
        if live := self.live.get(run):
            live.news.send()

    def frame(self, digest: str, site: str | None) -> Frame:
        """A frame that this site may fetch (None: an operator): what its runs share, and their results. Raises `NotFound`."""
        for live in self.live.values():
            if live.kept.shared.digest == digest and (site is None or site in live.roster):
                return live.kept.shared
        return self.means.store.read(lambda c: records.results_frame(c, digest, site))


def now_s() -> float:
    """The event loop's own clock, by which sites wait."""
    return asyncio.get_running_loop().time()


def refuse_crowd(where: str, tail: bytes) -> None:
    """A vector ends with how many sites it holds: one. Two would spoil everybody's sum."""
    sites = int.from_bytes(tail[-8:], "little")
    if sites != 1:
        raise UpdateError(f"{where}: the vector says that it holds {sites} sites, not one")


def broken_run(c: Connection, run: str, why: str, at: int) -> None:
    """A run whose rows or files are damaged waits for a person."""
    c.execute(store.run.update().where(store.run.c.id == run).values(status="paused", says=why))
    records.tell(c, Event(at, run, "", "paused", why))
