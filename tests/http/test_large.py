"""A model larger than the memory that the coordinator may take: 300 MB through a real process, resumed when it is killed."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collegium import identity, wire
from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.canonical import canonical
from collegium.client.network import Network
from collegium.coordinator import founding, home
from collegium.coordinator.blobs import File
from collegium.engine import task
from collegium.engine.messages import Answer, document, task_of
from collegium.engine.run import Stage
from collegium.site.dial import Dialler, target
from collegium.site.link import Link
from collegium.site.transfer import Cache, operation, upload
from collegium.table import Table
from tests.coordinator.test_serve import free_port
from tests.coordinator.world import LIKE, ROOT, study_of

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.network]
SIZE = 75_000_000  # float32: 300 MB


class Drawn:
    """First weights that are in no memory: computed where they are read."""

    shape, dtype = (SIZE,), np.dtype(np.float32)

    def block(self, start: int, stop: int) -> np.ndarray:
        return (np.arange(start, stop) % 1000).astype(np.float32)


def momentum() -> Algorithm:
    """A state of three models: weights, best weights, momentum."""

    def local(shared: T.Tree, table: Table, memory: T.Tree) -> tuple[T.Tree, T.Tree]:
        return {"move": T.map(lambda w: w * np.float32(len(table) / 8), {"w": shared["w"]})}, memory

    def apply(state: T.Tree, total: T.Tree) -> Mapping[str, Any]:
        m = T.map(lambda m, d: m * np.float32(0.5) + d, {"w": state["m"]}, {"w": total["move"]["w"]})["w"]
        w = T.map(lambda w, m: w + m, {"w": state["w"]}, {"w": m})["w"]
        return {"w": w, "m": m, "best": state["w"]}

    first = lambda given: {"w": Drawn(), "m": T.map(np.zeros_like, {"w": Drawn()})["w"], "best": Drawn()}
    return Algorithm(first, local, apply, share=lambda s: {"w": s["w"]}, result=lambda s: {"w": s["w"]})


def plan(study: Any, came: Any = None) -> Any:
    return [Stage("fit", momentum(), 2, LIKE)], {}


def peak_mb(pid: int) -> tuple[float, float]:
    """Memory of its own and the largest it ever had of all, in MB."""
    found = dict(line.split(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(found[name].split()[0]) / 1000 for name in ("RssAnon", "VmHWM"))  # type: ignore[return-value]


def start(folder: Path) -> subprocess.Popen[bytes]:
    code = (
        "from pathlib import Path\nfrom tests.http.test_large import plan\nfrom collegium.coordinator import app, serve\n"
        "build = app.build\nserve.build = lambda folder, **how: build(folder, **how | {'plan': plan})\n"
        f"serve.serve(Path({str(folder)!r}), host='127.0.0.1', log_file=Path({str(folder / 'log')!r}))\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


class Hospital(threading.Thread):
    """A site that answers two rounds through files; its link heals over restarts."""

    def __init__(self, folder: Path, name: str, link: Link, run: str, rows: int) -> None:
        super().__init__(name=name, daemon=True)
        self.folder, self.link, self.run_id = folder, link, run
        self.rows, self.cache, self.last, self.digests = rows, Cache(folder / f"{name}-cache"), {}, []

    def run(self) -> None:
        answer = None
        while True:
            message = {"run": self.run_id, "serving": [], "answer": answer, "line": None, "wait_s": 25}
            found, _ = self.link.steadily(lambda message=message: self.link.work(message, self.payload))
            answer, self.payload = None, b""
            if found["status"] != "running":
                self.last = found
                return
            if found["task"]:
                answer = self.answered(found["task"])

    payload = b""

    def answered(self, found: dict[str, Any]) -> dict[str, Any]:
        asked = task_of(found)
        file = File(self.cache.fetch(self.link, asked.state, asked.state_bytes))
        table = Table({"age": np.zeros(self.rows)})
        change, _ = task.update(momentum(), wire.load(file.read, file.size), table, {})
        spool = self.folder / f"{self.name}-vector"
        hasher = identity.Chunks()
        with spool.open("wb") as out:
            for block in task.vector(change, asked.layout, asked.place, task.seed(0, self.name)):
                hasher.update(block.view(np.uint8).data)
                out.write(block.view(np.uint8).data)
        self.digests.append(identity.vector_digest(hasher.digests))
        if asked.layout.nbytes <= 1 << 20:
            self.payload = spool.read_bytes()
            return document(Answer(asked.run, asked.place, identity.digest(self.payload), asked.layout.nbytes))
        upload(self.link, operation(asked.run, asked.place, self.name), asked.run, spool, hasher.digests)
        return document(Answer(asked.run, asked.place, self.digests[-1], asked.layout.nbytes))


def linked(folder: Path, key: identity.Key) -> Link:
    to = target(home.settings(folder)["url"])
    return Link(Dialler(to, None, root=(folder / "tls-root.pem").read_text()), key, home.key(folder).public)


def test_three_hundred_megabytes_in_little_memory_and_through_a_kill(tmp_path: Path):
    hub, port = tmp_path / "hub", free_port()
    founding.init(hub, f"https://127.0.0.1:{port}", "Large")
    process = start(hub)
    network = Network(linked(hub, home.read_key(hub / home.OPERATOR)))
    try:
        network.link.steadily(network.status)
        idle = peak_mb(process.pid)
        links = {}
        for number, name in enumerate(("amber", "birch")):
            links[name] = linked(hub, identity.key(bytes([number + 1]) * 32))
            secret = identity.read_code(network.invite(name)).secret.hex()
            links[name].call("POST", "/v1/join", body=canonical({"secret": secret, "name": name, "version": "1"}))
        study = str(network.order("/v1/studies", {"manifest": study_of(quorum=2)})["study"])
        run = network.start(study)
        hospitals = [Hospital(tmp_path, name, link, run.name, rows) for (name, link), rows in zip(links.items(), (4, 12), strict=True)]
        for hospital in hospitals:
            hospital.start()
        after, peak, found = 0, idle, list[dict[str, Any]]()
        while not any(e["kind"] == "round" and "round 1 " in e["says"] for e in found):
            found = run.events(after, 1)
            peak = max(peak, peak_mb(process.pid))
            after = found[-1]["id"] if found else after
        process.kill()
        process.wait()
        process = start(hub)
        for hospital in hospitals:
            hospital.join(240)
            assert hospital.last["status"] == "finished"
        peak = max(peak, peak_mb(process.pid))
        print(f"idle {idle}, peak {peak} MB")
        assert peak[1] - idle[1] < 150
        check(hospitals[0])
    finally:
        process.kill()
        process.wait()
        with_links = [network.link, *(links.values() if "links" in locals() else ())]
        for link in with_links:
            link.close()


def check(hospital: Hospital) -> None:
    """The weights after two rounds: each adds twice the weights, and half the step before."""
    found = hospital.last
    file = File(hospital.cache.fetch(hospital.link, found["results"], found["results_bytes"]))
    w = wire.load(file.read, file.size)["fit"]["w"]
    start, stop = 1234, 5678
    first = Drawn().block(start, stop)
    once = first * 3
    assert np.allclose(T.block(w, start, stop), once + once * 2 + first, rtol=1e-4, atol=1e-2)
    assert T.size(w) == SIZE
