"""From answers to the next place: the sum is whole, what people watch is the last state's, what was learned is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collegium.coordinator import transition
from collegium.coordinator.live import Member
from collegium.engine.messages import Place
from tests.coordinator.test_driver import hand_in
from tests.coordinator.world import World, drift, in_loop, plan_of, served


def test_a_stage_tells_the_last_state_it_made():
    stages, _ = plan_of(rounds=1)(None)
    spied, seen = transition.watched(stages, 1)
    assert seen() is None
    state = drift().init({})
    after = spied[1].algorithm.apply(state, {"move": {"w": np.zeros(5)}, "rows": np.array(1)})
    assert seen() is after
    assert spied[0] is stages[0]


@in_loop
async def test_figures_tell_the_round_that_closed_even_at_the_end_of_a_stage(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(rounds=2))
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites, quorum=2)
        await served(run, *sites)
        found = await world.status(run)
        assert [(r["phase"], r["progress"].get("round")) for r in found["rounds"]] == [
            ("sum", None), ("range", None), ("sum", 1.0), ("sum", 2.0),
        ]  # fmt: skip
        assert all(r["clipped"] == 0 and r["seconds"] >= 0 for r in found["rounds"])
        events = (await world.operator.call("GET", f"/v1/runs/{run}/events"))["events"]
        assert events[-1]["kind"] == "finished"
        assert events[2]["says"] == "drift: ranges agreed, 2 of 2 sites"
        assert events[3]["says"].startswith("drift: round 1 of at most 2, 2 of 2 sites: first ")


@pytest.mark.parametrize("size", [5, 300_000])
@in_loop
async def test_the_same_answers_give_the_same_place_twice(tmp_path: Path, size: int):
    world = World(tmp_path / "hub", plan=plan_of(size, rounds=2))
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch, quorum=2)
        while (live := world.app.runs.live[run]).place != Place(1, 1, 1, "sum"):
            await hand_in(amber, run)
            await hand_in(birch, run)
            await world.until(run, "running", lambda found: found["answered"] == [])
        await live.lock.acquire()  # the driver may not move on
        await hand_in(amber, run)
        await hand_in(birch, run)
        once, twice = (transition.following(world.app.means, live, frozenset({"amber", "birch"})) for _ in range(2))
        assert once.kept.shared.digest == twice.kept.shared.digest
        assert once.kept.refs == twice.kept.refs
        assert once.roster == {name: Member(Place(1, 1, 1, "sum")) for name in ("amber", "birch")}
        live.lock.release()
        world.app.means.blobs.unpin([*once.new, *twice.new])
        await served(run, amber, birch)


def test_what_cannot_be_told_yet_is_no_result(tmp_path: Path):
    def unready(state: Any) -> Any:
        raise KeyError("not yet")

    stages, _ = plan_of()(None)
    stages = [stages[0], stages[1]._replace(algorithm=stages[1].algorithm._replace(result=unready))]
    from tests.coordinator.test_live import live

    run = live(tmp_path)
    run.stages = stages
    run.kept = run.kept.__class__(
        run.kept.run.__class__(Place(1, 3, 1, "sum"), {"w": np.ones(2)}, run.kept.run.layout, run.kept.run.target), run.kept.shared, {}, {}
    )
    assert transition.so_far(World(tmp_path / "hub").app.means, run) is None
