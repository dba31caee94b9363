"""This site's part in one run: be admitted by the policy, answer each task, keep what came out.

One request hands in an answer and waits for the next task. Whatever is interrupted is asked for again and gives the same bytes,
so there is nothing to remember here: the coordinator knows where the run stands, and the worker's memory is on the disk.
"""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from collegium.errors import (
    CollegiumError,
    ConflictError,
    FrameError,
    IdentityError,
    LinkError,
    NotFound,
    StorageError,
    UpdateError,
)
from collegium.site import outcome, secure
from collegium.site.admission import Admission, Left
from collegium.site.config import Config, key_of
from collegium.site.frames import INLINE
from collegium.site.ledger import Ledger
from collegium.site.link import LONG_POLL_S, Link, Stopped
from collegium.site.pipe import Start, Worker, WorkerDied
from collegium.site.transfer import Cache, operation, upload
from collegium.site.vault import Vault
from collegium.site.witness import Asked, Witness

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
    witness: Witness
    go: threading.Event  # cleared while the site is paused
    start: Start
    tell: Tell


class Unmasked(Exception):
    """The secure sum refuses this task: the round goes on without this site."""


class Part:
    """One run, as this site sees it. `follow` returns when the run is over or the site has left it."""

    def __init__(self, house: House, offer: Says) -> None:
        self.house, self.run, self.study = house, str(offer["run"]), str(offer["study"])
        self.manifest: Says = offer["manifest"]
        self.admission = Admission(house.config, offer)
        self.folder = house.config.state / "runs" / self.run
        self.cache = Cache(self.folder / "cache")
        self.worker: Worker | None = None
        self.line: dict[str, str] = {}
        self.publish: dict[str, str] | None = None
        self.failures, self.refused, self.why = 0, 0, ""
        self.sums: secure.Sums | None = None

    def follow(self) -> str:
        """Take part to the end: `finished`, `stopped`, `failed`, or `left` if this site cannot or may not take part."""
        try:
            status = self.answer_all()
            if self.sums:  # whether the run is over or this site has left it
                self.recorded(self.sums.leave)
            shutil.rmtree(self.cache.folder, ignore_errors=True)
            return status
        finally:
            if self.worker:
                self.worker.end()
            if self.sums:
                self.sums.close()
            for name in ("spool", "sums"):
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def answer_all(self) -> str:
        """Ask for tasks and answer them."""
        try:
            self.prepare()
            refusal = None
        except Left as left:
            refusal = left
        answer, vector, said = None, b"", list[Says]()
        if refusal and secure.wanted(self.manifest):  # before keys are made: nobody waits for this site's
            return self.leave(refusal)
        while True:
            reply, state, look = self.request(answer, vector, said)
            answer, vector, said = None, b"", []
            status, task, asked = str(reply["status"]), reply.get("task"), reply.get("secure")
            if status in ENDED:
                return self.over(status, reply, look)
            refusal = refusal or self.recorded(partial(self.lie, reply, look)) or self.altered(reply)
            if refusal and self.sums:
                return self.leave(refusal)
            if task is None:
                said = self.heard(asked) if asked else self.waits(reply)
                continue
            try:
                if refusal:
                    raise refusal
                if self.refused >= PATIENCE:
                    raise Left("update", "the coordinator did not take this site's updates, several times", f"{self.why}; {RELEASE}")
                answer, vector = self.answered(task, state, asked)
            except Unmasked as e:
                said = [secure.refusal(e)]
            except (ConflictError, NotFound) as e:  # the round ended while its answer was made: the next task says where the run stands
                self.tell(says=f"came too late: {e}")
                self.house.link.stop.wait(0.2)
            except Left as left:
                self.hand_in_failure(task, left)
                return "left"

    def waits(self, reply: Says) -> list[Says]:
        """There is nothing to do yet, and so nothing to say."""
        self.tell(status=str(reply["status"]), says=str(reply.get("says", "")))
        return []

    def lie(self, reply: Says, look: Asked) -> Left | None:
        """Hold what came of the coordinator's log against what this site has seen: why it leaves, where that cannot be right."""
        asked, task, witness = reply.get("secure") or {}, reply.get("task"), self.house.witness
        try:
            if look.since is None and task is not None:
                witness.hold(reply.get("log"), look, task)
            elif task is None and asked.get("kind") == "survivors":
                witness.vouch(reply.get("log"), look, str(asked.get("root")))
            elif look.since is not None:
                witness.check(reply.get("log"), look, task=task)
            witness.believe()
        except IdentityError as e:
            return Left("identity", str(e), f"{e}; way out: {e.hint}" if e.hint else "")
        return None

    def altered(self, reply: Says) -> Left | None:
        """Hold the sum that the coordinator shows of the last round against what went into it: why this site leaves, if it is another."""
        place, over = (reply.get("task") or {}).get("place", ()), reply["status"] == "finished"
        try:
            if self.sums:
                self.recorded(partial(self.sums.check, self.run, reply.get("sums") or (), place, over, self.fetched))
        except IdentityError as e:
            return Left("identity", str(e), f"{e}; way out: {e.hint}" if e.hint else "")
        except NotFound:
            self.tell(trouble="the last round's sum is gone before it was checked: the run has gone on without this site")
        return None

    def fetched(self, shown: Says) -> Path:
        """A sum that the coordinator shows, as a file."""
        return Cache(self.folder / "sums").fetch(self.house.link, str(shown["sum"]), int(shown["bytes"]))

    def request(self, answer: Says | None, vector: Any, said: list[Says], *, now: bool = False) -> tuple[Says, Any, Asked]:
        """Hand in and wait for what comes next; an answer that is refused is not sent again. `said` goes into the secure sum."""
        link, started, look = self.house.link, time.monotonic(), self.house.witness.ask(self.run, now=now)
        line, self.publish = self.publish, None
        message: Says = {"run": self.run, "serving": [], "answer": answer, "line": line, "wait_s": LONG_POLL_S, "secure": said}
        message["log"] = look.document()
        try:
            reply, state = link.steadily(lambda: link.work(message, vector))
        except (ConflictError, UpdateError, FrameError) as e:
            self.why = f"the coordinator did not take an answer: {e}{f'; way out: {e.hint}' if e.hint else ''}"
            self.refused += not isinstance(e, ConflictError)
            self.tell(trouble=self.why)
            link.stop.wait(1)
            return self.request(None, b"", [])
        except NotFound as e:
            return {"status": "stopped", "says": str(e)}, b"", look
        self.refused = 0 if answer else self.refused
        if not reply.get("task") and not reply.get("secure") and str(reply["status"]) not in ENDED and time.monotonic() - started < 0.5:
            link.stop.wait(0.5)  # a coordinator that does not hold the request must not be asked without end
        return reply, state, look

    def prepare(self) -> None:
        """Be admitted by the steward and the policy, and open the worker on the rows. Raises `Left`."""
        self.believe()
        self.admission.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        opening = {
            "do": "open", "manifest": self.manifest, "study": self.study, "site": self.house.config.site, "folder": str(self.folder),
            "home": str(self.house.config.folder),
            "table": self.admission.table,
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
        self.admission.rows = int(told["rows"])
        self.admission.check()
        if secure.wanted(self.manifest):
            self.sums = self.recorded(self.opened_sums)
        self.tell(status="running", title=str(self.manifest["title"]), stages=told["stages"])

    def believe(self) -> None:
        """Go on only with a coordinator that is not proved to have lied, in whichever run that came out. Raises `Left`."""
        try:
            self.house.witness.believe()
        except IdentityError as e:
            raise Left("identity", str(e), e.hint) from None

    def opened_sums(self) -> secure.Sums:
        """This site's part in the secure sums of the study, as far as it came in earlier runs."""
        vault, config = Vault(self.house.config.state / "secure" / f"{self.study}.db"), self.house.config
        admission, key = self.admission, key_of(config.folder)
        return secure.Sums(
            vault, self.manifest, self.study, config.site, key, admission.verdict.pins, lambda says: self.tell(trouble=says),
            vouch=admission.vouch,
        )  # fmt: skip

    def heard(self, asked: Says) -> list[Says]:
        """What this site says to a message of the secure sum; where it finds a lie it refuses, and says so to everybody."""
        if self.sums is None:
            return [secure.refusal(IdentityError("a message of a secure sum came for a study that asks for none"))]
        try:
            out: list[Says] = self.guarded(partial(self.sums.hear, asked))
            return out
        except Unmasked as e:
            return [secure.refusal(e)]

    def answered(self, task: Says, state: Any, asked: Says | None) -> tuple[Says, Any]:
        """The answer to one task and its vector: an empty one if the vector was uploaded before. Raises `Left`."""
        assert self.worker is not None
        if task["run"] != self.run or task["study"] != self.study:
            raise Left("identity", "a task of another study came under this run's name")
        ask, masks = self.masks(task, asked) if self.sums else (None, ())
        if isinstance(masks, str):  # answered before a restart: under the masks of then, or not at all
            told, vector = self.guarded(partial(secure.kept, self.folder, masks, task["layout"]))
            return self.sent(task, told, vector)
        path = self.kept(task) if int(task["state_bytes"]) > INLINE else ""
        while True:
            self.go()
            self.admission.check()
            stage, number, _, phase = task["place"]
            self.tell(stage=stage, round=number, phase=phase, doing="computing")
            question: Says = {"do": "task", "task": task, "state": path, "masks": [[mask.key.hex(), mask.sign] for mask in masks]}
            question["tag"] = self.sums.tag(ask.ask.epoch, ask.ask.index).hex() if self.sums and ask else ""
            told, vector = self.asked(partial(self.worker.ask, question, b"" if path else state))
            if told.get("failure") != "storage":
                break
            self.pause(str(told["says"]))
        if "failure" in told:
            return self.failed(task, told)
        self.failures = 0
        if ask is not None:
            self.burn(ask, told, vector, task)
        return self.sent(task, told, vector)

    def masks(self, task: Says, asked: Says | None) -> tuple[Any, Any]:
        """What the secure sum lays over this task's vector. Raises `Unmasked` where the machine refuses: nothing is sent then."""
        if asked is None:
            raise Left("identity", "the coordinator asked for a plain vector, and the study wants secure sums")
        assert self.sums is not None
        found: tuple[Any, Any] = self.guarded(partial(self.sums.masks, asked, task))
        return found

    def burn(self, ask: Any, told: Says, vector: Any, task: Says) -> None:
        """Keep the masked vector for as long as it may be asked for again, then use its keys up; only after that is it sent."""
        assert self.sums is not None
        if "spool" not in told:
            self.recorded(partial(secure.keep, self.folder, vector))
        self.guarded(partial(self.sums.burn, ask, str(told["digest"]), task))

    def guarded(self, step: Callable[[], Any]) -> Any:
        """A step of the secure sum. Raises `Unmasked` for what it refuses."""
        try:
            return self.recorded(step)
        except (StorageError, LinkError):
            raise
        except CollegiumError as e:
            self.tell(trouble=f"refused: {e}")
            raise Unmasked(str(e)) from None

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
        """Record what is about to leave, and upload it if it is large. Raises `Left`."""
        self.believe()  # what another run has found while this answer was made
        self.line = told.get("line") or self.line
        answer = {
            "version": 1, "run": self.run, "place": task["place"], "digest": told["digest"], "nbytes": told["nbytes"], "failure": "",
            "says": "", "final": False,
        }  # fmt: skip
        ledger = self.house.ledger
        form = self.recorded(lambda: ledger.form(task["layout"]))
        facts = {"study": self.study, "place": task["place"], "form": form, "bytes": told["nbytes"], "digest": told["digest"]}
        facts["masked"] = self.sums is not None
        self.recorded(lambda: ledger.append("sum", run=self.run, **facts))
        if told.get("line") and self.admission.policy.publish_line:
            self.publish = self.line
            self.recorded(lambda: ledger.append("line", run=self.run, line=self.line))
        self.house.witness.sent(self.run, task["place"], str(told["digest"]))
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
        return str(self.cache.fetch(self.house.link, str(task["state"]), int(task["state_bytes"])))

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
        self.house.witness.sent(self.run, task["place"], "")
        return {
            "version": 1, "run": self.run, "place": task["place"], "digest": "", "nbytes": 0, "failure": code, "says": says, "final": final
        }  # fmt: skip

    def leave(self, left: Left) -> str:
        """Leave a run with secure sums that this site may not or cannot take part in."""
        self.tell(status="left", title=str(self.manifest["title"]), says=left.says, detail=str(left))
        self.recorded(lambda: self.house.ledger.append("failure", run=self.run, place=[], code=left.code, says=left.says, final=True))
        self.hand_in(None, [{"kind": "leave", "says": left.says}])
        return "left"

    def hand_in_failure(self, task: Says, left: Left) -> None:
        """Tell the coordinator why this site leaves the run."""
        self.tell(status="left", title=str(self.manifest["title"]), says=left.says, detail=str(left))
        self.hand_in(self.refusal(task, left.code, left.says, final=True), [])

    def hand_in(self, answer: Says | None, said: list[Says]) -> None:
        """A last word, for which nothing is waited for."""
        message: Says = {"run": self.run, "serving": [], "answer": answer, "line": None, "wait_s": 0, "secure": said}
        try:
            self.house.link.steadily(lambda: self.house.link.work(message))
        except (CollegiumError, IdentityError) as e:
            if isinstance(e, LinkError):
                raise
            self.tell(trouble=str(e))

    def over(self, status: str, reply: Says, look: Asked) -> str:
        """Keep what came out of the run, and forget what was only needed during it."""
        if look.since is None:  # its last rounds are not looked at yet
            reply, _, look = self.request(None, b"", [], now=True)
        altered = self.altered(reply)
        lie = altered or (self.recorded(partial(self.lie, reply, look)) if "log" in reply else None)
        if status == "finished" and reply.get("results") and not altered:
            folder = self.house.config.folder / "models" / self.run
            source = self.cache.fetch(self.house.link, str(reply["results"]), int(reply["results_bytes"]))
            self.recorded(lambda: outcome.keep(folder, source, self.manifest, self.line, first=str(reply.get("first", ""))))
            self.tell(model=str(folder))
        self.tell(status=status, says=str(reply.get("says", "")), doing="", trouble=str(lie or ""))
        return status

    def tell(self, **facts: Any) -> None:
        """What is new, for the people at this site."""
        self.house.tell(self.run, facts)
