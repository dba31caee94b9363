"""The door: what is not signed, not fresh or not allowed does not come in; what is not declared does not exist."""

from pathlib import Path
from typing import Any

import pytest

from collegium import identity
from collegium.canonical import canonical
from collegium.coordinator import auth
from collegium.coordinator.api import Api
from collegium.coordinator.app import build
from tests.coordinator.world import Refused, Site, Speaker, World, in_loop, plan_of


def test_every_route_has_a_rule_and_every_rule_a_route():
    with pytest.raises(RuntimeError, match="/v1/secret"):
        auth.refuse_undeclared([*auth.RULES, ("GET", "/v1/secret")])
    with pytest.raises(RuntimeError, match="/v1/work"):
        auth.refuse_undeclared(set(auth.RULES) - {("POST", "/v1/work")})


def test_an_app_with_an_undeclared_route_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    World(tmp_path / "hub").app.means.store.close()
    made = Api.__init__

    def careless(self: Api, *args: Any) -> None:
        made(self, *args)
        self.handlers["GET", "/v1/forgotten"] = self.identity

    monkeypatch.setattr(Api, "__init__", careless)
    with pytest.raises(RuntimeError, match="/v1/forgotten"):
        build(tmp_path / "hub", plan=plan_of())


@in_loop
async def test_nobody_gets_in_by_a_key_that_is_not_known(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        stranger = Speaker(world.app, identity.key(b"x" * 32))
        for method, path in auth.RULES:
            if path in ("/v1/identity", "/v1/join"):
                continue
            with pytest.raises(Refused) as e:
                await stranger.call(method, path.format(op="a", k="0", digest="a", study="a", run="a"), {})
            assert (e.value.status, e.value.code) == (401, "identity")


@in_loop
async def test_a_site_may_not_do_what_people_do_nor_people_what_sites_do(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        (leeds,) = await world.join("leeds")
        for (method, path), rule in auth.RULES.items():
            filled = path.format(op="a", k="0", digest="a", study="a", run="a")
            for speaker, role in ((leeds, "site"), (world.operator, "operator")):
                if rule.roles and role not in rule.roles:
                    with pytest.raises(Refused) as e:
                        await speaker.call(method, filled, {})
                    assert (e.value.status, e.value.code) == (403, "not_allowed"), (path, role)


@in_loop
async def test_a_request_is_answered_once(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        request = world.operator.signed("POST", "/v1/invites", canonical({"name": "leeds"}))
        await world.operator.send(request)
        with pytest.raises(Refused) as e:
            await world.operator.send(request)
        assert (e.value.status, e.value.code) == (401, "boot")
        counter = int(request.headers["signature-input"].split('nonce="')[1].split('"')[0].split(".")[1])
        assert (e.value.document["boot"], e.value.document["counter"]) == (world.app.door.counters.boot, counter)


@in_loop
async def test_a_request_of_another_start_is_to_be_signed_again(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        with pytest.raises(Refused) as e:
            await world.operator.send(world.operator.signed("GET", "/v1/sites", boot="ab12"))
        assert e.value.document["boot"] == world.app.door.counters.boot


@pytest.mark.parametrize("part", ["body", "path", "query", "method", "content-type", "digest", "signature", "none", "coordinator"])
@in_loop
async def test_one_altered_byte_is_refused(tmp_path: Path, part: str):
    world = World(tmp_path / "hub")
    async with world.app.running():
        request = world.operator.signed("POST", "/v1/invites", canonical({"name": "leeds"}), query="a=1")
        kept = dict(request.headers)
        change: dict[str, Any] = {"method": "POST", "url": "/v1/invites?a=1", "content": canonical({"name": "leeds"}), "headers": kept}
        match part:
            case "body":
                change["content"] = canonical({"name": "leedz"})
            case "path":
                change["url"] = "/v1/studies?a=1"
            case "query":
                change["url"] = "/v1/invites?a=2"
            case "method":
                change |= {"method": "GET", "url": "/v1/sites?a=1"}
            case "content-type":
                kept["content-type"] = "application/x-other"
            case "digest":
                kept["content-digest"] = kept["content-digest"].replace("=:", "=:A", 1)
            case "signature":
                kept["signature"] = kept["signature"][:-5] + "A==:"
            case "none":
                del kept["signature"], kept["signature-input"]
            case "coordinator":
                kept["collegium-coordinator"] = "ab" * 16
        response = await world.operator.client.send(world.operator.client.build_request(**change))
        assert response.status_code == 401
        assert response.json()["error"] == "identity"
        assert (await world.operator.call("GET", "/v1/sites"))["sites"] == []


@in_loop
async def test_a_body_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        reads = []

        async def receive() -> dict[str, Any]:
            reads.append(1)
            return {"type": "http.request", "body": b"x" * 70_000, "more_body": len(reads) < 9}

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        request = world.operator.signed("POST", "/v1/invites", b"x" * 70_000)
        scope = {"type": "http", "method": "POST", "path": "/v1/invites", "raw_path": b"/v1/invites", "query_string": b""}
        await world.app({**scope, "headers": request.headers.raw}, receive, send)
        assert (sent[0]["status"], reads) == (413, [])
        request = world.operator.signed("POST", "/v1/invites", b"x" * 70_000)
        quiet = [(k, v) for k, v in request.headers.raw if k.lower() != b"content-length"]
        sent.clear()
        await world.app({**scope, "headers": quiet}, receive, send)
        assert (sent[0]["status"], len(reads)) == (413, 1)


@in_loop
async def test_a_body_cut_short_is_refused(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        (leeds,) = await world.join("leeds")
        messages = iter([{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        request = leeds.signed("POST", "/v1/work", b"half and half", kind=auth.PACKED)
        scope = {"type": "http", "method": "POST", "path": "/v1/work", "raw_path": b"/v1/work", "query_string": b""}
        await world.app({**scope, "headers": request.headers.raw}, receive, send)
        assert (sent[0]["status"], b"cut short" in sent[1]["body"]) == (400, True)


@in_loop
async def test_what_does_not_exist_is_not_found_and_a_fault_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = World(tmp_path / "hub")
    async with world.app.running():
        for method, path in (("GET", "/"), ("GET", "/v2/x"), ("DELETE", "/v1/sites"), ("GET", "/v1/runs/a/b/c")):
            with pytest.raises(Refused) as e:
                await world.operator.call(method, path)
            assert (e.value.status, e.value.code) == (404, "not_found")

        def fault(*_: Any) -> None:
            raise KeyError("secret detail")

        monkeypatch.setattr("collegium.coordinator.people.listed", fault)
        with pytest.raises(Refused) as e:
            await world.operator.call("GET", "/v1/sites")
        assert (e.value.status, e.value.code, "secret" in str(e.value)) == (500, "failed", False)


@in_loop
async def test_joining(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        code = identity.read_code((await world.operator.call("POST", "/v1/invites", {"name": "leeds"}))["code"])
        assert (code.url, code.coordinator) == ("https://hub.example:8443", world.app.door.fingerprint)
        asked = {"secret": code.secret.hex(), "name": "", "version": "1"}
        one, two = Site(world.app, "one"), Site(world.app, "two")
        for _ in range(2):
            assert await one.call("POST", "/v1/join", asked) == {"site": "leeds", "federation": "Test federation"}
        with pytest.raises(Refused, match="used already") as e:
            await two.call("POST", "/v1/join", asked)
        assert e.value.status == 409
        with pytest.raises(Refused, match="not known here") as e:
            await two.call("POST", "/v1/join", asked | {"secret": "00" * 16})
        assert e.value.status == 401
        for wrong in ({"secret": "zz"}, {"secret": 5}, {}):
            with pytest.raises(Refused, match="joining wants") as e:
                await two.call("POST", "/v1/join", wrong)
            assert e.value.status == 400
        found = await world.operator.call("GET", "/v1/sites")
        assert [(x["name"], x["fingerprint"]) for x in found["sites"]] == [("leeds", identity.fingerprint(one.key.public))]
