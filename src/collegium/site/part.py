"""This site's part in one run: be admitted by the policy, answer each task, keep what came out.

One request hands in an answer and waits for the next task. Whatever is interrupted is asked for again and gives the same bytes,
so there is nothing to remember here: the coordinator knows where the run stands, and the worker's memory is on the disk.
"""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from collegium.canonical import canonical
from collegium.errors import (
    CollegiumError,
    ConflictError,
    FrameError,
    IdentityError,
    LinkError,
    NotFound,
    PolicyRefusal,
    StorageError,
    UpdateError,
)
from collegium.site import policy
from collegium.site.config import Config, settle, tables, write
from collegium.site.frames import INLINE
from collegium.site.ledger import Ledger
from collegium.site.link import LONG_POLL_S, Link, Stopped
from collegium.site.pipe import Start, Worker, WorkerDied
from collegium.site.transfer import Cache, operation, upload

ENDED = ("finished", "stopped", "failed")
STORAGE_PAUSE_S = 5.0
PATIENCE = 3  # times that the same thing may fail before this site leaves the run
RELEASE = "way out: install the coordinator's release of Collegium here, then ask its operator to resume the run"

Says = dict[str, Any]
Tell = Callable[[str, Says], None]  # (run, what is new about it)


@dataclass(frozen=True)
class House:
    """What all runs at this site share."""

    config: Config
    link: Link
    ledger: Ledger
    cache: Cache
    go: threading.Event  # cleared while the site is paused
    start: Start
    tell: Tell


class Left(Exception):
    """This site leaves the run: with a code, and a sentence that may be told."""

    def __init__(self, code: str, says: str, detail: str = "") -> None:
        super().__init__(detail or says)
        self.code, self.says = code, says


class Part:
    """One run, as this site sees it. `follow` returns when the run is over or the site has left it."""

    def __init__(self, house: House, offer: Says) -> None:
        self.house, self.run, self.study = house, str(offer["run"]), str(offer["study"])
        self.manifest: Says = offer["manifest"]
        self.folder = house.config.state / "runs" / self.run
        self.policy, self.policy_seen, self.table, self.rows = policy.Policy(Path()), -1.0, "", 0
        self.worker: Worker | None = None
        self.line: dict[str, str] = {}
        self.publish: dict[str, str] | None = None
        self.failures, self.refused, self.why = 0, 0, ""

    def follow(self) -> str:
        """Take part to the end: `finished`, `stopped`, `failed`, or `left` if this site cannot or may not take part."""
        try:
            return self.answer_all()
        finally:
            if self.worker:
                self.worker.end()
            shutil.rmtree(self.folder / "spool", ignore_errors=True)

    def answer_all(self) -> str:
        """Ask for tasks and answer them."""
        try:
            self.prepare()
            refusal = None
        except Left as left:
            refusal = left
        answer, vector = None, b""
        while True:
            reply, state = self.request(answer, vector)
            answer, vector = None, b""
            status, task = str(reply["status"]), reply.get("task")
            if status in ENDED:
                return self.over(status, reply)
            if task is None:
                self.tell(status=status, says=str(reply.get("says", "")))
                continue
            try:
                if refusal:
                    raise refusal
                if self.refused >= PATIENCE:
                    raise Left("update", "the coordinator did not take this site's updates, several times", f"{self.why}; {RELEASE}")
                answer, vector = self.answered(task, state)
            except (ConflictError, NotFound) as e:  # the round ended while its answer was made: the next task says where the run stands
                self.tell(says=f"came too late: {e}")
                self.house.link.stop.wait(0.2)
            except Left as left:
                self.hand_in_failure(task, left)
                return "left"

    def request(self, answer: Says | None, vector: Any) -> tuple[Says, Any]:
        """Hand in and wait for what comes next; an answer that is refused is not sent again."""
        link, started = self.house.link, time.monotonic()
        line, self.publish = self.publish, None
        message: Says = {"run": self.run, "serving": [], "answer": answer, "line": line, "wait_s": LONG_POLL_S}
        try:
            reply, state = link.steadily(lambda: link.work(message, vector))
        except (ConflictError, UpdateError, FrameError) as e:
            self.why = f"the coordinator did not take an answer: {e}{f'; way out: {e.hint}' if e.hint else ''}"
            self.refused += not isinstance(e, ConflictError)
            self.tell(trouble=self.why)
            link.stop.wait(1)
            return self.request(None, b"")
        except NotFound as e:
            return {"status": "stopped", "says": str(e)}, b""
        self.refused = 0 if answer else self.refused
        if reply.get("task") is None and str(reply["status"]) not in ENDED and time.monotonic() - started < 0.5:
            link.stop.wait(0.5)  # a coordinator that does not hold the request must not be asked without end
        return reply, state

    def prepare(self) -> None:
        """Be admitted by the policy, and open the worker on the rows. Raises `Left`."""
        if hashlib.sha256(canonical(self.manifest)).hexdigest() != self.study:
            raise Left("identity", "the manifest that came is not the one that was announced")
        self.admit()
        self.folder.mkdir(parents=True, exist_ok=True)
        opening = {
            "do": "open", "manifest": self.manifest, "study": self.study, "site": self.house.config.site, "folder": str(self.folder),
            "home": str(self.house.config.folder),
            "table": self.table,
        }  # fmt: skip
        log = self.house.config.folder / "log" / f"worker-{self.run}.log"
        self.worker = Worker(opening, log, threads=self.house.config.threads, start=self.house.start)
        while True:
            told = self.asked(self.worker.open)
            if told.get("failure") != "storage":
                break
            self.pause(str(told["says"]))
        if "failure" in told:
            raise Left(str(told["failure"]), str(told["says"]), str(told.get("detail", "")))
        self.rows = int(told["rows"])
        self.admit()
        self.tell(status="running", title=str(self.manifest["title"]), stages=told["stages"])

    def admit(self) -> None:
        """Ask the policy, again whenever its file has changed. Raises `Left`."""
        path = self.house.config.folder / "policy.yaml"
        changed = path.stat().st_mtime if path.exists() else 0.0
        if changed == self.policy_seen and not self.rows:
            return
        try:
            if changed != self.policy_seen:
                self.policy = policy.load(path)
                self.table = self.chosen()
                policy.check(self.policy, self.manifest, self.study, self.table)
            policy.check_rows(self.policy, self.manifest, self.table, self.rows)
        except PolicyRefusal as e:
            raise Left("refused", str(e), f"{e} {e.hint}".strip()) from None
        except CollegiumError as e:
            raise Left("refused", "this site's policy cannot be read, so nothing may run", f"{e} {e.hint}".strip()) from None
        self.policy_seen = changed

    def chosen(self) -> str:
        """The table for this study: the first registered one that the policy lists and opens to it."""
        names = [name for name in tables(self.house.config.folder) if name in self.policy.tables]
        for name in names:
            try:
                policy.check(self.policy, self.manifest, self.study, name)
            except PolicyRefusal:
                continue
            return name
        return names[0] if names else ""

    def answered(self, task: Says, state: Any) -> tuple[Says, Any]:
        """The answer to one task and its vector: an empty one if the vector was uploaded before. Raises `Left`."""
        assert self.worker is not None
        if task["run"] != self.run or task["study"] != self.study:
            raise Left("identity", "a task of another study came under this run's name")
        path = self.kept(task) if int(task["state_bytes"]) > INLINE else ""
        while True:
            self.go()
            self.admit()
            stage, number, _, phase = task["place"]
            self.tell(stage=stage, round=number, phase=phase, doing="computing")
            question: Says = {"do": "task", "task": task, "state": path}
            told, vector = self.asked(partial(self.worker.ask, question, b"" if path else state))
            if told.get("failure") != "storage":
                break
            self.pause(str(told["says"]))
        if "failure" in told:
            return self.failed(task, told)
        self.failures = 0
        return self.sent(task, told, vector)

    def asked(self, question: Callable[[], Any]) -> Any:
        """What the worker says; one that died is replaced a few times."""
        for left in range(PATIENCE - 1, -1, -1):
            try:
                answer = question()
            except WorkerDied as e:
                if self.house.link.stop.is_set():
                    raise Stopped from None
                self.tell(trouble=f"{e}; {e.hint}")
                if not left:
                    raise Left("failed", "the computation ended unexpectedly at the site, several times", str(e)) from None
            else:
                return answer
        raise AssertionError

    def failed(self, task: Says, told: Says) -> tuple[Says, Any]:
        """Tell the coordinator that this round cannot be answered; the next one perhaps can. Raises `Left` if not."""
        self.failures += 1
        self.tell(trouble=str(told.get("detail") or told["says"]))
        if told["final"] or self.failures >= PATIENCE:
            raise Left(str(told["failure"]), str(told["says"]), str(told.get("detail", "")))
        return self.refusal(task, str(told["failure"]), str(told["says"]), final=False), b""

    def sent(self, task: Says, told: Says, vector: Any) -> tuple[Says, Any]:
        """Record what is about to leave, and upload it if it is large."""
        self.line = told.get("line") or self.line
        answer = {
            "version": 1, "run": self.run, "place": task["place"], "digest": told["digest"], "nbytes": told["nbytes"], "failure": "",
            "says": "", "final": False,
        }  # fmt: skip
        ledger = self.house.ledger
        form = self.recorded(lambda: ledger.form(task["layout"]))
        facts = {"study": self.study, "place": task["place"], "form": form, "bytes": told["nbytes"], "digest": told["digest"]}
        self.recorded(lambda: ledger.append("sum", run=self.run, **facts))
        if told.get("line") and self.policy.publish_line:
            self.publish = self.line
            self.recorded(lambda: ledger.append("line", run=self.run, line=self.line))
        if "spool" in told:
            self.tell(doing="sending")
            op = operation(self.run, task["place"], self.house.config.site)
            upload(self.house.link, op, self.run, Path(told["spool"]), told["chunks"])
        self.tell(doing="waiting")
        return answer, vector

    def recorded(self, write: Callable[[], Any]) -> Any:
        """Nothing leaves that the ledger could not take: a full disk is told and waited for."""
        while True:
            try:
                return write()
            except StorageError as e:
                self.pause(f"{e}; {e.hint}")

    def kept(self, task: Says) -> str:
        """The file of a large state."""
        cache = self.house.cache
        path = cache.fetch(self.house.link, str(task["state"]), int(task["state_bytes"]))
        cache.keep([str(task["state"])])
        return str(path)

    def go(self) -> None:
        """Wait while the site is paused."""
        while not self.house.go.wait(0.5):
            if self.house.link.stop.is_set():
                raise Stopped

    def pause(self, why: str) -> None:
        """Say what is wrong here, and wait a little before the next try."""
        self.tell(trouble=why)
        if self.house.link.stop.wait(STORAGE_PAUSE_S):
            raise Stopped

    def refusal(self, task: Says, code: str, says: str, *, final: bool) -> Says:
        """An answer without an update."""
        self.recorded(lambda: self.house.ledger.append("failure", run=self.run, place=task["place"], code=code, says=says, final=final))
        return {
            "version": 1, "run": self.run, "place": task["place"], "digest": "", "nbytes": 0, "failure": code, "says": says, "final": final
        }  # fmt: skip

    def hand_in_failure(self, task: Says, left: Left) -> None:
        """Tell the coordinator why this site leaves the run."""
        self.tell(status="left", title=str(self.manifest["title"]), says=left.says, detail=str(left))
        message: Says = {
            "run": self.run,
            "serving": [],
            "answer": self.refusal(task, left.code, left.says, final=True),
            "line": None,
            "wait_s": 0,
        }
        try:
            self.house.link.steadily(lambda: self.house.link.work(message))
        except (CollegiumError, IdentityError) as e:
            if isinstance(e, LinkError):
                raise
            self.tell(trouble=str(e))

    def over(self, status: str, reply: Says) -> str:
        """Keep what came out of the run, and forget what was only needed during it."""
        if status == "finished" and reply.get("results"):
            self.keep_results(str(reply["results"]), int(reply["results_bytes"]))
        self.tell(status=status, says=str(reply.get("says", "")), doing="")
        return status

    def keep_results(self, digest: str, nbytes: int) -> None:
        """The results, the study and this site's own line, under `models/` in the site's folder."""
        folder = self.house.config.folder / "models" / self.run
        folder.mkdir(parents=True, exist_ok=True)
        source = self.house.cache.fetch(self.house.link, digest, nbytes)

        def keep() -> None:
            try:
                shutil.copyfile(source, folder / "results.part")
                os.replace(folder / "results.part", folder / "results.safetensors")
                settle(folder)
            except OSError as e:
                raise StorageError(f"{folder} cannot be written: {e.strerror}", hint="make room on the disk") from None
            write(folder / "study.json", canonical(self.manifest))
            write(folder / "line.json", canonical(self.line))

        self.recorded(keep)
        self.house.cache.keep([])
        self.tell(model=str(folder))

    def tell(self, **facts: Any) -> None:
        """What is new, for the people at this site."""
        self.house.tell(self.run, facts)
