"""A real federation on this machine, for as long as a benchmark needs it: one coordinator, its sites, their workers.

They are the processes that `collegium coordinator serve` and `collegium site serve` run, over HTTPS on loopback; the sites may be
forks of one process, as in the demo (`collegium.site.nursery`), or processes of their own, as in hospitals. Only the recipe is not
real: `still/` takes its place, because the cost of training is not what is measured.
"""

import importlib.metadata as metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.measure import free_port, wait_for
from collegium.client.network import Network
from collegium.coordinator import founding, home
from collegium.data import registry
from collegium.site import config, enrol
from collegium.site.dial import Dialler, target
from collegium.site.link import Link

STILL = Path(__file__).parent / "still"
ROWS = "x,y\n" + "".join(f"{n * 0.1:.1f},{n % 2}\n" for n in range(20))
POLICY = 'level: 1\nrecipes: "*"\nmin_sites: 1\nauto_approve: true\ntables: {rows: {columns: "*", min_rows: 1}}\n'
COORDINATOR = """
import sys
from pathlib import Path
from collegium.coordinator.serve import serve
{before}
serve(Path(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""
NURSERY = """
import os, sys
from importlib.metadata import version
from pathlib import Path
from collegium.site.nursery import serve_all
serve_all([Path(name) for name in sys.argv[1:]], environ=os.environ, version=version("collegium"), quiet=True)
"""
VERSION = metadata.version("collegium")


def study(hidden: Sequence[int], rounds: int, sites: int, *, moves: bool, title: str = "speed", secure: bool = False) -> dict[str, Any]:
    """A manifest whose model has layers of these widths over one variable; its sites train nothing (see `still/still.py`).

    `secure` sums under masks; without it, what is measured beside others' plain sums is a plain sum.
    """
    return {
        "collegium": 1, "title": title, "purpose": "a benchmark",
        "variables": {"x": {"kind": "number"}, "y": {"kind": "binary"}}, "outcome": {"task": "binary", "target": "y"},
        "method": {
            "kind": "averaging", "recipe": "tabular", "hidden": list(hidden), "rounds": rounds, "local": {"epochs": 2 if moves else 1},
        },
        "held_out": {"test": 0, "validation": 0}, "sites": {"minimum": sites},
        "privacy": {"secure_aggregation": "on" if secure else "off", "because": "a benchmark"},
    }  # fmt: skip


def weights(hidden: Sequence[int]) -> int:
    """How many numbers such a model has."""
    widths = [1, *hidden, 1]
    return sum(came * goes + goes for came, goes in pairwise(widths))


@dataclass
class Federation:
    """Processes at work; `url` is where the coordinator says that it is reached."""

    folder: Path
    port: int
    coordinator: subprocess.Popen[bytes]
    operator: Link
    sites: list[str]
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def pids(self) -> list[int]:
        """Every process that was started here; `measure.family` finds the agents' workers."""
        return [self.coordinator.pid, *(process.pid for process in self.agents)]

    def ask(self, method: str, path: str, message: Mapping[str, Any] | None = None) -> Any:
        """What the coordinator answers its operator."""
        body = b"" if message is None else json.dumps(message).encode()
        return self.operator.call(method, path, body=body).json()

    def start(self, manifest: Mapping[str, Any]) -> str:
        """Begin a run of this study over all sites."""
        return Network(self.operator).start(dict(manifest)).name

    def stands(self, run: str) -> tuple[str, list[Any]]:
        """A run's status and place, cheaply."""
        found = next(each for each in self.ask("GET", "/v1/runs")["runs"] if each["run"] == run)
        if found["status"] not in ("running", "finished"):
            raise RuntimeError(f"the run is {found['status']}: {found['says']}")
        return found["status"], found["place"]

    def watch(self, run: str, *, every_s: float, limit_s: float) -> list[tuple[float, list[Any]]]:
        """(seconds, place) as often as asked until the run has finished; its last entry is the moment it was seen finished."""
        seen, end = [], time.monotonic() + limit_s
        while time.monotonic() < end:
            status, place = self.stands(run)
            seen.append((time.perf_counter(), place))
            if status == "finished":
                return seen
            time.sleep(every_s)
        raise TimeoutError(f"the run had not finished after {limit_s:.0f} s")


@contextmanager
def federation(
    folder: Path,
    names: Sequence[str],
    *,
    port: int = 0,
    dialled: int = 0,
    before: str = "pass",
    apart: bool = False,
    lines: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Federation]:
    """A coordinator and these sites, joined and waiting for work; `apart` makes each agent and worker a process by itself.

    `dialled` is the port that sites call, if something that counts bytes stands before the coordinator, and `lines` that of single
    sites, after they have joined; `before` is a line of
    Python that the coordinator's process runs first, such as a limit of its memory.
    """
    port = port or free_port()
    founding.init(folder / "coordinator", f"https://127.0.0.1:{dialled or port}", "benchmark")
    public, root = home.key(folder / "coordinator").public, (folder / "coordinator" / "tls-root.pem").read_text()
    with ExitStack() as stack:
        arguments = [sys.executable, "-c", COORDINATOR.format(before=before), str(folder / "coordinator"), str(port)]
        coordinator = stack.enter_context(process(arguments, folder / "coordinator.log", dict(os.environ)))
        link = Link(Dialler(target(f"https://127.0.0.1:{port}"), root=root), home.read_key(folder / "coordinator" / "operator.key"), public)
        wait_for("the coordinator", lambda: answers(link, coordinator, folder / "coordinator.log"), limit_s=60)
        found = Federation(folder, port, coordinator, link, [*names])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: join(found, name, lines.get(name)), names))
        paths = os.pathsep.join(filter(None, (str(STILL), os.environ.get("PYTHONPATH"))))
        folders, environment = [str(folder / name) for name in names], {**os.environ, "PYTHONPATH": paths}
        commands = [[sys.executable, "-m", "collegium.cli", "site", "serve", "--quiet", "--folder", each] for each in folders]
        for number, command in enumerate(commands if apart else [[sys.executable, "-c", NURSERY, *folders]]):
            found.agents.append(stack.enter_context(process(command, folder / f"agents{number}.log", environment)))
        yield found


def join(found: Federation, name: str, line: int | None) -> None:
    """Make a folder a site, with a table and a policy that allows everything; from then on it calls the port `line`."""
    folder = found.folder / name
    code = found.ask("POST", "/v1/invites", {"name": name})["code"]
    enrol.join(folder, code, version=VERSION, environ={})
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "rows.csv").write_text(ROWS)
    registry.add(folder, "rows", folder / "rows.csv")
    if line:
        config.save(replace(config.load(folder), url=f"https://127.0.0.1:{line}"))
    config.settle(folder)


def answers(link: Link, process: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether the coordinator is up. Raises `RuntimeError` with its last words if it has ended."""
    if process.poll() is not None:
        raise RuntimeError(f"the coordinator ended: {log.read_text()[-2000:]}")
    try:
        link.call("GET", "/v1/status")
    except Exception:  # not listening yet
        return False
    return True


@contextmanager
def process(arguments: Sequence[str], log: Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended, whatever happens."""
    with log.open("ab") as out:
        started = subprocess.Popen(arguments, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=dict(environ))
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
