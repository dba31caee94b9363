"""What people ask, and what they are told when it makes no sense."""

import asyncio
from pathlib import Path

import pytest

from collegium.coordinator import auth
from collegium.study import manifest
from tests.coordinator.world import MANIFEST, Refused, World, in_loop, served, study_of


@in_loop
async def test_a_study_is_named_by_its_digest_however_it_is_written(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        study = manifest.read(study_of())
        for form in (study_of(), manifest.text(study)):
            found = await world.operator.call("POST", "/v1/studies", {"manifest": form})
            assert found == {"study": manifest.digest(study), "title": "Mean age"}
        listed = (await world.operator.call("GET", "/v1/studies"))["studies"]
        assert [(s["study"], s["title"]) for s in listed] == [(manifest.digest(study), "Mean age")]
        one = await world.operator.call("GET", f"/v1/studies/{manifest.digest(study)}")
        assert manifest.digest(manifest.read(one["manifest"])) == manifest.digest(study)
        assert one["runs"] == []


@in_loop
async def test_what_makes_no_sense_is_refused_in_words(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        wrong = [
            ("POST", "/v1/studies", {"manifest": {**MANIFEST, "metod": {}}}, 400, "study"),
            ("POST", "/v1/studies", {"manifest": "a: ["}, 400, "study"),
            ("POST", "/v1/studies", {}, 400, "frame"),
            ("POST", "/v1/studies", [], 400, "frame"),
            ("POST", "/v1/invites", {"name": 5}, 400, "frame"),
            ("POST", "/v1/invites", {"name": ""}, 409, "conflict"),
            ("GET", "/v1/studies/nope", None, 404, "not_found"),
            ("POST", "/v1/studies/nope/start", {}, 404, "not_found"),
            ("GET", "/v1/runs/nope", None, 404, "not_found"),
            ("GET", "/v1/runs/nope/events", None, 404, "not_found"),
            ("GET", "/v1/runs/nope/results", None, 404, "not_found"),
            ("POST", "/v1/runs/nope/stop", {}, 404, "not_found"),
            ("POST", "/v1/runs/nope/resume", {}, 404, "not_found"),
        ]
        await world.join("amber", "birch")
        for method, path, body, status, code in wrong:
            with pytest.raises(Refused) as e:
                await world.operator.call(method, path, body)
            assert (e.value.status, e.value.code) == (status, code), (path, e.value)
        with pytest.raises(Refused) as e:
            await world.operator.call("GET", "/v1/runs/nope/events", query="wait_s=99")
        assert e.value.code == "frame"


@in_loop
async def test_the_federation_at_a_glance(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        found = await world.operator.call("GET", "/v1/status")
        assert (found["federation"], found["fingerprint"]) == ("Test federation", world.app.door.fingerprint)
        assert [s["name"] for s in found["sites"]] == ["amber", "birch"]
        assert [(r["run"], r["status"], r["title"]) for r in found["runs"]] == [(run, "running", "Mean age")]
        one = await world.status(run)
        assert (one["sites"], one["waiting"], one["stage"], one["stages"]) == (
            ["amber", "birch"],
            ["amber", "birch"],
            "count",
            ["count", "drift"],
        )


@in_loop
async def test_watching_waits_for_what_happens(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        path, kinds, after = f"/v1/runs/{run}/events", [], 0
        assert (await world.operator.call("GET", path, query="after=999"))["events"] == []
        serving = asyncio.ensure_future(served(run, *sites))
        while "finished" not in kinds:
            found = await world.operator.call("GET", path, query=f"after={after}&wait_s=20")
            assert found["events"], "woken for nothing"
            kinds += [e["kind"] for e in found["events"]]
            after = found["events"][-1]["id"]
        await serving
        assert kinds == ["started", *["round"] * 5, "finished"]
        assert (await world.operator.call("GET", path, query=f"after={after}&wait_s=20"))["events"] == []  # over: nothing to wait for


@in_loop
async def test_the_description_names_every_route_of_people(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        found = await world.operator.call("GET", "/v1/openapi.json")
        described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
        bulk = set(world.app.api.handlers)
        assert described == set(auth.RULES) - bulk - {("GET", "/v1/openapi.json")}
        assert all(entry["description"] for methods in found["paths"].values() for entry in methods.values())


def test_the_reference_page_names_every_route():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "protocol.md").read_text()
    for method, path in auth.RULES:
        assert path in page or f"`/{path.rpartition('/')[2]}`" in page, (method, path)
