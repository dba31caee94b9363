"""A site's line to the coordinator, slowed down: so many bits a second each way, and so much later.

It stands in user space, because few machines can delay packets without rights (`tc netem`): a TCP relay that opens nothing and
changes no byte. A piece leaves the line when all bytes before it have left at the line's rate, and arrives a delay later; a sender is
held back once a twentieth of a second's worth waits in front of it, as a full router holds it back. All connections of a site share
its line. A new connection costs the round trip of its handshake. What is left out is what congestion does: no packet is lost, and
nobody else is on the line.
"""

import queue
import socket
import threading
import time
from contextlib import suppress

from benchmarks.measure import MIB

PIECE = 32 << 10
QUEUE_S = 0.05  # how much may wait before the line


class Way:
    """One direction of a line, shared by all its connections."""

    def __init__(self, rate: float, delay_s: float) -> None:
        self.rate, self.delay_s = rate, delay_s
        self.free = 0.0  # when the line has sent all that was given to it
        self.passed = 0
        self.lock = threading.Lock()

    def send(self, count: int) -> float:
        """Put so many bytes on the line; the moment at which the last of them arrives. Waits while too much is before them."""
        with self.lock:
            now = time.monotonic()
            if self.free - now > QUEUE_S:
                time.sleep(self.free - now - QUEUE_S)
            self.free = max(self.free, time.monotonic()) + count / self.rate
            self.passed += count
            return self.free + self.delay_s


class Line:
    """A port that leads to another port of this machine, over a line of `mbit` megabits a second, `delay_s` each way."""

    def __init__(self, port: int, *, mbit: float, delay_s: float) -> None:
        self.to = port
        self.up, self.down = Way(mbit * 125_000, delay_s), Way(mbit * 125_000, delay_s)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Take connections until closed."""
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(near,), daemon=True).start()

    def join(self, near: socket.socket) -> None:
        """Connect to the other end, a round trip later, and pass bytes on both ways."""
        time.sleep(self.up.delay_s + self.down.delay_s)
        try:
            far = socket.create_connection(("127.0.0.1", self.to))
        except OSError:
            near.close()
            return
        with near, far:
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ways = [threading.Thread(target=passed_on, args=each, daemon=True) for each in ((near, far, self.up), (far, near, self.down))]
            for thread in ways:
                thread.start()
            for thread in ways:
                thread.join()

    def close(self) -> None:
        """Take no more connections."""
        self.listener.close()


def passed_on(here: socket.socket, there: socket.socket, way: Way) -> None:
    """Bring what one socket sends to the other, until it has ended."""
    pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def take() -> None:
        with suppress(OSError):
            while piece := here.recv(PIECE):
                pieces.put((way.send(len(piece)), piece))
        pieces.put((time.monotonic() + way.delay_s, b""))

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    with suppress(OSError):
        while True:
            at, piece = pieces.get()
            if (left := at - time.monotonic()) > 0:
                time.sleep(left)
            if not piece:
                break
            there.sendall(piece)
    for sock, end in ((there, socket.SHUT_WR), (here, socket.SHUT_RD)):  # the second where the other end has gone
        with suppress(OSError):
            sock.shutdown(end)
    taker.join()


def measured(mbit: float, delay_s: float) -> tuple[float, float]:
    """What such a line does by itself: megabits a second of a long transfer, and seconds of a short one there and back."""
    with socket.create_server(("127.0.0.1", 0)) as far:
        line = Line(far.getsockname()[1], mbit=mbit, delay_s=delay_s)
        with socket.create_connection(("127.0.0.1", line.port)) as near:
            answering, _ = far.accept()
            with answering:
                near.sendall(b"x")
                answering.recv(1)
                began = time.perf_counter()
                near.sendall(b"x")
                answering.sendall(answering.recv(1))
                near.recv(1)
                there_and_back = time.perf_counter() - began
                size = int(2 * mbit * 125_000)
                threading.Thread(target=answering.sendall, args=(bytes(size),), daemon=True).start()
                began, left = time.perf_counter(), size
                while left:
                    left -= len(near.recv(min(left, MIB)))
                took = time.perf_counter() - began - delay_s
        line.close()
    return size / took / 125_000, there_and_back
