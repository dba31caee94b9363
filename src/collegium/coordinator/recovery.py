"""Runs taken up from the database: after a restart, after a crash, or when another process has moved one on."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from collegium import tree as T
from collegium.coordinator import participation, records, states
from collegium.coordinator import store as s
from collegium.coordinator.blobs import Frame
from collegium.coordinator.cohorts import Cohorts
from collegium.coordinator.live import OVER, Live, Shown, roster_of, roster_text
from collegium.coordinator.means import Means, Plan
from collegium.coordinator.secure import Sums
from collegium.coordinator.spool import operation
from collegium.coordinator.states import Kept
from collegium.engine.messages import place_of
from collegium.engine.round import Answered, Close, Failed
from collegium.engine.run import Stage
from collegium.privacy import secagg
from collegium.privacy.ring import layout_of
from collegium.study import manifest
from collegium.study.manifest import Study


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def place_columns(kept: Kept) -> dict[str, str]:
    """A place, complete, as it stands in a run's row."""
    run = kept.run
    layouts = {"layout": compact(run.layout.document()), "target": compact(run.target.document())}
    return {"place": records.place_text(run.place), "state": states.text(kept), **layouts}


def columns(live: Live) -> dict[str, Any]:
    """A new run's row."""
    row = {"id": live.id, "study": live.digest, "status": live.status, "says": live.says, "tries": live.tries}
    return row | place_columns(live.kept) | {"roster": roster_text(live.roster)}


def answered_text(live: Live, sites: Iterable[str]) -> str:
    """Whose updates make a round's sum, and their digests: every figure can be traced to them."""
    return compact({site: live.digests.get(site, "") for site in sorted(sites)})


def figures_text(figures: Mapping[str, Any]) -> str:
    """A round's figures as JSON."""
    return json.dumps(figures)


def planned(document: str, plan: Plan) -> tuple[Study, Sequence[Stage], Mapping[str, T.Tree]]:
    """A study and what is to be computed for it."""
    study = manifest.read(json.loads(document))
    return (study, *plan(study))


def recover(means: Means) -> tuple[list[tuple[Live, list[Any]]], dict[str, str]]:
    """Every run that is not over with the answers to its present round; and those that cannot be taken up, with the reason.

    Removes files that no run needs. Call it before anything else writes.
    """
    rows = means.store.read(lambda c: list(c.execute(select(s.run.c.id).where(s.run.c.status.in_(records.LIVE)))))
    found, broken = [], {}
    for row in rows:
        try:
            found.append(take_up(means, row.id))
        except Exception as e:  # one damaged run must not keep the others from going on
            broken[row.id] = f"it cannot be taken up: {type(e).__name__}: {e}"
    ops = {operation(live.id, live.place, site) for live, _ in found for site in live.roster}
    if not broken:
        means.spool.keep_only(ops)
        means.blobs.sweep(means.blobs.names(), lambda digest: means.store.read(lambda c: records.frame_wanted(c, digest)))
        means.blobs.tidy()
    return found, broken


def take_up(means: Means, run: str) -> tuple[Live, list[Any]]:
    """One run from its rows."""

    def query(c: Connection) -> tuple[Any, str, dict[str, Frame], Any, list[Any], dict[int, dict[str, str]], dict[int, Any]]:
        row = records.run_row(c, run)
        place = place_of(json.loads(row.place))
        now = c.execute(select(s.round).where(records.at(s.round, run, place))).one()
        return (
            row,
            records.study_document(c, row.study),
            records.frames(c, run),
            now,
            records.uploads(c, run, place),
            records.secure_rows(c, run),
            records.shown_sums(c, run),
        )

    row, document, frames, now, rows, secure, shown = means.store.read(query)
    study, stages, given = planned(document, means.plan)
    layout, target = layout_of(json.loads(row.layout)), layout_of(json.loads(row.target))
    kept = states.recall(row.state, place_of(json.loads(row.place)), layout, target, frames, means.blobs)
    mine = {stage.name for stage in stages}
    given = {**given, **{name: tree for name, tree in kept.run.results.items() if name not in mine}}  # what was brought when it began
    live = Live(run, row.study, study, stages, given, kept, roster_of(row.roster), row.status, row.says, row.first, row.tries)
    live.secure = sums_of(means, live)
    if live.secure:
        live.secure.recall(secure)
        live.shown = tuple(
            Shown(number, each["epoch"], each["index"], place_of(each["place"]), frames[each["sum"]]) for number, each in shown.items()
        )
    live.abandoned, live.closed = now.status == "abandoned", sorted(json.loads(now.answered)) if now.status == "closed" else None
    return live, rows


def sums_of(means: Means, live: Live) -> Cohorts | None:
    """The secure sums of a run, if its study wants them, for each cohort of the participants that its sites are told."""
    if not live.study.secure:
        return None
    document, patience_s = live.study.model_dump(mode="json"), float(live.study.sites.deadline_s)
    names = means.store.read(lambda c: participation.named(c, live.digest, live.roster))
    keys = means.store.read(lambda c: {row.name: row.key for row in c.execute(select(s.site.c.name, s.site.c.key))})
    groups = secagg.cohorts(live.digest, names, largest=secagg.limit(document))
    each = [
        Sums(means.store, live.id, live.digest, document, patience_s, means.clock, group, len(names), number)
        for number, group in enumerate(groups)
    ]
    for sums in each:
        sums.keys = keys

    def woken() -> None:
        live.changed()
        live.nudge.set()

    found = Cohorts(each)
    found.wake(woken)
    return found


def reopen(means: Means, live: Live, rows: Iterable[Any]) -> None:
    """The present round from its committed answers; its deadline starts anew."""
    live.round, live.order = None, None
    for kept in (live.digests, live.held, live.reasons):
        kept.clear()
    rows, here = list(rows), (live.kept.run, live.kept.shared.digest)
    if live.secure and not live.abandoned and rows:
        live.secure.stand_by(*here)
    if live.abandoned or (live.secure and not (live.secure.stands(*here) and live.secure.decided(*here))):
        live.nudge.set()
        return
    live.ask(means.clock())
    for row in rows:
        live.digests[row.site] = row.digest
        if row.failure:
            live.reasons[row.site] = row.says or row.failure
            live.feed(Failed(row.site, live.reasons[row.site], bool(row.final)))
        else:
            live.feed(Answered(row.site, means.clock()))
            if live.secure:
                live.secure.of(row.site).recommitted(row.site, row.digest)
    if live.round and (live.closed is not None or (live.secure and live.secure.fixed)):  # whose answers count was fixed before the crash
        counted = live.round.answered if live.closed is None else frozenset(live.closed)
        live.order, live.round = Close(counted), replace(live.round, over=True)
    live.nudge.set()


async def reread(means: Means, live: Live) -> None:
    """Another process has moved this run on: stand where it stands."""
    row = await asyncio.to_thread(means.store.read, lambda c: records.run_row(c, live.id))
    if row.status in OVER:
        live.status, live.says = row.status, row.says
        live.results = Frame(row.results, row.results_bytes, None) if row.results else None
        live.round, live.order = None, None
        return
    fresh, rows = await asyncio.to_thread(take_up, means, live.id)
    for name in ("kept", "roster", "status", "says", "tries", "abandoned", "closed", "shown"):
        setattr(live, name, getattr(fresh, name))
    if live.secure and fresh.secure:
        live.secure.become(fresh.secure)
    reopen(means, live, rows)
