"""Studies whose sites check each sum, over an ASGI transport: what the coordinator shows, and when a site has to see it."""

import asyncio
from pathlib import Path

import pytest

from collegium.coordinator import transition
from collegium.errors import IdentityError
from collegium.privacy import secagg
from collegium.privacy.secagg_stand import Stop
from tests.coordinator.masked import Masked, let_go, stepped
from tests.coordinator.test_driver import Clock
from tests.coordinator.world import equal, expected, in_loop, plan_of, served

FIVE = ("amber", "birch", "cedar", "dover", "elgin")
NINE = (*FIVE, "forth", "grand", "hazel", "inver")
CHECKED = {"verified": True, "epoch": 3}


@pytest.mark.parametrize("size", [5, 200_000])
@in_loop
async def test_every_sum_is_checked_once_by_every_site_over_several_epochs_of_keys(tmp_path: Path, size: int):
    world = Masked(tmp_path / "hub", plan=plan_of(size))
    async with world.app.running():
        hospitals = await world.hospitals(*FIVE)
        run = await world.begin(*hospitals, privacy=CHECKED)
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(FIVE, size))
        rounds = (await world.status(run))["rounds"]
        assert len(rounds) == 5
        assert [each.checks for each in hospitals] == [5] * 5
        assert not [line for each in hospitals for line in each.said]
    let_go(hospitals)


@in_loop
async def test_each_cohort_checks_its_own_sum(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*NINE)
        run = await world.begin(*hospitals, privacy=CHECKED | {"cohort": 8, "because": "to see how a large federation is cut"})
        assert len(secagg.cohorts(world.study, NINE, largest=8)) == 2
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(NINE))
        assert [each.checks for each in hospitals] == [5] * 9
    let_go(hospitals)


@in_loop
async def test_a_cohort_that_was_left_out_shows_no_sum_and_its_sites_go_on(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*NINE)
        chosen = {"verified": True, "cohort": 8, "because": "to see how a large federation is cut"}
        run = await world.begin(*hospitals, privacy=chosen, quorum=4)
        first, second = secagg.cohorts(world.study, NINE, largest=8)
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.place.stage == 1)
        for each in hospitals:
            each.refuses = {"ask"} if each.name in first else set()
        await stepped(run, hospitals, lambda: live.place.phase == "sum" and live.place.stage == 1)
        assert [each.place.phase for each in live.shown] == ["range"]
    again = Masked(world.folder, found=False)
    async with again.app.running():
        assert len(again.app.runs.live[run].shown) == 1
        there = again.moved(hospitals)
        await served(run, *there)
        assert (await again.status(run))["rounds"][1]["answered"] == [*second]
        assert (await again.status(run))["rounds"][-1]["answered"] == [*NINE]
        assert not [line for each in there for line in each.said if "altered" in line or "without showing" in line]
    let_go(hospitals)


@in_loop
async def test_a_sum_can_still_be_checked_after_a_restart_and_when_the_run_is_over(tmp_path: Path):
    world = Masked(tmp_path / "hub", plan=plan_of(5, 1))
    async with world.app.running():
        hospitals = await world.hospitals(*FIVE)
        run = await world.begin(*hospitals, privacy=CHECKED)
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.place.stage == 1)
    again = Masked(world.folder, found=False, plan=plan_of(5, 1))
    async with again.app.running():
        there = again.moved(hospitals)
        before = {each.name: each.sums.last for each in there}
        assert any(before.values())  # some have not seen the sum that the coordinator had made
        live = again.app.runs.live[run]
        await stepped(run, there, lambda: run not in again.app.runs.live)
    last = Masked(world.folder, found=False, plan=plan_of(5, 1))
    async with last.app.running():
        there = last.moved(there)
        await served(run, *there)
        assert all(not each.sums.last for each in there)
        assert sum(each.checks for each in there) > 0
        assert not [line for each in there for line in each.said]
    let_go(hospitals)


@in_loop
async def test_a_round_that_is_asked_again_has_no_sum_to_show(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*FIVE)
        run = await world.begin(*hospitals, privacy={"verified": True})
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.secure.each[0].phase == "reveal")
        await live.secure.each[0].feed(Stop("no more can reveal"))
        await served(run, *hospitals)
        assert [each["status"] for each in (await world.status(run))["rounds"]][:2] == ["abandoned", "applied"]
        assert equal(await world.results(run), expected(FIVE))
        assert [each.checks for each in hospitals] == [5] * 5
        assert not [line for each in hospitals for line in each.said]
    let_go(hospitals)


@in_loop
async def test_who_comes_back_late_hears_that_it_has_checked_nothing(tmp_path: Path):
    clock = Clock()
    world = Masked(tmp_path / "hub", clock=clock)
    async with world.app.running():
        hospitals = await world.hospitals(*FIVE)
        run = await world.begin(*hospitals, privacy={"verified": True})
        *others, elgin = hospitals
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.place.stage == 1)
        assert elgin.sums.opened
        await stepped(run, others, lambda: live.round is not None and len(live.round.answered) == 4)
        clock.now += 61
        world.app.runs.tick()
        await asyncio.wait_for(stepped(run, others, lambda: live.place.phase == "sum"), 20)
        await elgin.work(run, wait_s=0)
        await served(run, *hospitals)
        assert elgin.said == ["the sum of stage 1, round 1 was not seen here, so it is not checked"]
        assert not [line for each in others for line in each.said if "not seen" in line]
    let_go(hospitals)


@pytest.mark.parametrize("epoch", [2, 16])
@in_loop
async def test_a_coordinator_that_shows_no_sum_gets_no_further_answer_also_where_keys_are_made_anew(
    tmp_path: Path, epoch: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transition, "published", lambda means, live: iter(()))
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*FIVE)
        run = await world.begin(*hospitals, privacy={"verified": True, "epoch": epoch})
        serving = [asyncio.ensure_future(each.serve(run)) for each in hospitals]
        found = await world.until(run, "paused")
        assert ": the coordinator goes on without showing the sum of stage 1, round 1" in found["says"]  # whoever said so first
        assert (found["stage"], found["phase"]) == ("drift", "range")
        await asyncio.gather(*serving)
    let_go(hospitals)


@in_loop
async def test_a_round_without_room_for_tags_is_not_answered(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*FIVE)
        run = await world.begin(*hospitals, privacy=CHECKED)
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.round is not None)
        found, _ = await hospitals[0].work(run, wait_s=0)
        bare = found["task"] | {"layout": {**found["task"]["layout"], "leaves": [["rows", "int64", [], 0]]}}
        with pytest.raises(IdentityError, match="without the tags by which this study checks its sums"):
            hospitals[0].sums.masks(found["secure"], bare)
        await served(run, *hospitals)
    let_go(hospitals)
