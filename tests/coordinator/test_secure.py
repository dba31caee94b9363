"""Secure sums at the coordinator: masks vanish to the last byte, whoever is stopped, leaves, refuses or lies."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from collegium.coordinator import driver, records
from collegium.errors import StudyError
from tests.coordinator.masked import Hospital, Masked, begun, bytes_of, honest, let_go, stepped
from tests.coordinator.world import Refused, equal, expected, in_loop, plan_of, served

TRIO, FIVE = ("amber", "birch", "cedar"), ("amber", "birch", "cedar", "dover", "elgin")


def rows(world: Masked, run: str) -> dict[str, str]:
    return world.app.means.store.read(lambda c: records.secure_rows(c, run).get(0, {}))


@pytest.mark.parametrize("size", [5, 200_000])
@pytest.mark.parametrize("names", [TRIO, FIVE])
@in_loop
async def test_the_sum_is_the_plain_one_and_nothing_is_kept_of_how_it_was_hidden(tmp_path: Path, names: tuple[str, ...], size: int):
    async with begun(tmp_path, honest(names), plan=plan_of(size)) as (world, hospitals, run):
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(names, size))
        assert rows(world, run).keys() == {"stand"}
        told = await world.told(run)
        assert told[-1].startswith("finished")
        assert not [line for line in told if line.startswith(("blamed", "refused", "abandoned"))]


class Watching(Hospital):
    """Looks at the coordinator's disk while its vector lies there."""

    looked, found = 0, False

    async def work(self, run: str, answer: Any = None, payload: bytes = b"", **more: Any) -> Any:
        reply = await super().work(run, answer, payload, **more)
        if answer and answer.nbytes > 256:  # a small one may stand anywhere by chance
            disk = bytes_of(self.app.folder)
            assert payload in disk or answer.nbytes > 1 << 20  # what it has sent is there
            self.looked += 1
            self.found = self.found or self.plain[-1][:4096][:-16] in disk
        return reply


@pytest.mark.parametrize("size", [64, 200_000])
@pytest.mark.parametrize("hidden", [True, False])
@in_loop
async def test_a_single_vector_is_nowhere_at_the_coordinator_and_without_masks_it_is(tmp_path: Path, hidden: bool, size: int):
    world = Masked(tmp_path / "hub", plan=plan_of(size))
    async with world.app.running():
        hospitals = await world.hospitals(*TRIO, kind=Watching)
        off = {"secure_aggregation": "off", "because": "to see that it can be seen"}
        run = await world.begin(*hospitals, privacy={} if hidden else off)
        if hidden:
            await stepped(run, hospitals, lambda: all(each.looked > 2 for each in hospitals))
            assert [each.found for each in hospitals] == [False] * 3
        else:
            await stepped(run, hospitals, lambda: any(each.looked for each in hospitals))
            assert any(each.found for each in hospitals)
    let_go(hospitals)


@in_loop
async def test_who_leaves_before_there_are_keys_is_not_missed_unless_too_few_are_left(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*TRIO, "dover")
        run = await world.begin(*hospitals)
        found = await world.status(run)
        assert found["waiting"] == ["amber", "birch", "cedar", "dover"]
        gone = hospitals.pop()
        leave = {"kind": "leave", "says": "its table does not fit"}
        await gone.work(run, secure=[leave], wait_s=0)
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(TRIO))
        assert "left: dover left the run: its table does not fit" in await world.told(run)
        let_go([*hospitals, gone])
        run = await world.begin(*hospitals, title="Another")
        await hospitals[0].work(run, secure=[leave], wait_s=0)
        found = await world.until(run, "paused")
        assert found["says"].startswith("2 of 3 sites are left, 3 must be: amber: its table does not fit")
        await world.operator.call("POST", f"/v1/runs/{run}/resume")
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(TRIO))
    let_go(hospitals)


class Unwilling(Hospital):
    """Refuses every round, but makes keys."""

    def obeys(self, said: dict[str, Any]) -> bool:
        return said.get("kind") != "ask"


@in_loop
async def test_a_round_that_a_needed_site_refuses_is_asked_again_and_then_the_run_rests(tmp_path: Path):
    async with begun(tmp_path, honest(TRIO) | {"cedar": Unwilling}) as (world, hospitals, run):
        serving = [asyncio.ensure_future(each.serve(run)) for each in hospitals]
        found = await world.until(run, "paused")
        assert "cedar: it will not" in found["says"]
        told = await world.told(run)
        assert "refused: cedar refuses: it will not" in told
        assert sum(line.startswith("abandoned") for line in told) == driver.TRIES - 1
        await asyncio.gather(*serving)


@in_loop
async def test_epochs_follow_each_other_over_the_runs_of_a_study_one_run_at_a_time(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*TRIO)
        run = await world.begin(*hospitals, privacy={"epoch": 2})
        with pytest.raises(Refused, match="of this very study is under way") as caught:
            await world.again(*hospitals)
        assert f"collegium study stop {run}" in str(caught.value)
        await served(run, *hospitals)
        first = world.app.means.store.read(lambda c: records.last_epoch(c, world.study))
        assert first >= 2
        run = await world.again(*hospitals)
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(TRIO))
        assert world.app.means.store.read(lambda c: records.last_epoch(c, world.study)) > first
    let_go(hospitals)


@in_loop
async def test_more_sites_than_one_sum_takes_do_not_begin(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*TRIO)
        await world.begin(*hospitals)
        sums = next(iter(world.app.runs.live.values())).secure.each[0]
        sums.keys = {f"s{n}": f"{n:064x}" for n in range(129)}
        with pytest.raises(StudyError, match="129 sites are too many for one secure sum"):
            sums.agree(sums.keys)
    let_go(hospitals)
