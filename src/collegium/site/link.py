"""Signed requests to the coordinator, over connections that a hospital network may cut at any byte.

Each request is signed and each answer's signature is checked, so a proxy on the way can delay or drop, but not alter. Every call
may be repeated: `steadily` does so for as long as it takes, with growing pauses, until the agent is told to stop. No deadline of
its own: only a connection on which no byte moves for a minute is given up.

The standard library's HTTP client carries this: the agent stays at half the memory it would have with a larger one.
"""

import contextlib
import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from collegium import errors, identity
from collegium.canonical import pack, parsed, unpack
from collegium.errors import CollegiumError, FrameError, IdentityError, LinkError, StorageError
from collegium.identity import Key
from collegium.site.dial import Dialler, HopError

LONG_POLL_S = 25
MAX_ANSWER = 16 << 20  # a message with its inline state; blobs are read in pieces
TOGETHER = 64 << 10  # bytes of a body that is sent together with its head
IDLE_S = 20.0  # a connection that rested longer is likely to be gone
PAUSES_S = (0.2, 30.0)  # the first and the longest pause between two tries
JSON, PACKED, BYTES = "application/json", "application/x-collegium", "application/octet-stream"
Result = TypeVar("Result")


class Busy(LinkError):
    """The coordinator asks to come again later."""

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


class Worn(HopError):
    """A connection that had been used before is gone; another is tried at once."""


class Stopped(Exception):
    """The agent was told to stop while a call was under way; not an error."""


class Reply(NamedTuple):
    """An answer whose signature holds."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        return parsed(self.body)


class Connection:
    """A connection that carries one request after the other."""

    def __init__(self, dialler: Dialler) -> None:
        self.dialler, self.rested = dialler, 0.0
        self.sock: socket.socket | None = None

    def ask(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a request and read the head of its answer. A small body goes out with its head, in one piece."""
        to = self.dialler.to
        lines = [f"{method} {path} HTTP/1.1", f"host: {f'[{to.host}]' if ':' in to.host else to.host}:{to.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode("latin-1")
        if self.sock is None:
            self.sock = self.dialler.connect()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a refusal may have come before the body was read: look
            for piece in (head + bytes(body),) if len(body) <= TOGETHER else (head, body):
                self.sock.sendall(piece)
        response = http.client.HTTPResponse(self.sock, method=method)
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
        return response

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()


class Link:
    """One coordinator, as one key sees it. Safe to use from several threads; `close` ends all that is under way."""

    def __init__(self, dialler: Dialler, key: Key | None, coordinator: str, *, agent: str = "collegium") -> None:
        self.dialler, self.key, self.coordinator, self.agent = dialler, key, coordinator, agent
        self.fingerprint = identity.fingerprint(coordinator) if coordinator else ""
        self.boot, self.counter = "0", time.time_ns() // 1000  # a restarted agent is ahead of its former self
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.idle: list[Connection] = []
        self.live: set[Connection] = set()
        self.patience_s = float(LONG_POLL_S)  # less where something on the way cuts a waiting request
        self.contact = 0.0  # when the coordinator last answered, in seconds since 1970
        self.date = ""  # what its clock said then
        self.trouble = ""  # what keeps the present call from getting through
        self.on_trouble: Callable[[str], object] = lambda says: None

    def call(self, method: str, path: str, *, query: str = "", body: Any = b"", kind: str = JSON, digest: str = "") -> Reply:
        """One signed request and its checked answer; an error answer is raised as the `CollegiumError` that it names.

        `digest` is the body's, where the caller knows it.
        """
        digest = digest or identity.digest(body)
        refusals = 0
        while refusals < 4:
            signature, headers = self.sign(method, path, query, digest, kind)
            try:
                status, got, answer = self.exchange(method, path + (f"?{query}" if query else ""), body, headers)
            except Worn:
                continue  # signed anew: it may have arrived, and a counter is taken once
            if status < 400:
                self.check(status, got, answer, signature)
                return Reply(status, got, answer)
            self.refused(status, got, answer, signature)
            refusals += 1
        raise IdentityError(
            "the coordinator refuses the numbers of this site's requests", hint="is the site's folder in use on two machines?"
        )

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, signature: bytes) -> None:
        """Raise the error that an answer tells; return if the request need only be signed again."""
        headers = {name.lower(): value for name, value in headers.items()}
        self.check(status, headers, body, signature)
        told = parsed(body)
        code, says, hint = (str(told.get(name, "")) for name in ("error", "says", "hint"))
        if code == "boot":
            with self.lock:
                self.counter = max(self.counter, int(told.get("counter", 0)))  # ahead of us where this machine's clock was set back
                self.boot = str(told.get("boot"))
            return
        if code == "busy" or status == 503:
            raise Busy(says or "the coordinator is busy", seconds(headers.get("retry-after", "")))
        raise errors.by_code(code)(says or f"the coordinator answered {status}", hint=hint)

    def sign(self, method: str, path: str, query: str, digest: str, kind: str) -> tuple[bytes, dict[str, str]]:
        """The signature of a request, and all its headers."""
        headers = {"content-type": kind, "user-agent": self.agent, "accept-encoding": "identity"}
        if self.key is None:
            return b"", headers
        with self.lock:
            self.counter += 1
            boot, counter = self.boot, self.counter
        parts = identity.Request(method, path, query, digest, kind, self.fingerprint)
        signed = identity.sign_request(self.key, parts, boot=boot, counter=counter, now=int(time.time()))
        return identity.read_signature(signed).signature, headers | signed

    def exchange(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """Bytes out and bytes in. Raises `LinkError`: `Worn` if the connection had been used before and may have died as it rested."""
        connection, fresh = self.take()
        try:
            with self.ask(connection, method, path, body, headers) as response:
                answer = response.read(MAX_ANSWER + 1)
                if response.length and len(answer) <= MAX_ANSWER:
                    raise http.client.IncompleteRead(answer, response.length)
        except (OSError, http.client.HTTPException) as e:
            self.drop(connection)
            if self.stop.is_set():
                raise Stopped from None
            if fresh or isinstance(e, TimeoutError):
                raise broken(e, self.dialler) from None
            raise Worn("http", "a connection died while it rested") from None
        except BaseException:
            self.drop(connection)
            raise
        (self.drop if len(answer) > MAX_ANSWER or response.will_close else self.rest)(connection)
        return response.status, {name.lower(): value for name, value in response.getheaders()}, answer

    def ask(self, connection: Connection, method: str, path: str, body: Any, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Send a request and read the head of its answer."""
        if self.stop.is_set():
            raise Stopped
        return connection.ask(method, path, body, headers)

    def check(self, status: int, headers: Mapping[str, str], body: bytes, signature: bytes) -> None:
        """Raise `LinkError` unless this is the coordinator's own answer to this very request."""
        if len(body) > MAX_ANSWER:
            raise HopError("content", f"an answer of more than {MAX_ANSWER} bytes came")
        if "collegium-signature" not in headers:
            raise stranger(status, headers, body, self.dialler)
        try:
            identity.check_response(self.coordinator, headers["collegium-signature"], status, identity.digest(body), signature)
        except IdentityError as e:
            raise HopError("content", str(e), hint="a proxy alters what passes: ask IT to exempt this address from inspection") from None
        self.contact, self.date = time.time(), headers.get("date", "")

    def identity(self) -> dict[str, Any]:
        """Who answers at the address: not signed by a key that is known yet, so the caller compares fingerprints."""
        signature, headers = b"", {"user-agent": self.agent, "accept-encoding": "identity"}
        status, got, answer = self.exchange("GET", "/v1/identity", b"", headers)
        try:
            told = parsed(answer)
        except FrameError:
            told = {}
        if status != 200 or not isinstance(told.get("public"), str):
            raise stranger(status, got, answer, self.dialler)
        if "collegium-signature" not in got:
            raise HopError(
                "http",
                "the answer came without its header `collegium-signature`",
                hint="a proxy strips headers: ask IT to pass all headers of this address",
            )
        identity.check_response(told["public"], got["collegium-signature"], status, identity.digest(answer), signature)
        self.date = got.get("date", "")
        return told

    def work(self, message: dict[str, Any], payload: Any = b"") -> tuple[dict[str, Any], memoryview]:
        """One `POST /v1/work`: hand in and wait for the next task. Learns how long a request may wait on this network."""
        wait_s = min(int(message["wait_s"]), int(self.patience_s))
        started = time.monotonic()
        try:
            reply = self.call("POST", "/v1/work", body=pack(message | {"wait_s": wait_s}, payload), kind=PACKED)
        except HopError as e:
            waited = time.monotonic() - started
            if e.hop == "http" and 2 < waited < wait_s + 2:  # cut while it waited: ask for less
                self.patience_s = max(2.0, waited * 0.8)
            raise
        return unpack(reply.body)

    def steadily(self, call: Callable[[], Result]) -> Result:
        """The result of `call`, tried again for as long as the way to the coordinator is broken or the coordinator is busy."""
        pause, refused = PAUSES_S[0], 0
        while True:
            try:
                result = call()
            except (LinkError, StorageError) as e:
                error: CollegiumError = e
            except IdentityError as e:
                refused += 1
                if refused > 4:
                    raise
                error = e
            else:
                self.tell("")
                return result
            self.tell(str(error))
            wait_s = error.after_s if isinstance(error, Busy) else pause * (0.5 + os.urandom(1)[0] / 256)
            if self.stop.wait(wait_s):
                raise Stopped
            pause = min(pause * 2, PAUSES_S[1])

    def tell(self, trouble: str) -> None:
        """Say once what is wrong, and once that it is over."""
        if trouble != self.trouble:
            self.trouble = trouble
            self.on_trouble(trouble)

    def take(self) -> tuple[Connection, bool]:
        """A connection for one request, and whether it is new."""
        with self.lock:
            while self.idle:
                connection = self.idle.pop()
                if time.monotonic() - connection.rested < IDLE_S:
                    return connection, False
                self.live.discard(connection)
                connection.close()
            connection = Connection(self.dialler)
            self.live.add(connection)
        return connection, True

    def rest(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        connection.rested = time.monotonic()
        with self.lock:
            if not self.stop.is_set():
                self.idle.append(connection)
                return
        self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """A connection that is of no more use."""
        with self.lock:
            self.live.discard(connection)
        connection.close()

    def close(self) -> None:
        """End every request that is under way, within moments; they raise `Stopped`."""
        self.stop.set()
        with self.lock:
            rested, self.idle = self.idle, []
            self.live.difference_update(rested)
            socks = [connection.sock for connection in self.live if connection.sock]
        for connection in rested:
            connection.close()
        for sock in socks:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of the plain socket: TLS state belongs to the reading thread


def seconds(text: str) -> float:
    """A `retry-after` header."""
    return min(float(text), 300.0) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else 2.0


def broken(error: Exception, dialler: Dialler) -> LinkError:
    """A connection that broke, in words."""
    if isinstance(error, LinkError):
        return error
    through = f" through the proxy {dialler.proxy}" if dialler.proxy else ""
    if isinstance(error, TimeoutError):
        return HopError("tcp", f"no byte moved on the connection to {dialler.to}{through} for {dialler.stall_s:.0f} s")
    return HopError("http", f"the connection to {dialler.to}{through} was cut: {str(error) or type(error).__name__}")


def stranger(status: int, headers: Mapping[str, str], body: bytes, dialler: Dialler) -> HopError:
    """An answer that the coordinator did not give: a proxy's own page, or a header that was taken away."""
    text = bytes(body[:4096]).decode("utf-8", "replace")
    page = "html" in headers.get("content-type", "") or text.lstrip()[:1] == "<"
    if not page and status < 500 and text.lstrip()[:1] == "{":
        return HopError(
            "http",
            f"an answer with status {status} came without its header `collegium-signature`",
            hint="a proxy strips headers, or another program listens there: ask IT to pass all headers of this address",
        )
    found = re.search(r"<title[^>]*>([^<]{1,80})", text, re.IGNORECASE)
    says = f" titled {found[1].strip()!r}" if found else ""
    server = headers.get("server") or headers.get("via")
    return HopError(
        "http",
        f"{'a web page' if page else 'something'}{says} (status {status}{f', from {server[:60]}' if server else ''}) came in place of "
        f"the coordinator's answer: a proxy or gateway stands between",
        hint=f"ask IT to allow https://{dialler.to} without a sign-in page and without changes",
    )
