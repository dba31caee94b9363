"""What the same work costs in other systems, so that a figure of ours need not be believed without its neighbours.

Each peer is installed by pip into an environment of its own, in a cache folder, never into the one that runs this. Its real server
and its real sites then run as processes on loopback, with the settings that it ships with, and do what our benchmarks do: a small
array or a large one goes to all sites and comes back. The apps are the files in `peer/`. A peer that cannot be installed or does not
run is named on standard error and leaves no row.
"""

import argparse
import hashlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import bare
from benchmarks.measure import MB, MIB, Relay, Row, family, free_port, pss_mb, say, status_mib, wait_for

APPS = Path(__file__).parent / "peer"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "collegium-peers"
LIMIT_S = 900.0  # for a whole run of a peer
FLOWER = """
[project]
name = "speed"
version = "1.0.0"
description = "a benchmark"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "collegium"
[tool.flwr.app.components]
serverapp = "flower_app:server"
clientapp = "flower_app:client"
[tool.flwr.app.config]
"""


class Work(NamedTuple):
    """What a peer is to do, over and over: send an array of `numbers` float32 to all sites and average what comes back."""

    sites: int
    numbers: int
    moves: bool  # whether each site returns values of its own
    kept: int = 3  # rounds that count, after one that warms up


class Process(NamedTuple):
    """A process and the file that its words go to."""

    popen: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """All its words so far."""
        return self.log.read_text(errors="replace")

    def alive(self) -> bool:
        """True. Raises `RuntimeError` with its last words if it has ended by a fault."""
        if self.popen.poll():
            raise RuntimeError(f"{self.log.stem} ended with exit code {self.popen.returncode}: {last(self.said())}")
        return True


class Started(NamedTuple):
    """A peer's processes, connected and idle."""

    processes: list[Process]  # the coordinator comes first; what they have started is found by `measure.family`
    submit: list[str]  # the command that hands in the work
    environ: dict[str, str]
    moments: Callable[[], list[float]]  # the ends of rounds so far, as seconds of the clock


class Seen(NamedTuple):
    """What a run showed."""

    rounds_s: list[float]
    idle: float  # what was looked at, before the work
    peak: float  # and its largest value during the work
    passed: float  # bytes a round, if there was a relay


class Peer(NamedTuple):
    """Another system: how it is called, what pip installs, and how it is started."""

    title: str
    package: str
    file: str  # its requirements
    start: Callable[[Path, Path, Work, int, int], AbstractContextManager[Started]]  # (bin, folder, work, port, port that sites call)

    @property
    def requirements(self) -> str:
        """What is installed."""
        return (APPS / self.file).read_text()

    @property
    def name(self) -> str:
        """Title and pinned version."""
        return f"{self.title} {pinned(self.requirements, self.package)}"


def pinned(requirements: str, package: str) -> str:
    """The version that a requirements file asks for.

    >>> pinned("flwr==1.42.0", "flwr")
    '1.42.0'
    """
    pins = dict(line.split("==") for line in requirements.split())
    return pins[package]


def noted(text: str) -> list[float]:
    """The moments that an app has noted, a line each; a line that is still being written does not count."""
    return [float(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def logged(text: str, event: str) -> list[float]:
    """The moments at which a log says that something happened, if its lines begin as `2026-11-25 01:47:11,696` in local time."""
    lines = (line for line in text.splitlines() if line.endswith(event))
    return [time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")) + int(line[20:23]) / 1e3 for line in lines]


def place(peer: Peer, cache: Path) -> Path:
    """Where the peer's own environment lies: another folder for every Python and every pin."""
    wanted = hashlib.sha256(f"{sys.version} {peer.requirements}".encode()).hexdigest()[:12]
    return cache.resolve() / f"{peer.package}-{wanted}"


def environment(peer: Peer, cache: Path) -> Path:
    """The folder of programs of the peer's own environment, which is made and filled by pip if it is not there yet."""
    folder = place(peer, cache)
    ready, programs = folder / "installed", folder / "bin"
    if not ready.exists():
        say(f"peers: installing {peer.name} into {folder}")
        venv.create(folder, with_pip=True, symlinks=True, clear=True)
        pip = [str(programs / "python"), "-m", "pip", "-qq", "--disable-pip-version-check", "install", "-r", str(APPS / peer.file)]
        done = subprocess.run(pip, env=environ(programs, Path.home()), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pip could not install it: {last(done.stderr)}")
        ready.touch()
    return programs


def environ(programs: Path, home: Path, **more: str) -> dict[str, str]:
    """Variables for a peer's process: its own programs and home, nothing of ours, and no proxy on the way to loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "FLWR_", "NVFL"))}
    local = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
    path = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
    return {**kept, "PATH": path, "HOME": str(home), "NO_PROXY": local, "no_proxy": local, **more}


def last(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


@contextmanager
def flower(programs: Path, folder: Path, work: Work, port: int, dialled: int) -> Iterator[Started]:
    """Flower's deployment engine: a SuperLink and its SuperNodes, over HTTP without TLS, state in memory, each app in a process."""
    app = folder / "app"
    app.mkdir()
    (app / "flower_app.py").write_bytes((APPS / "flower_app.py").read_bytes())
    rounds = work.kept + 1  # the first moment is that before round 1
    config = {"sites": work.sites, "numbers": work.numbers, "moves": work.moves, "rounds": rounds, "moments": str(folder / "moments")}
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in config.items())
    (app / "pyproject.toml").write_text(FLOWER + "".join(lines))
    (folder / "config.toml").write_text(f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
    variables = environ(programs, folder, FLWR_HOME=str(folder), FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1")
    with ended() as processes:
        link = [str(programs / "flower-superlink"), "--insecure", "--port", str(port), "--disable-runtime-dependency-installation"]
        processes.append(spawned(link, folder / "superlink.log", variables))
        wait_for("the SuperLink", lambda: answers(processes, port), limit_s=60)
        ports = [free_port() for _ in range(work.sites)]
        for number, own in enumerate(ports):
            node = [str(programs / "flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{dialled}", "--port", str(own)]
            node += ["--node-config", f"own={number / 1000}"]
            processes.append(spawned(node, folder / f"supernode{number}.log", variables))
        wait_for("the SuperNodes", lambda: all(answers(processes, own) for own in ports), limit_s=120)
        yield Started(processes, [str(programs / "flwr"), "run", str(app), "here"], variables, lambda: noted(read(folder / "moments")))


@contextmanager
def nvflare(programs: Path, folder: Path, work: Work, port: int, dialled: int) -> Iterator[Started]:
    """NVFLARE as provisioned for production: a server and its clients, over mutual TLS; a job runs in processes of its own."""
    variables, kits = environ(programs, folder), folder / "made" / "speed" / "prod_00"
    (folder / "project.yml").write_text(json.dumps(project(work.sites, port, dialled, free_port())))
    provision = [str(programs / "nvflare"), "provision", "-p", "project.yml", "-w", "made"]
    made = subprocess.run(provision, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if made.returncode:
        raise RuntimeError(f"its sites could not be provisioned: {last(made.stdout + made.stderr)}")
    (folder / "nvflare_app.py").write_bytes((APPS / "nvflare_app.py").read_bytes())
    with ended() as processes:
        for name in ("localhost", *(f"site-{n + 1}" for n in range(work.sites))):
            start = [str(kits / name / "startup" / "sub_start.sh"), "--once"]
            processes.append(spawned(start, folder / f"{name}.log", variables))
            if name == "localhost":
                wait_for("the server", lambda: answers(processes, port), limit_s=60)
        joined = f"Total clients: {work.sites}"
        wait_for("the clients", lambda: alive(processes) and joined in processes[0].said(), limit_s=120)
        numbers = (work.sites, work.kept + 2, work.numbers, work.moves)  # the first moment is the end of the first round
        submit = [str(programs / "python"), "nvflare_app.py", "submit", str(kits / "admin@speed.org"), *map(str, numbers)]
        yield Started(processes, submit, variables, lambda: logged(processes[0].said(), "End persist model on server."))


def project(sites: int, port: int, dialled: int, admin: int) -> dict[str, object]:
    """Who takes part, for NVFLARE's provisioning; the builders are those of its sample project."""
    impl, reached = "nvflare.lighter.impl", {"host": "localhost", "port": dialled}
    return {
        "api_version": 3, "name": "speed", "description": "a benchmark",
        "participants": [
            {"name": "localhost", "type": "server", "org": "speed", "fed_learn_port": port, "admin_port": admin},
            *({"name": f"site-{n + 1}", "type": "client", "org": "speed", "connect_to": reached} for n in range(sites)),
            {"name": "admin@speed.org", "type": "admin", "org": "speed", "role": "project_admin"},
        ],
        "builders": [
            {"path": f"{impl}.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}},
            {"path": f"{impl}.static_file.StaticFileBuilder", "args": {"config_folder": "config"}},
            {"path": f"{impl}.cert.CertBuilder"}, {"path": f"{impl}.signature.SignatureBuilder"},
        ],
    }  # fmt: skip


PEERS = (Peer("Flower", "flwr", "flower.txt", flower), Peer("NVFLARE", "nvflare", "nvflare.txt", nvflare))


def spawned(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Process:
    """A process that works in the folder of its log."""
    with log.open("ab") as out:
        popen = subprocess.Popen(command, cwd=log.parent, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=dict(variables))
    return Process(popen, log)


@contextmanager
def ended() -> Iterator[list[Process]]:
    """A list for processes; they and all that they started are killed in the end, while it is still known who started whom."""
    processes: list[Process] = []
    try:
        yield processes
    finally:
        for pid in family(*(each.popen.pid for each in processes if each.popen.poll() is None)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for each in processes:
            each.popen.wait()


def alive(processes: Sequence[Process]) -> bool:
    """True. Raises `RuntimeError` if one of them has ended by a fault."""
    return all(each.alive() for each in processes)


def answers(processes: Sequence[Process], port: int) -> bool:
    """Whether somebody listens, while all processes live."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return not alive(processes)
    return True


def run(peer: Peer, programs: Path, work: Work, look: Callable[[Started], float], *, every_s: float, counted: bool = False) -> Seen:
    """All rounds of some work; `look` is called before it and then again and again."""
    port = free_port()
    relay = Relay(port) if counted else None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ended() as mine:
        folder = Path(name)
        with peer.start(programs, folder, work, port, relay.port if relay else port) as found:
            idle = look(found)
            mine.append(spawned(found.submit, folder / "submit.log", found.environ))
            looked, passed, marks = [idle], [(0.0, 0.0)], list[float]()
            end = time.monotonic() + LIMIT_S
            while len(marks) < work.kept + 2:
                alive([*found.processes, *mine])
                looked.append(look(found))
                passed.append((time.time(), float(relay.up + relay.down) if relay else 0.0))
                marks = found.moments()
                if time.monotonic() > end:
                    raise TimeoutError(f"{len(marks)} rounds in {LIMIT_S:.0f} s; it says: {last(found.processes[0].said())}")
                time.sleep(every_s)
    begun, over = np.interp([marks[1], marks[-1]], [when for when, _ in passed], [total for _, total in passed])
    return Seen([after - before for before, after in pairwise(marks[1:])], idle, max(looked), float(over - begun) / work.kept)


def read(path: Path) -> str:
    """The text of a file that may not be there yet."""
    return path.read_text() if path.exists() else ""


def together_mb(found: Started) -> float:
    """Memory (PSS) of all processes, 10^6 bytes."""
    return pss_mb(family(*(each.popen.pid for each in found.processes)))


def coordinator_mib(found: Started) -> float:
    """Memory that is resident for the coordinator and what it has started, MiB."""
    return sum(status_mib(pid, "VmRSS") for pid in family(found.processes[0].popen.pid))


def each(cache: Path, rows: Callable[[Peer, Path], Iterator[Row]], known: Sequence[Peer] = PEERS) -> Iterator[Row]:
    """Rows of every peer; one that fails is named, with the reason, and the next one follows."""
    for peer in known:
        try:
            yield from rows(peer, environment(peer, cache))
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            say(f"peers: no figure of {peer.name}: {error}")


def small(cache: Path, sites: int, numbers: int, kept: int = 3) -> Iterator[Row]:
    """What `round.py` measures: time of a round and memory of all processes, when nobody trains."""

    def rows(peer: Peer, programs: Path) -> Iterator[Row]:
        say(f"peers: {peer.name}, {sites} sites, {numbers} parameters")
        seen = run(peer, programs, Work(sites, numbers, False, kept), together_mb, every_s=1.0)
        alone = statistics.median(bare.rounds(sites, 4 * numbers, 4 * numbers, 300, tls=True))
        took = statistics.median(seen.rounds_s)
        yield Row(f"{peer.name}: round, {sites} sites, beside a bare TLS loop", took * 1e3, "ms", alone * 1e3, seen.peak)
        yield Row(f"{peer.name}: memory of all processes (PSS)", seen.peak, "MB", peak_mb=seen.peak)

    return each(cache, rows)


def large(cache: Path, sites: int, size: int, numbers: int, kept: int = 3) -> Iterator[Row]:
    """What `payload.py` measures: time of a round, the coordinator's memory and bytes on the wire, each site with values of its own."""
    nbytes, what = 4 * numbers, f"{sites} sites x {size} MiB"

    def rows(peer: Peer, programs: Path) -> Iterator[Row]:
        say(f"peers: {peer.name}, {what}")
        seen = run(peer, programs, Work(sites, numbers, True, kept), coordinator_mib, every_s=0.05)
        alone = statistics.median(bare.rounds(sites, nbytes, nbytes, 2, tls=True))
        growth, took = seen.peak - seen.idle, statistics.median(seen.rounds_s)
        yield Row(f"{peer.name}: round, {what}, beside a bare TLS loop", took, "s", alone, growth * MIB / MB)
        yield Row(f"{peer.name}: coordinator's memory over idle, {what}", growth, "MiB", size, growth * MIB / MB)
        say(f"peers: {peer.name}, {what}, counting bytes")
        seen = run(peer, programs, Work(sites, numbers, True, min(2, kept)), coordinator_mib, every_s=0.05, counted=True)
        yield Row(f"{peer.name}: bytes on the wire of a round, {what}", seen.passed / MB, "MB", 2 * sites * nbytes / MB)

    return each(cache, rows)


def option(parser: argparse.ArgumentParser) -> None:
    """Add `--peers`."""
    told = "also measure other systems, installed by pip into environments of their own in this folder (default: %(const)s)"
    parser.add_argument("--peers", nargs="?", const=CACHE, type=Path, metavar="FOLDER", help=told)
