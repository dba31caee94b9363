"""A whole federation as processes of this machine: a coordinator and its hospitals over HTTPS on loopback; nothing outlives it."""

import contextlib
import importlib.metadata as metadata
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collegium.client.connect import connect
from collegium.client.network import Network
from collegium.coordinator import founding
from collegium.errors import LinkError, RunError
from collegium.site import enrol

START_S, END_S = 30.0, 9.0
LOOPBACK = "127.0.0.1"
POLICY = """\
# What studies may do at this hospital of the demonstration.
level: 1
recipes: [tabular, glm]
min_sites: {sites}
publish_line: true        # the demonstration shows every hospital's own line; the default is false
auto_approve: true        # no steward sits here to approve; the default is false
tables:
  {table}: {{columns: "*", min_rows: 10}}
"""


class Household:
    """The processes, and where they keep their things."""

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title
        self.hub = folder / "coordinator"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.network: Network | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Household":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave processes behind either
                if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGINT:  # nohup means what it says
                    self.before[number] = signal.signal(number, signal.default_int_handler)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def open(self) -> Network:
        """Found the coordinator, start it, and wait until it answers."""
        port = free_port()
        founding.init(self.hub, f"https://{LOOPBACK}:{port}", self.title)
        self.start(
            "coordinator",
            "coordinator",
            "serve",
            "--folder",
            str(self.hub),
            "--host",
            LOOPBACK,
            "--log-file",
            str(self.folder / "coordinator.log"),
        )
        self.network, end = connect(self.hub), time.monotonic() + START_S
        while True:
            self.alive()
            with contextlib.suppress(LinkError):
                self.network.status()
                return self.network
            if time.monotonic() > end:
                raise RunError(f"the coordinator does not answer after {START_S:.0f} s", hint=f"see {self.folder / 'coordinator.out'}")
            time.sleep(0.05)

    def settle(self, name: str, table: str, file: Path, sites: int) -> Path:
        """A hospital: invited, joined, its table named and its policy written. Its folder."""
        from collegium.data import registry  # local: the base install has no table readers

        assert self.network is not None
        where = self.folder / name
        enrol.join(where, self.network.invite(name), name=name, version=metadata.version("collegium"), environ={})
        registry.add(where, table, file)
        (where / "policy.yaml").write_text(POLICY.format(sites=sites, table=table))
        return where

    def begin(self, name: str) -> None:
        """Start a hospital's agent; it ends by itself after one run."""
        self.start(name, "site", "serve", "--folder", str(self.folder / name), "--runs", "1")

    def start(self, name: str, *arguments: str) -> None:
        """One process of our own command line. It has a session of its own: Ctrl-C reaches this process, which ends them in order.

        If this process is killed and can end nothing, the child notices by its standard input, which nobody holds open any more.
        """
        with (self.folder / f"{name}.out").open("wb") as out:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "collegium.cli.tethered", *arguments],
                stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env=environment(),
            )  # fmt: skip

    def alive(self) -> None:
        """Raise `RunError` if a process has ended in failure."""
        for name, process in self.processes.items():
            if process.poll():
                told = (self.folder / f"{name}.out").read_text(errors="replace").strip().splitlines()
                raise RunError(
                    f"the process of {name} ended: {told[-1] if told else 'without a word'}", hint=f"see {self.folder / name}.out"
                )

    def leave(self) -> None:
        """Wait a moment until the hospitals' agents have kept what came out and ended by themselves."""
        for name, process in self.processes.items():
            if name != "coordinator":
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_S)

    def end(self) -> None:
        """End every process, in order first, then at once."""
        if self.network:
            self.network.close()
        with patient():
            for process in self.processes.values():
                if process.poll() is None:
                    process.terminate()
            end = time.monotonic() + END_S
            for process in self.processes.values():
                try:
                    process.wait(max(0.1, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                if process.stdin:
                    process.stdin.close()


@contextlib.contextmanager
def patient() -> Iterator[None]:
    """A second Ctrl-C does not leave processes behind."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread hears signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def environment() -> dict[str, str]:
    """What the processes are told: no proxy stands between two processes of one machine, and one thread each."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {"OMP_NUM_THREADS": "1", "NO_PROXY": LOOPBACK}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
