"""A real coordinator on loopback and real agents in threads: whole studies for the tests of the site."""

import contextlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from collegium import identity
from collegium.canonical import canonical
from collegium.client.network import Network
from collegium.coordinator import app, founding, home
from collegium.data import registry
from collegium.site import agent, enrol
from collegium.site.dial import Dialler, target
from collegium.site.link import Link
from collegium.study import manifest
from collegium.study.plan import planned

POLICY = 'level: 1\nrecipes: "*"\nmin_sites: 1\nauto_approve: true\npublish_line: true\ntables:\n  stays: {columns: "*", min_rows: 5}\n'
STUDY = """
collegium: 1
title: Readmission
purpose: A test.
patient: patient_id
variables:
  age: {kind: number, unit: years, low: 0, high: 120}
  sex: {kind: category, categories: [F, M]}
  readmitted: {kind: binary}
outcome: {task: binary, target: readmitted}
method: {kind: glm}
sites: {minimum: 2, quorum: 2, grace_s: 1}
"""
PATIENT = STUDY.replace("grace_s: 1", "grace_s: 60")  # waits for every site, so that the bytes are those of all of them


class Federation:
    """A coordinator that serves in a thread, and may be stopped and started again."""

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        with socket.create_server((host, port)) as free:
            self.host, self.port = host, free.getsockname()[1]
        self.folder, self.url = folder / "hub", f"https://{host}:{self.port}"
        self.key = founding.init(self.folder, self.url, "Test")
        self.root = (self.folder / "tls-root.pem").read_text()
        self.server: uvicorn.Server | None = None
        self.operator = self.called()

    def called(self) -> Link:
        """The operator's line, which ends with the server."""
        return self.link(home.read_key(self.folder / "operator.key"))

    def link(self, key: identity.Key) -> Link:
        return Link(Dialler(target(self.url), root=self.root), key, self.key.public)

    def start(self, **options: Any) -> None:
        built = app.build(self.folder, **{"plan": planned} | options)
        settings = uvicorn.Config(
            built, host=self.host, port=self.port, log_level="error", timeout_graceful_shutdown=1,
            ssl_certfile=self.folder / "tls.pem", ssl_keyfile=self.folder / "tls.key", lifespan="on", ws="none",
        )  # fmt: skip
        self.operator.close()
        self.operator, self.server = self.called(), uvicorn.Server(settings)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until(lambda: self.server.started)

    def stop(self) -> None:
        if self.server:
            self.operator.close()
            self.server.config.app.hush()
            self.server.should_exit = True
            self.thread.join()
            self.server = None

    def ask(self, method: str, path: str, body: Any = None, query: str = "") -> Any:
        return json.loads(self.operator.call(method, path, query=query, body=b"" if body is None else canonical(body)).body)

    def site(
        self, folder: Path, name: str, rows: int = 60, *, port: int = 0, policy: str = POLICY, inside: Any = None, **options: Any
    ) -> Path:
        """A site that has joined, with a table and a policy."""
        code = self.ask("POST", "/v1/invites", {"name": name})["code"]
        if port:
            read = identity.read_code(code)
            code = identity.mint(read._replace(url=read.url.replace(str(self.port), str(port))))
        (inside or (lambda join: join()))(lambda: enrol.join(folder / name, code, version="1", environ={}, **options))
        (folder / f"{name}.csv").write_text(rows_of(name, rows))
        registry.add(folder / name, "stays", folder / f"{name}.csv")
        (folder / name / "policy.yaml").write_text(policy)
        return folder / name

    def submit(self, text: str = STUDY) -> str:
        return Network(self.operator).start(manifest.read(text)).name

    def end(self, run: str, wait_s: float = 60) -> dict[str, Any]:
        """The run when it is over."""
        until(lambda: self.ask("GET", f"/v1/runs/{run}")["status"] in ("finished", "failed", "stopped"), wait_s, 0.1)
        return self.ask("GET", f"/v1/runs/{run}/results")


def rows_of(name: str, rows: int) -> str:
    draw = np.random.default_rng([*name.encode()])
    age, male = draw.normal(60, 12, rows).round(1), draw.random(rows) < 0.5
    back = draw.random(rows) < 1 / (1 + np.exp(-(age - 60) / 15 - male + 0.5))
    lines = (f"{name}{n},{a},{'M' if m else 'F'},{int(b)}" for n, (a, m, b) in enumerate(zip(age, male, back, strict=True)))
    return "patient_id,age,sex,readmitted\n" + "\n".join(lines) + "\n"


def until(found: Any, wait_s: float = 30, step_s: float = 0.02) -> None:
    end = time.monotonic() + wait_s
    while not found():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(step_s)


@contextlib.contextmanager
def federated(folder: Path, **options: Any) -> Iterator[Federation]:
    made = Federation(folder)
    made.start(**options)
    try:
        yield made
    finally:
        made.operator.close()
        made.stop()


@contextlib.contextmanager
def at_work(*folders: Path, environ: dict[str, str] | None = None, **options: Any) -> Iterator[list[agent.Agent]]:
    """Agents of these folders, each in a thread of its own."""
    from collegium.site import config, state

    agents, threads, held = [], [], []
    for folder in folders:
        held.append(state.only_one(folder))
        known = {"environ": environ or {}, "version": "1", "show": lambda *_: None, "start": agent.spawn, "runs": 0} | options
        agents.append(agent.Agent(config.load(folder), **known))
        threads.append(threading.Thread(target=agents[-1].serve, daemon=True))
        threads[-1].start()
    try:
        yield agents
    finally:
        for one in agents:
            one.stop.set()
        for thread in threads:
            thread.join()
        for lock in held:
            os.close(lock)


__all__ = ["PATIENT", "STUDY", "Federation", "at_work", "federated", "ssl", "until"]
