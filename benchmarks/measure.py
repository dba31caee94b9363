"""What every figure of speed needs: rows to print, memory of processes, bytes on the wire, and a bare loop to compare with."""

import json
import os
import select
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

MIB = 1 << 20
MB = 1_000_000


class Row(NamedTuple):
    """One figure; `bare` is what the same work costs without Collegium, measured beside it, and `ratio` is value / bare."""

    name: str
    value: float
    unit: str
    bare: float | None = None
    peak_mb: float | None = None
    bar: str = ""  # what it must be, for people

    def document(self) -> dict[str, Any]:
        """The row as JSON-ready values."""
        ratio = None if not self.bare else rounded(self.value / self.bare)
        values = {"value": self.value, "bare": self.bare, "peak_mb": self.peak_mb}
        shown = {name: None if value is None else rounded(value) for name, value in values.items()}
        return {
            "name": self.name,
            "value": shown["value"],
            "unit": self.unit,
            "bare": shown["bare"],
            "ratio": ratio,
            "peak_mb": shown["peak_mb"],
        }


def rounded(value: float) -> float:
    """Four significant digits, all digits before the point."""
    return float(f"{value:.4g}") if abs(value) < 10_000 else round(value)


def show(rows: Iterable[Row], *, as_json: bool) -> None:
    """Print each row as soon as it is measured: one JSON object, or one line of a table."""
    if not as_json:
        print(f"{'figure':<58} {'value':>9} {'unit':<5} {'bare':>9} {'ratio':>7} {'peak MB':>8}  bar", flush=True)
    for row in rows:
        d = row.document()
        if as_json:
            print(json.dumps(d), flush=True)
        else:
            cells = ("" if d[name] is None else f"{d[name]:g}" for name in ("bare", "ratio", "peak_mb"))
            print("{:<58} {:>9g} {:<5} {:>9} {:>7} {:>8}  {}".format(row.name, d["value"], row.unit, *cells, row.bar).rstrip(), flush=True)


def say(text: str) -> None:
    """Progress, for whoever waits: on standard error, where no reader of JSON sees it."""
    print(text, file=sys.stderr, flush=True)


def median_ms(seconds: Iterable[float]) -> float:
    """The median of some times, in milliseconds."""
    return statistics.median(seconds) * 1e3


def parent_of(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def family(*pids: int) -> list[int]:
    """These processes and all that they started, and those these started."""
    parents = {int(path.name): parent_of(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    found, new = set[int](), set(pids)
    while new:
        found |= new
        new = {pid for pid, parent in parents.items() if parent in new} - found
    return sorted(found)


def pss_mb(pids: Iterable[int]) -> float:
    """Proportional set size, 10^6 bytes: a page that n processes share counts 1/n in each, so that sums are true."""
    return sum(entry_kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in pids) * 1024 / MB


def status_mib(pid: int, field: str) -> float:
    """A line of /proc/PID/status in MiB: `VmRSS` now, `VmHWM` its peak as the kernel kept it, `RssAnon` without files."""
    return entry_kib(Path(f"/proc/{pid}/status"), f"{field}:") / 1024


def entry_kib(path: Path, name: str) -> float:
    """The kibibytes of one line of a file in /proc; 0 if the process is gone."""
    try:
        return next((float(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(name)), 0.0)
    except OSError:
        return 0.0


def reset_peak(pid: int) -> None:
    """Let `VmHWM` start anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def sampled(measure: Callable[[], float], every_s: float = 0.05) -> Iterator[list[float]]:
    """Call `measure` again and again while the block runs; gives the list that its values are added to."""
    values, stop = [measure()], threading.Event()

    def run() -> None:
        while not stop.wait(every_s):
            values.append(measure())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield values
    finally:
        stop.set()
        thread.join()


class Relay:
    """A TCP relay that counts what passes: `up` to the coordinator, `down` from it. It neither opens TLS nor changes a byte."""

    def __init__(self, port: int) -> None:
        self.to, self.up, self.down, self.connections = port, 0, 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Take connections until closed."""
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.connections += 1
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pass_on, args=(near, far), daemon=True).start()

    def pass_on(self, near: socket.socket, far: socket.socket) -> None:
        """Pass bytes both ways until either side has ended."""
        buffer, other = memoryview(bytearray(MIB)), {near: far, far: near}
        with near, far:
            try:
                while True:
                    for sock in select.select([near, far], [], [])[0]:
                        if not (count := sock.recv_into(buffer)):
                            return
                        other[sock].sendall(buffer[:count])
                        with self.lock:
                            self.up += count if sock is near else 0
                            self.down += count if sock is far else 0
            except OSError:
                return

    def close(self) -> None:
        """Take no more connections."""
        self.listener.close()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(what: str, ready: Callable[[], bool], *, limit_s: float, every_s: float = 0.05) -> None:
    """Return once `ready()`; raises `TimeoutError` that names what was waited for."""
    end = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {limit_s:.0f} s")
        time.sleep(every_s)


def machine() -> str:
    """What the figures were measured on, in a few words."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?"
    )
    return f"{os.cpu_count()} CPUs ({cpu}), Python {sys.version.split()[0]}"
