"""Networks that go wrong on purpose: a TCP relay that cuts, swallows, alters or falls silent, and the proxies of hospitals."""

import base64
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Faults:
    """What the relay does to the next connections. Counts are of bytes relayed since the start of each connection."""

    cut_up: int | None = None  # close both sides after so many bytes towards the coordinator
    cut_down: int | None = None  # the same, towards the site
    times: int = 1  # how many connections suffer
    corrupt_down: int | None = None  # flip a bit of this byte towards the site
    corrupt_up: int | None = None  # the same, towards the coordinator
    hole: bool = False  # take everything, answer nothing
    swallow: bytes = b""  # let requests that hold this pass, and cut the connection before their answer
    lock: threading.Lock = field(default_factory=threading.Lock)

    def due(self) -> bool:
        with self.lock:
            self.times -= 1
            return self.times >= 0


class Relay:
    """A TCP relay on loopback in front of a coordinator, or of the proxy that opens TLS for it."""

    def __init__(self, port: int, *, inner: ssl.SSLContext | None = None, outer: ssl.SSLContext | None = None) -> None:
        self.target, self.inner, self.outer = port, inner, outer
        self.faults = Faults(times=0)
        self.up = self.down = self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open: set[socket.socket] = set()
        self.threads: list[threading.Thread] = []
        self.closing = False

    def run(self) -> None:
        while not self.closing:
            ready, _, _ = select.select([self.listener], [], [], 0.05)
            if ready:
                with suppress(OSError):
                    near, _ = self.listener.accept()
                    thread = threading.Thread(target=self.serve, args=(near,), daemon=True)
                    self.threads.append(thread)
                    thread.start()

    def greeted(self, near: socket.socket) -> socket.socket | None:
        """What a proxy does before it relays; None if it answered itself."""
        return near

    def serve(self, near: socket.socket) -> None:
        self.connections += 1
        near.settimeout(30)
        self.open.add(near)
        far: socket.socket | None = None
        try:
            if self.outer:
                near = self.outer.wrap_socket(near, server_side=True)
            greeted = self.greeted(near)
            if greeted is None:
                return
            far = socket.create_connection(("127.0.0.1", self.target), timeout=30)
            if self.inner:
                far = self.inner.wrap_socket(far, server_hostname="localhost")
            self.open.add(far)
            self.relay(near, far)
        except OSError:
            pass
        finally:
            for one in (near, far):
                if one is not None:
                    self.open.discard(one)
                    one.close()

    def relay(self, near: socket.socket, far: socket.socket) -> None:
        hurt = self.faults if self.faults.times > 0 and self.faults.due() else Faults()
        up = down = 0
        deaf = False
        while not self.closing:
            pending = [s for s in (near, far) if isinstance(s, ssl.SSLSocket) and s.pending()]
            ready = pending or select.select([near, far], [], [], 0.1)[0]
            if near in ready:
                piece = taken(near)
                if piece == b"":
                    return
                if hurt.hole or piece is None:
                    continue
                if hurt.cut_up is not None and up + len(piece) >= hurt.cut_up:
                    far.sendall(piece[: hurt.cut_up - up])
                    self.up += hurt.cut_up - up
                    return
                if hurt.corrupt_up is not None and up <= hurt.corrupt_up < up + len(piece):
                    piece = flipped(piece, hurt.corrupt_up - up)
                deaf = deaf or bool(hurt.swallow and hurt.swallow in piece)
                far.sendall(piece)
                up += len(piece)
                self.up += len(piece)
            if far in ready:
                piece = taken(far)
                if piece is None:
                    continue
                if not piece or deaf:
                    return
                if hurt.corrupt_down is not None and down <= hurt.corrupt_down < down + len(piece):
                    piece = flipped(piece, hurt.corrupt_down - down)
                if hurt.cut_down is not None and down + len(piece) >= hurt.cut_down:
                    near.sendall(piece[: hurt.cut_down - down])
                    return
                near.sendall(piece)
                down += len(piece)
                self.down += len(piece)


def flipped(piece: bytes, at: int) -> bytes:
    """One bit altered."""
    return piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]


def taken(sock: socket.socket) -> bytes | None:
    """What has come; None if it was of TLS itself, b"" at the end."""
    sock.settimeout(0)
    try:
        return sock.recv(65536)
    except (ssl.SSLWantReadError, BlockingIOError):
        return None
    finally:
        sock.settimeout(30)


class ConnectProxy(Relay):
    """A hospital's HTTP proxy: CONNECT, with a name and a password if it wants them."""

    credentials = ""
    page = b""  # answered in place of a tunnel

    def greeted(self, near: socket.socket) -> socket.socket | None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = near.recv(1)
            if not piece:
                return None
            head += piece
        known = base64.b64encode(self.credentials.encode())
        if self.page:
            near.sendall(self.page)
            return None
        if self.credentials and b"Proxy-Authorization: Basic " + known not in head:
            near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return near


class PageProxy(Relay):
    """A gateway that opens TLS and answers with a web page of its own."""

    page = b"<html><head><title>Access denied</title></head><body>Ask IT</body></html>"
    status = 403

    def greeted(self, near: socket.socket) -> socket.socket | None:
        near.recv(65536)
        head = f"HTTP/1.1 {self.status} Forbidden\r\nServer: gateway\r\nContent-Type: text/html\r\nContent-Length: {len(self.page)}\r\n\r\n"
        near.sendall(head.encode() + self.page)
        return None


@contextmanager
def relaying(relay: Relay) -> Iterator[Relay]:
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.closing = True
        thread.join()
        relay.listener.close()
        for one in list(relay.open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for worker in relay.threads:
            worker.join()
