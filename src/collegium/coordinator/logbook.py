"""The log: what this coordinator did, one entry for each act, in a tree that cannot be changed without every site noticing.

An entry is written in the transaction that makes it true: both are there, or neither. It names people, sites, runs and digests;
no number of a site stands in it. Each row also holds the hashes of the subtrees that its entry completes, so that an entry is one
row, and a proof is a few rows found by number. What sites do with it is in `site/witness`, what auditors do in `client/audit`.
"""

import json
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.exc import DBAPIError

from collegium import identity, merkle
from collegium.canonical import canonical
from collegium.coordinator import store as s
from collegium.coordinator.store import Store
from collegium.errors import NotFound, StorageError
from collegium.identity import Key
from collegium.merkle import Checkpoint

Json = dict[str, Any]
ACTIONS = {
    "founded": "the coordinator was founded, with these keys",
    "invited": "a join code was made for a site",
    "joined": "a site joined with this key",
    "submitted": "a study was submitted",
    "enlisted": "sites were put on a study's participant list; the digest is of its last entry",
    "started": "a run began over these sites",
    "task": "a round was opened; the digest is of what every site was asked",
    "update": "a site's update was committed",
    "failure": "a site said that it has no update",
    "closed": "whose updates count in a round",
    "applied": "a round's sum was used; the digest is of what came of it",
    "abandoned": "a round was given up, nothing of it is used",
    "blamed": "a site was found at fault in a secure sum; the run's events say of what",
    "paused": "a run rests",
    "resumed": "a run goes on",
    "stopped": "a run was ended by a person",
    "failed": "a run could not go on",
    "finished": "a run came to its end; the digest is of its results",
}
TYPE = "collegium/log/1"
ITSELF = "coordinator"  # the actor of what nobody asked for
HELD = 1 << 14  # hashes of complete subtrees that are kept in memory: they never change
MOST = 1000  # entries in one answer to people
EVERY = 64  # entries between two checkpoints of a copy
FAR = 20_000  # entries that are looked through for those about one site
FEW = 64  # entries, and sizes to go on from, in one answer to a site, whatever it asks


class Quick:
    """A statement for the driver itself: an entry is written at every step of every round, and half of its time would be SQLAlchemy's."""

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self.made: dict[str, tuple[str, tuple[str, ...] | None]] = {}

    def __call__(self, connection: Connection, **values: Any) -> Any:
        """The driver's cursor; its errors are those of SQLAlchemy, which the store understands."""
        dialect = connection.dialect
        if dialect.name not in self.made:
            compiled = self.statement.compile(dialect=dialect)
            self.made[dialect.name] = str(compiled), tuple(compiled.positiontup) if compiled.positional else None
        text, names = self.made[dialect.name]
        given: Any = values if names is None else tuple(values[name] for name in names)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text, given)
        except dialect.loaded_dbapi.Error as e:
            raise DBAPIError.instance(text, given, e, dialect.loaded_dbapi.Error, dialect=dialect) from e
        return cursor


e = s.entry.c
NAMES = ("seq", "at", "action", "run", "site", "text", "nodes")
WRITE = Quick(s.entry.insert().values({name: bindparam(name) for name in NAMES}))
LAST = Quick(text("SELECT seq, at, nodes FROM entry ORDER BY seq DESC LIMIT 1"))
NODES = Quick(select(e.nodes).where(e.seq == bindparam("number")))
TEXT = Quick(select(e.text).where(e.seq == bindparam("number")))
MINE = Quick(
    text(
        "SELECT seq FROM entry WHERE seq >= :since AND site = :of_site AND site <> '' AND run IN ('', :of_run) "
        f"ORDER BY seq DESC LIMIT {FEW}"
    )
)
ASKED = Quick(text("SELECT seq FROM entry WHERE run = :of_run AND action = 'task' ORDER BY seq DESC LIMIT 3"))


def origin(public: str) -> str:
    """The name of a coordinator's log, which follows from its key."""
    return f"collegium.log/{identity.fingerprint(public)}"


def append(connection: Connection, at: int, actor: str, action: str, **facts: Any) -> int:
    """Add an entry about one of `ACTIONS`, inside the caller's transaction; its number. `facts` are names, places and digests.

    Its time is what the clock said; where the clock went back, `before` (the time of the entry before it) says so.
    """
    last, then, nodes = LAST(connection).fetchone() or (-1, at, b"")
    seq = last + 1
    entry = canonical({"type": TYPE, "seq": seq, "time": at, "before": then, "actor": actor, "action": action, **facts})

    def read(level: int, index: int) -> bytes:
        number = ((index + 1) << level) - 1
        return cut(nodes if number == last else row_of(connection, NODES, number), level)

    made = b"".join(merkle.completed(merkle.leaf(entry), seq, read))
    about = {"run": facts.get("run", ""), "site": facts.get("site", "")}
    WRITE(connection, seq=seq, at=at, action=action, text=entry.decode(), nodes=made, **about)
    return seq


def row_of(connection: Connection, query: Quick, number: int) -> Any:
    """What an entry's row holds. Raises `StorageError` where the row is gone: nothing in Collegium ever removes one."""
    found = query(connection, number=number).fetchone()
    if found is None:
        hint = "somebody changed the database by hand: restore it from your backup. The sites find out in any case"
        raise StorageError(f"entry {number} of the log is not in the database", hint=hint)
    return found[0]


def cut(nodes: bytes, level: int) -> bytes:
    """The hash of one level, of those that an entry completes."""
    return bytes(nodes[32 * level : 32 * level + 32])


def own(connection: Connection, site: str, run: str, since: int) -> list[int]:
    """The numbers of the entries about a site, in this run or in none, from number `since` on: the newest, if they are many.

    They are looked for by number, and not very far back: a site asks every half minute, and an index would cost each entry a page.
    """
    since = max(since, size(connection) - FAR)
    return [seq for (seq,) in MINE(connection, of_site=site, of_run=run, since=since)]


def asked(connection: Connection, run: str) -> list[int]:
    """The numbers of the entries that opened a run's last rounds: the next may be there before those who wait hear of it."""
    return [seq for (seq,) in ASKED(connection, of_run=run)]


class Logbook:
    """What is asked of the log: it reads what is committed, and signs it with the coordinator's key."""

    def __init__(self, store: Store, key: Key) -> None:
        self.store, self.key, self.origin = store, key, origin(key.public)
        self.held: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self.signed: tuple[int, str] = (-1, "")
        self.earlier = lru_cache(FEW)(self.proved)  # it never changes, and the sites of a round have seen the same
        self.opening = lru_cache(FEW)(self.opened)

    def size(self) -> int:
        """How many entries there are."""
        return self.store.read(size)

    def checkpoint(self, at: int | None = None) -> str:
        """The signed note of the present size, or of an earlier one. Raises `NotFound` for a size that was not reached."""
        return self.store.read(lambda c: self.note(c, self.reached(c, at)))

    def mark(self) -> str:
        """The present size and root, as sites sign them: `311:5f0c...`."""
        return self.store.read(lambda c: marked(at := size(c), merkle.root(Reader(c, self.held), at)))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the log of `old` entries is the beginning of that of `new`."""
        return self.store.read(lambda c: merkle.consistency(Reader(c, self.held), self.reached(c, old), self.reached(c, new, least=old)))

    def inclusion(self, seq: int, at: int) -> list[bytes]:
        """The proof that an entry is in the log of size `at`."""
        return self.store.read(lambda c: merkle.inclusion(Reader(c, self.held), seq, self.reached(c, at, least=seq + 1)))

    def entries(self, start: int, count: int) -> list[str]:
        """Some entries in order, as the text that was hashed; at most 1,000."""
        query = select(e.text).where(e.seq >= start, e.seq < start + min(count, MOST)).order_by(e.seq)
        return self.store.read(lambda c: [row.text for row in c.execute(query)])

    def checkpoints(self, start: int, end: int) -> list[str]:
        """Signed notes of the log at every 64th entry after `start`, and at `end`: a change of a copy is found between two of them."""
        sizes = sorted({*range((start // EVERY + 1) * EVERY, end, EVERY), end})
        return self.store.read(lambda c: [self.note(c, size) for size in sizes])

    def for_site(self, seen: Sequence[int], mine: Collection[int] | None = None, *, site: str = "", run: str = "", since: int = 0) -> Json:
        """What a site is given to check, JSON-ready: the present checkpoint, that it goes on from each size the site has `seen`,
        and the entries that concern it, with their proofs.

        Those are the numbers in `mine`; without them, what is about `site` in `run` from number `since` on, and the entries that
        opened the last rounds of `run`. A size that was not reached here has no proof, and an empty one is not accepted.
        """
        return self.store.read(lambda c: self.document(c, seen, mine, site=site, run=run, since=since))

    def at(self, mark: str, seen: Sequence[int]) -> Json:
        """The same of an earlier moment, the `mark` of which a site is to sign: its checkpoint, and that the two histories are one."""
        return self.earlier(int(mark.partition(":")[0]), *sorted(seen)[:FEW])

    def asking(self, run: str, place: Sequence[Any], seen: Sequence[int]) -> Json:
        """The same of the moment when a round was opened, with the entry that says what all its sites were asked."""
        shown = self.opening(run, tuple(place))
        return {**self.earlier(shown["seq"] + 1, *sorted(seen)[:FEW]), "own": [shown]}

    def opened(self, run: str, place: tuple[Any, ...]) -> Json:
        """The entry that opened a round, and that the log of its moment holds it. Raises `NotFound`."""

        def shown(c: Connection) -> Json:
            for seq in asked(c, run):
                leaf = row_of(c, TEXT, seq)
                if json.loads(leaf)["place"] == list(place):
                    return {"seq": seq, "leaf": leaf, "proof": hexed(merkle.inclusion(Reader(c, self.held), seq, seq + 1))}
            raise NotFound(f"the log does not hold that run {run} was asked {list(place)}")

        return self.store.read(shown)

    def proved(self, then: int, *seen: int) -> Json:
        """A document of an earlier moment."""

        def document(c: Connection) -> Json:
            now, read = self.reached(c, None), Reader(c, self.held)
            between = [merkle.consistency(read, *sorted((old, then))) if 0 <= old <= now else [] for old in seen]
            return {"note": self.note(c, self.reached(c, then)), "consistency": [hexed(proof) for proof in between], "own": []}

        return self.store.read(document)

    def document(self, c: Connection, seen: Sequence[int], mine: Collection[int] | None, *, site: str, run: str, since: int) -> Json:
        """The same over a connection that is there: for many sites at one moment, ask with one."""
        new, read = size(c), Reader(c, self.held)
        numbers = mine if mine is not None else [*own(c, site, run, since), *(asked(c, run) if run else ())]
        between = [merkle.consistency(read, old, new) if 0 <= old <= new else [] for old in sorted(seen)[:FEW]]
        shown = [
            {"seq": seq, "leaf": row_of(c, TEXT, seq), "proof": hexed(merkle.inclusion(read, seq, new))}
            for seq in sorted({number for number in numbers if 0 <= number < new})
        ]
        return {"note": self.note(c, new), "consistency": [hexed(proof) for proof in between], "own": shown}

    def note(self, c: Connection, at: int) -> str:
        """The signed note of a size; that of the present size is signed once for all who ask."""
        if self.signed[0] == at:
            return self.signed[1]
        made = merkle.sign(Checkpoint(self.origin, at, merkle.root(Reader(c, self.held), at)), self.key.public, self.key.sign)
        self.signed = at, made
        return made

    def reached(self, c: Connection, at: int | None, *, least: int = 0) -> int:
        """A size that the log has or had."""
        now = size(c)
        if at is not None and not least <= at <= now:
            raise NotFound(f"the log has {now} entries: size {at} is not one that holds {least} of them")
        return now if at is None else at


class Reader:
    """Reads hashes of complete subtrees for a proof; what was read stays in memory, for it is committed and never changes."""

    def __init__(self, connection: Connection, held: OrderedDict[tuple[int, int], bytes]) -> None:
        self.connection, self.held = connection, held

    def __call__(self, level: int, index: int) -> bytes:
        found = self.held.get((level, index))
        if found is None:
            found = cut(row_of(self.connection, NODES, ((index + 1) << level) - 1), level)
            self.held[level, index] = found
            while len(self.held) > HELD:
                self.held.popitem(last=False)
        return found


def size(connection: Connection) -> int:
    """How many entries the log has."""
    last = LAST(connection).fetchone()
    return int(last[0]) + 1 if last else 0


def marked(at: int, root: bytes) -> str:
    """A size and its root in one word."""
    return f"{at}:{root.hex()}"


def hexed(proof: Iterable[bytes]) -> list[str]:
    """A proof as JSON has it."""
    return [each.hex() for each in proof]
