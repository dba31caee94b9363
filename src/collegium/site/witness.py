"""What this site remembers of the coordinator's log, so that the coordinator cannot change what it once said.

    asked = witness.ask(run)                                  # before a request, which brings `asked.document()`
    witness.check(reply["log"], asked, task=reply["task"])    # before the task is looked at: raises, or all of it holds
    witness.hold(reply["log"], asked, reply["task"])          # the same for the task alone, where the last look was a moment ago
    witness.sent(run, place, digest)                          # before an update leaves
    witness.vouch(reply["log"], asked, root)                  # before the site signs who survived in a secure sum, and this root

`check` refuses a checkpoint that is not signed by the coordinator, a log that is shorter than it was, one that was rewritten, two
checkpoints of one size, an update of this site that is missing, altered or was never sent, and a task that the log does not
hold: a coordinator that asks this site for something else than the others has to write that down. What proves a lie is kept as
evidence, and this site then answers nothing more, over restarts too, until a person has looked.
"""

import base64
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from collegium import identity, merkle
from collegium.canonical import canonical, task_digest
from collegium.errors import IdentityError, StorageError
from collegium.merkle import Checkpoint
from collegium.site import ledger
from collegium.site.config import write

log = logging.getLogger("collegium.site.witness")
DAY_S = 24 * 3600
LARGE = 1 << 18  # bytes of the file, above which it is written anew with its last line alone
MOST = 256  # sizes, and updates not found in the log yet, that are remembered
EVERY_S = 0.5  # how often a run's entries are looked at: rounds that are faster are looked at together
WAY_OUT = (
    "ask the coordinator's operator for the reason, and compare with other hospitals. Once it is settled, move {path} away: "
    "this site then begins to remember anew"
)


@dataclass
class Kept:
    """What stands on the disk."""

    heads: dict[str, str] = field(default_factory=dict)  # size -> note: one, or more where answers overtook each other
    owed: dict[str, list[str]] = field(default_factory=dict)  # what was sent and not found in the log yet: place -> digests
    shown: dict[str, int] = field(default_factory=dict)  # run -> the entries of this site that it was shown are those below
    begun: int = 0  # the size at which this site began to remember: of what was before it knows nothing
    grew: int = 0  # when the log was last seen to grow
    refused: str = ""  # why this site answers nothing more


class Asked(NamedTuple):
    """What a request names, and what its answer is held against."""

    run: str
    since: int | None  # entries about this site and this run are wanted from here on; None: not now
    heads: dict[int, str]  # the checkpoints from which the log has to go on

    def document(self) -> dict[str, Any]:
        """What the coordinator is told."""
        return {"seen": sorted(self.heads), "since": self.since}


class Entry(NamedTuple):
    """An entry that a document shows."""

    seq: int
    leaf: bytes
    proof: list[bytes]
    says: dict[str, Any]


class Shown(NamedTuple):
    """A document of the log, as it came."""

    note: str
    consistency: list[list[bytes]]
    own: list[Entry]


class Witness:
    """This site's memory of the log. One for an agent, whatever the number of runs; safe to use from their threads."""

    def __init__(self, folder: Path, coordinator: str, site: str, key: str, *, now: Callable[[], float] = time.time) -> None:
        """`folder` is the site's, `coordinator` and `key` the public keys of the coordinator and of this site, `site` its name."""
        self.path, self.evidence, self.ledger = folder / "state" / "witness.jsonl", folder / "state", folder / "state" / "ledger.jsonl"
        self.coordinator, self.site, self.key, self.now = coordinator, site, key, now
        self.origin = f"collegium.log/{identity.fingerprint(coordinator)}"
        self.lock, self.kept = threading.Lock(), load(self.path)
        self.seen = {int(size): note for size, note in self.kept.heads.items()}  # also sizes that newer ones have replaced
        self.warned, self.line = 0.0, b""
        self.looked: dict[str, float] = {}  # when a run's entries were last looked at

    def ask(self, run: str = "", *, now: bool = False) -> Asked:
        """What a request about this run is to name, and `check` to be given with its answer; `now`: however short ago the last was."""
        with self.lock:
            rests = not now and self.now() - self.looked.get(run, -math.inf) < EVERY_S
            since = None if rests else self.kept.shown.get(run, self.kept.begun)
            return Asked(run, since, {int(size): note for size, note in self.kept.heads.items()})

    @property
    def refused(self) -> str:
        """Why this site answers nothing more: the coordinator is proved to have lied; "" while it is not."""
        return self.kept.refused

    @property
    def head(self) -> Checkpoint | None:
        """The largest checkpoint that holds: what this site signs when it vouches for the log."""
        sizes = sorted(map(int, self.kept.heads))
        return Checkpoint(self.origin, sizes[-1], top(self.kept.heads[str(sizes[-1])])) if sizes else None

    def sent(self, run: str, place: Sequence[Any], digest: str) -> None:
        """An answer is about to leave, an update or ("" for its digest) a failure: from now on the log has to hold it, or nothing.

        The site's ledger has it on the disk, and is asked where a restart has forgotten what this holds in memory.
        """
        with self.lock:
            mine = self.kept.owed.setdefault(name(run, place), [])
            if digest not in mine:
                mine.append(digest)
                while len(self.kept.owed) > MOST:
                    del self.kept.owed[next(iter(self.kept.owed))]

    def check(self, document: Any, asked: Asked, *, task: Mapping[str, Any] | None = None) -> None:
        """Hold a document against everything that this site has seen; remember it if it holds.

        `asked` is what `ask` gave for the request, `task` the task that came with the answer. Raises `IdentityError`, which names
        the lie. The caller must not answer then: where the coordinator is proved to lie, every later call raises the same.
        What is remembered is on the disk when this returns.
        """
        with self.lock:
            found, shown = self.opened(document)
            self.refuse_cut(found, shown, asked, document)
            self.refuse_other_past(found, shown, asked, document)
            self.refuse_strange(found, shown, document)
            if task is not None:
                self.refuse_unlogged(shown, task, document)
                self.refuse_uncounted(shown, task, document)
            self.remember(found, shown, asked)
            self.save()

    def hold(self, document: Any, asked: Asked, task: Mapping[str, Any]) -> None:
        """Hold one task against the log of the moment when its round was opened, before which this site may have seen it or not.

        Raises `IdentityError` as `check` does, and the caller must not answer then. What is remembered is on the disk after the
        next `check`, which is never far: rounds that are so fast that nothing else is looked at are checked together.
        """
        with self.lock:
            found, shown = self.opened(document)
            self.refuse_other_past(found, shown, asked, document)
            self.refuse_strange(found, shown, document)
            self.refuse_unlogged(shown, task, document)
            if found.size >= max(asked.heads, default=0):
                self.grown(found, shown.note, asked)

    def vouch(self, document: Any, asked: Asked, root: str) -> None:
        """Hold a root that this site is to sign (`311:5f0c...`, a size before it) against everything that this site has seen.

        It is that of a moment that all sites of a round are told alike, before which or after which this site may have seen the
        log. Raises `IdentityError`, and the caller must not sign then. What is remembered is on the disk after the next `check`.
        """
        with self.lock:
            found, shown = self.opened(document)
            if root != f"{found.size}:{found.root.hex()}":
                raise IdentityError(f"the root to be signed, {root[:80]!r}, is not the one of the log that came with it")
            self.refuse_other_past(found, shown, asked, document)
            if found.size >= max(asked.heads, default=0):
                self.grown(found, shown.note, asked)

    def believe(self) -> None:
        """Raises `IdentityError` once the coordinator is proved to have lied: nothing is answered to it then, in no run."""
        if self.kept.refused:
            raise IdentityError(self.kept.refused, hint=WAY_OUT.format(path=self.path))

    def opened(self, document: Any) -> tuple[Checkpoint, Shown]:
        """A document's parts, signed by the coordinator and of the same history as what it signed before. Raises `IdentityError`."""
        self.believe()
        if document is None:
            raise IdentityError("the coordinator shows nothing of its log", hint="bring both sides to one release")
        shown = parsed(document)
        found = merkle.opened(shown.note, self.origin, self.coordinator, identity.verify)
        self.refuse_fork(found, shown.note, document)
        return found, shown

    def compare(self, note: str) -> bool:
        """Hold a checkpoint that another site was given against this site's own; False where they cannot be compared.

        Raises `IdentityError` where the coordinator has told the two of them different histories: both notes are kept as evidence.
        """
        with self.lock:
            found = merkle.opened(note, self.origin, self.coordinator, identity.verify)
            self.refuse_fork(found, note, {"note": note, "from": "another site"})
            return found.size in self.seen

    def refuse_fork(self, found: Checkpoint, note: str, document: Any) -> None:
        """Two signed roots for one size are a proof that needs no other."""
        mine = self.seen.get(found.size)
        if mine is not None and top(mine) != found.root:
            self.refuse(f"the coordinator has signed two different logs of {found.size} entries", [mine, note], document)

    def refuse_cut(self, found: Checkpoint, shown: Shown, asked: Asked, document: Any) -> None:
        """The log only grows."""
        if found.size < (most := max(asked.heads, default=0)):
            says = f"the coordinator's log has {found.size} entries, this site has seen {most}: it was cut, or restored from a backup"
            self.refuse(says, [asked.heads[most], shown.note], document)

    def refuse_other_past(self, found: Checkpoint, shown: Shown, asked: Asked, document: Any) -> None:
        """What the log held it holds: of what was seen and what is shown now, the shorter is the beginning of the longer."""
        if len(shown.consistency) != len(asked.heads):
            raise IdentityError(f"the log came with {len(shown.consistency)} proofs, wanted one for each of {len(asked.heads)} sizes")
        for size, proof in zip(sorted(asked.heads), shown.consistency, strict=True):
            (old, before), (new, after) = sorted([(size, top(asked.heads[size])), (found.size, found.root)])
            if not merkle.consistent(old, before, new, after, proof):
                says = f"the first {old} entries of the coordinator's log are not what they were: it was rewritten"
                self.refuse(says, [asked.heads[size], shown.note], document)

    def refuse_strange(self, found: Checkpoint, shown: Shown, document: Any) -> None:
        """Every entry shown is in the log, and those about this site that are new to it say what it did."""
        for entry in shown.own:
            if not merkle.included(merkle.leaf(entry.leaf), entry.seq, found.size, entry.proof, found.root):
                says = f"the coordinator shows an entry {entry.seq} that its own log of {found.size} entries does not hold"
                self.refuse(says, [shown.note], document)
            if entry.says.get("seq") != entry.seq:
                self.refuse(f"entry {entry.seq} of the log calls itself {str(entry.says.get('seq'))[:20]}", [shown.note], document)
            since = self.kept.shown.get(str(entry.says.get("run", "")), self.kept.begun)
            if self.kept.heads and entry.seq >= since and entry.says.get("site") == self.site:
                self.refuse_false(entry, shown.note, document)

    def refuse_false(self, entry: Entry, note: str, document: Any) -> None:
        """What the log says of this site is true."""
        says = entry.says
        if says.get("action") == "joined" and says.get("key") != self.key:
            self.refuse(f"another key has joined in this site's name (entry {entry.seq} of the log)", [note], document)
        if says.get("action") not in ("update", "failure"):
            return
        run, place, digest = str(says.get("run")), says.get("place") or (), says.get("digest", "")
        mine = self.kept.owed.get(name(run, place), [])
        if digest in mine or digest in (before := ledger.left(self.ledger, run, place)):
            return
        where = f"entry {entry.seq} of the log, run {run}, {says.get('place')}"
        if mine or before:
            self.refuse(f"the log has another update of this site than it sent ({where}): it was altered", [note], document)
        who = "this site's folder was restored from a backup, or somebody else holds its key"
        self.refuse(f"the log has an answer of this site that it never sent ({where}): {who}", [note], document)

    def refuse_unlogged(self, shown: Shown, task: Mapping[str, Any], document: Any) -> None:
        """The task is the one that the log says everybody was given."""
        where = f"run {task['run']}, {list(task['place'])}"
        opened = [entry.says for entry in shown.own if entry.says.get("action") == "task"]
        if not any(one.get("digest") == task_digest(task) for one in opened):
            self.refuse(
                f"the log does not hold the task that this site was given ({where}): others may have been asked another", [], document
            )

    def refuse_uncounted(self, shown: Shown, task: Mapping[str, Any], document: Any) -> None:
        """An update of this site that was counted is in the log; one that came too late for its round is forgotten."""
        where, counted = f"run {task['run']}, {list(task['place'])}", task.get("counted")
        settled = {name(str(e.says.get("run")), e.says.get("place") or ()) for e in shown.own if e.says.get("site") == self.site}
        if counted and name(task["run"], counted) in self.kept.owed.keys() - settled:
            self.refuse(f"this site's update was counted ({where}: {list(counted)}), and the log does not hold it", [], document)
        for each in [each for each in self.kept.owed if each.startswith(f"{task['run']} ")]:
            if json.loads(each.partition(" ")[2]) < list(task["place"]) and each not in settled:
                del self.kept.owed[each]

    def remember(self, found: Checkpoint, shown: Shown, asked: Asked) -> None:
        """This is what the log is now."""
        kept = self.kept
        for entry in shown.own:
            if entry.says.get("site") == self.site:
                kept.owed.pop(name(str(entry.says.get("run")), entry.says.get("place") or ()), None)
        kept.shown[asked.run] = max(found.size, kept.shown.pop(asked.run, 0))
        while len(kept.shown) > MOST:
            del kept.shown[next(iter(kept.shown))]
        self.looked = {run: at for run, at in self.looked.items() if run in kept.shown} | {asked.run: self.now()}
        self.grown(found, shown.note, asked)

    def grown(self, found: Checkpoint, note: str, asked: Asked) -> None:
        """The log has this size and root now."""
        kept = self.kept
        if not kept.heads:
            kept.begun = found.size
        if found.size > max(self.seen, default=-1):
            kept.grew = int(self.now())
        kept.heads = {size: note for size, note in kept.heads.items() if int(size) not in asked.heads} | {str(found.size): note}
        self.seen[found.size] = note
        while len(self.seen) > MOST:
            del self.seen[min(self.seen)]
        still = self.now() - kept.grew
        if still > DAY_S and self.now() - self.warned > DAY_S:
            self.warned = self.now()
            log.warning(
                "the coordinator shows the same log of %d entries for %d hours: it may hold newer ones back", found.size, still // 3600
            )

    def refuse(self, says: str, notes: Sequence[str], document: Any) -> None:
        """Keep the evidence, stop for good, and say so."""
        number = 1
        while (path := self.evidence / f"log-evidence-{number}.json").exists():
            number += 1
        told = {
            "says": says, "time": int(self.now()), "site": self.site, "coordinator": self.coordinator, "signed": list(notes),
            "seen": {str(size): note for size, note in self.seen.items() if str(size) in self.kept.heads}, "shown": document,
        }  # fmt: skip
        write(path, json.dumps(told, indent=1).encode(), mode=0o600)
        self.kept.refused = f"{says}; this site answers nothing more. The evidence is in {path}"
        self.save()
        raise IdentityError(self.kept.refused, hint=WAY_OUT.format(path=self.path))

    def save(self) -> None:
        """Put what is kept on the disk before anything follows from it; a crash leaves the line before."""
        line = canonical(asdict(self.kept)) + b"\n"
        if line == self.line:
            return
        if not self.path.exists() or self.path.stat().st_size > LARGE:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write(self.path, line, mode=0o600)
        else:
            added(self.path, line)
        self.line = line


def added(path: Path, line: bytes) -> None:
    """A line more in a file, on the disk when this returns; a full disk leaves the file as it was."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            at = os.fstat(file).st_size
            if os.write(file, line) < len(line):
                os.ftruncate(file, at)
                raise OSError(28, "no space left on device")
            os.fdatasync(file)
        finally:
            os.close(file)
    except OSError as e:
        raise StorageError(f"{path} cannot be written: {e.strerror}; nothing was answered", hint="make room on the disk") from None


def name(run: str, place: Sequence[Any]) -> str:
    """A round of a run, as a word."""
    return f"{run} {json.dumps(list(place))}"


def top(note: str) -> bytes:
    """The root in a note that was checked when it came."""
    return base64.b64decode(note.split("\n")[2])


def load(path: Path, *, mend: bool = True) -> Kept:
    """What the last whole line says. Raises `IdentityError` for a file without one: to forget in silence would be to be deceived."""
    if not path.exists():
        return Kept()
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    try:
        found = Kept(**json.loads(whole.rpartition(b"\n")[2]))
    except (ValueError, TypeError):
        raise IdentityError(
            f"{path} is damaged: what this site remembers of the coordinator's log is lost", hint="restore it from a backup"
        ) from None
    if torn and mend:  # a crash cut it: nothing had followed from it
        os.truncate(path, len(whole) + 1)
    return found


def remembered(folder: Path) -> dict[int, str]:
    """The checkpoints that the agent of this site's folder has seen last, by size: to hold a copy of the log against."""
    return {int(size): note for size, note in load(folder / "state" / "witness.jsonl", mend=False).heads.items()}


def parsed(document: Any) -> Shown:
    """A document's parts. Raises `IdentityError` if it has another form."""
    try:
        own = []
        for one in document["own"]:
            says = json.loads(one["leaf"])
            own.append(Entry(int(one["seq"]), one["leaf"].encode(), [bytes.fromhex(each) for each in one["proof"]], dict(says)))
        return Shown(str(document["note"]), [[bytes.fromhex(each) for each in proof] for proof in document["consistency"]], own)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise IdentityError(f"what the coordinator shows of its log is not in its form: {type(e).__name__}: {e}") from None
