"""What researchers and the operator call: JSON, described by OpenAPI. The door has checked who they are."""

import asyncio
import datetime
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select
from starlette.exceptions import HTTPException

from collegium import identity
from collegium import tree as T
from collegium.coordinator import logbook, participation, records
from collegium.coordinator import store as s
from collegium.coordinator.first import First
from collegium.coordinator.live import Live, roster_of
from collegium.coordinator.logbook import Logbook
from collegium.coordinator.members import Members
from collegium.coordinator.runs import Runs
from collegium.engine.messages import place_of
from collegium.errors import CollegiumError, FrameError, NotFound
from collegium.identity import Code
from collegium.study import manifest

Json = dict[str, Any]
Pairs = list[tuple[str, str]]
WAIT_S = 25


class Invite(BaseModel):
    """One site to be invited, by the name it will have."""

    name: str


class Submission(BaseModel):
    """A manifest: its YAML text, or its fields; with it, or later, who takes part, as the lead signed it."""

    manifest: str | Json
    participants: Pairs = []


class Additions(BaseModel):
    """Further entries of a study's participant list."""

    participants: Pairs


class Start(BaseModel):
    """Which sites take part, all on the participant list if none are named; and the digest of first weights that were uploaded."""

    sites: Annotated[list[str], Field(max_length=10_000)] | None = None
    first: str = ""


class Settings(BaseModel):
    """What the coordinator was founded with."""

    title: str
    url: str
    version: str
    public: str


def caller(request: Request) -> str:
    """The name of the person who asks, as the door knows it."""
    return str(request.scope["collegium.caller"].name)


By = Annotated[str, Depends(caller)]


def build(runs: Runs, members: Members, settings: Settings, book: Logbook) -> FastAPI:
    """The application that answers people."""
    app = FastAPI(
        title="Collegium coordinator", version=settings.version, openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    errors(app)
    overview(app, runs, members, settings)
    studies(app, runs, members)
    controls(app, runs)
    history(app, book)
    return app


def errors(app: FastAPI) -> None:
    """Errors of the frameworks become ours, and ours are raised to the door, which words all of them alike."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        where = "; ".join(f"{'.'.join(map(str, e['loc'][1:])) or 'body'}: {e['msg']}" for e in error.errors())
        return refusal(request, FrameError(f"the request does not fit: {where}"))

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> JSONResponse:
        return refusal(request, NotFound(f"there is no {request.method} {request.url.path} here"))

    @app.exception_handler(CollegiumError)
    async def refused(request: Request, error: CollegiumError) -> JSONResponse:
        return refusal(request, error)


def refusal(request: Request, error: CollegiumError) -> JSONResponse:
    """Leave the wording of an error to the door: it finds it in the scope."""
    request.scope["collegium.error"] = error
    return JSONResponse({}, 500)


def overview(app: FastAPI, runs: Runs, members: Members, settings: Settings) -> None:
    """The federation at a glance, and invitations."""

    @app.get("/v1/status")
    def status() -> Json:
        """The federation, its sites and its runs."""
        return {
            "federation": settings.title, "url": settings.url, "version": settings.version,
            "fingerprint": identity.fingerprint(settings.public), "sites": listed(members), "runs": run_list(runs, limit=50),
        }  # fmt: skip

    @app.post("/v1/invites")
    async def invite(asked: Invite, by: By) -> Json:
        """A join code for one site: used once, valid 72 hours."""
        secret = await members.invite(asked.name, by=by)
        return {"code": identity.mint(Code(settings.url, identity.fingerprint(settings.public), secret))}

    @app.get("/v1/sites")
    def sites() -> Json:
        """The sites that joined."""
        return {"sites": listed(members)}

    @app.get("/v1/runs")
    def all_runs() -> Json:
        """All runs, the newest last."""
        return {"runs": run_list(runs, limit=1000)}


def studies(app: FastAPI, runs: Runs, members: Members) -> None:
    """Studies, and the runs begun from them."""
    store, now, arrived = runs.means.store, runs.means.now, First(runs.means.blobs)

    @app.put("/v1/first/{digest}")
    async def first(digest: str, request: Request, at: Annotated[int, Query(ge=0)], of: Annotated[int, Query(ge=1, le=1 << 48)]) -> Json:
        """Bring a piece of first weights for a run: bytes `at` and on of a file `of` so many; says how many are here now."""
        return {"bytes": await asyncio.to_thread(arrived.receive, digest, at, of, await request.body())}

    @app.post("/v1/studies")
    async def submit(asked: Submission, request: Request) -> Json:
        """Store a study; its digest is its name. The same study again changes nothing."""
        study = await asyncio.to_thread(manifest.read, asked.manifest)
        name, document = manifest.digest(study), manifest.signed(study).decode()
        await asyncio.to_thread(runs.means.plan, study)  # a study that cannot be planned is refused here, not at its start
        row = {"digest": name, "title": study.title, "document": document, "created": now(), "lead": ""}
        await participation.submit(members, row, request.scope["collegium.caller"], asked.participants)
        return {"study": name, "title": study.title}

    @app.post("/v1/studies/{study}/participants")
    async def append(study: str, asked: Additions, request: Request) -> Json:
        """Put further sites on the list of those that take part; its entries are signed by the study's lead."""
        found = await participation.append(members, study, request.scope["collegium.caller"], asked.participants)
        return {"study": study, **found.document()}

    @app.get("/v1/studies")
    def listing() -> Json:
        """All studies."""
        rows = store.read(lambda c: list(c.execute(select(s.study).order_by(s.study.c.created))))
        return {"studies": [{"study": row.digest, "title": row.title, "created": stamp(row.created)} for row in rows]}

    @app.get("/v1/studies/{study}")
    def one(study: str) -> Json:
        """A study, its manifest, its lead and participants as signed, and its runs."""
        found = json.loads(store.read(lambda c: records.study_document(c, study)))
        who = store.read(lambda c: participation.of(c, study)).document()
        return {"study": study, "title": found["title"], "manifest": found, **who, "runs": run_list(runs, study=study)}

    @app.post("/v1/studies/{study}/start")
    async def start(study: str, by: By, asked: Start | None = None) -> Json:
        """Begin a run over the sites named, or all."""
        known = store.read(lambda c: (records.study_document(c, study), participation.of(c, study))[1])
        wanted = participation.starting(known, asked.sites if asked else None, study, members)
        brought: Mapping[str, T.Tree] = {}
        if asked and asked.first:
            found = manifest.read(json.loads(await asyncio.to_thread(store.read, lambda c: records.study_document(c, study))))
            brought = await asyncio.to_thread(arrived.take, asked.first, found, runs.means.plan)
        first = asked.first if asked else ""
        run = await runs.start(study, wanted, brought, first=first, by=by)
        if first:
            arrived.forget(first)
        return {"run": run}


def controls(app: FastAPI, runs: Runs) -> None:
    """One run: look, watch, pause, resume, stop, fetch."""
    store = runs.means.store

    @app.get("/v1/runs/{run}")
    def one(run: str) -> Json:
        """Where a run stands."""
        return store.read(lambda c: document(c, runs, run))

    @app.get("/v1/runs/{run}/events")
    async def events(run: str, after: int = 0, wait_s: Annotated[int, Query(ge=0, le=WAIT_S)] = 0) -> Json:
        """What happened after event number `after`; waits for the next if there is none yet."""
        loop = asyncio.get_running_loop()
        end, live = loop.time() + wait_s, runs.live.get(run)
        while True:
            waiting = asyncio.ensure_future(live.news.wait(end - loop.time())) if live and wait_s else None
            await asyncio.sleep(0)  # so that the waiting has begun before the database is asked
            found = await asyncio.to_thread(store.read, lambda c: (records.run_row(c, run), records.events(c, run, after))[1])
            if found or waiting is None or runs.closing or not await waiting:
                if waiting:
                    waiting.cancel()
                return {"events": [e._asdict() | {"at": stamp(e.at)} for e in found]}

    @app.post("/v1/runs/{run}/pause")
    async def pause(run: str, by: By) -> Json:
        """Nothing new is asked until the run is resumed."""
        await runs.pause(run, by=by)
        return {"run": run, "status": "paused"}

    @app.post("/v1/runs/{run}/resume")
    async def resume(run: str, by: By) -> Json:
        """The run goes on where it stood; sites that left are asked again."""
        await runs.resume(run, by=by)
        return {"run": run, "status": "running"}

    @app.post("/v1/runs/{run}/stop")
    async def stop(run: str, by: By) -> Json:
        """The run ends; results so far are kept."""
        await runs.stop(run, by=by)
        return {"run": run, "status": "stopped"}

    @app.get("/v1/runs/{run}/results")
    def results(run: str) -> Json:
        """The name of the frame of results, the lines that sites published, the figures of each round."""

        def query(c: Connection) -> Json:
            row = records.run_row(c, run)
            lines = {r.site: json.loads(r.document) for r in c.execute(select(s.line).where(s.line.c.run == run).order_by(s.line.c.site))}
            digest = {"results": row.results, "results_bytes": row.results_bytes} if row.results else {"results": None, "results_bytes": 0}
            return {"run": run, "status": row.status, **digest, "lines": lines, "figures": watched(c, run, names(runs, c, row))}

        return store.read(query)


def history(app: FastAPI, book: Logbook) -> None:
    """The log: its signed checkpoint, its entries, its proofs."""

    @app.get("/v1/log")
    def checkpoint() -> Json:
        """The signed checkpoint of the log as it stands."""
        note = book.checkpoint()
        return {"size": int(note.split("\n")[1]), "note": note, "origin": book.origin, "public": book.key.public}

    @app.get("/v1/log/entries")
    def entries(start: Annotated[int, Query(ge=0)] = 0, count: Annotated[int, Query(ge=1, le=logbook.MOST)] = 100) -> Json:
        """Entries in order, each the text that was hashed, and checkpoints of the log at every 64th of them and at the last."""
        found = book.entries(start, count)
        return {"start": start, "entries": found, "notes": book.checkpoints(start, start + len(found)) if found else []}

    @app.get("/v1/log/proof")
    def proof(
        size: Annotated[int, Query(ge=0)], entry: Annotated[int | None, Query(ge=0)] = None, old: Annotated[int | None, Query(ge=0)] = None
    ) -> Json:
        """That `entry` is in the log of `size` entries, or that the log of `old` entries is its beginning."""
        if (entry is None) == (old is None):
            raise FrameError("a proof is asked for an entry, or for an old size", hint="entry=N&size=S, or old=N&size=S")
        hashes = book.inclusion(entry, size) if entry is not None else book.consistency(old or 0, size)
        return {"size": size, "note": book.checkpoint(size), "proof": logbook.hexed(hashes)}


def listed(members: Members) -> list[Json]:
    """The sites, by name."""
    return [
        {"name": x.name, "key": x.key, "fingerprint": identity.fingerprint(x.key), "joined": stamp(x.at),
         "seen": stamp(members.seen[x.name]),
         "version": x.version}
        for x in sorted(members.sites.values())
    ]  # fmt: skip


def run_list(runs: Runs, *, study: str = "", limit: int = 1000) -> list[Json]:
    """The newest runs, oldest first."""
    r = s.run.c
    query = select(r.id, r.study, r.status, r.says, r.created, r.ended, r.place, s.study.c.title).join(s.study, s.study.c.digest == r.study)
    query = (query.where(r.study == study) if study else query).order_by(r.created.desc(), r.id).limit(limit)
    rows = runs.means.store.read(lambda c: list(c.execute(query)))
    return [summary(row) | {"title": row.title, "place": json.loads(row.place)} for row in reversed(rows)]


def summary(row: Any) -> Json:
    """What every listing says of a run."""
    return {
        "run": row.id, "study": row.study, "status": row.status, "says": row.says, "created": stamp(row.created),
        "ended": stamp(row.ended) if row.ended else None,
    }  # fmt: skip


def names(runs: Runs, c: Connection, row: Any) -> list[str]:
    """The names of a run's stages."""
    if live := runs.live.get(row.id):
        return [stage.name for stage in live.stages]
    stages, _ = runs.means.plan(manifest.read(json.loads(records.study_document(c, row.study))))
    return [stage.name for stage in stages]


def document(c: Connection, runs: Runs, run: str) -> Json:
    """Everything about a run but its arrays."""
    row = records.run_row(c, run)
    live, place, stages = runs.live.get(run), place_of(json.loads(row.place)), names(runs, c, row)
    roster = live.roster if live else roster_of(row.roster)
    rounds = [
        json.loads(r.figures) | {
            "stage": stages[r.stage], "round": r.number, "attempt": r.attempt, "phase": r.phase, "status": r.status,
            "answered": sorted(json.loads(r.answered)), "opened": stamp(r.opened),
        }
        for r in records.rounds(c, run)
    ]  # fmt: skip
    found = summary(row) | {
        "stage": stages[place.stage], "stages": stages, "round": place.round, "attempt": place.attempt, "phase": place.phase,
        "sites": sorted(roster), "left": {name: member.left for name, member in roster.items() if member.left},
        "first": row.first, "results": row.results or None, "results_bytes": row.results_bytes, "rounds": rounds,
        "figures": watched(c, run, stages),
    }  # fmt: skip
    return found | present(live)


def present(live: Live | None) -> Json:
    """Who has answered the present round, who has not, and whose data steward has not approved the study."""
    if live is None:
        return {"answered": [], "waiting": [], "stewards": []}
    now = live.round
    asked = {"answered": sorted(now.answered) if now else [], "waiting": sorted(live.awaited)}
    asked["stewards"] = sorted(live.stewards)
    return asked | {"status": live.status, "says": live.says, "rounds_of_stage": live.stage.rounds}


def watched(c: Connection, run: str, stages: list[str]) -> list[Json]:
    """What each closed round measured: as a simulation tells it."""
    out = []
    for row in records.rounds(c, run, limit=100_000):
        figures = json.loads(row.figures)
        if row.phase == "sum" and figures.get("progress"):
            out.append({"stage": stages[row.stage], "round": row.number, **figures["progress"]})
    return out


def stamp(seconds: int) -> str:
    """A moment, as text in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every route of the application."""
    return [(method, route.path) for route in app.routes for method in sorted(getattr(route, "methods", ())) if method != "HEAD"]  # type: ignore[attr-defined]  # all routes of this app have a path
