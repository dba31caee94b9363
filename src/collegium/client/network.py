"""A federation as a researcher or an operator sees it: submit a study, start it, watch it, fetch what came out.

    network = connect("coordinator-folder")            # or connect("https://hub.example:8443", key="operator.key")
    run = network.start(network.submit("study.yaml"))
    for event in run.watch():                          # Ctrl-C stops watching; the run goes on
        print(event["says"])
    print(run.results())

Every call is signed, and every answer is checked against the coordinator's key, by the same `Link` that the sites use.
"""

import html
import os
import time
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from collegium import tree as T
from collegium import wire
from collegium.canonical import canonical
from collegium.client import first as starts
from collegium.client.names import pick
from collegium.client.results import STANDS, Results
from collegium.client.simulate import reading
from collegium.errors import ConflictError, NotAllowed
from collegium.site.link import BYTES, LONG_POLL_S, Link
from collegium.site.transfer import Cache
from collegium.study import manifest, participants
from collegium.study.manifest import Study

OVER, PAUSED = ("finished", "stopped", "failed"), "paused"
PARTED, ANSWERED, COMPUTES = "left: ", "has answered", "computes"  # what a hospital does in a run, in words
Document = dict[str, Any]


class Network:
    """One coordinator, as the holder of one key sees it."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def ask(self, path: str, *, query: str = "") -> Document:
        """The answer to a question."""
        return self.link.call("GET", path, query=query).json()

    def order(self, path: str, document: Mapping[str, Any] | None = None) -> Document:
        """The answer to an order. Not repeated by itself: whoever gave it sees whether it was carried out."""
        reply = self.link.call("POST", path, body=canonical(dict(document or {})))
        return reply.json() if reply.body else {}

    def status(self) -> Document:
        """The federation, its sites and its runs."""
        return self.ask("/v1/status")

    def invite(self, name: str) -> str:
        """A join code for one site; it works once, for 72 hours."""
        return str(self.order("/v1/invites", {"name": name})["code"])

    def sites(self) -> list[Document]:
        """The sites that have joined."""
        return list(self.ask("/v1/sites")["sites"])

    @property
    def studies(self) -> list[Document]:
        """The studies that were submitted."""
        return list(self.ask("/v1/studies")["studies"])

    @property
    def runs(self) -> list[Document]:
        """All runs, whatever became of them."""
        return list(self.ask("/v1/runs")["runs"])

    def submit(self, study: "Study | Mapping[str, Any] | str | os.PathLike[str]") -> str:
        """Bring a study, its manifest or the path of one to the coordinator; returns its digest, which is its name."""
        read = reading(study)
        if not isinstance(read, Study):
            raise TypeError(f"{type(read).__name__} is not a study; an estimator's is estimator.study(sites, y)")
        return str(self.order("/v1/studies", {"manifest": read.model_dump(mode="json")})["study"])

    def study(self, name: str) -> Document:
        """A study and its runs, by its digest, the first letters of it, or its title."""
        known = {one["study"]: one.get("title", "") for one in self.studies}
        titled = [digest for digest, title in known.items() if title == name]
        return self.ask(f"/v1/studies/{titled[-1] if titled else pick(name, known, 'study')}")

    def start(self, study: Any, sites: Collection[str] = (), *, first: "str | os.PathLike[str]" = "") -> "Run":
        """Start a run of a study (its digest, or what `submit` takes), at all sites or at these.

        `first` is a model's folder, or a safetensors file, whose weights training begins from.
        """
        digest = study if isinstance(study, str) and is_digest(study) else self.submit(study)
        self.enlist(digest, sites)
        asked: Document = {"sites": sorted(sites)} if sites else {}
        if first:
            asked["first"] = self.bring(starts.first(first, manifest.read(self.study(digest)["manifest"])))
        return Run(self, str(self.order(f"/v1/studies/{digest}/start", asked)["run"]))

    def bring(self, first: starts.First) -> str:
        """Upload first weights, going on where a cut line left them; their digest."""
        digest, of, at = first.digest, first.path.stat().st_size, 0
        while at < of:
            start, piece = next(first.pieces(at))
            call = partial(self.link.call, "PUT", f"/v1/first/{digest}", query=f"at={start}&of={of}", body=piece, kind=BYTES)
            at = int(self.link.steadily(call).json()["bytes"])
        return digest

    def enlist(self, study: str, sites: Collection[str] = ()) -> list[str]:
        """Put these sites, or all that have joined, on a study's participant list, signed with this key; those that are new to it.

        A hospital's steward approves exactly this list. Only the key that signed the first entry, the study's lead, can add to it.
        Raises `IdentityError` for a list at the coordinator that the lead did not sign.
        """
        found, mine = self.ask(f"/v1/studies/{study}"), self.link.key
        known = participants.entries_of(found["participants"])
        there = participants.read(known, study, str(found["lead"]))
        leads = mine is not None and found["lead"] in ("", mine.public)
        if not leads and not set(sites) - there.keys():
            return []  # another's study, as it is
        keys = {str(one["name"]): str(one["key"]) for one in self.sites()}
        more = {name: keys[pick(name, keys, "site")] for name in sorted(set(sites or keys) - there.keys())}
        if not more:
            return []
        if mine is None or not leads:
            way = "ask the lead to add them, or submit a study of your own: another title makes another study"
            raise NotAllowed(f"only the study's lead can add {', '.join(more)} to its participants", hint=way)
        entries = participants.appended(known, study, mine, more)[len(known) :]
        self.order(f"/v1/studies/{study}/participants", {"participants": participants.as_document(entries)})
        return [*more]

    def run(self, name: str = "") -> "Run":
        """A run by its name, or the first letters of it; the newest one without."""
        runs = self.runs
        if not name and runs:
            return Run(self, str(runs[-1]["run"]))  # the coordinator lists the newest last
        return Run(self, pick(name, [str(one["run"]) for one in runs], "run"))

    def close(self) -> None:
        """End the connections."""
        closed(self.link)

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Network at {self.link.dialler.to}>"

    def _repr_html_(self) -> str:
        found = self.status()
        rows = "".join(
            f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value)[:200])}</td></tr>" for name, value in found.items()
        )
        return f"<table>{rows}</table>"


class Run:
    """One execution of a study at real sites."""

    def __init__(self, network: Network, name: str) -> None:
        self.network, self.name = network, name

    def status(self) -> Document:
        """Where it stands: status, stage, round, who answered, who is waited for, the figures so far."""
        return self.network.ask(f"/v1/runs/{self.name}")

    def events(self, after: int = 0, wait_s: int = 0) -> list[Document]:
        """What happened after event number `after`; waits so long for something to happen."""
        query = f"after={after}&wait_s={wait_s}"
        return list(self.network.link.steadily(lambda: self.network.ask(f"/v1/runs/{self.name}/events", query=query))["events"])

    def watch(self, after: int = 0) -> Iterator[Document]:
        """Everything that happens, as it happens, until the run is over or paused. An interrupt ends the watching, never the run."""
        while True:
            try:
                found = self.events(after, LONG_POLL_S)
            except KeyboardInterrupt:
                return
            for event in found:
                after = int(event["id"])
                yield event
            if any(event["kind"] in OVER for event in found):
                return
            quiet = not found or any(event["kind"] == PAUSED for event in found)  # it may have been resumed since
            if quiet and self.status()["status"] in (*OVER, PAUSED):
                return

    def wait(self, timeout_s: float = float("inf"), *, through_pauses: bool = False) -> str:
        """Block until the run is over; its last status. Raises `ConflictError` when it is paused, for then nothing happens by itself.

        `through_pauses` waits on until somebody resumes it. Raises `TimeoutError`.
        """
        end, after = time.monotonic() + timeout_s, 0
        while (left := end - time.monotonic()) > 0:
            found = self.events(after, int(min(left, LONG_POLL_S)))
            after = int(found[-1]["id"]) if found else after
            now = self.status()
            if now["status"] in OVER:
                return str(now["status"])
            if now["status"] == PAUSED and not through_pauses:
                raise ConflictError(
                    paused(now), hint="run.resume() lets it go on; wait(through_pauses=True) waits until somebody resumes it"
                )
        now = self.status()
        stands = "it goes on" if now["status"] != PAUSED else paused(now)
        raise TimeoutError(f"run {self.name} is not over after {timeout_s:.0f} s; {stands}")

    def pause(self) -> Document:
        """Let it rest after its present round."""
        return self.network.order(f"/v1/runs/{self.name}/pause")

    def resume(self) -> Document:
        """Let it go on; sites that had left are asked again."""
        return self.network.order(f"/v1/runs/{self.name}/resume")

    def stop(self) -> Document:
        """End it; what it has learned is kept."""
        return self.network.order(f"/v1/runs/{self.name}/stop")

    def results(self) -> Results:
        """What it found. Raises `ConflictError` as long as there is nothing."""
        found = self.found()
        if not found.trees:
            raise ConflictError(nothing(found.run), hint=way_on(found.run))
        return found

    def found(self) -> Results:
        """What there is of it: of a run that goes on, or that ended before its first sum, the study and how it stands, without arrays."""
        document, told = self.status(), self.network.ask(f"/v1/runs/{self.name}/results")
        study = manifest.read(self.network.study(document["study"])["manifest"])
        lines = {site: numbers(line) for site, line in dict(told.get("lines") or {}).items()}
        trees = self.trees(told["results"], int(told["results_bytes"])) if told.get("results") else {}
        return Results(study, trees, lines, {}, document)

    def report(self, path: str | os.PathLike[str], **facts: Any) -> Path:
        """Write its report as one HTML file, whatever became of the run, and return where it is; `facts` as in `study.report`."""
        found = self.found()
        events = [] if found.run["status"] == "finished" else self.history()
        return found.report(Path(path), **{"events": events, **facts})

    def history(self) -> list[Document]:
        """Everything that happened until now."""
        told: list[Document] = []
        while found := self.events(int(told[-1]["id"]) if told else 0):
            told += found
        return told

    def trees(self, digest: str, nbytes: int) -> T.Tree:
        """The frame of results, fetched and decoded."""
        with TemporaryDirectory(prefix="collegium-") as folder:
            file = Cache(Path(folder)).fetch(self.network.link, digest, nbytes)
            return wire.decode(file.read_bytes())

    def __repr__(self) -> str:
        return f"<Run {self.name}>"

    def _repr_html_(self) -> str:
        found = self.status()
        facts = {name: found.get(name, "") for name in ("status", "stage", "round", "says")}
        return f"<div>{html.escape(f'run {self.name}')}: {html.escape(', '.join(f'{k} {v}' for k, v in facts.items() if v != ''))}</div>"


def closed(link: Link) -> None:
    """End a link and let go of its sockets."""
    link.close()
    while link.idle:
        link.drop(link.idle.pop())


def paused(run: Mapping[str, Any]) -> str:
    """That a run is paused, and why."""
    return f"run {run['run']} is paused{': ' if run.get('says') else ''}{run.get('says') or ''}"


def standing(status: Mapping[str, Any], site: str) -> str:
    """What one hospital is doing in a run.

    >>> standing({"sites": ["a"], "waiting": ["a"], "stewards": ["a"], "status": "running"}, "a")
    'waits for its data steward'
    """
    left, answered, waiting, stewards = (status.get(name) or {} for name in ("left", "answered", "waiting", "stewards"))
    if site in left:
        return f"{PARTED}{left[site]}"
    if status["status"] in OVER:
        return "took part"
    if status["status"] == PAUSED:
        return "rests"
    if site in stewards:
        return "waits for its data steward"
    return ANSWERED if site in answered else COMPUTES if site in waiting else "waits"


def nothing(run: Mapping[str, Any]) -> str:
    """That a run has no results, and why."""
    why = f": {run['says']}" if run.get("says") else ""
    return f"run {run['run']} {STANDS.get(run['status'], run['status'])}{why}; it has no results"


def way_on(run: Mapping[str, Any]) -> str:
    """How to go on with a run that has no results."""
    name, status = run["run"], run["status"]
    if status in OVER:
        return f"collegium study report {name} writes down what happened; then mend the cause and start the study again"
    return f"collegium study resume {name}" if status == PAUSED else f"collegium study watch {name} shows how far it is"


def numbers(line: Mapping[str, str]) -> dict[str, Any]:
    """A site's own line, which travels as text."""
    return {name: np.array(float(value)) for name, value in line.items()}


def is_digest(text: str) -> bool:
    """Whether a text is a study's whole digest."""
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)
