"""A disk that fills up under the coordinator: nothing is lost, and the run goes on by itself once there is room."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.coordinator import blobs, driver
from tests.coordinator.world import Refused, Site, World, equal, expected, in_loop, plan_of, served


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs more rights than this test has")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


class Patient(Site):
    """A site that comes again when the disk is full, as a real one does."""

    turned_away = 0

    async def work(self, *args: Any, **more: Any) -> Any:
        while True:
            try:
                return await super().work(*args, **more)
            except Refused as e:
                if (e.status, e.code) != (507, "storage"):
                    raise
                self.turned_away += 1
                await asyncio.sleep(0.1)


@in_loop
async def test_the_database_has_no_room(small: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(driver, "RETRY_S", 0.1)
    monkeypatch.setattr(blobs, "MARGIN", 0)
    world = World(small / "hub", plan=plan_of(size=20_000, rounds=30))
    async with world.app.running():
        sites = [Patient(world.app, site.name) for site in await world.join("amber", "birch")]
        run = await world.start(*sites, quorum=2)
        (small / "ballast").write_bytes(b"x" * (3 << 20))
        serving = asyncio.ensure_future(served(run, *sites))
        # whether an answer or the round's own step meets the full disk first is a matter of pages
        await world.until(run, "running", lambda found: "disk" in found["says"] or any(site.turned_away for site in sites))
        (small / "ballast").unlink()
        assert {one["status"] for one in await serving} == {"finished"}
        assert equal(await world.results(run), expected(("amber", "birch"), size=20_000, rounds=30))
