"""The agent: one process that stands for the hospital. It dials out, asks for work, and answers what the policy allows.

It holds the site's key and opens no table: the rows are in a worker without key and network. It may be killed at any moment; the
next one goes on with the same bytes, because the coordinator knows what was committed and everything else is made again.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium.errors import CollegiumError, IdentityError, StorageError
from collegium.site import config, invites, policy, state
from collegium.site.config import Config, ConfigError
from collegium.site.dial import Dialler, target, way_out
from collegium.site.invites import Verdict
from collegium.site.ledger import Ledger
from collegium.site.link import LONG_POLL_S, Link, Stopped
from collegium.site.part import House, Part, Says
from collegium.site.pipe import Start, spawn
from collegium.site.witness import Asked, Witness

log = logging.getLogger("collegium.site.agent")
TICK_S = 0.25  # how often the agent looks for a word to pause
AGAIN_S = 5.0  # after leaving a run, before it is offered again
LOG_BYTES = 10 << 20
END_S = 8.0  # for threads to end
Show = Callable[[str, Says, Says], object]  # (run, what is new, all that is known of the run)


def linked(settings: Config, environ: Mapping[str, str], version: str) -> Link:
    """The way to the site's coordinator, signed with the site's key."""
    to = target(settings.url)
    dialler = Dialler(to, way_out(to, settings.proxy, environ), root=settings.root(), ca_file=settings.ca_file)
    return Link(dialler, config.key_of(settings.folder), settings.coordinator, agent=f"collegium/{version}")


def serve(
    folder: Path,
    *,
    environ: Mapping[str, str],
    version: str,
    show: Show = lambda run, facts, known: None,
    start: Start = spawn,
    runs: int = 0,
) -> None:
    """Serve the site in `folder` until told to stop, or until `runs` runs are over. Raises what cannot heal by itself."""
    held = state.only_one(folder)
    kept = keep_log(folder / "log")
    try:
        agent = Agent(config.load(folder), environ, version, show, start, runs)
        with signals(agent.stop):
            agent.serve()
    finally:
        logging.getLogger("collegium.site").removeHandler(kept)
        kept.close()
        os.close(held)


def keep_log(folder: Path) -> logging.Handler:
    """What went wrong, in the site's folder; the former log is kept when it has grown long."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "agent.log"
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(folder / "agent.log.1")
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.getLogger("collegium.site").addHandler(handler)
    return handler


@contextlib.contextmanager
def signals(stop: threading.Event) -> Any:
    """SIGTERM and SIGINT end the agent in order; only a main thread can listen to them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Offered:
    """A run that asks for this site and that it does not take part in yet."""

    part: Part
    seen: tuple[tuple[int, int], ...] = invites.UNSEEN
    verdict: Verdict | None = None  # why it waits for the steward, if it does
    told: str = ""


class Agent:
    """The agent at work."""

    def __init__(
        self, settings: Config, environ: Mapping[str, str],
        version: str, show: Show, start: Start, runs: int,
    ) -> None:  # fmt: skip
        self.settings, self.show, self.left, self.version = settings, show, runs, version
        self.stop, self.go, self.free = threading.Event(), threading.Event(), threading.Semaphore(settings.studies_at_once)
        self.link = linked(settings, environ, version)
        self.link.on_trouble = self.troubled
        ledger = Ledger(settings.state / "ledger.jsonl")
        self.witness = Witness(settings.folder, settings.coordinator, settings.site, config.key_of(settings.folder).public)
        self.house = House(settings, self.link, ledger, self.witness, self.go, start, self.tell)
        self.parts: dict[str, Part] = {}
        self.offers: dict[str, Offered] = {}  # not taken up yet
        self.choosing = threading.Lock()
        self.known: dict[str, Says] = {}
        self.threads: list[threading.Thread] = []
        self.lock = threading.Lock()
        self.since, self.changed = int(time.time()), True
        self.error: CollegiumError | None = None

    def serve(self) -> None:
        """Look for work until the end, and leave nothing running."""
        self.look_at_policy()
        self.listen()
        self.begin(self.look_for_runs, "look-for-runs")
        try:
            while not self.stop.wait(TICK_S):
                self.listen()
                self.choose()
                self.note()
        finally:
            self.end()
        if self.error:
            raise self.error

    def begin(self, work: Callable[..., None], name: str, *arguments: Any) -> None:
        """Work in a thread; an error that cannot heal ends the agent, anything unexpected as well."""

        def guarded() -> None:
            try:
                work(*arguments)
            except Stopped:
                pass
            except CollegiumError as e:
                self.error = self.error or e
                self.stop.set()
            except BaseException:
                log.exception("the agent failed")
                self.error = self.error or CollegiumError("the agent failed; its log has the details")
                self.stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self.threads = [one for one in self.threads if one.is_alive()] + [thread]
        thread.start()

    def look_for_runs(self) -> None:
        """Ask for runs that want this site, also while others run: a steward learns of an invitation when it comes."""
        while not self.stop.is_set():
            with self.lock:
                serving = sorted({*self.parts, *self.offers})
                held = sorted(run for run, offered in self.offers.items() if offered.verdict)
            look = self.witness.ask()
            message: Says = {"run": "", "serving": serving, "waiting": held, "answer": None, "line": None, "wait_s": LONG_POLL_S}
            message |= {"secure": [], "log": look.document()}
            reply, _ = self.link.steadily(lambda message=message: self.link.work(message))  # type: ignore[misc]  # a bound default
            self.watch(reply, look)
            self.changed = True
            for run in reply.get("over", ()):
                self.drop(str(run))
            if reply.get("run"):
                part = Part(self.house, reply)
                with self.lock:
                    self.offers[part.run] = Offered(part)
                self.choose()

    def watch(self, reply: Says, look: Asked) -> None:
        """Hold the coordinator's log against what this site has seen of it; where it lies, `state.publish` and every run say so."""
        if look.since is None or self.witness.refused:
            return
        try:
            self.witness.check(reply.get("log"), look)
        except (IdentityError, StorageError) as e:
            log.warning("%s; %s", e, e.hint)
            with self.lock:
                self.show("", {"trouble": f"{e}; {e.hint}"}, {})

    def choose(self) -> None:
        """Take up the offers that may run, as many at once as the settings say; the others wait for the steward or their turn."""
        with self.choosing:
            for run, offered in list(self.offers.items()):
                if self.held(offered):
                    continue
                if not self.free.acquire(blocking=False):
                    self.wait(offered, "queued", "as many studies as this site computes at once are running")
                    continue
                if offered.told:
                    self.wait(offered, "starting", "")
                with self.lock:
                    self.parts[run] = self.offers.pop(run).part
                self.begin(self.take_part, f"run-{run}", offered.part)

    def held(self, offered: Offered) -> bool:
        """Whether a study waits for the steward: found out again when the steward's word or the policy has changed."""
        folder, part = self.settings.folder, offered.part
        seen = invites.stamps(folder, part.study)
        if seen == offered.seen:
            return offered.verdict is not None
        try:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            offered.verdict = invites.undecided(self.settings, part.admission.offer, policy.load(folder / "policy.yaml"), now)
        except StorageError as e:
            self.tell(part.run, {"trouble": f"{e}; {e.hint}"})
            return True  # it cannot be shown to the steward yet
        except CollegiumError:
            offered.verdict = None  # the part says what is wrong with the policy, and leaves
        offered.seen = seen
        if offered.verdict:
            why = f"{offered.verdict.says}; " if offered.verdict.state == "changed" else ""
            self.wait(offered, "waiting", f"{why}collegium invite show {part.study[:8]}")
        return offered.verdict is not None

    def wait(self, offered: Offered, status: str, says: str) -> None:
        """Tell, once, what an offer waits for."""
        if offered.told != says:
            offered.told = says
            self.tell(offered.part.run, {"status": status, "title": str(offered.part.manifest.get("title", "")), "says": says})

    def drop(self, run: str) -> None:
        """A run is over that waited for the steward; the invitation to its study stays."""
        with self.choosing, self.lock:
            known = self.offers.pop(run, None)
        if known:
            self.tell(run, {"status": "over", "says": "the invitation to its study stays"})

    def take_part(self, part: Part) -> None:
        """One run, from its offer to its end."""
        try:
            outcome = part.follow()
        except Stopped:
            raise
        except Exception as e:  # one run's trouble is not the others'
            log.exception("run %s", part.run)
            self.tell(part.run, {"status": "left", "says": "it failed at this site", "detail": f"{type(e).__name__}: {e}"})
            outcome = "left"
        finally:
            self.free.release()
        if outcome == "left":
            self.stop.wait(AGAIN_S)  # the coordinator may ask again: after a pause, what was wrong here may be mended
        with self.lock:
            del self.parts[part.run]
        self.left -= 1
        if self.left == 0:
            self.stop.set()

    def tell(self, run: str, facts: Says) -> None:
        """What is new in a run: for the screen, for the state file, and for the log if it is bad."""
        with self.lock:
            known = self.known.setdefault(run, {})
            known |= {"trouble": ""} | ({"detail": ""} if "status" in facts else {}) | facts
            self.changed = True
            if facts.get("trouble") or facts.get("detail"):
                log.warning("%s: %s", run, facts.get("detail") or facts["trouble"])
            self.show(run, facts, known)

    def troubled(self, trouble: str) -> None:
        """The way to the coordinator broke, or is open again."""
        self.changed = True
        log.warning("%s", trouble or "the coordinator can be reached again")
        with self.lock:
            self.show("", {"says": trouble or "the coordinator can be reached again"}, {})

    def look_at_policy(self) -> None:
        """Say at once what is wrong with the policy: found when a study asks, it would cost this site its part."""
        try:
            policy.load(self.settings.folder / "policy.yaml")
        except ConfigError as e:
            says = f"{e}{f'; {e.hint}' if e.hint else ''}; until it is mended, every study is refused"
            log.warning("%s", says)
            self.show("", {"trouble": says}, {})

    def listen(self) -> None:
        """Follow the word to pause or go on: a worker stops where it is, within a moment."""
        paused = state.paused(self.settings.folder)
        if paused != self.go.is_set():
            return
        (self.go.clear if paused else self.go.set)()
        with self.lock:
            parts = list(self.parts.values())
        for part in parts:
            if part.worker:
                part.worker.hold(paused)
        self.changed = True

    def note(self) -> None:
        """Write what the agent is doing, if it changed."""
        if not self.changed:
            return
        self.changed = False
        with self.lock:
            runs = {run: dict(known) for run, known in self.known.items()}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.link.contact)) if self.link.contact else ""
        facts = {
            "pid": os.getpid(), "since": self.since, "version": self.version, "paused": not self.go.is_set(), "contact": stamp,
            "trouble": self.witness.refused or self.link.trouble, "opened_by": self.link.dialler.opened_by, "runs": runs,
            "log": self.witness.head.size if self.witness.head else 0,
        }  # fmt: skip
        try:
            state.publish(self.settings.folder, facts)
        except StorageError as e:
            log.warning("%s", e)

    def end(self) -> None:
        """Stop at once: end what is under way, end the workers, wait for the threads."""
        self.stop.set()
        self.go.set()
        self.link.close()
        with self.lock:
            parts = list(self.parts.values())
        for part in parts:
            if part.worker:
                part.worker.kill()
        end = time.monotonic() + END_S
        for thread in self.threads:
            thread.join(max(0.0, end - time.monotonic()))
        self.changed = True
        self.note()
        self.house.ledger.close()
