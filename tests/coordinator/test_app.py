"""Whole runs through the application: the same bytes as in one process, after whatever happened on the way."""

import asyncio
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from tests.coordinator.test_serve import free_port, take_part
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


@pytest.mark.network
def test_the_same_application_runs_on_uvicorn(tmp_path: Path):
    port = free_port()
    world = World(tmp_path / "hub")
    secure = {"ssl_certfile": str(tmp_path / "hub" / "tls.pem"), "ssl_keyfile": str(tmp_path / "hub" / "tls.key")}
    server = uvicorn.Server(uvicorn.Config(world.app, port=port, log_level="error", ws="none", timeout_graceful_shutdown=2, **secure))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        asyncio.run(take_part(tmp_path / "hub", port))
    finally:
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()
