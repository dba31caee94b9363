"""The door: every request is signed by a known key, and every route says who may come in. What is not declared is refused.

The signature covers the digest of the body, so it is checked before a byte of the body is read; the body is then held to its
digest. Responses are signed too, bound to the request they answer.
"""

import asyncio
import base64
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import blake3

from collegium import identity
from collegium.coordinator.members import Caller, Members, Role
from collegium.errors import (
    CollegiumError,
    ConflictError,
    FrameError,
    IdentityError,
    LinkError,
    NotAllowed,
    NotFound,
    PolicyRefusal,
    RunError,
    StorageError,
)  # fmt: skip
from collegium.identity import Counters, Key, Request

log = logging.getLogger("collegium.coordinator.auth")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON, PACKED, BINARY = "application/json", "application/x-collegium", "application/octet-stream"
CHUNK_LIMIT = 8 << 20
WORK_LIMIT = (3 << 20) + (256 << 10)  # a vector of 1 MiB, and the message beside it: sealed shares for 127 peers have 2.2 MB
BODY_S = 60.0  # between two pieces of a body


class Rule(NamedTuple):
    """Who may call a route, and how long its body may be; no roles: anybody, unsigned."""

    roles: frozenset[Role]
    limit: int = 1 << 16


SITES: frozenset[Role] = frozenset({"site"})
PEOPLE: frozenset[Role] = frozenset({"researcher", "operator"})
RULES: dict[tuple[str, str], Rule] = {
    ("GET", "/v1/identity"): Rule(frozenset()),
    ("POST", "/v1/join"): Rule(frozenset({"stranger", "site"})),
    ("POST", "/v1/work"): Rule(SITES, WORK_LIMIT),
    ("GET", "/v1/uploads/{op}"): Rule(SITES),
    ("PUT", "/v1/uploads/{op}/{k}"): Rule(SITES, CHUNK_LIMIT),
    ("GET", "/v1/blobs/{digest}"): Rule(SITES | PEOPLE),
    ("GET", "/v1/status"): Rule(PEOPLE),
    ("GET", "/v1/openapi.json"): Rule(PEOPLE),
    ("POST", "/v1/invites"): Rule(frozenset({"operator"})),
    ("GET", "/v1/sites"): Rule(PEOPLE),
    ("POST", "/v1/studies"): Rule(PEOPLE, 4 << 20),
    ("GET", "/v1/studies"): Rule(PEOPLE),
    ("GET", "/v1/studies/{study}"): Rule(PEOPLE),
    ("POST", "/v1/studies/{study}/participants"): Rule(PEOPLE, 4 << 20),
    ("POST", "/v1/studies/{study}/start"): Rule(PEOPLE),
    ("PUT", "/v1/first/{digest}"): Rule(PEOPLE, CHUNK_LIMIT),
    ("GET", "/v1/runs"): Rule(PEOPLE),
    ("GET", "/v1/runs/{run}"): Rule(PEOPLE),
    ("GET", "/v1/runs/{run}/events"): Rule(PEOPLE),
    ("POST", "/v1/runs/{run}/pause"): Rule(PEOPLE),
    ("POST", "/v1/runs/{run}/resume"): Rule(PEOPLE),
    ("POST", "/v1/runs/{run}/stop"): Rule(PEOPLE),
    ("GET", "/v1/runs/{run}/results"): Rule(PEOPLE),
    ("GET", "/v1/log"): Rule(SITES | PEOPLE),  # a log that only its keeper's friends may read proves nothing
    ("GET", "/v1/log/entries"): Rule(SITES | PEOPLE),
    ("GET", "/v1/log/proof"): Rule(SITES | PEOPLE),
}


class OldBoot(IdentityError):
    """The request was signed for an earlier start of this coordinator, or came before: it is to be signed again."""

    code = "boot"

    def __init__(self, message: str, *, hint: str = "", counter: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.counter = counter


class Busy(CollegiumError):
    """The coordinator ends or begins just now: come again in a moment."""

    code = "busy"


class TooLarge(FrameError):
    """The body is longer than announced or allowed."""


STATUS: dict[type[CollegiumError], int] = {
    TooLarge: 413, Busy: 503, IdentityError: 401, NotAllowed: 403, PolicyRefusal: 403, NotFound: 404, ConflictError: 409, RunError: 409,
    LinkError: 502, StorageError: 507,
}  # fmt: skip


class Route(NamedTuple):
    """What a request's path names."""

    template: str
    params: dict[str, str]
    rule: Rule


@dataclass
class Call:
    """A request that was let in."""

    scope: Scope
    receive: Receive
    send: Send
    caller: Caller
    route: Route
    digest: str = ""  # of the body, as it was signed
    signature: bytes = b""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `TooLarge`, and `FrameError` where it is cut short."""
        left, more = self.route.rule.limit, True
        while more:
            piece, more = await self.piece()
            left -= len(piece)
            if left < 0:
                raise TooLarge(f"the body is longer than the {self.route.rule.limit} bytes that {self.route.template} takes")
            if piece:
                yield piece

    async def piece(self) -> tuple[bytes, bool]:
        """What comes next of the body, and whether there is more."""
        try:
            async with asyncio.timeout(BODY_S):
                message = await self.receive()
        except TimeoutError:
            raise FrameError(f"nothing more of the body came within {BODY_S:.0f} s") from None
        if message["type"] == "http.disconnect":
            raise FrameError("the body is cut short: the connection is gone")
        return message.get("body", b""), bool(message.get("more_body"))

    async def body(self) -> bytes:
        """The whole body, held to its signed digest."""
        whole = b"".join([piece async for piece in self.pieces()])
        if identity.digest(whole) != self.digest:
            raise IdentityError("the body is not what its signature says: it was altered on the way")
        return whole

    async def read_past(self) -> None:
        """Take the whole body, hold it to its signed digest, and keep none of it."""
        seen = blake3.blake3()
        async for piece in self.pieces():
            seen.update(piece)
        if seen.hexdigest() != self.digest:
            raise IdentityError("the body is not what its signature says: it was altered on the way")


class Door:
    """Lets requests in and signs what goes out."""

    def __init__(self, key: Key, boot: str, members: Members) -> None:
        self.key, self.members = key, members
        self.fingerprint = identity.fingerprint(key.public)
        self.counters = Counters(boot)

    def admit(self, scope: Scope, receive: Receive, send: Send) -> Call:
        """The call, if its signature holds and its role may. Raises a `CollegiumError` if not; no body has been read."""
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        signed = identity.read_signature(headers) if "signature" in headers else None
        scope["collegium.signature"] = signed.signature if signed else b""  # so that a refusal can be bound to it
        route = find(scope["method"], path)
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > route.rule.limit:
            raise TooLarge(f"a body of {announced} bytes was announced, {route.template} takes {route.rule.limit}")
        if not route.rule.roles:
            return Call(scope, receive, send, Caller("", "stranger", ""), route)
        signed = signed or identity.read_signature(headers)
        meant = headers.get("collegium-coordinator", "")
        if meant != self.fingerprint:
            raise IdentityError("the request means another coordinator", hint="its key has changed: ask the operator for a new join code")
        caller = self.members.who(signed.key)
        if caller.role == "stranger" and "stranger" not in route.rule.roles:
            raise IdentityError(
                "this key is not known here", hint="join with a code from the operator; a newer one may have replaced this key"
            )
        digest = body_digest(headers)
        request = Request(scope["method"], path, scope["query_string"].decode("latin-1"), digest, headers.get("content-type", ""), meant)
        identity.check_request(signed, request)
        if not self.counters.accept(signed):  # after the signature: nobody else can use a key's counters up
            raise OldBoot(
                "the request was signed before this start, or its counter is used", hint="sign again", counter=self.highest(signed.key)
            )
        if caller.role not in route.rule.roles:
            raise NotAllowed(f"{caller.name or 'this key'} ({caller.role}) may not call {scope['method']} {route.template}")
        if caller.role == "site":
            self.members.seen[caller.name] = self.members.now()
        return Call(scope, receive, send, caller, route, digest, signed.signature)

    def highest(self, key: str) -> int:
        """The highest counter that came from a key since this start."""
        return self.counters.seen.get(key, (0, 0))[0]

    async def respond(
        self, send: Send, signature: bytes, status: int, body: bytes, *, digest: str = "", kind: str = JSON, retry_s: int = 0
    ) -> None:
        """Send a signed response."""
        proof = identity.sign_response(self.key, status, digest or blake3.blake3(body).hexdigest(), signature)
        headers = [
            (b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store, no-transform"), (b"collegium-signature", proof.encode()),
        ]  # fmt: skip
        if retry_s:
            headers.append((b"retry-after", str(retry_s).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def refuse(self, send: Send, signature: bytes, error: Exception) -> None:
        """Send an error: its code, its sentence and the way out; never a traceback."""
        if not isinstance(error, CollegiumError):
            log.error("a request failed", exc_info=error)
            error = CollegiumError("the coordinator failed at this request; its log says why")
            error.status = 500  # type: ignore[attr-defined]  # only here: no error of ours has this status
        status = getattr(error, "status", 0) or next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 400)
        message: dict[str, Any] = {"error": error.code, "says": str(error), "hint": error.hint}
        if isinstance(error, OldBoot):
            message |= {"boot": self.counters.boot, "counter": error.counter}
        await self.respond(send, signature, status, json.dumps(message).encode(), retry_s={507: 30, 503: 1}.get(status, 0))


def body_digest(headers: dict[str, str]) -> str:
    """The body's digest as the sender states it, in hex."""
    found = re.fullmatch(r"blake3=:([A-Za-z0-9+/]{43}=):", headers.get("content-digest", ""))
    if not found:
        raise IdentityError("the request has no readable `content-digest`", hint="a proxy may strip it: ask IT to pass it on this address")
    return base64.b64decode(found[1]).hex()


def compiled(rules: Iterable[tuple[str, str]]) -> list[tuple[str, str, re.Pattern[str]]]:
    """Templates with holes, as patterns."""
    holes = [(method, template) for method, template in rules if "{" in template]
    return [(m, t, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", t))) for m, t in holes]


PATTERNS = compiled(RULES)


def find(method: str, path: str) -> Route:
    """The route of a request. Raises `NotFound`."""
    if rule := RULES.get((method, path)):
        return Route(path, {}, rule)
    for wanted, template, pattern in PATTERNS:
        if wanted == method and (found := pattern.fullmatch(path)):
            return Route(template, found.groupdict(), RULES[method, template])
    raise NotFound(f"there is no {method} {path[:80]} here")


def refuse_undeclared(routes: Iterable[tuple[str, str]]) -> None:
    """Raise unless the routes of the app and the table above are the same: a route that says not who may call it is a hole."""
    have = set(routes)
    if strange := have ^ set(RULES):
        raise RuntimeError(f"routes without a rule, or rules without a route: {sorted(strange)}")
