"""Secure sums at a site: carries out what the pure machine orders, and refuses what it refuses.

Nothing of a study with secure sums leaves but through here: a vector only under masks that this site has made itself, bound to
the very task that its rows were asked. The machine is `privacy.secagg_site`; its rows are in the study's `Vault`.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from collegium.errors import CollegiumError, IdentityError, UpdateError
from collegium.identity import Chunks, Key, digest, vector_digest
from collegium.privacy import secagg, secagg_site
from collegium.privacy.masks import Mask
from collegium.privacy.ring import layout_of
from collegium.privacy.secagg import Persist, Terms, canonical
from collegium.privacy.secagg_keys import Asked, Encode, Order, Retire, Send, Site, Warn
from collegium.privacy.secagg_messages import Adverts, Ask, Begin, Bundles, Message, Quorum, Survivors, Upload, document, message_of
from collegium.privacy.secagg_site import Event, Leave, Resume, Spooled
from collegium.site.frames import INLINE
from collegium.site.vault import Vault, damaged

Says = dict[str, Any]


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
        among = json.loads(rows.pop("sites", "[]"))
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
            return sent(self.step(message, {"sites": canonical(sorted(message.sites))}))
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
        asked = Asked(ask, *secagg.digests(study=self.study, **names))
        for order in self.step(asked):
            match order:
                case Encode(_, found):
                    return asked, found
                case Send(Upload(_, _, before)):
                    return asked, before
        raise AssertionError

    def burn(self, asked: Asked, vector: str) -> None:
        """The masked vector lies on the disk: from here on its keys are used up."""
        self.step(Spooled(asked, vector))

    def leave(self) -> None:
        """The run is over: destroy what is left of its keys."""
        self.step(Leave())

    def close(self) -> None:
        """Let go of the vault."""
        self.vault.close()


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
