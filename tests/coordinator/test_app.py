"""Whole runs through the application: the same bytes as in one process, after whatever happened on the way."""

from pathlib import Path

from tests.coordinator.world import World, equal, expected, in_loop, served

NAMES = ("amber", "birch", "cedar")


@in_loop
async def test_a_run_over_the_protocol_gives_the_bytes_of_one_in_process(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join(*NAMES)
        run = await world.start(*sites)
        last = await served(run, *sites)
        assert [one["status"] for one in last] == ["finished"] * 3
        assert equal(await world.results(run), expected(NAMES))
        found = await world.status(run)
        assert (found["status"], found["left"], found["waiting"]) == ("finished", {}, [])
        assert [f["round"] for f in found["figures"]] == [1, 2, 3]
        assert found["figures"][0].keys() == {"stage", "round", "first"}
