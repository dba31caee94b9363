"""Secure sums when the coordinator stops, at any moment, or its disk is full: the same bytes come out."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from collegium.coordinator import driver, records, store
from collegium.engine.messages import Place
from collegium.errors import ConflictError, StorageError
from collegium.privacy.secagg_stand import Blame, Stop
from tests.coordinator.masked import Hospital, Masked, begun, honest, let_go, stepped
from tests.coordinator.world import Refused, equal, expected, in_loop, plan_of, served

FIVE = ("amber", "birch", "cedar", "dover", "elgin")
TRIO = FIVE[:3]


class Killed(BaseException):
    """The process ends here: nobody catches it."""


class Kill:
    """Ends the coordinator when a state is reached at a place, and whatever it does afterwards."""

    def __init__(self, name: str, stage: int, phase: str) -> None:
        self.at, self.loop, self.over = (name, stage, phase), asyncio.get_running_loop(), asyncio.Event()

    def __call__(self, name: str, place: Place) -> None:
        if self.over.is_set() or (name, place.stage, place.phase) == self.at:
            self.loop.call_soon_threadsafe(self.over.set)
            raise Killed


@pytest.mark.parametrize("phase", ["adverts", "bundles", "ready", "upload", "sign", "reveal"])
@in_loop
async def test_a_coordinator_that_stops_in_any_phase_goes_on_from_its_rows(tmp_path: Path, phase: str):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*TRIO)
        run = await world.begin(*hospitals)
        sums = world.app.runs.live[run].secure.each[0]
        await stepped(run, hospitals, lambda: sums.phase == phase)
    again = Masked(world.folder, found=False)
    async with again.app.running():
        assert again.app.runs.live[run].secure.each[0].phase == {"reveal": "sign"}.get(phase, phase)  # who has signed signs again
        await served(run, *again.moved(hospitals))
        assert equal(await again.results(run), expected(TRIO))
    let_go(hospitals)


@pytest.mark.parametrize("size", [5, pytest.param(200_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("stage", "part"), [(0, "sum"), (1, "range"), (1, "sum")])
@pytest.mark.parametrize("name", ["asked", "spooled", "committed", "folded", "applied"])
@in_loop
async def test_a_coordinator_that_is_killed_at_a_named_state_goes_on_from_its_rows(
    tmp_path: Path, name: str, stage: int, part: str, size: int
):
    plan, kill = plan_of(size, 1), Kill(name, stage, part)
    world = Masked(tmp_path / "hub", plan=plan, reached=kill)
    async with world.app.running():
        hospitals = await world.hospitals(*TRIO)
        run = await world.begin(*hospitals)
        serving = [asyncio.ensure_future(each.serve(run)) for each in hospitals]
        await kill.over.wait()
        phase = world.app.runs.live[run].secure.each[0].phase
        assert phase == ("opened" if name in ("folded", "applied") else "upload")
        for each in serving:
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    again = Masked(world.folder, found=False, plan=plan)
    async with again.app.running():
        await served(run, *again.moved(hospitals))
        assert equal(await again.results(run), expected(TRIO, size, 1))
    let_go(hospitals)


class Unwilling(Hospital):
    """Refuses every round, but makes keys."""

    def obeys(self, said: dict[str, Any]) -> bool:
        return said.get("kind") != "ask"


@in_loop
async def test_who_has_refused_a_round_is_not_waited_for_after_a_restart(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = [*await world.hospitals(*FIVE[:4]), *await world.hospitals("elgin", kind=Unwilling)]
        run = await world.begin(*hospitals)
        sums = world.app.runs.live[run].secure.each[0]
        await stepped(run, hospitals, lambda: "refused/elgin" in sums.machine.rows)
        assert sums.phase == "upload"
    again = Masked(world.folder, found=False)
    async with again.app.running():
        willing = again.moved(hospitals)[:4]
        await asyncio.wait_for(stepped(run, willing, lambda: again.app.runs.live[run].place.stage == 1), 10)
        assert (await again.status(run))["rounds"][0]["answered"] == [*FIVE[:4]]
    let_go(hospitals)


@in_loop
async def test_a_round_whose_sum_came_to_nothing_is_given_up_also_after_a_restart(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*TRIO)
        run = await world.begin(*hospitals)
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.secure.each[0].phase == "sign")
        live.driver.cancel()  # it dies before it has given the round up
        await live.secure.each[0].feed(Stop("no more can sign"))
        assert live.secure.each[0].phase == "idle"
    again = Masked(world.folder, found=False)
    async with again.app.running():
        await asyncio.wait_for(served(run, *again.moved(hospitals)), 10)
        assert equal(await again.results(run), expected(TRIO))
        assert [each["status"] for each in (await again.status(run))["rounds"]][:2] == ["abandoned", "applied"]
    let_go(hospitals)


async def shrunk(world: Masked, pages: int = 0) -> None:
    """No room in the database for another page; or for so many."""
    await world.app.means.store.commit(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages or 1}"))


def kept(world: Masked, run: str) -> dict[str, str]:
    """The machine's rows on the disk, with what may wait."""
    rows = world.app.means.store.read(lambda c: records.secure_rows(c, run).get(0, {}))
    for order in world.app.runs.live[run].secure.each[0].unwritten:
        rows = {name: text for name, text in rows.items() if name not in order.forget} | order.rows
    return {name: text for name, text in rows.items() if name != "pins"}


@pytest.mark.parametrize("phase", ["adverts", "bundles", "upload", "sign"])
@in_loop
async def test_where_the_disk_is_full_the_machine_stands_on_its_rows_and_goes_on_once_there_is_room(
    tmp_path: Path, phase: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(driver, "RETRY_S", 0.05)
    async with begun(tmp_path, honest(TRIO), plan=plan_of(400)) as (world, hospitals, run):
        sums = world.app.runs.live[run].secure.each[0]
        await stepped(run, hospitals, lambda: sums.phase == phase)
        await shrunk(world)
        with pytest.raises(Refused, match="full") as caught:
            await asyncio.wait_for(stepped(run, hospitals, lambda: False), 10)
        assert caught.value.code == "storage"
        assert dict(sums.machine.rows) == dict(sums.shown.rows) == kept(world, run)
        await shrunk(world, 1 << 30)
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(TRIO, 400))


@in_loop
async def test_a_step_is_not_kept_without_the_one_it_builds_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first finds no room, the second, which is small and already on its way, would."""
    monkeypatch.setattr(store, "GROUP", 1)
    async with begun(tmp_path, honest(FIVE[:4])) as (world, hospitals, run):
        amber, birch, dover = hospitals[0], hospitals[1], hospitals[3]
        sums = world.app.runs.live[run].secure.each[0]
        await stepped(run, [*hospitals, birch, dover], lambda: len(sums.machine.who("advert")) == 2)
        found, _ = await amber.work(run, wait_s=0)
        (advert,) = amber.heard(found["secure"])
        await shrunk(world)
        both = await asyncio.gather(
            sums.heard("amber", advert), sums.heard("cedar", {"kind": "refuse", "says": "no"}), return_exceptions=True
        )
        assert isinstance(both[0], StorageError), both
        assert dict(sums.machine.rows) == dict(sums.shown.rows) == kept(world, run)
        assert set(sums.machine.who("advert")) == {"birch", "dover"}
        assert sums.phase == "adverts"
        await shrunk(world, 1 << 30)
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(FIVE[:4]))


@in_loop
async def test_a_step_on_its_way_when_a_run_is_stopped_leaves_nothing_behind(tmp_path: Path):
    async with begun(tmp_path, honest(TRIO)) as (world, hospitals, run):
        sums = world.app.runs.live[run].secure.each[0]
        await stepped(run, hospitals, lambda: sums.phase == "bundles")
        found, _ = await hospitals[0].work(run, wait_s=0)
        (dealt,) = hospitals[0].heard(found["secure"])
        await world.operator.call("POST", f"/v1/runs/{run}/stop")
        with pytest.raises(ConflictError, match="does not stand where this step begins"):
            await sums.heard("amber", dealt)
        names = world.app.means.store.read(lambda c: c.execute(select(store.secure.c.name)).scalars().all())
        assert list(names) == ["stand"]


@in_loop
async def test_who_is_at_fault_is_named_also_if_there_was_no_room_to_say_it_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(driver, "RETRY_S", 0.05)
    async with begun(tmp_path, honest(TRIO)) as (world, hospitals, run):
        live = world.app.runs.live[run]
        await shrunk(world)
        live.secure.each[0].blamed.append(Blame("cedar", "lied " * 20_000))
        live.nudge.set()
        await world.until(run, "running", lambda found: "waits for the coordinator's disk" in found["says"])
        await shrunk(world, 1 << 30)
        await served(run, *hospitals)
        assert len([line for line in await world.told(run) if line.startswith("blamed: cedar: lied")]) == 1
