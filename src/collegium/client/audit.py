"""The coordinator's log as a file, and whether such a file is what the coordinator signed; the second without any network.

    export(network, Path("log.jsonl"))
    verdict = verify(Path("log.jsonl"), key="5f0c...")     # the coordinator's fingerprint, compared by phone
    assert verdict.fault is None, verdict.fault.says

One JSON object a line: who keeps the log; then each entry with its hash; and after every 64 entries, and at the end, the
coordinator's signed checkpoint. A change is named by its entry. Where somebody also made the hashes fit again, it is found
between two checkpoints, which nobody but the coordinator can sign.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from collegium import identity, merkle
from collegium.client.network import Network
from collegium.data import atomic
from collegium.errors import IdentityError, NotFound
from collegium.merkle import Checkpoint

PAGE = 1000
Kind = Literal["altered", "removed", "inserted", "reordered", "forged", "cut", "forked"]
ENTRY = re.compile(rb'\{"leaf":"([0-9a-f]{64})","entry":(\{.*\})\}\n')


class Fault(NamedTuple):
    """The first thing that is wrong with a log."""

    entry: int  # its number
    kind: Kind
    says: str


class Verdict(NamedTuple):
    """What a file of the log turned out to be."""

    entries: int  # that hold: all of them, or those under the last checkpoint before the fault
    origin: str
    public: str  # the key that signed it, hex
    checkpoints: int
    backwards: int  # entries before which the coordinator's clock had gone back
    fault: Fault | None


class Broken(Exception):
    """A fault, on its way out."""

    def __init__(self, entry: int, kind: Kind, says: str) -> None:
        super().__init__(says)
        self.fault = Fault(entry, kind, says)


def entries(network: Network, start: int = 0) -> Iterator[tuple[list[str], list[str]]]:
    """The log from entry `start` to the present one, a page at a time: the entries' texts, and the checkpoints among them."""
    size = int(network.ask("/v1/log")["size"])
    while start < size:
        page = network.ask("/v1/log/entries", query=f"start={start}&count={min(PAGE, size - start)}")
        if not page["entries"]:
            raise IdentityError(f"the coordinator says that its log has {size} entries, and gives none from entry {start} on")
        yield list(page["entries"]), list(page["notes"])
        start += len(page["entries"])


def export(network: Network, path: Path) -> Verdict:
    """Write the whole log into a file, and check it on the way. Raises `IdentityError` if it does not hold; the file is then kept too."""
    public = network.link.coordinator
    atomic.write(path, lines(network, f"collegium.log/{identity.fingerprint(public)}", public), mode=0o644)
    verdict = verify(path, key=public)
    if verdict.fault:
        raise IdentityError(f"the coordinator's log does not hold: {verdict.fault.says}", hint=f"keep {path}: it is the evidence")
    return verdict


def lines(network: Network, origin: str, public: str) -> Iterator[bytes]:
    """The lines of an export."""
    yield json.dumps({"collegium_log": 1, "origin": origin, "public": public}).encode() + b"\n"
    at = 0
    for texts, notes in entries(network):
        marks = {int(note.split("\n")[1]): note for note in notes}
        for text in texts:
            yield b'{"leaf":"%s","entry":%s}\n' % (merkle.leaf(text.encode()).hex().encode(), text.encode())
            at += 1
            if at in marks:
                yield json.dumps({"note": marks[at]}, ensure_ascii=False).encode() + b"\n"


def verify(path: Path, *, key: str = "", seen: Mapping[int, str] | None = None) -> Verdict:
    """Whether a file is a whole log, signed by one coordinator, and if not, the first entry that is wrong.

    `key` is the coordinator's public key or its fingerprint: without it the file vouches for itself, and anybody can have made
    it. `seen` are checkpoints that somebody kept, by size: a hospital's agent keeps the last one that it saw.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    with path.open("rb") as file:
        reading = Reading(file.readline(), key, seen or {}, lambda: path.open("rb"))
        try:
            for line in file:
                reading.take(line)
            reading.end()
        except Broken as broken:
            return reading.verdict(broken.fault)
    return reading.verdict(None)


@dataclass
class Reading:
    """A log as it is read: what was counted so far."""

    head: bytes
    key: str
    seen: Mapping[int, str]
    again: Callable[[], Any]
    size: int = 0
    signed: int = 0  # entries up to the last checkpoint
    notes: int = 0
    backwards: int = 0
    edge: dict[int, bytes] = field(default_factory=dict)  # level -> its last complete subtree

    def __post_init__(self) -> None:
        try:
            told = json.loads(self.head)
            self.origin, self.public = str(told["origin"]), str(told["public"])
            whole = told["collegium_log"] == 1 and re.fullmatch("[0-9a-f]{64}", self.public)
        except (ValueError, KeyError, TypeError):
            whole = None
        if not whole:
            raise IdentityError("the file is not an export of a coordinator's log", hint="collegium log export FILE writes one")
        if self.key and self.key not in (self.public, identity.fingerprint(self.public)):
            raise IdentityError(
                f"the file is signed by the coordinator {identity.fingerprint(self.public)}, wanted was {self.key[:64]}",
                hint="ask the operator for the fingerprint; `collegium coordinator status` shows it there",
            )

    def take(self, line: bytes) -> None:
        """One line more."""
        if found := ENTRY.fullmatch(line):
            self.entry(found[1], found[2])
        elif line.startswith(b'{"note":'):
            self.note(line)
        else:
            raise Broken(self.size, "altered", f"the line of entry {self.size} is not in its form: it was altered, or cut short")

    def entry(self, digest: bytes, text: bytes) -> None:
        """The next entry has the next number, and the hash that stands beside it."""
        try:
            told = json.loads(text)
            number, time, before = int(told["seq"]), int(told["time"]), int(told["before"])
        except (ValueError, KeyError, TypeError):
            raise Broken(self.size, "altered", f"entry {self.size} was altered: it is not an entry any more") from None
        if number != self.size:
            raise self.misplaced(number)
        leaf = merkle.leaf(text)
        if leaf.hex().encode() != digest:
            raise Broken(number, "altered", f"entry {number} was altered: its hash is another")
        for level, made in enumerate(merkle.completed(leaf, number, self.left)):
            self.edge[level] = made
        self.size += 1
        self.backwards += time < before
        if (note := self.seen.get(self.size)) and self.opened(note).root != merkle.root(self.left, self.size):
            raise Broken(number, "forked", f"the first {self.size} entries are not those that were seen before: there are two histories")

    def left(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree at the edge of what was read."""
        return self.edge[level]

    def misplaced(self, number: int) -> Broken:
        """Another entry stands where the next belongs: what happened to it?"""
        wanted = self.size
        if number < wanted:
            return Broken(number, "inserted", f"entry {number} is there twice, the second time after entry {wanted - 1}: one was inserted")
        if self.holds(wanted):
            return Broken(wanted, "reordered", f"entry {number} stands where entry {wanted} belongs: they were reordered")
        return Broken(wanted, "removed", f"entry {wanted} was removed: entry {number} stands in its place")

    def holds(self, number: int) -> bool:
        """Whether an entry of this number is anywhere in the file."""
        with self.again() as file:
            return any(numbered(line) == number for line in file)

    def note(self, line: bytes) -> None:
        """A checkpoint: all up to here is what the coordinator signed."""
        try:
            found = self.opened(str(json.loads(line)["note"]))
        except (ValueError, KeyError, TypeError):
            raise Broken(self.signed, "forged", f"the checkpoint after entry {self.size - 1} cannot be read") from None
        since = f"of entries {self.signed} to {self.size - 1}" if self.signed < self.size else f"before entry {self.size}"
        if found.size != self.size:
            missing = found.size > self.size
            if missing and self.holds(self.size):
                says = f"a checkpoint of {found.size} entries stands where entry {self.size} belongs: they were reordered"
                raise Broken(self.size, "reordered", says)
            if missing and self.holds(found.size):  # what follows was not renumbered, so it was the last before this checkpoint
                raise Broken(
                    self.size, "removed", f"entry {self.size} was removed: a checkpoint of {found.size} entries stands in its place"
                )
            kind: Kind = "removed" if missing else "inserted"
            says = f"a checkpoint of {found.size} entries stands after {self.size} of them: some {since} were {kind}, and others renumbered"
            raise Broken(self.signed, kind, says)
        if found.root != merkle.root(self.left, self.size):
            raise Broken(
                self.signed, "altered", f"one or more {since} are not what the coordinator signed, though their hashes were made to fit"
            )
        self.signed, self.notes = self.size, self.notes + 1

    def opened(self, note: str) -> Checkpoint:
        """A checkpoint, its signature checked."""
        try:
            return merkle.opened(note, self.origin, self.public, identity.verify)
        except IdentityError as e:
            raise Broken(self.signed, "forged", f"after entry {self.size - 1}: {e}") from None

    def end(self) -> None:
        """A log ends with a checkpoint, and holds at least what was seen of it."""
        if self.signed != self.size or not self.notes:
            raise Broken(
                self.signed, "cut", f"the last {self.size - self.signed} entries stand under no checkpoint: the file was cut or added to"
            )
        if self.size < max(self.seen, default=0):
            says = f"the file ends after entry {self.size - 1}; {max(self.seen)} entries were seen before: it is old, or was cut"
            raise Broken(self.size, "cut", says)

    def verdict(self, fault: Fault | None) -> Verdict:
        """What was found."""
        return Verdict(self.signed if fault else self.size, self.origin, self.public, self.notes, self.backwards, fault)


def numbered(line: bytes) -> int:
    """The number of the entry on a line; -1 if there is none."""
    found = ENTRY.fullmatch(line)
    try:
        return int(json.loads(found[2])["seq"]) if found else -1
    except (ValueError, KeyError, TypeError):
        return -1
