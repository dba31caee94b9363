"""A coordinator's log in memory, as sites see it, whose keeper may do with it what it likes."""

import json
from typing import Any

from collegium import identity, merkle
from collegium.canonical import canonical, task_digest
from collegium.coordinator import logbook
from collegium.merkle import Checkpoint
from collegium.site.witness import Asked

HUB = identity.key(b"h" * 32)


def entry(seq: int, **facts: Any) -> bytes:
    return canonical({"type": "collegium/log/1", "seq": seq, "time": 100 + seq, "before": 99 + seq, **facts})


class Keeper:
    """Its key is the coordinator's unless told otherwise."""

    def __init__(self, count: int = 0, entries: list[bytes] | None = None, key: identity.Key = HUB) -> None:
        self.key, self.entries, self.nodes = key, [], dict[tuple[int, int], bytes]()
        self.origin = logbook.origin(HUB.public)
        for one in entries if entries is not None else [entry(n, actor="york", action="update", site="york") for n in range(count)]:
            self.put(one)

    def put(self, text: bytes) -> None:
        seq = len(self.entries)
        for level, digest in enumerate(merkle.completed(merkle.leaf(text), seq, lambda *at: self.nodes[at])):
            self.nodes[level, seq >> level] = digest
        self.entries.append(text)

    def forked(self, entries: list[bytes], at: int) -> "Keeper":
        """Another history, the same up to `at`."""
        other = Keeper()
        other.entries = self.entries[:at]
        other.nodes = {(level, index): h for (level, index), h in self.nodes.items() if (index + 1) << level <= at}
        for one in entries[at:]:
            other.put(one)
        return other

    def add(self, **facts: Any) -> int:
        self.put(entry(len(self.entries), **facts))
        return len(self.entries) - 1

    def task(self, task: dict[str, Any]) -> int:
        return self.add(actor="coordinator", action="task", run=task["run"], place=task["place"], digest=task_digest(task))

    def update(self, digest: str, run: str = "r1", place: Any = (0, 1, 1, "sum"), **more: Any) -> int:
        return self.add(actor="leeds", action="update", site="leeds", run=run, place=list(place), digest=digest, **more)

    def note(self, size: int | None = None) -> str:
        size = len(self.entries) if size is None else size
        found = Checkpoint(self.origin, size, merkle.root(lambda *at: self.nodes[at], size))
        return merkle.sign(found, self.key.public, self.key.sign)

    def show(self, asked: Asked, *own: int, size: int | None = None) -> dict[str, Any]:
        """What a site is given, over the wire."""
        return self.answer(asked.document(), *own, size=size)

    def answer(self, wish: dict[str, Any], *own: int, size: int | None = None) -> dict[str, Any]:
        """The same, for what a request has named."""
        new = len(self.entries) if size is None else size
        read = lambda *at: self.nodes[at]
        document = {
            "note": self.note(new),
            "consistency": [[h.hex() for h in merkle.consistency(read, old, new)] if old <= new else [] for old in sorted(wish["seen"])],
            "own": [{"seq": n, "leaf": self.entries[n].decode(), "proof": [h.hex() for h in merkle.inclusion(read, n, new)]} for n in own],
        }
        return dict(json.loads(json.dumps(document)))
