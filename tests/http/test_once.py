"""Whatever the network repeats, drops or delays, each answer counts once or not at all."""

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from collegium.canonical import pack
from collegium.coordinator import store as s
from collegium.identity import digest
from tests.coordinator.world import URL, Refused, Site, World, equal, expected, in_loop, plan_of, served

NAMES = ("amber", "birch", "cedar")


def connections(world: World, count: int) -> list[httpx.AsyncClient]:
    return [httpx.AsyncClient(transport=httpx.ASGITransport(world.app, raise_app_exceptions=False), base_url=URL) for _ in range(count)]


@in_loop
async def test_the_same_upload_a_hundred_times_from_eight_connections_is_one_row(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch, quorum=2)
        found, frame = await amber.once(run)
        answer, vector = await amber.update(found["task"], frame)
        lines = [Site(world.app, "amber", client) for client in connections(world, 8)]
        same = [lines[k % 8].work(run, answer, vector, wait_s=0) for k in range(100)]
        spoiled = vector[:8] + bytes([vector[8] ^ 1]) + vector[9:]
        other = type(answer)(answer.run, answer.place, digest(spoiled), len(spoiled))
        replies = await asyncio.gather(*same, *(x.work(run, other, spoiled, wait_s=0) for x in lines), return_exceptions=True)
        assert {str(reply[0]) for reply in replies[:100]} == {str(replies[0][0])}
        assert [(e.status, e.code) for e in replies[100:] if isinstance(e, Refused)] == [(409, "conflict")] * 8
        rows = world.app.means.store.read(lambda c: list(c.execute(s.upload.select())))
        assert [(row.site, row.digest) for row in rows] == [("amber", answer.digest)]
        await served(run, amber, birch)
        assert equal(await world.results(run), expected(("amber", "birch")))


class Faulty(Site):
    """A site on a network that loses requests and answers, sends twice, and is slow."""

    rng: random.Random

    async def work(self, run: str, answer: Any = None, payload: bytes = b"", **more: Any) -> Any:
        while True:
            fault = self.rng.random()
            if fault < 0.1:
                continue  # the request was lost
            if fault < 0.2:
                await asyncio.sleep(self.rng.random() / 50)
            if fault < 0.3:
                twice = asyncio.ensure_future(super().work(run, answer, payload, wait_s=0))
                found = await super().work(run, answer, payload, **more)
                await twice
                return found
            found = await super().work(run, answer, payload, wait_s=0 if fault < 0.5 else 25)
            if fault < 0.5:
                continue  # the answer was lost: ask again, with the same bytes
            return found


@pytest.mark.parametrize("seed", range(6))
@in_loop
async def test_lost_and_repeated_messages_change_nothing(tmp_path: Path, seed: int):
    plan = plan_of(rounds=6)
    world = World(tmp_path / "hub", plan=plan)
    rng = random.Random(seed)
    async with world.app.running():
        sites = [Faulty(world.app, site.name) for site in await world.join(*NAMES)]
        for site in sites:
            site.rng = random.Random(rng.random())
        run = await world.start(*sites, quorum=3)
        await served(run, *sites)
        assert equal(await world.results(run), expected(NAMES, rounds=6))


@pytest.mark.parametrize("seed", range(4))
@in_loop
async def test_a_coordinator_that_starts_anew_again_and_again_ends_with_the_same_bytes(tmp_path: Path, seed: int):
    plan, rng = plan_of(rounds=8), random.Random(seed)
    world = World(tmp_path / "hub", plan=plan)
    async with world.app.running():
        joined = await world.join(*NAMES)
        run = await world.start(*joined, quorum=3)
    for _ in range(60):
        world = World(tmp_path / "hub", found=False, plan=plan)
        async with world.app.running():
            serving = asyncio.ensure_future(served(run, *(Site(world.app, name) for name in NAMES)))
            await asyncio.wait([serving], timeout=rng.random() / 8)
            over = serving.done()
            world.app.hush()
            await asyncio.gather(serving, return_exceptions=True)
            if over:
                assert equal(await world.results(run), expected(NAMES, rounds=8))
                return
    pytest.fail("the run did not finish")


@in_loop
async def test_a_recorded_session_is_worth_nothing_to_a_later_start(tmp_path: Path):
    world = World(tmp_path / "hub")
    recorded: list[httpx.Request] = []
    async with world.app.running():
        sites = await world.join(*NAMES)
        for site in sites:
            send = site.client.send
            site.client.send = lambda request, send=send: recorded.append(request) or send(request)  # type: ignore[method-assign]
        run = await world.start(*sites, quorum=3)
        await served(run, *sites)
        before = await world.status(run)
        for request in recorded:
            with pytest.raises(Refused) as e:
                await world.operator.send(request)
            assert (e.value.status, e.value.code) == (401, "boot")
    world = World(tmp_path / "hub", found=False)
    async with world.app.running():
        for request in recorded:
            with pytest.raises(Refused) as e:
                await world.operator.send(request)
            assert (e.value.status, e.value.code) == (401, "boot")
        assert await world.status(run) == before
    assert len(recorded) > 15


@in_loop
async def test_a_thousand_waiting_requests_do_not_slow_the_others(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        (amber,) = await world.join("amber")
        body = pack({"run": "", "serving": [], "answer": None, "line": None, "wait_s": 25})
        waiting = [asyncio.ensure_future(amber.send(amber.signed("POST", "/v1/work", body))) for _ in range(1000)]
        await asyncio.sleep(1)
        begun = asyncio.get_running_loop().time()
        await world.operator.call("GET", "/v1/sites")
        assert asyncio.get_running_loop().time() - begun < 2
        assert not any(each.done() for each in waiting)
        world.app.hush()
        await asyncio.gather(*waiting, return_exceptions=True)
