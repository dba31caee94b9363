"""Drives one run: waits for what its round orders, carries it out, and commits each step as one transaction."""

import asyncio
import contextlib
import logging
from collections.abc import Set

from sqlalchemy import Connection

from collegium.coordinator import records, recovery, states
from collegium.coordinator.blobs import SMALL, Frame
from collegium.coordinator.cohorts import Cohorts
from collegium.coordinator.live import Live, Status, roster_text
from collegium.coordinator.logbook import ITSELF
from collegium.coordinator.means import Means
from collegium.coordinator.spool import operation
from collegium.coordinator.transition import Next, following, misfits, so_far
from collegium.engine import run as course
from collegium.engine.messages import Place
from collegium.engine.round import Abandon, Close, Failed, Order, Tick
from collegium.errors import CollegiumError, ConflictError, NotFound, StorageError

log = logging.getLogger("collegium.coordinator.runs")
TRIES = 3  # a round is asked so often before the run pauses
PAUSED = ". The run is paused, nothing is lost; mend the cause, then resume it"
RETRY_S = 5.0  # between attempts to go on when the disk is full


async def drive(means: Means, live: Live) -> None:
    """Carry out a run's orders until it is paused or over. A full disk is waited for; other failures end the run."""
    while live.status == "running":
        live.nudge.clear()
        try:
            order, wait_s = await found(means, live)
            if order:
                async with live.lock:
                    if live.status == "running":
                        await carry_out(means, live, order)
                continue
        except StorageError as e:
            log.warning("run %s waits: %s", live.id, e)
            live.says, wait_s = f"waits for the coordinator's disk: {e}", RETRY_S
        except ConflictError as e:
            log.warning("run %s is read again: %s", live.id, e)
            await asyncio.sleep(0.05)
            async with live.lock:
                await recovery.reread(means, live)
            live.changed()
            continue
        except CollegiumError as e:
            await fail(means, live, f"{e} ({e.hint})" if e.hint else str(e))
            continue
        except Exception as e:
            log.exception("run %s failed", live.id)
            await fail(means, live, f"{live.stage.name}, {live.place}: {type(e).__name__}: {e}")
            continue
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.nudge.wait(), max(wait_s, 0))


async def found(means: Means, live: Live) -> tuple[Order | None, float]:
    """What is to be done now, else how long to wait. Under secure sums: when sites hold keys, and when a sum can be opened."""
    sums = live.secure
    if sums is None:
        return look(means, live)
    await blame(means, live, sums)
    if live.round is None:
        here, enough = frozenset(live.here) & live.active, live.enough(means.clock())
        wait_s = await sums.ask(live.kept.run, live.kept.shared.digest, live.active, here, enough)
        if wait_s is not None:
            live.says = live.keyless
            return None, wait_s
        if lacking := too_few(live, sums, sums.roster):
            return lacking, 0.0
    order, wait_s = look(means, live)
    if not isinstance(order, Close):
        return order, wait_s
    opens_s = await sums.opened(order.sites, means.logbook.mark)
    if opens_s is None:
        try:
            for each in await asyncio.to_thread(misfits, means, live):
                sums.spoil(each)
        except NotFound as e:
            return Abandon(lost(live, e)), 0.0
    await blame(means, live, sums)  # the last round may close now
    if opens_s is not None:
        return None, opens_s
    if live.closed is not None and sums.survivors != frozenset(live.closed):
        return Abandon(f"whose answers count was fixed, and their sum cannot be opened any more ({sums.why})"), 0.0
    return too_few(live, sums, sums.survivors) or Close(sums.survivors), 0.0


def too_few(live: Live, sums: Cohorts, sites: frozenset[str]) -> Abandon | None:
    """Gives the round up where the cohorts that stand in it have fewer sites than the study's quorum."""
    if sites and (len(sites) >= live.study.quorum or not sums.failures):
        return None
    return Abandon(
        sums.why if len(sums.each) == 1 else f"{len(sites)} sites are in cohorts that stand, {live.study.quorum} must be: {sums.why}"
    )


def blames(means: Means, live: Live) -> list[records.Event]:
    """An event for each site that was found at fault, or for several of which one must be."""
    found = live.secure.blamed if live.secure else []
    return [means.event(live, "blamed", f"{each.site}: {each.says}" if each.site else each.says, each.site) for each in found]


async def blame(means: Means, live: Live, sums: Cohorts) -> None:
    """Name in the run's events and in the log whom the protocol has found at fault."""
    found = sums.blamed
    if events := blames(means, live):
        await means.store.commit(lambda c: records.tell_all(c, events))
        sums.forget(found)  # not before it is written, and none that came meanwhile
        means.told(live, *events)


def look(means: Means, live: Live) -> tuple[Order | None, float]:
    """What the round orders now, else how long to wait; a place that is not asked yet is opened. Raises `StorageError`."""
    if live.round is None:
        layout = live.kept.run.layout
        if layout.nbytes > SMALL:
            state = sum(frame.nbytes for frame in live.kept.frames.values())
            means.blobs.room_for((len(live.active) + 1) * layout.nbytes + 2 * state)
        live.says = ""
        live.ask(means.clock())
        means.reached("asked", live.place)
        live.changed()
    if live.order is None:
        live.feed(Tick(means.clock()))
    return live.order, live.round.wake - means.clock() if live.round else 0.0


async def carry_out(means: Means, live: Live, order: Order) -> None:
    """Close the round, or give it up and ask again."""
    match order:
        case Close(sites):
            try:
                await close(means, live, sites)
            except NotFound as e:
                await abandon(means, live, lost(live, e))
        case Abandon(reason):
            await abandon(means, live, reason)


def lost(live: Live, why: NotFound) -> str:
    """A vector that was committed is not there."""
    return f"round {live.place.round}: a committed update is lost ({why})"


async def close(means: Means, live: Live, sites: frozenset[str]) -> None:
    """Add up the answers and move on: in one transaction the next place counts and the answers are forgotten."""
    place, digests = live.place, recovery.answered_text(live, sites)
    if live.kept.run.layout.nbytes > SMALL and live.closed is None:  # adding up takes a while: fix now whose answers count
        await means.store.commit(
            lambda c: records.turn_round(c, live.id, place, ["open"], status="closed", answered=digests, ended=means.now())
        )
        live.closed = sorted(sites)
    after = await asyncio.to_thread(following, means, live, sites)
    figures = after.figures | {"seconds": round(means.clock() - live.opened, 3)}
    done = means.event(live, "round", sentence(live, after), figures={**figures, "place": list(place), "stage": live.stage.name})
    events = [done, *departures(means, live), *sat_out(means, live)]
    if after.results:
        events.append(means.event(live, "finished", f"finished after {place}"))
    needed = {after.results.digest} if after.results else after.kept.frames.keys()
    dropped, files = unneeded(live, {*needed, *(each.frame.digest for each in after.shown)})

    def applied(c: Connection) -> list[str]:
        values = {"status": "applied", "answered": digests, "figures": recovery.figures_text(figures), "ended": done.at}
        becomes = (after.results or after.kept.shared).digest
        records.turn_round(c, live.id, place, ["open", "closed"], becomes=becomes, **values)
        records.drop_uploads(c, live.id, place)
        records.change_frames(c, live.id, after.new, dropped)
        if after.shown or live.shown:
            records.show_sums(c, live.id, {each.cohort: each.document() for each in after.shown})
        if after.results:
            ended(c, live, "finished", "", after.results, done.at)
        else:
            records.move_run(c, live.id, place, **recovery.place_columns(after.kept), says="", tries=1, roster=roster_text(after.roster))
            records.open_round(c, live.id, after.kept.run.place, done.at)
        for event in events:
            records.tell(c, event)
        return [digest for digest in files if not records.frame_wanted(c, digest)]

    try:
        orphans = await means.store.commit(applied)
    finally:
        means.blobs.unpin(after.new)
    means.reached("applied", place)
    left_behind = forget_round(live)
    live.kept, live.roster, live.says, live.tries, live.shown = after.kept, after.roster, "", 1, after.shown
    if after.results:
        live.status, live.results = "finished", after.results
    if live.status == "running" and live.secure is None:
        with contextlib.suppress(StorageError):
            look(means, live)  # the next round is open before anybody is told, and before files are removed
    means.told(live, *events)
    await clean(means, live, place, left_behind, orphans)


def unneeded(live: Live, needed: Set[str]) -> tuple[list[str], list[str]]:
    """The frames that the run does not need any more, and those of them that are files."""
    held = dict(live.kept.frames) | {each.frame.digest: each.frame for each in live.shown}
    gone = [frame for digest, frame in held.items() if digest not in needed]
    return [frame.digest for frame in gone], [frame.digest for frame in gone if frame.body is None]


def forget_round(live: Live) -> list[str]:
    """Leave the round that is over; the sites whose uploads lie in files. Who did not answer is not waited for until heard from."""
    live.silent |= live.round.waiting - live.round.silent if live.round and live.round.answered else frozenset()
    large = live.kept.run.layout.nbytes > SMALL
    live.round, live.order, live.closed = None, None, None
    if live.secure:
        live.secure.turn()
    for kept in (live.digests, live.held, live.reasons):
        kept.clear()
    return list(live.roster) if large else []


async def clean(means: Means, live: Live, place: Place, sites: list[str], orphans: list[str]) -> None:
    """Remove the files of a round that is over; `sites` are those that may have left some."""
    if sites:
        means.spool.drop((operation(live.id, place, site) for site in sites), spare=live.status == "running")
    if orphans:
        wanted = means.store.read
        await asyncio.to_thread(means.blobs.sweep, orphans, lambda d: wanted(lambda c: records.frame_wanted(c, d)))


def sentence(live: Live, after: Next) -> str:
    """A closed round in words."""
    shown = ", ".join(f"{name} {value:.4g}" for name, value in after.figures["progress"].items())
    place, stage = live.place, live.stage
    what = "ranges agreed" if place.phase == "range" else f"round {place.round} of at most {stage.rounds}"
    return f"{stage.name}: {what}, {after.figures['answered']} of {after.figures['asked']} sites{': ' if shown else ''}{shown}"


def departures(means: Means, live: Live) -> list[records.Event]:
    """An event for each site that left for good in this round."""
    left = live.round.left if live.round else frozenset()
    return [means.event(live, "left", f"{site} left the run: {live.reasons.get(site, 'no reason given')}", site) for site in sorted(left)]


def sat_out(means: Means, live: Live) -> list[records.Event]:
    """An event for each cohort whose sites are not in the sum of this round."""
    missing = live.secure.failures if live.secure else {}
    return [means.event(live, "cohort", f"{name} is not in the sum: {why}") for name, why in missing.items()]


async def depart(means: Means, live: Live, site: str, says: str) -> None:
    """A site leaves before it is asked anything: the others make keys, and end a round, without it."""
    event = means.event(live, "left", f"{site} left the run: {says}", site)
    async with live.lock:
        roster = live.roster | {site: live.roster[site]._replace(left=says or "it gave no reason")}

        def left(c: Connection) -> None:
            records.move_run(c, live.id, live.place, roster=roster_text(roster))
            records.tell(c, event)

        await means.store.commit(left)
        live.roster = roster
        live.here.discard(site)
        if live.secure:
            await live.secure.gone(site, says)
        if live.round and site in live.round.waiting:  # its steward or policy has said no since it took part
            live.reasons[site] = roster[site].left
            live.feed(Failed(site, live.reasons[site]))
        if len(live.active) < live.fewest and live.status == "running":
            why = "; ".join(f"{name}: {member.left}" for name, member in sorted(roster.items()) if member.left)
            await pause(means, live, f"{len(live.active)} of {len(roster)} sites are left, {live.fewest} must be: {why}{PAUSED}")
    means.told(live, event)
    live.nudge.set()


async def abandon(means: Means, live: Live, reason: str) -> None:
    """Nothing of the round is used: ask it again, or pause when that will not help."""
    place, left = live.place, live.round.left if live.round else frozenset()
    roster = {n: m._replace(left=live.reasons.get(n, "it failed")) if n in left else m for n, m in live.roster.items()}
    remain = sum(not member.left for member in roster.values())
    why = "; ".join(f"{site}: {said}" for site, said in sorted(live.reasons.items()))
    says = f"{reason}; {len(live.reasons)} failed - {why}" if why else reason  # also those that failed since the round was given up
    if hopeless := remain < live.study.quorum or live.tries >= TRIES:
        says += PAUSED
    events = [*departures(means, live), means.event(live, "paused" if hopeless else "abandoned", says)]
    after = live.kept.run if hopeless else course.again(live.kept.run)
    tries = live.tries if hopeless else live.tries + 1
    changes = {"status": "paused" if hopeless else "running", "says": says if hopeless else "", "tries": tries}

    def given_up(c: Connection) -> None:
        records.turn_round(c, live.id, place, ["open", "closed"], status="abandoned", ended=events[-1].at)
        records.drop_uploads(c, live.id, place)
        records.move_run(c, live.id, place, place=records.place_text(after.place), roster=roster_text(roster), **changes)
        if not hopeless:
            records.open_round(c, live.id, after.place, events[-1].at)
        for event in events:
            records.tell(c, event)

    await means.store.commit(given_up)
    sites = forget_round(live)
    live.kept = states.keep(after, live.stages, live.kept, means.blobs)
    live.roster, live.tries, live.abandoned = roster, tries, hopeless
    if hopeless:
        live.status, live.says = "paused", says
    means.told(live, *events)
    await clean(means, live, place, sites, [])


def ended(c: Connection, live: Live, status: Status, says: str, results: Frame | None, at: int) -> None:
    """A run's last row: its frames are gone but for the results."""
    digest, nbytes = (results.digest, results.nbytes) if results else ("", 0)
    records.move_run(c, live.id, live.place, status=status, says=says, results=digest, results_bytes=nbytes, state="", ended=at)
    records.drop_secure(c, live.id)


async def end(means: Means, live: Live, status: Status, says: str, *, by: str = ITSELF) -> None:
    """A run ends before its time: what it has learned is kept, everything else goes. The caller holds the run's lock."""
    place = live.place
    results = await asyncio.to_thread(so_far, means, live)
    event = means.event(live, status, says)
    events = [*blames(means, live), event]
    dropped, files = unneeded(live, {*([results.digest] if results else []), *(each.frame.digest for each in live.shown)})

    def over(c: Connection) -> list[str]:
        ended(c, live, status, says, results, event.at)
        records.drop_uploads(c, live.id, place)
        records.change_frames(c, live.id, [results] if results else [], dropped)
        for each in events:
            records.tell(c, each, by=by)
        return [digest for digest in files if not records.frame_wanted(c, digest)]

    try:
        orphans = await means.store.commit(over)
    finally:
        means.blobs.unpin([results] if results else [])
    live.status, live.says, live.results = status, says, results
    sites = forget_round(live)
    live.nudge.set()
    means.told(live, *events)
    await clean(means, live, place, sites, orphans)


async def fail(means: Means, live: Live, says: str) -> None:
    """The run cannot go on. If even that cannot be written down, it is tried again when the driver next looks."""
    async with live.lock:
        try:
            await end(means, live, "failed", says)
        except (StorageError, ConflictError) as e:
            log.warning("run %s failed, which cannot be written yet: %s", live.id, e)
            await asyncio.sleep(RETRY_S)


async def pause(means: Means, live: Live, says: str = "paused on request", *, by: str = ITSELF) -> None:
    """Nothing new is asked until the run is resumed; answers under way are still taken. The caller holds the run's lock."""
    event = means.event(live, "paused", says)

    def paused(c: Connection) -> None:
        records.move_run(c, live.id, live.place, status="paused", says=event.says)
        records.tell(c, event, by=by)

    await means.store.commit(paused)
    live.status, live.says = "paused", event.says
    live.nudge.set()
    means.told(live, event)


async def resume(means: Means, live: Live, *, by: str) -> None:
    """Ask again, also the sites that had left: what kept them may be mended. The caller holds the run's lock."""
    roster = {name: member._replace(left="") for name, member in live.roster.items()}
    after = course.again(live.kept.run) if live.abandoned else live.kept.run
    event, again = means.event(live, "resumed", "goes on"), live.abandoned

    def resumed(c: Connection) -> list[object]:
        values = {"status": "running", "says": "", "tries": 1, "roster": roster_text(roster)}
        records.move_run(c, live.id, live.place, place=records.place_text(after.place), **values)
        records.tell(c, event, by=by)
        if again:
            records.open_round(c, live.id, after.place, event.at)
        return list(records.uploads(c, live.id, after.place))

    rows = await means.store.commit(resumed)
    live.status, live.says, live.tries, live.abandoned, live.roster = "running", "", 1, False, roster
    live.kept = states.keep(after, live.stages, live.kept, means.blobs)
    recovery.reopen(means, live, rows)
    means.told(live, event)
