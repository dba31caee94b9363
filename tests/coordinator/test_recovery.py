"""Killed at every named state: the coordinator that starts from what was on the disk ends with the same bytes.

The folder is copied at each state, as `kill -9` would leave it, and a new coordinator goes on from the copy.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collegium.coordinator import recovery
from collegium.engine.messages import Place
from tests.coordinator.world import Site, World, equal, expected, in_loop, plan_of, served

NAMES = ("amber", "birch", "cedar")
STATES = {"asked", "spooled", "committed", "folded", "applied"}


class Copies:
    """Copies of a folder, one for each named state of each place; the last of a kind, when several sites pass it."""

    def __init__(self, folder: Path, to: Path, last: bool = False) -> None:
        self.folder, self.to, self.last = folder, to, last
        self.taken: dict[tuple[str, Place], Path] = {}

    def __call__(self, name: str, place: Place) -> None:
        if self.last or (name, place) not in self.taken:
            target = self.to / f"{name}-{'-'.join(map(str, place))}"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(self.folder, target)
            (target / "collegium.db-shm").unlink(missing_ok=True)
            self.taken[name, place] = target


async def copied(tmp_path: Path, plan: Any, *, last: bool = False, **sites: int) -> tuple[Copies, str]:
    copies = Copies(tmp_path / "hub", tmp_path, last)
    world = World(tmp_path / "hub", plan=plan, reached=copies)
    async with world.app.running():
        joined = await world.join(*NAMES)
        run = await world.start(*joined, quorum=3, **sites)
        await served(run, *joined)
    return copies, run


@pytest.mark.parametrize("last", [False, True])
@in_loop
async def test_from_every_named_state_the_run_ends_with_the_same_bytes(tmp_path: Path, last: bool):
    plan = plan_of(rounds=2)
    copies, run = await copied(tmp_path, plan, last=last)
    assert {name for name, _ in copies.taken} == STATES
    assert len(copies.taken) == 5 * 4
    for folder in copies.taken.values():
        world = World(folder, found=False, plan=plan)
        async with world.app.running():
            sites = [Site(world.app, name) for name in NAMES]
            assert [one["status"] for one in await served(run, *sites)] == ["finished"] * 3
            assert equal(await world.results(run), expected(NAMES, rounds=2)), folder.name
            found = await world.status(run)
            assert [(r["stage"], r["round"], r["status"], len(r["answered"])) for r in found["rounds"]] == [
                ("count", 1, "applied", 3), ("drift", 1, "applied", 3), ("drift", 1, "applied", 3), ("drift", 2, "applied", 3),
            ]  # fmt: skip


@pytest.mark.slow
@in_loop
async def test_a_large_model_too(tmp_path: Path):
    plan = plan_of(size=300_000, rounds=2)
    copies, run = await copied(tmp_path, plan, last=True)
    assert {name for name, _ in copies.taken} == STATES
    for folder in copies.taken.values():
        world = World(folder, found=False, plan=plan)
        async with world.app.running():
            sites = [Site(world.app, name) for name in NAMES]
            await served(run, *sites)
            assert equal(await world.results(run), expected(NAMES, size=300_000, rounds=2)), folder.name
            await asyncio.sleep(0.1)
            assert list((folder / "spool").iterdir()) == []
            assert len(list((folder / "blobs").iterdir())) == 1  # the results
        shutil.rmtree(folder)


@in_loop
async def test_whose_answers_count_is_fixed_before_they_are_added_up(tmp_path: Path):
    """A large round that was closed by two sites is added up from these two, even if a third had answered meanwhile."""
    plan = plan_of(size=300_000, rounds=1)
    copies = Copies(tmp_path / "hub", tmp_path)
    world = World(tmp_path / "hub", plan=plan, reached=copies)
    async with world.app.running():
        amber, birch, cedar = await world.join(*NAMES)
        run = await world.start(amber, birch, cedar, minimum=2, grace_s=0)
        await served(run, amber, birch)
        mine = await world.results(run)
    folder = copies.taken["folded", Place(1, 1, 1, "sum")]
    world = World(folder, found=False, plan=plan)
    async with world.app.running():
        await served(run, Site(world.app, "amber"), Site(world.app, "birch"), Site(world.app, "cedar"))
        assert equal(await world.results(run), mine)
    assert np.array_equal(mine["count"]["rows"], expected(NAMES[:2])["count"]["rows"])


@in_loop
async def test_a_run_that_cannot_be_read_waits_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan = plan_of()
    world = World(tmp_path / "hub", plan=plan)
    async with world.app.running():
        sites = await world.join(*NAMES)
        bad, good = await world.start(*sites, quorum=3), await world.start(*sites, title="Other", quorum=3)
    take_up = recovery.take_up

    def damaged(means: Any, run: str) -> Any:
        if run == bad:
            raise OSError("a page is gone")
        return take_up(means, run)

    monkeypatch.setattr(recovery, "take_up", damaged)
    world = World(tmp_path / "hub", found=False, plan=plan)
    async with world.app.running():
        sites = [Site(world.app, name) for name in NAMES]
        await served(good, *sites)
        found = await world.status(bad)
        assert (found["status"], "a page is gone" in found["says"]) == ("paused", True)
        monkeypatch.undo()
        await world.operator.call("POST", f"/v1/runs/{bad}/resume")
        await served(bad, *sites)
        assert equal(await world.results(bad), expected(NAMES))
