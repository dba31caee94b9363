"""The calls of sites: chunked uploads, downloads by range, and bodies that make no sense."""

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest

from collegium.canonical import pack
from collegium.coordinator.auth import PACKED
from collegium.coordinator.spool import CHUNK, operation
from collegium.engine.messages import task_of
from collegium.identity import digest
from tests.coordinator.world import Refused, Site, World, equal, expected, in_loop, plan_of, served

SIZE = 1_100_000  # float64: nine chunks... of which the last is short
LARGE = {"size": SIZE, "rounds": 1}


@in_loop
async def test_what_makes_no_sense_is_refused_in_words(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        (leeds,) = await world.join("leeds")
        good = {"run": "", "serving": [], "answer": None, "line": None, "wait_s": 0}
        bad = [b"", b"\xff\xff\xff\xff", pack([]), pack(good | {"run": 5}), pack(good | {"wait_s": "1"}), pack({"run": ""})]
        bad += [
            pack(good | {"secure": [], "log": log}) for log in ({"seen": [1]}, {"seen": ["1"], "since": 0}, {"seen": [], "since": "0"}, [])
        ]
        for body in bad:
            with pytest.raises(Refused) as e:
                await leeds.send(leeds.signed("POST", "/v1/work", body, kind=PACKED))
            assert (e.value.status, e.value.code) == (400, "frame"), body
        with pytest.raises(Refused, match="not JSON"):
            await leeds.send(leeds.signed("POST", "/v1/join", b"{"))
        assert await leeds.work("", wait_s=-5) == ({}, b"")


@in_loop
async def test_the_identity_is_told_to_anybody_and_signed(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        request = world.operator.client.build_request("GET", "/v1/identity")
        import json

        found = json.loads(await world.operator.send(request))
        assert found["public"] == world.app.door.key.public
        assert found["root"] == (tmp_path / "hub" / "tls-root.pem").read_text()
        assert found["boot"] == world.app.door.counters.boot


async def large_round(world: World, names: tuple[str, ...] = ("amber", "birch")) -> tuple[str, list[Site]]:
    """A run that stands at its first large sum."""
    sites = await world.join(*names)
    run = await world.start(*sites, quorum=len(names))
    for _ in range(2):  # the count, and the ranging of the drift
        await asyncio.gather(*(hand(site, run) for site in sites))
        await world.until(run, "running", lambda found: found["answered"] == [])
    return run, sites


async def hand(site: Site, run: str) -> None:
    await site.answer(*await site.once(run), wait_s=0)


@in_loop
async def test_an_upload_goes_on_where_it_was_cut(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(**LARGE))
    async with world.app.running():
        run, (amber, birch) = await large_round(world)
        found, frame = await amber.once(run)
        answer, vector = await amber.update(found["task"], frame)
        op, count = operation(run, answer.place, "amber"), -(-len(vector) // CHUNK)
        with pytest.raises(Refused, match="chunk 0 of 3") as e:
            await amber.work(run, answer, wait_s=0)
        assert e.value.status == 400
        await amber.upload(answer, vector, [2, 0])
        here = lambda: amber.call("GET", f"/v1/uploads/{op}", query=f"run={run}")
        assert (await here(), count) == ({"chunks": [0, 2]}, 3)
        bad = amber.signed("PUT", f"/v1/uploads/{op}/1", vector[: CHUNK - 1], query=f"run={run}")
        with pytest.raises(Refused, match="ended after") as e:
            await amber.send(bad)
        assert (e.value.status, e.value.code) == (400, "frame")
        assert (await here())["chunks"] == [0, 2]
        with pytest.raises(Refused, match="does not exist"):
            await amber.send(amber.signed("PUT", f"/v1/uploads/{op}/7", b"x", query=f"run={run}"))
        for name in ("x", "1" * 10):
            with pytest.raises(Refused, match="by its number"):
                await amber.send(amber.signed("PUT", f"/v1/uploads/{op}/{name}", b"x", query=f"run={run}"))
        await amber.upload(answer, vector, [1, 1])
        first = await amber.work(run, answer, wait_s=0)
        assert await amber.work(run, answer, wait_s=0) == first
        await amber.upload(answer, vector, [1])  # the same bytes once more
        with pytest.raises(Refused, match="committed") as e:
            await amber.send(amber.signed("PUT", f"/v1/uploads/{op}/1", vector[:CHUNK], query=f"run={run}"))
        assert e.value.status == 409
        await served(run, amber, birch)
        assert equal(await world.results(run), expected(("amber", "birch"), **LARGE))


@in_loop
async def test_an_upload_with_another_digest_starts_anew(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(**LARGE))
    async with world.app.running():
        run, (amber, birch) = await large_round(world)
        found, frame = await amber.once(run)
        answer, vector = await amber.update(found["task"], frame)
        spoiled = bytearray(vector)
        spoiled[5] ^= 1
        await amber.upload(answer, bytes(spoiled))
        with pytest.raises(Refused, match="digest does not hold"):
            await amber.work(run, answer, wait_s=0)
        op = operation(run, answer.place, "amber")
        assert (await amber.call("GET", f"/v1/uploads/{op}", query=f"run={run}"))["chunks"] == []
        await served(run, amber, birch)
        assert equal(await world.results(run), expected(("amber", "birch"), **LARGE))


@in_loop
async def test_uploads_that_nobody_asked_for_do_not_exist(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(**LARGE))
    async with world.app.running():
        run, (amber, _) = await large_round(world)
        place = task_of((await amber.once(run))[0]["task"]).place
        for op in (operation(run, place, "birch"), operation(run, place._replace(round=9), "amber"), "nonsense"):
            for method, path in (("GET", f"/v1/uploads/{op}"), ("PUT", f"/v1/uploads/{op}/0")):
                with pytest.raises(Refused, match="no open round") as e:
                    await amber.send(amber.signed(method, path, b"" if method == "GET" else b"x", query=f"run={run}"))
                assert e.value.status == 409
        for query, status in (("run=doctor", 404), ("", 404), (f"run={run}", 409)):
            with pytest.raises(Refused) as e:
                await amber.send(amber.signed("PUT", "/v1/uploads/op/0", b"x", query=query))
            assert e.value.status == status
        meant = amber.signed("PUT", "/v1/uploads/op/0", b"x" * CHUNK, query="run=doctor")
        altered = httpx.Request(meant.method, meant.url, headers=meant.headers, content=b"y" * CHUNK)
        with pytest.raises(Refused, match="altered on the way"):  # what is refused was read to its end
            await amber.send(altered)
        assert [path.name for path in (tmp_path / "hub" / "spool").iterdir()] == []


@in_loop
async def test_downloads_by_range_for_those_who_take_part(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(**LARGE))
    async with world.app.running():
        run, (amber, birch) = await large_round(world)
        (cedar,) = await world.join("cedar")
        asked = task_of((await amber.once(run))[0]["task"])
        path = f"/v1/blobs/{asked.state}"
        whole = await amber.send(amber.signed("GET", path), plain=True)
        assert (len(whole), digest(whole)) == (asked.state_bytes, asked.state)

        async def part(wanted: str) -> tuple[int, str, bytes]:
            request = amber.signed("GET", path)
            request.headers["range"] = wanted
            response = await amber.client.send(request)
            return response.status_code, response.headers.get("content-range", ""), response.content

        size = len(whole)
        assert await part("bytes=100-") == (206, f"bytes 100-{size - 1}/{size}", whole[100:])
        assert await part(f"bytes={3 << 20}-{(3 << 20) + 9}") == (
            206,
            f"bytes {3 << 20}-{(3 << 20) + 9}/{size}",
            whole[3 << 20 : (3 << 20) + 10],
        )
        assert (await part(f"bytes={size}-"))[0] == 404
        assert (await part("bytes=-5"))[0] == 404
        for site, name in ((cedar, asked.state), (amber, "ab" * 32)):
            with pytest.raises(Refused) as e:
                await site.send(site.signed("GET", f"/v1/blobs/{name}"), plain=True)
            assert e.value.status == 404
        kept = [d for d in world.app.runs.live[run].kept.frames if d != asked.state]
        for name in kept:  # the coordinator's own part of the state
            with pytest.raises(Refused):
                await amber.send(amber.signed("GET", f"/v1/blobs/{name}"), plain=True)
        await served(run, amber, birch)
        results = (await amber.work(run))[0]
        found = await birch.send(birch.signed("GET", f"/v1/blobs/{results['results']}"), plain=True)
        assert (digest(found), len(found)) == (results["results"], results["results_bytes"])


@in_loop
async def test_a_run_that_ends_while_a_site_uploads_says_so(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(**LARGE))
    async with world.app.running():
        run, (amber, _) = await large_round(world)
        found, frame = await amber.once(run)
        answer, vector = await amber.update(found["task"], frame)
        await amber.upload(answer, vector, [0])
        await world.operator.call("POST", f"/v1/runs/{run}/stop")
        with pytest.raises(Refused, match="is over") as e:
            await amber.upload(answer, vector, [1])
        assert e.value.status == 409
        assert (await amber.work(run, answer))[0]["status"] == "stopped"
        assert list((tmp_path / "hub" / "spool").iterdir()) == []
        assert np.array_equal((await world.results(run))["count"]["rows"], expected(("amber", "birch"), rounds=1)["count"]["rows"])


@in_loop
async def test_who_waits_at_the_end_is_sent_away_and_comes_again(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch)
        waiting = [asyncio.ensure_future(amber.answer(*await amber.once(run))), asyncio.ensure_future(birch.work("", serving=[run]))]
        await asyncio.sleep(0.1)
        world.app.hush()
        for each in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 2):
            assert isinstance(each, Refused)
            assert (each.status, each.code) == (503, "busy")
    world = World(tmp_path / "hub", found=False)
    async with world.app.running():
        assert (await world.status(run))["answered"] == ["amber"]
