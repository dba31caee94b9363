"""The coordinator as one ASGI application: the same under granian, under uvicorn and in a test.

`build(folder)` opens what `founding.found` made. Its life: `startup` takes up the runs that are not over, `shutdown` lets go.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from collegium.coordinator import api, auth, home, people
from collegium.coordinator import store as s
from collegium.coordinator.auth import Call, Door, Receive, Scope, Send
from collegium.coordinator.blobs import Blobs
from collegium.coordinator.live import Reached
from collegium.coordinator.logbook import Logbook
from collegium.coordinator.means import Means, Plan
from collegium.coordinator.members import Members
from collegium.coordinator.records import Event
from collegium.coordinator.runs import Runs
from collegium.coordinator.spool import Spool
from collegium.errors import CollegiumError

log = logging.getLogger("collegium.coordinator.app")
REST_S = 10.0  # for the rest of a body that was refused
SEEN_S = 60.0  # how often it is written down when each site was last seen


class App:
    """One coordinator. Call it as ASGI does."""

    def __init__(self, folder: Path, means: Means, boot: str) -> None:
        self.folder, self.means = folder, means
        key, root = home.key(folder), (folder / "tls-root.pem").read_text()
        settings = people.Settings(**home.settings(folder), public=key.public, version=home.version())
        self.members = Members(means.store, means.now)
        self.runs = Runs(means)
        self.door = Door(key, boot, self.members)
        self.api = api.Api(self.runs, self.members, self.door, settings.title, root)
        self.people = people.build(self.runs, self.members, settings, means.logbook)
        auth.refuse_undeclared([*self.api.handlers, *people.routes(self.people)])
        self.settings = settings
        self.pulse: asyncio.Task[None] | None = None
        self.started: Callable[[], object] = lambda: None
        self.failure: Exception | None = None  # why it could not start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: the door, then the handler, then a signed answer."""
        sent, coming = Once(send), Coming(receive)
        try:
            call = self.door.admit(scope, coming, sent)
            if handler := self.api.handlers.get((scope["method"], call.route.template)):
                if answer := await handler(call):
                    await self.door.respond(sent, call.signature, answer.status, answer.body, digest=answer.digest, kind=answer.kind)
            else:
                await self.ask_people(call)
        except Exception as e:
            if sent.begun:  # a blob half sent: the caller sees it cut, and goes on where it broke
                log.warning("a response broke off: %s", e)
                raise
            if not isinstance(e, auth.TooLarge):
                await coming.rest()
            await self.door.refuse(sent, scope.get("collegium.signature", b""), e)

    async def ask_people(self, call: Call) -> None:
        """Hand a checked request to the JSON routes, and sign what they answer."""
        body, status, answer = await call.body(), 500, bytearray()
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))

        call.scope["collegium.caller"] = call.caller  # the log says who ordered what
        await self.people(call.scope, receive, send)
        if error := call.scope.get("collegium.error"):
            raise error
        await self.door.respond(call.send, call.signature, status, bytes(answer))
        log.info("%s %s %s", call.caller.name, call.scope["method"], call.scope["path"])

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """Start and end, as a server orders them."""
        await receive()
        try:
            await self.startup()
        except Exception as e:
            log.exception("the coordinator cannot start")
            self.failure = e
            await send({"type": "lifespan.startup.failed", "message": str(e)})
            return
        await send({"type": "lifespan.startup.complete"})
        asyncio.get_running_loop().call_later(0.05, self.started)  # the server listens now, or within moments
        await receive()
        await self.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def startup(self) -> None:
        """Take up every run that is not over."""
        await self.runs.recover()
        self.pulse = asyncio.get_running_loop().create_task(self.beat())
        log.info("ready: %d sites, %d runs", len(self.members.sites), len(self.runs.live))

    async def beat(self) -> None:
        """Now and then, write down who was seen."""
        while True:
            await asyncio.sleep(SEEN_S)
            with contextlib.suppress(CollegiumError):
                await self.members.remember()

    def hush(self) -> None:
        """The end is near: requests that wait are answered now."""
        self.runs.close()

    async def shutdown(self) -> None:
        """Let go; what was committed stands, and the next start goes on from it."""
        self.hush()
        if self.pulse:
            self.pulse.cancel()
        with contextlib.suppress(CollegiumError):
            await self.members.remember()
        await asyncio.to_thread(self.means.store.close)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["App"]:
        """Started, and let go at the end: for tests and scripts without a server."""
        await self.startup()
        try:
            yield self
        finally:
            await self.shutdown()


class Once:
    """A `send` that knows whether a response has begun."""

    def __init__(self, send: Send) -> None:
        self.send, self.begun = send, False

    async def __call__(self, message: Any) -> None:
        self.begun = True
        await self.send(message)


class Coming:
    """A `receive` that knows whether more of the body is to come."""

    def __init__(self, receive: Receive) -> None:
        self.receive, self.more = receive, True

    async def __call__(self) -> Any:
        message = await self.receive()
        self.more = bool(message.get("more_body"))
        return message

    async def rest(self) -> None:
        """Take what is still coming and leave it aside: who is refused while sending would see a cut line, not the reason."""
        left = auth.CHUNK_LIMIT
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_S):
                while self.more and left > 0:
                    left -= len((await self()).get("body", b""))


def build(
    folder: Path,
    *,
    plan: Plan,
    reached: Reached = lambda name, place: None,
    tell: Callable[[Event], object] = lambda event: None,
    clock: Callable[[], float] | None = None,
    now: Callable[[], int] | None = None,
    free: Callable[[Path], int] | None = None,
) -> App:
    """The coordinator of a folder that `init` made. Raises `StorageError` if its database is missing, damaged or newer.

    `plan` says what a study computes: the coordinator itself knows no algorithm. `reached` is called at the named states asked,
    spooled, committed, folded, applied; `tell` hears every committed event; the clocks and the free space of the disk are
    arguments, so that tests may turn them.
    """
    home.refuse_unfounded(folder)
    store = s.open_folder(folder)
    blobs = Blobs(folder / "blobs", **({"free": free} if free else {}))
    clocks: dict[str, Any] = {name: value for name, value in (("clock", clock), ("now", now)) if value}
    logbook = Logbook(store, home.key(folder))
    means = Means(store, blobs, Spool(folder / "spool", blobs), plan, logbook, reached=reached, tell=tell, **clocks)
    return App(folder, means, secrets.token_hex(8))
