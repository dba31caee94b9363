"""What a round orders is carried out: quorum and grace, asking again, pausing, a full disk, a diverging study, two coordinators."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collegium import tree as T
from collegium.coordinator import driver
from collegium.engine.messages import Answer, place_of
from collegium.engine.run import Stage
from tests.coordinator.world import LIKE, Site, World, counting, drift, equal, expected, in_loop, plan_of, served

NAMES = ("amber", "birch", "cedar")


class Clock:
    """Moves when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def settle(world: World, run: str, want: str, **facts: Any) -> dict[str, Any]:
    """The run's document, once it says so."""
    return await world.until(run, want, lambda found: all(found[name] == value for name, value in facts.items()))


async def hand_in(site: Site, run: str) -> None:
    """Answer the present task without waiting for the next."""
    await site.answer(*await site.once(run), wait_s=0)


@in_loop
async def test_a_silent_site_is_waited_for_through_the_grace_and_no_longer(tmp_path: Path):
    clock = Clock()
    world = World(tmp_path / "hub", clock=clock)
    async with world.app.running():
        amber, birch, cedar = await world.join(*NAMES)
        run = await world.start(amber, birch, cedar, quorum=2, grace_s=60)
        for site in (amber, birch):
            await hand_in(site, run)
        clock.now += 59
        world.app.runs.tick()
        await asyncio.sleep(0.1)
        found = await world.status(run)
        assert (found["stage"], found["answered"], found["waiting"]) == ("count", ["amber", "birch"], ["cedar"])
        clock.now += 2
        world.app.runs.tick()
        found = await settle(world, run, "running", stage="drift")
        assert found["rounds"][0]["answered"] == ["amber", "birch"]
        assert cedar.name in found["waiting"]  # asked again in the next round
        for site in (amber, birch):
            await hand_in(site, run)
        found = await settle(world, run, "running", phase="sum")  # the clock stood still: nobody waited for cedar again
        assert found["rounds"][1]["answered"] == ["amber", "birch"]
        await cedar.once(run)  # heard from: from the next round on it is waited for
        for site in (amber, birch):
            await hand_in(site, run)
        found = await settle(world, run, "running", round=2)
        for site in (amber, birch):
            await hand_in(site, run)
        await asyncio.sleep(0.2)
        assert (await world.status(run))["waiting"] == ["cedar"]


@in_loop
async def test_a_round_without_quorum_is_asked_three_times_then_waits_for_a_person(tmp_path: Path):
    clock = Clock()
    world = World(tmp_path / "hub", clock=clock)
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch, deadline_s=100)
        for attempt in (1, 2, 3):
            await settle(world, run, "running", attempt=attempt)
            await hand_in(amber, run)
            clock.now += 101
            world.app.runs.tick()
        found = await settle(world, run, "paused")
        assert "1 of 2 sites answered, 2 must" in found["says"]
        assert [r["status"] for r in found["rounds"]] == ["abandoned"] * 3
        await world.operator.call("POST", f"/v1/runs/{run}/resume")
        await settle(world, run, "running", attempt=4)
        await served(run, amber, birch)
        assert equal(await world.results(run), expected(("amber", "birch")))


@in_loop
async def test_a_site_that_leaves_is_left_out_while_the_quorum_allows(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch, cedar = await world.join(*NAMES)
        run = await world.start(amber, birch, cedar, quorum=2)
        found, _ = await cedar.once(run)
        place = place_of(found["task"]["place"])
        no = Answer(run, place, failure="refused", says="this site's policy said no", final=True)
        assert (await cedar.work(run, no, wait_s=0))[0]["status"] == "running"
        await served(run, amber, birch)
        found = await world.status(run)
        assert found["left"] == {"cedar": "this site's policy said no"}
        assert equal(await world.results(run), expected(("amber", "birch"))) is False  # the ring had room for three
        assert np.array_equal((await world.results(run))["count"]["rows"], expected(NAMES[:2])["count"]["rows"])
        kinds = [e["kind"] for e in (await world.operator.call("GET", f"/v1/runs/{run}/events"))["events"]]
        assert kinds.count("left") == 1


@in_loop
async def test_without_enough_sites_left_the_run_waits_and_asks_all_again(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch)
        await hand_in(amber, run)
        found, _ = await birch.once(run)
        no = Answer(run, place_of(found["task"]["place"]), failure="data", says="no such column", final=True)
        await birch.work(run, no, wait_s=0)
        found = await settle(world, run, "paused")
        assert "birch: no such column" in found["says"]
        assert (await birch.work(run, wait_s=0))[0]["status"] == "stopped"
        assert (await birch.work("", wait_s=0))[0] == {}
        await world.operator.call("POST", f"/v1/runs/{run}/resume")
        assert (await birch.work("", wait_s=0))[0]["run"] == run
        await served(run, amber, birch)
        assert equal(await world.results(run), expected(("amber", "birch")))


@in_loop
async def test_a_round_that_is_given_up_counts_the_sites_that_it_names(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join(*NAMES)
        run = await world.start(*sites)
        places = [place_of((await site.once(run))[0]["task"]["place"]) for site in sites]
        live = world.app.runs.live[run]
        async with live.lock:  # the first failure is enough to give the round up; the others come before that is done
            no = [Answer(run, place, failure="refused", says="not here", final=True) for place in places]
            told = [asyncio.create_task(site.work(run, each, wait_s=0)) for site, each in zip(sites, no, strict=True)]
            await asyncio.sleep(0.2)
        await asyncio.gather(*told, return_exceptions=True)
        says = (await settle(world, run, "paused"))["says"]
        named = says.partition(" failed - ")[2].partition(". The run")[0]
        assert f"; {len(named.split('; '))} failed - " in says


@in_loop
async def test_a_failure_that_may_pass_is_asked_again(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch)
        found, _ = await birch.once(run)
        no = Answer(run, place_of(found["task"]["place"]), failure="storage", says="the site's disk is full")
        assert (await birch.work(run, no))[0]["task"]["place"] == [0, 1, 2, "sum"]
        await served(run, amber, birch)
        assert equal(await world.results(run), expected(("amber", "birch")))


@in_loop
async def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(driver, "RETRY_S", 0.05)
    free = [1 << 40]
    world = World(tmp_path / "hub", plan=plan_of(size=200_000, rounds=1), free=lambda folder: free[0])
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        serving = asyncio.ensure_future(served(run, *sites))
        free[0] = 1 << 20
        found = await world.until(run, "running", lambda found: "disk" in found["says"])
        assert "1 MiB left" in found["says"]
        free[0] = 1 << 40
        assert [one["status"] for one in await serving] == ["finished"] * 2
        assert equal(await world.results(run), expected(("amber", "birch"), size=200_000, rounds=1))


def broken(kind: str) -> Any:
    """A plan whose second round goes wrong."""

    def apply(state: T.Tree, total: T.Tree) -> Mapping[str, Any]:
        moved = dict(drift().apply(state, total))
        if int(state["round"]) == 2:
            if kind == "bug":
                raise ZeroDivisionError("a bug")
            return moved | {"w": moved["w"] * np.nan}
        return moved

    stages = [Stage("count", counting(), 1, LIKE), Stage("drift", drift()._replace(apply=apply), 9, LIKE)]
    return lambda study: (stages, {})


@pytest.mark.parametrize(("kind", "says"), [("bug", "ZeroDivisionError: a bug"), ("nan", "holds NaN or infinity")])
@in_loop
async def test_a_study_that_fails_ends_and_keeps_what_it_learned(tmp_path: Path, kind: str, says: str):
    world = World(tmp_path / "hub", plan=broken(kind))
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        last = await served(run, *sites)
        assert {one["status"] for one in last} == {"failed"}
        assert says in last[0]["says"]
        assert (await world.results(run)).keys() == {"count", "drift"}
    assert list((tmp_path / "hub" / "spool").iterdir()) == []


@in_loop
async def test_two_coordinators_on_one_database_count_a_round_once(tmp_path: Path):
    one = World(tmp_path / "hub")
    async with one.app.running():
        amber, birch = await one.join("amber", "birch")
        run = await one.start(amber, birch)
        two = World(tmp_path / "hub", found=False)
        async with two.app.running():
            await asyncio.gather(hand_in(amber, run), hand_in(birch, run))
            await settle(one, run, "running", stage="drift")
            live = two.app.runs.live[run]
            assert live.place.stage == 0
            from collegium.engine.round import Close

            live.order = Close(frozenset({"amber", "birch"}))
            live.nudge.set()
            for _ in range(100):
                if live.place.stage == 1:
                    break
                await asyncio.sleep(0.02)
            assert live.place == one.app.runs.live[run].place
        found = await one.status(run)
        assert [(r["stage"], r["status"]) for r in found["rounds"]] == [("count", "applied"), ("drift", "open")]
        await served(run, amber, birch)
        assert equal(await one.results(run), expected(("amber", "birch")))


@in_loop
async def test_a_lost_file_of_a_committed_update_gives_the_round_up_and_asks_again(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(size=200_000, rounds=1))
    lost = []

    def lose(name: str, place: Any) -> None:
        if name == "committed" and place.phase == "sum" and place.stage == 1 and not lost:
            spooled = [path for path in (tmp_path / "hub" / "spool").iterdir() if not path.suffix and "total" not in path.name]
            lost.append(spooled[0])
            spooled[0].unlink()

    object.__setattr__(world.app.means, "reached", lose)
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        await served(run, *sites)
        assert [(r["phase"], r["status"]) for r in (await world.status(run))["rounds"]][2:] == [("sum", "abandoned"), ("sum", "applied")]
        assert equal(await world.results(run), expected(("amber", "birch"), size=200_000, rounds=1))
