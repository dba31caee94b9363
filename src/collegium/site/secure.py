"""Secure sums at a site: carries out what the pure machine orders, and refuses what it refuses.

Nothing of a study with secure sums leaves but through here: a vector only under masks that this site has made itself, bound to
the very task that its rows were asked. The machine is `privacy.secagg_site`; its rows are in the study's `Vault`.
"""

import json
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from collegium.errors import CollegiumError, IdentityError, UpdateError
from collegium.identity import Chunks, Key, digest, vector_digest
from collegium.privacy import secagg, secagg_site, tags
from collegium.privacy.masks import Mask
from collegium.privacy.ring import layout_of
from collegium.privacy.secagg import Persist, Terms, canonical
from collegium.privacy.secagg_keys import Asked, Encode, Order, Retire, Send, Site, Warn
from collegium.privacy.secagg_messages import Adverts, Ask, Begin, Bundles, Message, Quorum, Survivors, Upload, document, message_of
from collegium.privacy.secagg_site import Event, Leave, Resume, Spooled
from collegium.site.frames import INLINE
from collegium.site.vault import Vault, damaged

Says = dict[str, Any]
LAST = "last sum"  # the row of what is to be checked of it


def wanted(manifest: Mapping[str, Any]) -> bool:
    """Whether a study (as JSON) lets nobody see more than sums."""
    return secagg.wanted(str(manifest["privacy"]["secure_aggregation"]), int(manifest["sites"]["minimum"]))


class Sums:
    """This site's part in the secure sums of one study. `pins` are the sites' keys, as the steward approved them; `vouch` raises
    for sites among which too few are known to the steward."""

    def __init__(
        self,
        vault: Vault,
        manifest: Mapping[str, Any],
        study: str,
        name: str,
        key: Key,
        pins: Mapping[str, str],
        warn: Callable[[str], object],
        *,
        vouch: Callable[[Mapping[str, str]], object] = lambda among: None,
    ) -> None:
        self.vault, self.manifest, self.study, self.key, self.pins, self.warn = vault, manifest, study, key, pins, warn
        self.vouch, self.group = vouch, secagg.group(manifest, study, pins, name)
        self.unwritten: list[Persist] = []  # of the machine's rows: they go with the next that have to last
        try:
            self.recall(name)
        except BaseException:
            vault.close()  # or nobody could open it again
            raise

    def recall(self, name: str) -> None:
        """Stand where the rows stand. An epoch among sites that are approved no longer is given up."""
        rows = self.vault.rows()
        among, self.last = json.loads(rows.pop("sites", "[]")), json.loads(rows.pop(LAST, "{}"))
        self.machine = Site(Terms(self.study, {}, 0), name, rows)
        try:
            if among:
                self.machine = replace(self.machine, terms=self.terms(among))
        except CollegiumError as e:
            self.leave()
            self.warn(f"{e}; this site takes part again from the next epoch")
        self.machine, orders = secagg_site.restored(self.machine)
        self.carry_out(orders)

    def terms(self, among: Any) -> Terms:
        """The terms of an epoch among these sites, each of which was approved. Raises `IdentityError`."""
        if strange := sorted(set(among) - self.pins.keys()):
            raise IdentityError(f"{strange[0][:80]!r} is among the sites of the sum, and was not approved for this study")
        if others := sorted(set(among) - self.group.keys()):
            raise IdentityError(
                f"{others[0][:80]!r} is among the sites of the sum, and belongs to another cohort: who meets whom follows from the study"
            )
        if len(set(among)) < len(among):
            raise IdentityError("a site is named twice among those of the sum, which makes it look like one of more sites")
        if len(among) < (least := secagg.fewest(self.manifest, len(self.pins))):
            raise IdentityError(f"{len(among)} sites make keys, the study wants {least}: a sum of fewer hides less")
        pins = {name: self.pins[name] for name in among}
        self.vouch(pins)
        return secagg.agreed(self.manifest, self.study, pins, of=len(self.pins))

    def step(self, event: Event, more: Mapping[str, str] | None = None) -> list[Order]:
        """Let the machine answer, and carry out what has to last; the other orders are returned. Raises for a lie."""
        after, orders = secagg_site.step(self.machine, event, signer=self.key, entropy=os.urandom(32))
        self.carry_out(orders, more)
        self.machine = after
        return [order for order in orders if not isinstance(order, Persist | Warn | Retire)]

    def carry_out(self, orders: list[Order], more: Mapping[str, str] | None = None) -> None:
        """Write what has to last, and say what a person should hear."""
        for order in orders:
            match order:
                case Persist(_, _, False):
                    self.unwritten.append(order)
                case Persist():
                    self.write(order, Persist(more or {}))
                case Warn(says) | Retire(says):
                    self.warn(says)

    def write(self, *orders: Persist) -> None:
        """Bring to the disk what waits, and these."""
        rows, forget, _ = secagg.together([*self.unwritten, *orders])
        self.vault.change(rows, forget)
        self.unwritten = []

    def hear(self, said: Any) -> list[Says]:
        """What this site answers to a message of the coordinator."""
        message = message_of(said)
        if isinstance(message, Begin):
            return self.begin(message)
        return sent(self.step(event_of(message)))

    def begin(self, message: Begin) -> list[Says]:
        """Keys for a new epoch; nobody changes the terms of one that has begun."""
        before, terms = self.machine, self.terms(message.sites)
        if message.epoch == before.epoch.number and terms != before.terms:
            raise IdentityError(f"epoch {message.epoch} has begun among other sites than are named now")
        self.machine = replace(before, terms=terms)
        try:
            if self.opened:  # the epoch's key goes, and with it what its last sum could be checked by
                self.last["left"] = True
            kept = {LAST: canonical(self.last)} if self.last else {}
            return sent(self.step(message, {"sites": canonical(sorted(message.sites))} | kept))
        except BaseException:
            self.machine = before
            raise

    def masks(self, said: Says, task: Says) -> tuple[Asked, tuple[Mask, ...] | str]:
        """For a round's task: the masks to lay over the vector; or the digest of the one that was masked before."""
        seen = said.get("seen", [0, -1])
        ask = message_of({name: value for name, value in said.items() if name != "seen"})
        if not isinstance(ask, Ask) or not (isinstance(seen, list) and len(seen) == 2 and all(type(n) is int for n in seen)):
            raise IdentityError("a task came without the round of a secure sum that it belongs to")
        self.step(Resume(*seen))
        names = {name: task[name] for name in ("run", "place", "layout", "state")}
        if self.machine.terms.verified and tags.LEAF not in layout_of(task["layout"]).leaves:
            raise IdentityError("the round asks for a vector without the tags by which this study checks its sums")
        asked = Asked(ask, *secagg.digests(study=self.study, **names))
        for order in self.step(asked):
            match order:
                case Encode(_, found):
                    return asked, found
                case Send(Upload(_, _, before)):
                    return asked, before
        raise AssertionError

    def tag(self, epoch: int, index: int) -> bytes:
        """The key of a round's tags, by which its sum is checked; none in a study that wants no such check."""
        key = self.machine.rows.get("study key", "")
        return tags.round_key(bytes.fromhex(key), epoch, index) if key else b""

    def burn(self, asked: Asked, vector: str, task: Says) -> None:
        """The masked vector lies on the disk: from here on its keys are used up."""
        last = {"run": task["run"], "ask": [asked.ask.epoch, asked.ask.index], "place": list(task["place"]), "layout": task["layout"]}
        self.step(Spooled(asked, vector), {LAST: canonical(last)} if self.machine.terms.verified else None)
        self.last = last if self.machine.terms.verified else {}

    @property
    def opened(self) -> bool:
        """Whether this site has signed for the sum that its last vector went into, so that the sum can have been opened."""
        said = self.machine.row("statement")
        return bool(self.last) and bool(said) and [said["epoch"], said["index"]] == self.last["ask"]

    def check(self, run: str, shown: Sequence[Says], place: Sequence[Any], over: bool, fetch: Callable[[Says], Path]) -> None:
        """Hold the sum of this site's last round against the vectors that went into it. Raises `IdentityError` for a lie.

        `shown` are the sums that the coordinator shows; the run goes on at `place` (empty: nothing is asked now), or is `over`.
        """
        if self.last and self.last["run"] != run:
            self.passed()
        if not self.last:
            return
        found = next((each for each in shown if [each.get("epoch"), each.get("index")] == self.last["ask"]), None)
        if found is not None and self.opened:
            self.compare(fetch(found))
        elif over or (place and kind(place) != kind(self.last["place"])):
            self.miss(shown)
        else:  # its round is asked again, or goes on
            return
        self.passed()

    def compare(self, path: Path) -> None:
        """Raise `IdentityError` unless a file holds the sum of the vectors of those whose statement this site has signed."""
        layout, (epoch, index) = layout_of(self.last["layout"]), self.last["ask"]
        key, names = self.tag(epoch, index), self.machine.row("statement")["survivors"]
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            right = len(whole) == layout.nbytes and tags.holds(lambda at, count: whole[at : at + count], layout, key, names)
        if not right:
            raise IdentityError(
                f"the coordinator altered the sum of {self.where}: it is not that of the {len(names)} vectors that were sent",
                hint="trust no result of this run, and tell the other hospitals",
            )

    def miss(self, shown: Sequence[Says]) -> None:
        """The run has gone on, and no sum of this site's last round is shown. Raises `IdentityError` where it would have to be.

        A site that was late finds the sum of another round, and a cohort may be left out of one that goes on without it.
        """
        if not (self.opened or self.last.get("left")):
            return
        if any(each.get("place") != self.last["place"] for each in shown) or len(self.group) < len(self.pins):
            self.warn(f"the sum of {self.where} was not seen here, so it is not checked")
            return
        raise IdentityError(
            f"the coordinator goes on without showing the sum of {self.where}, which this study's sites check",
            hint="trust no result of this run, and tell the other hospitals",
        )

    @property
    def where(self) -> str:
        """The last round, in words."""
        stage, number, _, phase = self.last["place"]
        return f"stage {stage + 1}, round {number}{' (ranging)' if phase == 'range' else ''}"

    def passed(self) -> None:
        """The last round needs no further look."""
        self.vault.change({}, [LAST])
        self.last = {}

    def leave(self) -> None:
        """The run is over: destroy what is left of its keys."""
        self.step(Leave())
        if self.last:
            self.passed()

    def close(self) -> None:
        """Let go of the vault."""
        self.vault.close()


def kind(place: Sequence[Any]) -> tuple[Any, ...]:
    """What a place has in common with the same round asked again."""
    stage, number, _, phase = place
    return stage, number, phase


def event_of(message: Message) -> Event:
    """A message as what the machine takes. Raises `IdentityError` for one that only sites send."""
    if not isinstance(message, Adverts | Bundles | Survivors | Quorum):
        raise IdentityError(
            f"a message of kind {type(message).__name__.lower()!r} came, which a coordinator does not send, or not by itself"
        )
    return message


def sent(orders: list[Order]) -> list[Says]:
    """The messages among some orders, as JSON."""
    return [document(order.message) for order in orders if isinstance(order, Send)]


def refusal(error: Exception) -> Says:
    """What the coordinator hears where this site does not go on."""
    return {"kind": "refuse", "says": str(error)[:500]}


def keep(folder: Path, vector: Any) -> None:
    """Keep a small masked vector, as a worker keeps a large one: without its keys it cannot be made again. Raises `StorageError`.

    Without fsync: what a power cut takes costs this site one round.
    """
    path = folder / "spool" / "masked"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_bytes(vector)
        os.replace(path.with_suffix(".part"), path)
    except OSError as e:
        raise damaged(path, e) from None


def kept(folder: Path, before: str, layout: Says) -> tuple[Says, Any]:
    """The vector that was masked before a restart, as a worker would have told of it. Raises `UpdateError` if it is gone."""
    nbytes = layout_of(layout).nbytes
    path = folder / "spool" / ("masked" if nbytes <= INLINE else "vector")
    try:
        if nbytes <= INLINE:
            whole = path.read_bytes()
            if digest(whole) == before:
                return {"digest": before, "nbytes": nbytes}, whole
        else:
            chunks = Chunks()
            with path.open("rb", buffering=0) as file:
                while piece := file.read(1 << 20):
                    chunks.update(piece)
            if vector_digest(chunks.digests) == before:
                return {"digest": before, "nbytes": nbytes, "spool": str(path), "chunks": chunks.digests}, b""
    except OSError:
        pass
    raise UpdateError("the vector that was masked before is lost, and its keys are used up: this site sits out one round")
