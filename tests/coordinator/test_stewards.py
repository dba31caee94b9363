"""What people are told of hospitals whose data steward has not decided."""

from pathlib import Path

from tests.coordinator.world import World, in_loop


@in_loop
async def test_who_watches_a_run_is_told_which_hospitals_wait_for_their_steward(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch)
        held = {"serving": [run], "waiting": [run, "gone"], "wait_s": 0}
        for _ in range(2):
            assert (await amber.work("", **held))[0] == {"over": ["gone"]}
        assert (await world.status(run))["stewards"] == ["amber"]
        events = (await world.operator.call("GET", f"/v1/runs/{run}/events"))["events"]
        assert [(e["kind"], e["says"]) for e in events[1:]] == [
            ("steward", "amber waits for its data steward, who has not decided on this study")
        ]
        await amber.work(run, wait_s=0)  # it takes part
        assert (await world.status(run))["stewards"] == []
        await amber.work("", **held)
        await amber.work("", wait_s=0, serving=[run])  # it has left: nothing is held
        assert (await world.status(run))["stewards"] == []
        await world.operator.call("POST", f"/v1/runs/{run}/stop", {})
        assert (await birch.work("", serving=[run], waiting=[run], wait_s=0))[0] == {"over": [run]}
        assert (await world.status(run))["stewards"] == []
        assert (await amber.work("", waiting="all", wait_s=0))[0] == {}  # an odd word about it is none
