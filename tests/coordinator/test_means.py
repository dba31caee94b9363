"""Those who watch hear of what was committed."""

import dataclasses
from pathlib import Path

from tests.coordinator.world import World, in_loop


@in_loop
async def test_every_committed_event_is_told_once_and_in_order(tmp_path: Path):
    heard = []
    world = World(tmp_path / "hub", tell=lambda event: heard.append((event.kind, event.run, event.at)), now=lambda: 1_800_000_000)
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        await world.operator.call("POST", f"/v1/runs/{run}/pause")
        await world.operator.call("POST", f"/v1/runs/{run}/resume")
        await world.operator.call("POST", f"/v1/runs/{run}/stop")
        kinds = [kind for kind, _, _ in heard]
        assert kinds == ["joined", "joined", "started", "paused", "resumed", "stopped"]
        assert {run_ for _, run_, _ in heard} == {"", run}
        told = (await world.operator.call("GET", f"/v1/runs/{run}/events"))["events"]
        assert [e["kind"] for e in told] == kinds[2:]
        assert {e["at"] for e in told} == {"2027-01-15T08:00:00Z"}


def test_means_are_a_value(tmp_path: Path):
    means = World(tmp_path / "hub").app.means
    assert dataclasses.replace(means, clock=lambda: 5.0).clock() == 5.0
