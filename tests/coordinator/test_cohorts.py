"""Studies with more sites than one secure sum takes: cohorts, each with a sum of its own, in one round."""

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collegium.coordinator import records
from collegium.engine.messages import Answer
from collegium.errors import IdentityError
from collegium.privacy import secagg
from collegium.privacy.secagg_stand import Stop
from tests.coordinator.masked import Hospital, Masked, let_go, stepped
from tests.coordinator.test_driver import Clock
from tests.coordinator.test_secure_restarts import Kill
from tests.coordinator.world import Refused, equal, expected, in_loop, plan_of, served

NINE = ("amber", "birch", "cedar", "dover", "elgin", "forth", "grand", "hazel", "inver")
SMALL = {"cohort": 8, "because": "to see how a large federation is cut"}  # a sum takes eight sites: nine make two cohorts


async def cut(world: Masked, names: tuple[str, ...] = NINE, kinds: dict[str, type[Hospital]] | None = None, **how: Any) -> Any:
    """A run over these hospitals; they, and which of them are in which cohort."""
    hospitals = [(await world.hospitals(name, kind=(kinds or {}).get(name, Hospital)))[0] for name in names]
    run = await world.begin(*hospitals, privacy=SMALL | {"epoch": how.pop("epoch", 16)}, **how)
    return run, hospitals, [set(group) for group in secagg.cohorts(world.study, names, largest=8)]


@pytest.mark.parametrize("size", [5, 200_000])
@in_loop
async def test_the_sum_of_all_cohorts_is_the_plain_one(tmp_path: Path, size: int):
    world = Masked(tmp_path / "hub", plan=plan_of(size))
    async with world.app.running():
        run, hospitals, groups = await cut(world)
        assert sorted(map(len, groups)) == [4, 5]
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(NINE, size))
        for each in hospitals:
            (mine,) = [group for group in groups if each.name in group]
            assert set(each.sums.machine.terms.pins) == mine  # nobody else has a share of its keys
        left = world.app.means.store.read(lambda c: records.secure_rows(c, run))
        assert {number: set(rows) for number, rows in left.items()} == {0: {"stand"}, 1: {"stand"}}
        assert not [line for line in await world.told(run) if line.startswith(("blamed", "refused", "abandoned", "cohort"))]
    let_go(hospitals)


def near(found: Any, names: list[str]) -> bool:
    """The results are those of these sites: not to the last byte, for the scale of a sum leaves room for all."""
    wanted = expected(names)
    return int(found["count"]["rows"]) == int(wanted["count"]["rows"]) and np.allclose(found["drift"]["w"], wanted["drift"]["w"])


def silent(hospitals: list[Hospital], names: set[str]) -> list[Hospital]:
    """All but these."""
    return [each for each in hospitals if each.name not in names]


@in_loop
async def test_a_cohort_that_has_too_few_answers_is_left_out_and_back_in_the_next_round(tmp_path: Path):
    """Cohorts of five and four, of which four and three open a sum: of the first two sites are gone before their upload."""
    clock = Clock()
    world = Masked(tmp_path / "hub", clock=clock)
    async with world.app.running():
        run, hospitals, (first, second) = await cut(world, quorum=4)
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.round is not None)
        gone = set(sorted(first)[:2])
        there = silent(hospitals, gone)
        await stepped(run, there, lambda: len(live.round.answered) == 7)
        clock.now += 61
        world.app.runs.tick()
        await asyncio.wait_for(stepped(run, there, lambda: live.place.stage == 1), 20)
        assert (await world.status(run))["rounds"][0]["answered"] == sorted(second)
        says = f"{len(first) - 2} sites answered, {live.secure.of(min(first)).machine.terms.enough} must"
        assert [line for line in await world.told(run) if line.startswith("cohort") and says in line]
        for name in gone:
            await next(each for each in hospitals if each.name == name).work(run, wait_s=0)
        await served(run, *hospitals)
        found = await world.results(run)
        assert equal(found["count"], expected(sorted(second))["count"])
        assert equal(found["drift"], expected(NINE)["drift"])
    let_go(hospitals)


@in_loop
async def test_where_the_cohorts_that_stand_are_less_than_the_quorum_the_round_is_asked_again(tmp_path: Path):
    clock = Clock()
    world = Masked(tmp_path / "hub", clock=clock)
    async with world.app.running():
        run, hospitals, (first, _) = await cut(world, quorum=6)
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.round is not None)
        there = silent(hospitals, set(sorted(first)[:2]))
        await stepped(run, there, lambda: len(live.round.answered) == 7)
        clock.now += 61
        world.app.runs.tick()
        await asyncio.wait_for(stepped(run, there, lambda: live.place.attempt == 2 and live.round is not None), 20)
        (told,) = [line for line in await world.told(run) if line.startswith("abandoned")]
        assert "4 sites are in cohorts that stand, 6 must be: cohort 1 of 2: " in told
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(NINE))
    let_go(hospitals)


@in_loop
async def test_a_cohort_whose_keys_cannot_be_agreed_does_not_keep_the_others(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        run, hospitals, (first, second) = await cut(world, quorum=4)
        for each in hospitals:
            each.refuses = {"adverts"} if each.name in first else set()
        await served(run, *hospitals)
        assert near(await world.results(run), sorted(second))
        told = [line for line in await world.told(run) if line.startswith("cohort")]
        assert told
        assert all(line.startswith("cohort: cohort 1 of 2 is not in the sum: the keys were not agreed") for line in told)
    let_go(hospitals)


@in_loop
async def test_who_is_not_there_at_the_start_makes_its_cohort_wait_and_not_the_other(tmp_path: Path):
    clock = Clock()
    world = Masked(tmp_path / "hub", clock=clock)
    async with world.app.running():
        run, hospitals, (first, second) = await cut(world, quorum=4)
        live = world.app.runs.live[run]
        there = silent(hospitals, set(sorted(first)[2:]))
        await stepped(run, there, lambda: set(live.here) == {each.name for each in there})
        clock.now += 61
        world.app.runs.tick()
        await asyncio.wait_for(stepped(run, there, lambda: live.place.stage == 1), 20)
        assert (await world.status(run))["rounds"][0]["answered"] == sorted(second)
        assert f"cohort: cohort 1 of 2 is not in the sum: 2 of its {len(first)} sites are here, 3 must be" in await world.told(run)
        await served(run, *hospitals)  # the others come, and their cohort makes keys
        assert (await world.status(run))["rounds"][-1]["answered"] == sorted(NINE)
    let_go(hospitals)


@pytest.mark.parametrize("phase", ["adverts", "ready", "upload", "sign", "reveal"])
@in_loop
async def test_a_coordinator_that_stops_while_one_cohort_is_in_any_phase_goes_on(tmp_path: Path, phase: str):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        run, hospitals, groups = await cut(world)
        sums = world.app.runs.live[run].secure.each[1]
        order = sorted(hospitals, key=lambda each: each.name in groups[1])  # the first cohort is ahead of the second
        await stepped(run, order, lambda: sums.phase == phase)
    again = Masked(world.folder, found=False)
    async with again.app.running():
        await served(run, *again.moved(hospitals))
        assert equal(await again.results(run), expected(NINE))
    let_go(hospitals)


@pytest.mark.parametrize("ahead", ["idle", "sign"])
@in_loop
async def test_a_cohort_whose_sum_came_to_nothing_stays_out_of_the_round_also_after_a_restart(tmp_path: Path, ahead: str):
    """Its sites have answered under masks whose keys are used up: under new ones they would answer with other bytes."""
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        run, hospitals, (_, second) = await cut(world, quorum=4)
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: all(sums.phase == "sign" for sums in live.secure.each))
        await live.secure.each[0].feed(Stop("no more can sign"))
        if ahead == "sign":
            await stepped(run, [each for each in hospitals if each.name in second], lambda: live.place.stage == 1)
        else:
            live.driver.cancel()
    again = Masked(world.folder, found=False)
    async with again.app.running():
        await served(run, *again.moved(hospitals))
        assert (await again.status(run))["rounds"][0]["answered"] == sorted(second)
        found = await again.results(run)
        assert equal(found["count"], expected(sorted(second))["count"])
        assert equal(found["drift"], expected(NINE)["drift"])
    let_go(hospitals)


@in_loop
async def test_where_whose_answers_count_was_fixed_a_cohort_that_cannot_open_again_ends_the_round(tmp_path: Path):
    """A large sum, its coordinator killed while it is added up; then the sites of one cohort do not sign once more."""
    kill, plan = Kill("folded", 1, "sum"), plan_of(200_000, 1)
    world = Masked(tmp_path / "hub", plan=plan, reached=kill)
    async with world.app.running():
        run, hospitals, (first, _) = await cut(world, quorum=4)
        serving = [asyncio.ensure_future(each.serve(run)) for each in hospitals]
        await kill.over.wait()
        for each in serving:
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    again = Masked(world.folder, found=False, plan=plan)
    async with again.app.running():
        hospitals, live = again.moved(hospitals), again.app.runs.live[run]
        assert live.closed == sorted(NINE)
        for each in hospitals:
            each.refuses = {"survivors"} if each.name in first else set()
        await asyncio.wait_for(stepped(run, hospitals, lambda: live.place.attempt == 2), 20)
        (told,) = [line for line in await again.told(run) if line.startswith("abandoned")]
        assert "whose answers count was fixed, and their sum cannot be opened any more (cohort 1 of 2: " in told
        for each in hospitals:
            each.refuses = set()
        await served(run, *hospitals)
        assert equal(await again.results(run), expected(NINE, 200_000, 1))
    let_go(hospitals)


class Spoiling(Hospital):
    """Sends a vector that says it holds two sites, where `spoils`."""

    spoils = False

    async def update(self, found: dict[str, Any], frame: Any) -> tuple[Answer, bytes]:
        answer, vector = await super().update(found, frame)
        return answer, vector[:-8] + (2).to_bytes(8, "little") if self.spoils else vector


@in_loop
async def test_a_vector_that_is_not_of_its_form_spoils_its_own_cohort_alone_and_is_one_of_those(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        run, hospitals, (first, second) = await cut(world, quorum=4, kinds=dict.fromkeys(NINE, Spoiling))
        next(each for each in hospitals if each.name in first).spoils = True
        await served(run, *hospitals)
        assert near(await world.results(run), sorted(second))
        told, says = await world.told(run), f"one of {', '.join(sorted(first))} sent a vector that is not of the form that was asked"
        assert [line for line in told if line.startswith("blamed")] == [f"blamed: {says}, and masks hide which"] * 5  # five sums
        assert [line for line in told if line.startswith(f"cohort: cohort 1 of 2 is not in the sum: {says}")]
    let_go(hospitals)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_night_of_random_turns_and_restarts_ends_with_the_same_bytes(tmp_path: Path, seed: int):
    asyncio.run(night(tmp_path, seed))


async def night(tmp_path: Path, seed: int) -> None:
    draw, world = random.Random(seed), Masked(tmp_path / "hub", plan=plan_of(5, 1))
    async with world.app.running():
        run, hospitals, _ = await cut(world, epoch=2)
    status = "running"
    while status == "running":
        world = Masked(world.folder, found=False, plan=plan_of(5, 1))
        async with world.app.running():
            hospitals, replies = world.moved(hospitals), dict[str, Any]()
            for each in hospitals:
                each.wait_s = 0
            for _ in range(draw.randrange(80, 250)):
                each = draw.choice(hospitals)
                reply = replies.get(each.name)
                if reply and reply[0]["status"] != "running":
                    status = reply[0]["status"]
                    break
                replies[each.name] = await (each.step(run, reply) if reply else each.work(run, wait_s=0))
                await asyncio.sleep(0)
    last = Masked(world.folder, found=False, plan=plan_of(5, 1))
    async with last.app.running():
        assert status == "finished"
        assert equal(await last.results(run), expected(NINE, 5, 1))
        assert not [line for line in await last.told(run) if line.startswith(("blamed", "abandoned", "cohort"))]
    let_go(hospitals)


@in_loop
async def test_a_run_over_sites_whose_cohorts_are_too_few_does_not_begin(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        run, hospitals, (first, second) = await cut(world)
        await world.operator.call("POST", f"/v1/runs/{run}/stop")
        few = [each for each in hospitals if each.name in {*sorted(first)[-2:], *sorted(second)[-2:]}]
        with pytest.raises(Refused, match="0 of the 4 are in cohorts that have enough sites"):
            await world.again(*few)
    let_go(hospitals)


@in_loop
async def test_a_site_makes_no_keys_with_sites_of_another_cohort(tmp_path: Path):
    """The coordinator cannot choose who meets whom."""
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        _, hospitals, (first, second) = await cut(world)
        one = next(each for each in hospitals if each.name in first)
        stranger = min(second)
        with pytest.raises(IdentityError, match=f"'{stranger}' is among the sites of the sum, and belongs to another cohort"):
            one.sums.hear({"kind": "begin", "epoch": 1, "sites": sorted({*first, stranger})})
        with pytest.raises(IdentityError, match="2 sites make keys, the study wants 3"):
            one.sums.hear({"kind": "begin", "epoch": 1, "sites": [*sorted(first - {one.name})[:1], one.name]})
    let_go(hospitals)


@pytest.mark.slow
def test_three_hundred_sites_make_five_sums(tmp_path: Path):
    asyncio.run(three_hundred(tmp_path))


async def three_hundred(tmp_path: Path) -> None:
    world = Masked(tmp_path / "hub", plan=plan_of(5, 1))
    names = tuple(f"site{k:03}" for k in range(300))
    async with world.app.running():
        hospitals = await world.hospitals(*names)
        run = await world.begin(*hospitals, privacy={"epoch": 4}, minimum=200)
        assert [len(sums.group) for sums in world.app.runs.live[run].secure.each] == [60] * 5
        await asyncio.wait_for(asyncio.gather(*(each.serve(run) for each in hospitals)), 900)
        assert equal(await world.results(run), expected(names, 5, 1))
    let_go(hospitals)
