"""Secure sums, the coordinator's memory: where an epoch and its round stand, and what opens one sum.

Names of rows: `advert/SITE`, `dealt/SITE`, `ready/SITE`, `complaint/SITE`, `upload/SITE`, `signature/SITE`, `reveal/SITE`,
`refused/SITE`, `last/SITE` (the last key index of which a vector of the site came), and `stand` and `round`. Rows named
`bundle/FROM/TO` are many megabytes: the machine hands them out to be written and never holds them.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from collegium.privacy import masks, shares
from collegium.privacy.masks import Mask
from collegium.privacy.secagg import Persist, Terms, canonical, commitment, statement
from collegium.privacy.secagg_keys import agree, public
from collegium.privacy.secagg_messages import Message

BULKY = "bundle/"


@dataclass(frozen=True)
class Open:
    """Begin an epoch with these sites (all, if none is named), under this number or the next free one."""

    sites: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class From:
    """A message from a site whose request signature held; an `Upload` only when its vector is committed."""

    site: str
    message: Message


@dataclass(frozen=True)
class Refused:
    """The site will not answer what it was asked last."""

    site: str
    says: str


@dataclass(frozen=True)
class Start:
    """Open a round over these sites (all that are ready, if none is named)."""

    task: str
    roster: tuple[str, ...] = ()


@dataclass(frozen=True)
class Close:
    """Sum exactly these sites' vectors; `root` is that of the log."""

    survivors: tuple[str, ...]
    root: str


@dataclass(frozen=True)
class Opened:
    """The sum is on the disk, its masks taken off."""


@dataclass(frozen=True)
class Stop:
    """Give the round up: its index is burned, nothing of it is used."""

    says: str


@dataclass(frozen=True)
class Tick:
    """The clock moved."""


class Tell(NamedTuple):
    """These sites are owed something new."""

    sites: tuple[str, ...]


class Prepared(NamedTuple):
    """The epoch is ready: rounds may start over these sites."""

    sites: tuple[str, ...]


class Unmask(NamedTuple):
    """Add the survivors' vectors and these masks, block by block; then say `Opened`."""

    survivors: tuple[str, ...]
    masks: tuple[Mask, ...]


class Failed(NamedTuple):
    """The epoch or the round came to nothing; `of` is which. Another attempt needs `Open` or `Start`."""

    of: str
    says: str


class Blame(NamedTuple):
    """What went wrong in words, and the site that is at fault; no site where the protocol cannot know which of several it is."""

    site: str
    says: str


Event: TypeAlias = Open | From | Refused | Start | Close | Opened | Stop | Tick
Order: TypeAlias = Persist | Tell | Prepared | Unmask | Failed | Blame


class Stand(NamedTuple):
    """Where the epoch and its round stand: `none`, then `adverts bundles ready`, then `idle upload sign reveal opened` and round again."""

    epoch: int = 0
    phase: str = "none"
    sites: Sequence[str] = ()  # asked to advertise; then all that did, by name
    transcript: str = ""
    free: int = 0  # the first key index not used yet


@dataclass(frozen=True)
class Coordinator:
    """The coordinator's part in the secure sums of one cohort; `rows` is all that has to be kept, and what it is restored from."""

    terms: Terms
    rows: Mapping[str, str] = field(default_factory=dict, repr=False)
    patience_s: float = 600.0  # how long a phase waits for the slowest
    deadline: float = float("inf")  # not kept: a restarted coordinator waits again

    @property
    def stand(self) -> Stand:
        """Where it stands."""
        return Stand(**json.loads(self.rows["stand"])) if "stand" in self.rows else Stand()

    @property
    def round(self) -> Any:
        """The round: index, task, roster; when closed also survivors and root."""
        return json.loads(self.rows["round"])

    def who(self, kind: str) -> list[str]:
        """The sites that have a row of this kind, by name."""
        return sorted(name.removeprefix(kind + "/") for name in self.rows if name.startswith(kind + "/"))

    @property
    def refusals(self) -> list[str]:
        """The rows of those who will not answer in this phase."""
        return [f"refused/{name}" for name in self.who("refused")]

    @property
    def members(self) -> list[str]:
        """The sites that may be in a roster: ready, and accused by nobody."""
        return sorted(set(self.who("ready")) - {self.rows[f"complaint/{by}"] for by in self.who("complaint")})

    def seen(self, site: str) -> tuple[int, int]:
        """The epoch and the last key index of which a vector of this site was committed; -1: none yet."""
        return self.stand.epoch, int(self.rows.get(f"last/{site}", -1))

    @property
    def left(self) -> int:
        """Rounds that this epoch can still open."""
        return self.terms.rounds - self.stand.free

    @property
    def wake(self) -> float:
        """When the next `Tick` can matter."""
        return self.deadline if self.waiting else float("inf")

    @property
    def waiting(self) -> list[str]:
        """The sites whose answer in this phase may still come."""
        expected = {
            "adverts": ("advert", self.stand.sites), "bundles": ("dealt", self.stand.sites), "ready": ("ready", self.who("dealt")),
            "sign": ("signature", self.rows.get("round") and self.round.get("survivors")),
            "reveal": ("reveal", self.rows.get("round") and self.round.get("survivors")),
        }  # fmt: skip
        kind, sites = expected.get(self.stand.phase, ("", ()))
        return [name for name in sites or () if not any(f"{row}/{name}" in self.rows for row in (kind, "refused", "complaint"))]


def keep(c: Coordinator, rows: Mapping[str, str], forget: Iterable[str] = (), *, now: bool = True) -> tuple[Coordinator, list[Order]]:
    """The coordinator with these rows changed, and the order that makes it last: at once, or when something has to last at once.

    From where the survivors are fixed to the next round nothing has to: sites that are asked again repeat what they have signed and
    revealed, and an upload is committed beside its vector.
    """
    gone = tuple(sorted(set(forget) - rows.keys()))
    kept = {name: text for name, text in c.rows.items() if name not in gone}
    light = {name: text for name, text in rows.items() if not name.startswith(BULKY)}
    return replace(c, rows=kept | light), [Persist(rows, gone, now)]


def staged(stand: Stand) -> str:
    """The stand as a row."""
    return canonical(stand._asdict())


def of_round(c: Coordinator) -> set[str]:
    """The rows that end with a round."""
    return {name for name in c.rows if name.startswith(("upload/", "signature/", "reveal/", "refused/")) or name == "round"}


def signed(c: Coordinator) -> str:
    """The statement of the round, as every honest survivor makes it."""
    now, stand = c.round, c.stand
    return statement(
        c.terms, stand.epoch, now["index"], transcript=stand.transcript, task=now["task"], roster=now["roster"],
        survivors=now["survivors"], root=now["root"],
    )  # fmt: skip


def opened(c: Coordinator, work: int) -> tuple[tuple[Mask, ...], list[Blame]]:
    """The masks that open the sum (none if a secret could not be rebuilt), and who revealed or dealt wrong shares."""
    stand, now = c.stand, c.round
    index, survivors, roster = now["index"], now["survivors"], now["roster"]
    transcript, bound = bytes.fromhex(stand.transcript), masks.context(now["task"], roster)
    said = {name: json.loads(c.rows[f"reveal/{name}"]) for name in c.who("reveal")}
    place = {name: 1 + at for at, name in enumerate(stand.sites)}
    advertised = {name: keys_of(c.rows[f"advert/{name}"], index) for name in roster}
    liars, out, wrong = frozenset[int](), list[Mask](), set[tuple[str, str]]()
    for name in roster:
        alive = name in survivors
        shown = {place[peer]: bytes.fromhex(both[0 if alive else 1][name]) for peer, both in said.items()}
        fits = seed_fits(advertised[name].commitment) if alive else key_fits(advertised[name].key)
        secret, lied = shares.recover(shown, c.terms.threshold, fits, suspects=liars, work=work)
        liars |= lied
        wrong |= {(peer, name) for peer, at in place.items() if at in lied}
        if secret is None:
            return (), []
        if alive:
            out.append(Mask(masks.self_key(secret, transcript, index, bound), -1))
        for peer in () if alive else survivors:
            pair = masks.pair_key(agree(secret, advertised[peer].key), transcript, index, (name, peer), bound)
            out.append(Mask(pair, -masks.sign(peer, name)))
    return tuple(out), at_fault(wrong, max(c.terms.colluders, 1))


def at_fault(wrong: Collection[tuple[str, str]], colluders: int) -> list[Blame]:
    """Who is to blame for wrong shares, each told by who revealed it and who dealt it.

    A share may be wrong because it was dealt so: that nobody can see but its receiver. Who reveals a wrong share of its own secret
    has dealt it itself; and where at most `colluders` sites lie, so does who is at one end of more wrong shares than that.
    """
    revealed, dealt = Counter(by for by, _ in wrong), Counter(of for _, of in wrong)
    liars = sorted({by for by, of in wrong if by == of or revealed[by] > colluders})
    left = sorted((by, of) for by, of in wrong if by not in liars)
    dealers = sorted({of for _, of in left if dealt[of] > colluders and of not in liars})
    return [
        *(Blame(name, "revealed a wrong share") for name in liars),
        *(Blame(name, "dealt wrong shares") for name in dealers),
        *(
            Blame("", f"one of {by} and {of} lies: a share that {of} dealt and {by} revealed is wrong")
            for by, of in left
            if of not in (*liars, *dealers)
        ),
    ]


class OfIndex(NamedTuple):
    """What a site advertised for one index."""

    key: bytes
    commitment: bytes


def keys_of(row: str, index: int) -> OfIndex:
    """One index of an advert that was checked when it came."""
    said = json.loads(json.loads(row)[0])
    return OfIndex(*(bytes.fromhex(said[name][64 * index : 64 * (index + 1)]) for name in ("keys", "seeds")))


def seed_fits(committed: bytes) -> Callable[[bytes], bool]:
    """Whether a rebuilt seed is the one that was committed to."""
    return lambda secret: commitment(secret) == committed


def key_fits(advertised: bytes) -> Callable[[bytes], bool]:
    """Whether a rebuilt private key is that of the advertised one."""
    return lambda secret: public(secret) == advertised
