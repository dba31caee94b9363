"""What sites call: join, work, uploads, downloads. Plain ASGI: these few calls carry all the bytes and set the pace of a round."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from collegium.canonical import unpack
from collegium.coordinator import participation, stewards
from collegium.coordinator.auth import BINARY, JSON, PACKED, Busy, Call, Door
from collegium.coordinator.blobs import Frame
from collegium.coordinator.live import Reply
from collegium.coordinator.members import Members
from collegium.coordinator.records import Event
from collegium.coordinator.runs import Runs
from collegium.engine.messages import VERSION, answer_of
from collegium.errors import ConflictError, FrameError, NotFound
from collegium.identity import digest

PIECE = 256 << 10  # bytes of a large body that are in memory at once, for each site
WAIT_S = 25  # a request is held so long at most: proxies cut longer ones
MAX_LINE = 1 << 16


class Answer(NamedTuple):
    """What a call gives: to be signed and sent."""

    status: int
    body: bytes
    digest: str
    kind: str


class Look(NamedTuple):
    """What a site wants to see of the log: that it goes on from the sizes that it has seen, and what is about the site `since`."""

    seen: list[int]
    since: int | None


Handler = Callable[[Call], Awaitable[Answer | None]]  # None: it has sent its response itself


def as_json(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    body = json.dumps(value).encode()
    return Answer(status, body, digest(body), JSON)


def look_of(asked: Any) -> Look | None:
    """The wish in a call for work. Raises `FrameError`."""
    match asked:
        case None:
            return None
        case {"seen": [*seen], "since": (int() | None) as since} if all(type(size) is int for size in seen):
            return Look(seen, since)
    raise FrameError("`log` in a call for work holds {seen, since}: numbers of entries")


def packed(reply: Reply) -> Answer:
    """A message with what belongs to it."""
    return Answer(200, reply.body, reply.digest, PACKED)


class Api:
    """The calls of sites, over the runs and the members."""

    def __init__(self, runs: Runs, members: Members, door: Door, title: str, root: str) -> None:
        self.runs, self.members, self.door, self.title, self.root = runs, members, door, title, root
        self.handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/v1/identity"): self.identity,
            ("POST", "/v1/join"): self.join,
            ("POST", "/v1/work"): self.work,
            ("GET", "/v1/uploads/{op}"): self.chunks,
            ("PUT", "/v1/uploads/{op}/{k}"): self.chunk,
            ("GET", "/v1/blobs/{digest}"): self.blob,
        }

    async def identity(self, call: Call) -> Answer:
        """Who this is; the answer is signed, so it vouches for the root that it brings."""
        return as_json({"version": VERSION, "public": self.door.key.public, "boot": self.door.counters.boot, "root": self.root})

    async def join(self, call: Call) -> Answer:
        """A site uses its invitation."""
        asked = json_of(await call.body())
        secret, version = asked.get("secret"), asked.get("version", "")
        if not isinstance(secret, str) or not re.fullmatch(r"[0-9a-f]{32}", secret) or not isinstance(version, str):
            raise FrameError("joining wants {secret, name, version}, the secret as 32 hexadecimal digits")
        known = call.caller.name
        name = await self.members.join(bytes.fromhex(secret), call.caller.key, version)
        event = Event(self.members.now(), "", name, "joined", f"{name} joined")
        if name != known:
            self.runs.means.tell(event)
            await self.runs.told_late(name)
        return as_json({"site": name, "federation": self.title})

    async def work(self, call: Call) -> Answer:
        """Hand in, commit, wait for what comes next: one request."""
        message, payload = unpack(await call.body())
        match [message.get(name) for name in ("run", "serving", "answer", "line", "wait_s", "secure")]:
            case [str(run), list(serving), (dict() | None) as answer, (dict() | None) as line, int(wait_s), (list() | None) as said]:
                pass
            case _:
                raise FrameError("a call for work holds {run, serving, answer, line, wait_s, secure}")
        site, wait, look = call.caller.name, min(max(wait_s, 0), WAIT_S), look_of(message.get("log"))
        if not run:
            undecided = message.get("waiting", [])
            held = [str(each) for each in undecided] if isinstance(undecided, list) else []
            await stewards.note(self.runs, site, held)
            return packed(await self.logged(await self.offer(site, [str(each) for each in serving], held, wait), site, "", look))
        live = self.runs.member(run, site)
        if answer is not None:
            given = answer_of(answer)
            if given.run != run:
                raise FrameError(f"an answer for run {given.run[:32]!r} came in a call about run {run[:32]!r}")
            if live is not None:
                await self.runs.answer(live, site, given, payload)
        if said and live is not None:
            await self.runs.hear(run, site, said)
        if line:
            await self.runs.note_line(run, site, line_text(line))
        reply = await self.runs.next(run, site, wait)
        self.refuse_last()
        return packed(await self.logged(reply, site, run, look))

    async def logged(self, reply: Reply, site: str, run: str, look: Look | None) -> Reply:
        """A reply, and beside it what the site wants to see of the log: as it is now, or as it was at the mark that it is to sign.

        No task goes without a proof that all sites of its round are asked the same, however fast the rounds are.
        """
        book, mark, task = self.runs.means.logbook, (reply.message.get("secure") or {}).get("root"), reply.message.get("task")
        if look and mark:
            shown = book.at(mark, look.seen)
        elif look and look.since is not None:
            shown = await asyncio.to_thread(book.for_site, look.seen, site=site, run=run, since=look.since)
        elif look and task:
            shown = book.asking(run, task["place"], look.seen)
        else:
            return reply
        return Reply({**reply.message, "log": shown}, reply.inside)

    def refuse_last(self) -> None:
        """What waits at the end is sent away, so that it comes again to the next start: its answer is committed."""
        if self.runs.closing:
            raise Busy("the coordinator is stopping; ask again in a moment")

    async def offer(self, site: str, serving: list[str], held: list[str], wait_s: float) -> Reply:
        """A run that wants this site; or which of the runs that it holds for its steward are over."""
        live = await self.runs.offer(site, serving, wait_s)
        self.refuse_last()
        if live is None:
            gone = [run for run in held if run not in self.runs.live]
            return Reply({"over": gone} if gone else {})
        who = await asyncio.to_thread(self.members.store.read, lambda c: participation.offered(c, live.digest, live.roster))
        return Reply({"run": live.id, "study": live.digest, "manifest": live.study.model_dump(mode="json"), **who.document()})

    async def chunks(self, call: Call) -> Answer:
        """Which chunks of an upload are here."""
        upload = await self.upload(call)
        return as_json({"chunks": sorted(upload.chunks)})

    async def chunk(self, call: Call) -> Answer:
        """Receive one chunk, straight into the spool: a small piece in memory, whatever its size and the number of sites."""
        k = call.route.params["k"]
        if not k.isdecimal() or len(k) > 9:
            raise FrameError(f"a chunk is named by its number, found {k[:20]!r}")
        try:
            upload = await self.upload(call)
        except (NotFound, ConflictError):
            await call.read_past()  # however slow its line is: `site doctor` learns from this refusal that a whole chunk arrived
            raise
        if upload.chunks.get(int(k)) == call.digest:
            return Answer(204, b"", digest(b""), BINARY)
        if upload.sealed:
            raise ConflictError("this upload is committed; other bytes cannot take its place")
        receiving, waiting, size = await asyncio.to_thread(upload.receive, int(k)), list[bytes](), 0
        async for piece in call.pieces():
            waiting.append(piece)
            size += len(piece)
            if size >= PIECE:
                await asyncio.to_thread(receiving.write, waiting)
                waiting, size = [], 0
        await asyncio.to_thread(receiving.finish, call.digest, waiting)
        return Answer(204, b"", digest(b""), BINARY)

    async def upload(self, call: Call) -> Any:
        """The upload that a call names; only the one that the present round asks of this site exists."""
        run = parse_qs(call.scope["query_string"].decode("latin-1")).get("run", [""])[0]
        live = self.runs.member(run, call.caller.name)
        if live is None:
            raise ConflictError(f"run {run} is over", hint="ask for work: the answer says what became of it")
        return await asyncio.to_thread(self.runs.upload, live, call.caller.name, call.route.params["op"])

    async def blob(self, call: Call) -> None:
        """A frame, or the rest of one: what the caller's runs share, and their results. Its digest is its proof."""
        name = call.route.params["digest"]
        site = call.caller.name if call.caller.role == "site" else None
        frame = await asyncio.to_thread(self.runs.frame, name, site)
        ranged = next((value.decode("latin-1") for key, value in call.scope["headers"] if key.lower() == b"range"), "")
        start, stop = span(ranged, frame.nbytes)
        headers = [
            (b"content-type", BINARY.encode()), (b"content-length", str(stop - start).encode()), (b"accept-ranges", b"bytes"),
            (b"cache-control", b"no-store, no-transform"),
        ]  # fmt: skip
        if ranged:
            headers.append((b"content-range", f"bytes {start}-{stop - 1}/{frame.nbytes}".encode()))
        read = await asyncio.to_thread(self.reader, frame)
        await call.send({"type": "http.response.start", "status": 206 if ranged else 200, "headers": headers})
        for at in range(start, stop, PIECE):
            piece = await asyncio.to_thread(read, at, min(PIECE, stop - at))
            await call.send({"type": "http.response.body", "body": piece, "more_body": True})
        await call.send({"type": "http.response.body", "body": b""})

    def reader(self, frame: Frame) -> Callable[[int, int], bytes]:
        """Reads a frame by position; an open file outlives its name."""
        if frame.body is not None:
            body = frame.body
            return lambda at, count: body[at : at + count]
        return self.runs.means.blobs.open(frame.digest).read


def span(ranged: str, nbytes: int) -> tuple[int, int]:
    """From where to where a `range` header asks. Raises `NotFound` for bytes that do not exist."""
    if not ranged:
        return 0, nbytes
    found = re.fullmatch(r"bytes=(\d{1,15})-(\d{0,15})", ranged)
    if not found or int(found[1]) >= nbytes:
        raise NotFound(f"the frame has {nbytes} bytes; {ranged[:40]!r} asks for others")
    return int(found[1]), min(int(found[2]) + 1, nbytes) if found[2] else nbytes


def json_of(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises `FrameError`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise FrameError(f"the body is not JSON: {e}") from None
    if not isinstance(value, dict):
        raise FrameError("the body is not a JSON object")
    return value


def line_text(line: dict[str, Any]) -> str:
    """A site's own line of results: names and decimals, as text."""
    if not all(isinstance(value, str) for value in line.values()):
        raise FrameError("a line of results holds text by name: decimals are written as text")
    text = json.dumps(line)
    if len(text) > MAX_LINE:
        raise FrameError(f"a line of results has {len(text)} bytes, at most {MAX_LINE} are taken")
    return text
