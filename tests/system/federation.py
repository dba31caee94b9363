"""A coordinator and its sites as real processes over HTTPS, which tests may kill at a named moment.

`python -m tests.system.federation coordinator FOLDER PORT STATE:STAGE:ROUND` and `... site FOLDER DOING:STAGE:ROUND` are those
processes; an empty moment never comes. A moment is met once: a process started again after its death is given none.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from collegium import tree as T
from collegium.client.network import Network, Run
from collegium.coordinator import founding, home, serve
from collegium.data import intake, quality, registry
from collegium.engine.run import Run as Course
from collegium.errors import LinkError
from collegium.recipes import learner
from collegium.simulation.local import walk
from collegium.site import agent, enrol
from collegium.site.dial import Dialler, target, way_out
from collegium.site.link import Link
from collegium.study import manifest, plan
from collegium.study.manifest import Averaging, Study
from collegium.table import Table

ROOT = Path(__file__).parents[2]
POLICY = """level: 1
recipes: "*"
min_sites: 3
publish_line: true
auto_approve: true
tables:
  patients:
    columns: "*"
    min_rows: 1
"""


def coordinator_process(folder: str, port: str, moment: str = "") -> None:
    state, _, where = moment.partition(":")

    def reached(name: str, place: Any) -> None:
        if name == state and f"{place.stage}:{place.round}" == where:
            os.kill(os.getpid(), signal.SIGKILL)

    serve.serve(Path(folder), host="127.0.0.1", port=int(port), reached=reached, log_file=Path(folder) / "log")


def site_process(folder: str, moment: str = "") -> None:
    doing, _, where = moment.partition(":")

    def show(run: str, new: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        if new.get("doing") == doing and f"{known.get('stage')}:{known.get('round')}" == where:
            os.kill(os.getpid(), signal.SIGKILL)

    agent.serve(Path(folder), environ={}, version="test", show=show)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Federation:
    """Processes of one federation in a folder; `sites` are CSV texts by name."""

    def __init__(self, folder: Path, sites: Mapping[str, str], moment: str = "") -> None:
        self.folder, self.sites, self.port, self.moment = folder, sites, free_port(), moment
        self.hub = folder / "hub"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        founding.init(self.hub, f"https://127.0.0.1:{self.port}", "Test")

    def __enter__(self) -> "Federation":
        self.start_coordinator(self.moment)
        self.network = self.connect()
        self.ready()
        for name, csv in self.sites.items():
            self.join(name, csv)
        return self

    def join(self, name: str, csv: str) -> Path:
        """A site that has joined, with a table and a policy; its folder."""
        home = self.folder / name
        enrol.join(home, self.network.invite(name), version="test", environ={})
        (self.folder / f"{name}.csv").write_text(csv)
        registry.add(home, "patients", self.folder / f"{name}.csv")
        (home / "policy.yaml").write_text(POLICY)
        return home

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(10)
        self.network.close()

    def start(self, name: str, *arguments: str, module: str = "tests.system.federation", environ: Mapping[str, str] | None = None) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **(environ or {})},
        )  # fmt: skip
        log.close()

    def start_coordinator(self, moment: str = "") -> None:
        self.start("hub", "coordinator", str(self.hub), str(self.port), moment)

    def start_site(self, name: str, moment: str = "") -> None:
        self.start(name, "site", str(self.folder / name), moment)

    def start_sites(self) -> None:
        for name in self.sites:
            self.start_site(name)

    def ready(self, within_s: float = 60) -> None:
        """Wait until the coordinator answers."""
        end = time.monotonic() + within_s
        while True:
            try:
                self.network.status()
                return
            except LinkError:
                assert time.monotonic() < end, "the coordinator does not answer"
                time.sleep(0.1)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(10)

    def died(self, name: str, within_s: float = 60) -> bool:
        """Whether the process met its moment."""
        try:
            return self.processes[name].wait(within_s) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

    def connect(self) -> Network:
        to = target(home.settings(self.hub)["url"])
        dialler = Dialler(to, way_out(to, "", {}), root=(self.hub / "tls-root.pem").read_text(), ca_file="")
        return Network(Link(dialler, home.read_key(self.hub / home.OPERATOR), home.key(self.hub).public, agent="test"))

    def begin(self, study: str) -> Run | None:
        """Submit and start a study; None if the coordinator died while it started, as it may."""
        digest = self.network.submit(study)
        try:
            return self.network.start(digest)
        except LinkError:
            return None

    def finish(self, run: Run, within_s: float = 120) -> dict[str, Any]:
        """Wait for a run's end; all its results as flat arrays."""
        status = run.wait(within_s)
        assert status == "finished", (status, run.status())
        return flat(run.results().trees)


def flat(results: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All arrays of all results, copied."""
    return {path: np.array(leaf) for path, leaf in T.flatten(results).items()}


def tables(folder: Path, sites: Mapping[str, str], study: Study) -> dict[str, Table]:
    """The sites' rows, read as their workers read them."""
    return {name: plan.rows(study, quality.passed(intake.named(folder / name, "patients", study), study)[0]) for name in sites}


def in_process(folder: Path, sites: Mapping[str, str], text: str) -> dict[str, np.ndarray]:
    """The same study on the same files in this process."""
    study = manifest.read(text)
    own = learner(study) if isinstance(study.method, Averaging) else None
    course: Course = walk(plan.stages(study, own), tables(folder, sites, study), seed=study.seed)[0]
    return flat(course.results)


def hospital(seed: int, rows: int) -> str:
    """A made-up hospital's CSV export: mixed columns, missing values, several stays of a patient."""
    rng = np.random.default_rng(seed)
    lines = ["who,age,sex,code,ill"]
    for n in range(rows):
        age, sex = rng.normal(60, 10), rng.choice(["F", "M"])
        ill = int(rng.random() < 1 / (1 + np.exp(-(age - 60) / 10 - (sex == "M"))))
        written = "" if rng.random() < 0.1 else f"{age:.1f}"
        lines.append(f"p{seed}-{n // 2},{written},{sex},{rng.choice(['I50', 'E11', 'N18', 'Z99'], p=[0.5, 0.3, 0.19, 0.01])},{ill}")
    return "\n".join(lines) + "\n"


STUDY = """
collegium: 1
title: Test
purpose: To find faults.
patient: who
variables:
  age: {{kind: number, unit: years, low: 0, high: 120}}
  sex: {{kind: category, categories: [F, M]}}
  code: {{kind: category}}
  ill: {{kind: binary}}
outcome: {{task: binary, target: ill}}
method: {method}
{more}
"""


if __name__ == "__main__":
    {"coordinator": coordinator_process, "site": site_process}[sys.argv[1]](*sys.argv[2:])
