"""What people and sites ask of runs: begin, offer, answer, pause, resume, stop; and what becomes of late and wrong answers."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collegium.engine.messages import task_of
from collegium.identity import digest
from tests.coordinator.world import Refused, World, equal, expected, in_loop, plan_of, served

NAMES = ("amber", "birch", "cedar")


@in_loop
async def test_a_run_needs_its_sites(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber")
        with pytest.raises(Refused, match="needs 2 sites, 1") as e:
            await world.start(*sites)
        assert (e.value.status, e.value.code) == (409, "conflict")
        study = await world.submit()
        with pytest.raises(Refused, match="no site 'nowhere' has joined"):
            await world.operator.call("POST", f"/v1/studies/{study}/start", {"sites": ["amber", "nowhere"]})


@in_loop
async def test_sites_are_offered_what_asks_them(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch, cedar = await world.join(*NAMES)
        waiting = asyncio.ensure_future(amber.work("", wait_s=20))
        await asyncio.sleep(0.1)
        run = await world.start(amber, birch)
        found, _ = await waiting
        assert (found["run"], found["manifest"]["title"]) == (run, "Mean age")
        assert (await amber.work("", serving=[run], wait_s=0))[0] == {}
        assert (await cedar.work("", wait_s=0))[0] == {}
        with pytest.raises(Refused, match="takes no part") as e:
            await cedar.work(run, wait_s=0)
        assert e.value.status == 403
        with pytest.raises(Refused, match="no run") as e:
            await amber.work("nope", wait_s=0)
        assert e.value.status == 404


@in_loop
async def test_a_site_that_joins_late_is_told_of(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        await world.join("cedar")
        found = await world.operator.call("GET", f"/v1/runs/{run}/events")
        assert [(e["kind"], e["site"]) for e in found["events"]] == [("started", ""), ("joined", "cedar")]
        assert "takes part in the next one" in found["events"][1]["says"]


@in_loop
async def test_an_answer_that_does_not_fit_is_refused_and_a_right_one_still_counts(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch, quorum=2)
        found, frame = await amber.once(run)
        answer, vector = await amber.update(found["task"], frame)
        crowd = vector[:-8] + (2).to_bytes(8, "little")
        wrong = {
            "the round asks for": (replace(answer, nbytes=8), vector[:8]),
            "bytes came": (answer, vector[:-1]),
            "digest does not hold": (replace(answer, digest="ab" * 32), vector),
            "holds 2 sites": (replace(answer, digest=digest(crowd)), crowd),
        }
        for says, (given, payload) in wrong.items():
            with pytest.raises(Refused, match=says) as e:
                await amber.work(run, given, payload, wait_s=0)
            assert (e.value.status, e.value.code) == (400, "update")
        with pytest.raises(Refused, match="came in a call about"):
            await amber.work(run, replace(answer, run="other"), vector, wait_s=0)
        first = await amber.work(run, answer, vector, wait_s=0)
        assert await amber.work(run, answer, vector, wait_s=0) == first
        other = vector[:8] + bytes([vector[8] ^ 1]) + vector[9:]
        with pytest.raises(Refused, match="other bytes") as e:
            await amber.work(run, replace(answer, digest=digest(other)), other, wait_s=0)
        assert e.value.status == 409
        await served(run, amber, birch)
        assert equal(await world.results(run), expected(("amber", "birch")))


@in_loop
async def test_a_late_answer_is_no_error_and_does_not_count(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(rounds=2))
    async with world.app.running():
        amber, birch, cedar = await world.join(*NAMES)
        run = await world.start(amber, birch, cedar, quorum=2, grace_s=0)
        found, frame = await cedar.once(run)
        answer, vector = await cedar.update(found["task"], frame)
        first = [await site.once(run) for site in (amber, birch)]
        waiting = [asyncio.ensure_future(s.answer(f, x)) for s, (f, x) in zip((amber, birch), first, strict=True)]
        await asyncio.gather(*waiting)
        found, _ = await cedar.work(run, answer, vector)
        assert task_of(found["task"]).place[:2] == (1, 1)
        assert found["task"]["counted"] is None  # cedar's count came too late
        found, _ = await amber.work(run)
        assert found["task"]["counted"] == [0, 1, 1, "sum"]
        await served(run, amber, birch)
        rows = (await world.results(run))["count"]["rows"]
        assert np.array_equal(rows, expected(NAMES[:2])["count"]["rows"])


@in_loop
async def test_pause_keeps_answers_and_resume_goes_on(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch)
        found, frame = await amber.once(run)
        waiting = asyncio.ensure_future(birch.answer(*await birch.once(run)))
        await asyncio.sleep(0.1)
        await world.operator.call("POST", f"/v1/runs/{run}/pause")
        assert (await waiting)[0] == {"status": "paused", "says": "paused on request", "task": None}
        assert (await amber.answer(found, frame, wait_s=0))[0]["status"] == "paused"
        assert (await world.status(run))["round"] == 1
        with pytest.raises(Refused, match="cannot be paused"):
            await world.operator.call("POST", f"/v1/runs/{run}/pause")
        await world.operator.call("POST", f"/v1/runs/{run}/resume")
        await served(run, amber, birch)
        assert equal(await world.results(run), expected(("amber", "birch")))
        for order in ("pause", "resume", "stop"):
            with pytest.raises(Refused, match="finished: nothing more"):
                await world.operator.call("POST", f"/v1/runs/{run}/{order}")


@in_loop
async def test_a_paused_run_is_still_paused_after_a_restart(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        await world.operator.call("POST", f"/v1/runs/{run}/pause")
    world = World(tmp_path / "hub", found=False)
    async with world.app.running():
        assert (await world.status(run))["status"] == "paused"
        await world.operator.call("POST", f"/v1/runs/{run}/resume")
        for site in sites:
            site.app, site.client = world.app, world.operator.client
        await served(run, *sites)
        assert equal(await world.results(run), expected(("amber", "birch")))


@in_loop
async def test_stop_keeps_what_was_learned(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(rounds=1000))
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        serving = [asyncio.ensure_future(site.serve(run)) for site in sites]
        await world.until(run, "running", lambda found: found["stage"] == "drift" and found["round"] >= 3)
        await world.operator.call("POST", f"/v1/runs/{run}/stop")
        last = await asyncio.gather(*serving)
        assert {one["status"] for one in last} == {"stopped"}
        found = await world.results(run)
        assert found.keys() == {"count", "drift"}
        assert (await world.status(run))["status"] == "stopped"


@in_loop
async def test_a_run_stopped_before_anything_was_learned_has_no_results(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        await world.operator.call("POST", f"/v1/runs/{run}/stop")
        found = await world.operator.call("GET", f"/v1/runs/{run}/results")
        assert (found["status"], found["results"]) == ("stopped", None)
        assert (await sites[0].work(run))[0] == {"status": "stopped", "says": "stopped on request", "task": None}


@in_loop
async def test_lines_are_kept_where_a_site_publishes_them(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        run = await world.start(amber, birch)
        for auroc in ("0.71", "0.72"):
            await amber.work(run, line={"auroc": auroc}, wait_s=0)
        with pytest.raises(Refused, match="as text"):
            await amber.work(run, line={"auroc": 1}, wait_s=0)
        found = await world.operator.call("GET", f"/v1/runs/{run}/results")
        assert found["lines"] == {"amber": {"auroc": "0.72"}}
        events = await world.operator.call("GET", f"/v1/runs/{run}/events")
        assert [e["kind"] for e in events["events"]] == ["started", "line"]


@in_loop
async def test_several_runs_go_on_beside_each_other(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join(*NAMES)
        runs = [await world.start(*sites, quorum=3), await world.start(*sites, quorum=3, title="Another")]
        await asyncio.gather(*(served(run, *sites) for run in runs))
        for run in runs:
            assert equal(await world.results(run), expected(NAMES))
        assert [r["status"] for r in (await world.operator.call("GET", "/v1/runs"))["runs"]] == ["finished"] * 2
