"""A coordinator on a real folder, and sites that speak its protocol over an ASGI transport: what the tests of this room share."""

import asyncio
import functools
import itertools
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from collegium import identity, wire
from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.canonical import canonical, pack, unpack
from collegium.coordinator import founding, home
from collegium.coordinator.app import App, build
from collegium.coordinator.auth import PACKED
from collegium.coordinator.means import Plan
from collegium.coordinator.spool import CHUNK, operation
from collegium.engine import task
from collegium.engine.messages import Answer, Place, document, task_of
from collegium.engine.run import Stage
from collegium.errors import by_code
from collegium.identity import Key
from collegium.study import manifest, participants
from collegium.table import Table


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


URL = "https://hub.example:8443"
MANIFEST: dict[str, Any] = {
    "collegium": 1,
    "title": "Mean age",
    "purpose": "A test of the coordinator.",
    "variables": {"age": {"kind": "number"}, "ill": {"kind": "binary"}},
    "method": {"kind": "statistics"},
    "sites": {"minimum": 2, "grace_s": 60},
}


def drift(size: int = 5, dtype: Any = np.float64, rounds: int = 1000) -> Algorithm:
    """Every round the state moves by the mean of the sites' rows; empty subtrees and plain numbers stand in it on purpose."""

    def init(given: T.Tree) -> T.Tree:
        w = np.arange(size).astype(dtype)
        return {"w": w, "round": 1, "kept": {"best": w, "opt": {}, "sum": np.zeros(size, dtype)}, "progress": {}}

    def local(shared: T.Tree, table: Table, memory: T.Tree) -> tuple[T.Tree, T.Tree]:
        age = np.asarray(table["age"])
        pull = lambda w: ((1 + np.sin(w)) * (age.sum() / 64)).astype(dtype)
        return {"move": T.map(pull, {"w": shared["w"]}), "rows": np.array(len(table))}, memory

    def apply(state: T.Tree, total: T.Tree) -> T.Tree:
        rows = max(int(total["rows"]), 1)
        moved = T.map(lambda w, m: (w + m / rows).astype(w.dtype), {"w": state["w"]}, {"w": total["move"]["w"]})
        kept = {"best": state["w"], "opt": state["kept"]["opt"], "sum": T.add({"s": state["kept"]["sum"]}, {"s": total["move"]["w"]})["s"]}
        number = int(state["round"])
        progress = {"first": np.asarray(T.block(moved["w"], 0, 1)[0], np.float64), "round": np.array(float(number))}
        return {**moved, "round": number + 1, "kept": kept, "progress": progress}

    return Algorithm(
        init, local, apply, lambda state: int(state["round"]) > rounds, lambda state: {"w": state["w"], "round": state["round"]},
        lambda state: {"w": state["w"], "best": state["kept"]["best"]}, "drift",
    )  # fmt: skip


def counting() -> Algorithm:
    """One round that counts rows: no floats, so no ranging."""
    zero = {"rows": np.array(0)}
    return Algorithm(lambda given: zero, lambda s, t, m: ({"rows": np.array(len(t))}, m), lambda s, total: {"rows": total["rows"]})


LIKE = Table({"age": np.zeros(0)})


def plan_of(size: int = 5, rounds: int = 3, dtype: Any = np.float64) -> Plan:
    """Two stages, count and drift, whatever the study says."""
    stages = [Stage("count", counting(), 1, LIKE), Stage("drift", drift(size, dtype), rounds, LIKE)]
    return lambda study, came=None: (stages, {})


def rows_of(site: str) -> Table:
    """A site's rows."""
    rng = np.random.default_rng(sum(site.encode()))
    return Table({"age": rng.integers(1, 9, size=4 + len(site)).astype(np.float64)})


class Refused(Exception):
    """An error that came back, its signature checked."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(f"{status} {document}")
        self.status, self.document, self.code = status, document, document["error"]
        self.kind = by_code(document["error"])


class Speaker:
    """Whoever holds a key: signs requests, checks answers."""

    counters = itertools.count(1)

    def __init__(self, app: App, key: Key, client: httpx.AsyncClient | None = None) -> None:
        self.app, self.key = app, key
        self.client = client or httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=URL)

    def signed(
        self, method: str, path: str, body: bytes = b"", *, query: str = "", kind: str = "application/json", boot: str = ""
    ) -> httpx.Request:
        """A request, ready to send, more than once if need be."""
        door = self.app.door
        parts = identity.Request(method, path, query, identity.digest(body), kind, door.fingerprint)
        boot = boot or door.counters.boot
        headers = identity.sign_request(self.key, parts, boot=boot, counter=next(self.counters), now=0)
        url = f"{path}?{query}" if query else path
        return self.client.build_request(method, url, content=body, headers={"content-type": kind, **headers})

    async def send(self, request: httpx.Request, *, plain: bool = False) -> bytes:
        """The body of the answer, its signature checked; an error is raised."""
        response = await self.client.send(request)
        body = response.content
        signature = identity.read_signature(request.headers).signature if "signature" in request.headers else b""
        if not plain or response.status_code >= 400:
            mark = response.headers["collegium-signature"]
            identity.check_response(self.app.door.key.public, mark, response.status_code, identity.digest(body), signature)
        if response.status_code >= 400:
            raise Refused(response.status_code, json.loads(body))
        return body

    async def call(self, method: str, path: str, document: Any = None, **how: Any) -> Any:
        """A JSON call."""
        body = canonical(document) if document is not None else b""
        found = await self.send(self.signed(method, path, body, **how))
        return json.loads(found) if found else None


def vector_digest_of(vector: bytes) -> str:
    """How a vector is named: a large one by the digests of its chunks."""
    if len(vector) <= 1 << 20:
        return identity.digest(vector)
    chunks = identity.Chunks()
    chunks.update(vector)
    return identity.vector_digest(chunks.digests)


class Site(Speaker):
    """A hospital that answers what it is asked; `tag` is the key of a round whose sum it checks, and its name."""

    tag: tuple[bytes, str] = (b"", "")

    def __init__(self, app: App, name: str, client: httpx.AsyncClient | None = None) -> None:
        super().__init__(app, identity.key(identity.digest(name.encode()).encode()[:32]), client)
        self.name, self.table, self.counted, self.seen = name, rows_of(name), [], []

    async def work(self, run: str, answer: Answer | None = None, payload: bytes = b"", *, wait_s: int = 25, **more: Any) -> Any:
        """One call for work."""
        message = {"run": run, "serving": [], "answer": document(answer) if answer else None, "line": None, "wait_s": wait_s} | more
        body = await self.send(self.signed("POST", "/v1/work", pack(message, payload), kind=PACKED))
        return unpack(body)

    async def update(self, found: dict[str, Any], frame: Any) -> tuple[Answer, bytes]:
        """The answer to a task and its vector; the algorithm is the drift or the count, as the layout tells."""
        asked = task_of(found)
        if asked.state_bytes > 1 << 20:
            frame = await self.send(self.signed("GET", f"/v1/blobs/{asked.state}"), plain=True)
        assert identity.digest(bytes(frame)) == asked.state
        shared = wire.decode(bytes(frame))
        algorithm = drift(shared["w"].size, shared["w"].dtype) if "w" in shared else counting()
        change, _ = task.update(algorithm, shared, self.table, {})
        tag = self.tag if self.tag[0] else None
        blocks = task.vector(change, asked.layout, asked.place, task.seed(0, self.name), tag)
        vector = bytes(task.frame(blocks, asked.layout.nbytes))
        return Answer(asked.run, asked.place, vector_digest_of(vector), len(vector)), vector

    async def upload(self, answer: Answer, vector: bytes, chunks: Sequence[int] | None = None) -> None:
        """Bring a large vector in chunks."""
        op = operation(answer.run, answer.place, self.name)
        for k in chunks if chunks is not None else range(-(-len(vector) // CHUNK)):
            part = vector[k * CHUNK : (k + 1) * CHUNK]
            path = f"/v1/uploads/{op}/{k}"
            await self.send(self.signed("PUT", path, part, query=f"run={answer.run}", kind="application/octet-stream"))

    async def once(self, run: str) -> tuple[dict[str, Any], Any]:
        """The next task, not answered."""
        found, frame = await self.work(run)
        return found, frame

    async def answer(self, found: dict[str, Any], frame: Any, **more: Any) -> Any:
        """Answer a task and wait for the next."""
        answer, vector = await self.update(found["task"], frame)
        if len(vector) > 1 << 20:
            await self.upload(answer, vector)
            vector = b""
        return await self.work(answer.run, answer, vector, **more)

    async def serve(self, run: str) -> dict[str, Any]:
        """Take part until the run is over; its last word."""
        found, frame = await self.work(run)
        while found["status"] in ("running", "paused"):
            if found["task"] is None:
                found, frame = await self.work(run)
            else:
                self.seen.append(found["task"]["state"])
                self.counted.append(found["task"]["counted"])
                try:
                    found, frame = await self.answer(found, frame)
                except Refused as refused:
                    if refused.code not in ("conflict", "not_found"):
                        raise
                    found, frame = await self.work(run)  # the round ended meanwhile: as an agent does, ask where the run stands
        return found


class World:
    """A founded coordinator and its operator."""

    def __init__(self, folder: Path, *, found: bool = True, **how: Any) -> None:
        self.folder = folder
        if found:
            founding.init(folder, URL, "Test federation", hosts=["127.0.0.1"])
        self.app = build(folder, **({"plan": plan_of()} | how))
        self.operator = Speaker(self.app, home.read_key(folder / "operator.key"))

    async def join(self, *names: str) -> list[Site]:
        """Invited and joined sites."""
        sites = [Site(self.app, name) for name in names]
        for site in sites:
            code = identity.read_code((await self.operator.call("POST", "/v1/invites", {"name": site.name}))["code"])
            asked = {"secret": code.secret.hex(), "name": site.name, "version": "1"}
            assert (await site.call("POST", "/v1/join", asked))["site"] == site.name
        return sites

    async def submit(self, **changes: Any) -> str:
        """A submitted study."""
        found = await self.operator.call("POST", "/v1/studies", {"manifest": study_of(**changes)})
        return str(found["study"])

    async def enlist(self, study: str, *sites: Site) -> None:
        """These sites on the study's participant list, signed by the operator, who leads it."""
        path, lead = f"/v1/studies/{study}", self.operator.key
        known = participants.entries_of((await self.operator.call("GET", path))["participants"])
        there = participants.read(known, study, lead.public)
        more = {site.name: site.key.public for site in sites if site.name not in there}
        added = participants.appended(known, study, lead, more)[len(known) :]
        await self.operator.call("POST", f"{path}/participants", {"participants": participants.as_document(added)})

    async def start(self, *sites: Site, **changes: Any) -> str:
        """A begun run over these sites."""
        study = await self.submit(**changes)
        await self.enlist(study, *sites)
        return str((await self.operator.call("POST", f"/v1/studies/{study}/start", {"sites": [s.name for s in sites]}))["run"])

    async def status(self, run: str) -> dict[str, Any]:
        return dict(await self.operator.call("GET", f"/v1/runs/{run}"))

    async def until(self, run: str, status: str, holds: Callable[[dict[str, Any]], bool] = lambda found: True) -> dict[str, Any]:
        """The run's document, once it is so."""
        for _ in range(500):
            found = await self.status(run)
            if found["status"] == status and holds(found):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(found)

    async def results(self, run: str) -> dict[str, Any]:
        """The results' frame, decoded."""
        found = await self.operator.call("GET", f"/v1/runs/{run}/results")
        body = await self.operator.send(self.operator.signed("GET", f"/v1/blobs/{found['results']}"), plain=True)
        assert len(body) == found["results_bytes"]
        return wire.decode(body)


def study_of(**changes: Any) -> dict[str, Any]:
    """A manifest with other site rules: minimum, quorum, deadline_s, grace_s; or another title."""
    sites = {name: value for name, value in changes.items() if name != "title"}
    return manifest.read({**MANIFEST, "title": changes.get("title", "Mean age"), "sites": {**MANIFEST["sites"], **sites}}).model_dump(
        mode="json"
    )


async def served(run: str, *sites: Site) -> list[dict[str, Any]]:
    """All these sites take part to the end."""
    return list(await asyncio.wait_for(asyncio.gather(*(site.serve(run) for site in sites)), 60))


def expected(sites: Sequence[str], size: int = 5, rounds: int = 3, dtype: Any = np.float64) -> dict[str, Any]:
    """What the same study gives in one process."""
    from collegium.simulation.local import walk

    stages, _ = plan_of(size, rounds, dtype)(None)  # type: ignore[arg-type]  # this plan reads no study
    end, _ = walk(stages, {name: rows_of(name) for name in sites})
    return dict(T.map(np.asarray, end.results))


def equal(a: Any, b: Any) -> bool:
    """The same names and the same bytes."""
    one, two = T.flatten(a), T.flatten(b)
    return one.keys() == two.keys() and all(np.asarray(one[n]).tobytes() == np.asarray(two[n]).tobytes() for n in one)


ROOT = Path(__file__).parents[2]
START = Place(0, 1, 1, "sum")
