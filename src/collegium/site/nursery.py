"""Several sites on one machine that share the code they have in memory: for a demo, a rehearsal, a benchmark.

One process loads everything, holds no key and no row, and then only forks: an agent for each site at the start, a worker
whenever an agent asks for one. A worker is still a process without key and network; it costs a few MB instead of thirty, and
starts in a moment. At a hospital, where there is one site, an agent starts its workers by itself (`pipe.spawn`).
"""

import array
import encodings.idna  # noqa: F401 - every agent looks its coordinator up by name, and loads the alphabets of the world for that
import gc
import os
import selectors
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml  # noqa: F401 - every agent reads its policy: loaded here once for all

from collegium import identity
from collegium.site import agent, worker
from collegium.site.pipe import Child, Start
from collegium.site.progress import Lines
from collegium.study import manifest, plan

ASK_BYTES = 4096


def serve_all(folders: Sequence[Path], *, environ: Mapping[str, str], version: str, runs: int = 0, quiet: bool = False) -> int:
    """Serve all these sites until told to stop, or until each has had `runs` runs; the number of agents that failed."""
    warm()
    gc.freeze()  # pages of what is loaded by now are never written again, and so stay shared
    ends: dict[int, socket.socket] = {}
    for folder in folders:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = os.fork()
        if child == 0:
            for end in (ours, *ends.values()):
                end.close()
            be(lambda theirs=theirs, folder=folder: serve_one(folder, theirs, environ, version, runs, quiet))  # type: ignore[misc]  # bound defaults
        theirs.close()
        ends[child] = ours
    return Mother(ends).watch()


def warm() -> None:
    """Do once what every agent and worker does first: what OpenSSL, YAML and pydantic fill in then is filled in before the forks."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    key = identity.key(bytes(32))
    identity.verify(key.public, b"", key.sign(b""))
    study = manifest.read(manifest.EXAMPLE)
    manifest.digest(study)
    plan.like(study)


def be(life: Callable[[], object]) -> NoReturn:
    """What a fork is from here on; it never returns into the life of its parent."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        life()
        code = 0
    except BaseException as e:
        sys.stderr.write(f"{type(e).__name__}: {e}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve_one(folder: Path, mother: socket.socket, environ: Mapping[str, str], version: str, runs: int, quiet: bool) -> None:
    """One site's agent, which gets its workers from the mother."""
    show: Callable[..., object] = (lambda run, facts, known: None) if quiet else Lines()
    agent.serve(folder, environ=environ, version=version, show=show, start=borrowed(mother), runs=runs)


class Mother:
    """The process that only forks."""

    def __init__(self, ends: dict[int, socket.socket]) -> None:
        self.ends, self.failed, self.ended = ends, 0, False

    def watch(self) -> int:
        """Fork workers until all agents have ended."""
        before = {number: signal.signal(number, self.end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with selectors.DefaultSelector() as selector:
                for end in self.ends.values():
                    selector.register(end, selectors.EVENT_READ)
                while self.ends:
                    for key, _ in selector.select(0.2):
                        self.answer(key.fileobj)
                    self.reap(selector)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.failed

    def end(self, *_: object) -> None:
        """Pass the word to stop on to the agents."""
        self.ended = True
        for child in self.ends:
            os.kill(child, signal.SIGTERM)

    def answer(self, end: Any) -> None:
        """Fork one worker: its log's path and three open files came with the message."""
        _, files, _, _ = socket.recv_fds(end, ASK_BYTES, 3)
        if not files:
            return
        child = os.fork()
        if child == 0:
            for one in self.ends.values():
                one.close()
            be(lambda: labour(files))
        for file in files:
            os.close(file)
        end.send(array.array("q", [child]).tobytes())

    def reap(self, selector: selectors.BaseSelector) -> None:
        """Take leave of children that have ended."""
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if child == 0:
                return
            if end := self.ends.pop(child, None):
                self.failed += status != 0
                selector.unregister(end)
                end.close()


def labour(files: Sequence[int]) -> None:
    """A worker's life, on the pipes and the log that its agent opened."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    worker.main()


class Fork:
    """A worker that is another process's child, known by a handle that cannot come to mean a later process."""

    def __init__(self, pid: int) -> None:
        self.pid, self.handle = pid, os.pidfd_open(pid)

    def poll(self) -> int | None:
        return 0 if self.over(0) else None

    def wait(self, timeout: float | None = None) -> int:
        self.over(timeout)
        os.close(self.handle)
        return 0

    def over(self, timeout: float | None) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self.handle, selectors.EVENT_READ)
            return bool(selector.select(timeout))


def borrowed(mother: socket.socket) -> Start:
    """A way to start workers: by asking the mother."""

    def start(log: Path, threads: int) -> Child:
        log.parent.mkdir(parents=True, exist_ok=True)
        inward, to = os.pipe()
        back, outward = os.pipe()
        with log.open("ab") as errors:
            socket.send_fds(mother, [b"worker"], [inward, outward, errors.fileno()])
        os.close(inward)
        os.close(outward)
        (pid,) = array.array("q", mother.recv(8))
        return Child(Fork(pid), to, back)

    return start
