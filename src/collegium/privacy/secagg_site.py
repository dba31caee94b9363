"""Secure sums, the site's machine: `step(site, event) -> (site, orders)`. What it refuses is why the coordinator need not be trusted.

The shell carries out the orders in their order, and a `Persist` before what follows it: then a site that is killed anywhere
signs once, reveals once and uses a key index once. A message that comes again gets the same answer again. A lie raises an
error, changes nothing and reveals nothing. What is no longer needed is destroyed at once: a site's own seed and key when the
vector that they mask is on the disk, its peers' shares when the next index is burned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from collegium import identity
from collegium.errors import ConflictError, IdentityError, RunError, UpdateError
from collegium.privacy import masks, shares
from collegium.privacy.masks import Mask
from collegium.privacy.secagg import canonical, statement
from collegium.privacy.secagg_keys import (
    PAIR,
    Asked,
    Encode,
    Order,
    Send,
    Site,
    Warn,
    agree,
    begin,
    collect,
    deal,
    resume,
    retire,
    save,
    staged,
)
from collegium.privacy.secagg_messages import Adverts, Begin, Bundles, Quorum, Reveal, Signature, Survivors, Upload


@dataclass(frozen=True)
class Spooled:
    """The masked vector that was asked is on the disk, whole, under this digest."""

    asked: Asked
    digest: str


@dataclass(frozen=True)
class Resume:
    """The last epoch and index that the coordinator's log holds of this site: to be compared at every start."""

    epoch: int
    index: int


@dataclass(frozen=True)
class Leave:
    """The run is over: nothing of this epoch will be opened again."""


Event: TypeAlias = Leave | Begin | Adverts | Bundles | Asked | Spooled | Survivors | Quorum | Resume


def step(site: Site, event: Event, *, signer: identity.Key, entropy: bytes) -> tuple[Site, list[Order]]:
    """The site after an event, and what to do, in order. `entropy`: 32 fresh secret random bytes, each time.

    Raises an error that names the lie, and leaves the site as it was.
    """
    match event:
        case Begin(epoch):
            return begin(site, epoch, signer, entropy)
        case Resume(epoch, index):
            return resume(site, epoch, index)
        case Leave():
            return retire(site, site.epoch.number)
    match event:
        case Asked(ask) | Spooled(Asked(ask)):
            epoch = ask.epoch
        case _:
            epoch = event.epoch
    if epoch != site.epoch.number or site.epoch.phase in ("none", "retired"):
        raise IdentityError(f"epoch {epoch}: this site is in epoch {site.epoch.number} ({site.epoch.phase}); old keys are not used again")
    match event:
        case Adverts():
            return deal(site, event)
        case Bundles():
            return collect(site, event)
        case Asked():
            return answer(site, event)
        case Spooled():
            return burn(site, event)
        case Survivors():
            return attest(site, event, signer)
        case _:
            return reveal(site, event)


def answer(site: Site, asked: Asked) -> tuple[Site, list[Order]]:
    """M3: the masks for a task, if this site may answer it; the upload once more if it has."""
    ask, current = asked.ask, site.row("round")
    if current and current["index"] == ask.index:
        if (current["task"], tuple(current["roster"])) != (ask.task, ask.roster):
            raise IdentityError(f"index {ask.index} was used for another task or roster: an index is used once")
        return site, [Send(Upload(ask.epoch, ask.index, current["digest"]))]
    admit(site, asked)
    epoch = site.epoch
    own, theirs = (bytes.fromhex(site.rows[f"{kind}/{ask.index}"]) for kind in ("key", "peers"))
    transcript, bound = bytes.fromhex(epoch.transcript), masks.context(ask.task, ask.roster)
    found = [Mask(masks.self_key(own[:32], transcript, ask.index, bound), 1)]
    for peer in ask.roster:
        if peer != site.name:
            at = 32 * epoch.sites.index(peer)
            agreed = agree(own[32:], theirs[at : at + 32])
            found.append(Mask(masks.pair_key(agreed, transcript, ask.index, (site.name, peer), bound), masks.sign(site.name, peer)))
    return site, [Encode(asked, tuple(found))]


def admit(site: Site, asked: Asked) -> None:
    """Raise unless a vector may be masked for this ask: the right sites, an unused index, and no second look at opened work."""
    epoch, ask, roster, work = site.epoch, asked.ask, asked.ask.roster, asked.work
    if ask.task != asked.task:
        raise IdentityError("the round is about another task than the one that this site was given")
    if epoch.phase != "ready":
        raise ConflictError("a task came before the shares that would open its sum")
    if list(roster) != sorted(set(roster)) or site.name not in roster:
        raise IdentityError("the roster repeats a site, is out of order or leaves this site out")
    if strange := set(roster) - set(epoch.peers):
        raise IdentityError(f"the roster names {min(strange)[:80]!r}, which dealt no shares in this epoch")
    if len(roster) < site.terms.enough:
        raise IdentityError(f"the roster has {len(roster)} sites, the manifest wants {site.terms.enough}: a sum of fewer is not hidden")
    if not epoch.burned < ask.index < site.terms.rounds:
        raise IdentityError(f"index {ask.index} is not free: {epoch.burned} was used, the epoch ends at {site.terms.rounds - 1}")
    before = site.row(f"done/{work}")
    if before and before["roster"] != list(roster):
        gone = sorted(set(before["roster"]) ^ set(roster))
        raise IdentityError(
            f"this very work was summed before over other sites ({', '.join(gone)[:200]}): the difference would show one",
            hint="sum over the same sites as before, or submit the study as a new one, which every steward approves",
        )
    if not before and (site.row(f"tries/{work}") or 0) >= site.terms.attempts:
        raise RunError(f"this work was tried {site.terms.attempts} times without a sum; it is not tried again")


def burn(site: Site, event: Spooled) -> tuple[Site, list[Order]]:
    """The vector is on the disk: from here its index is used, whatever happens. Only then is it sent."""
    ask, work, current = event.asked.ask, event.asked.work, site.row("round")
    upload = Upload(ask.epoch, ask.index, event.digest)
    if current and current["index"] == ask.index:
        if (current["task"], tuple(current["roster"])) != (ask.task, ask.roster) or current["digest"] != event.digest:
            raise UpdateError(f"index {ask.index} masked another vector: two under one mask would show their difference")
        return site, [Send(upload)]
    admit(site, event.asked)
    rows = {
        "round": canonical({"index": ask.index, "task": ask.task, "work": work, "roster": list(ask.roster), "digest": event.digest}),
        "epoch": staged(site.epoch._replace(burned=ask.index)),
    }
    if f"done/{work}" not in site.rows:
        rows[f"tries/{work}"] = canonical((site.row(f"tries/{work}") or 0) + 1)
    old = [f"{kind}/{k}" for k in range(ask.index) for kind in ("key", "peers", "shares")]
    after, order = save(site, rows, [*old, f"key/{ask.index}", f"peers/{ask.index}", "statement", "revealed"])
    return after, [order, Send(upload)]


def standing(site: Site, index: int) -> Any:
    """The round of this index, if it is this site's last."""
    current = site.row("round")
    if not current or current["index"] != index:
        raise IdentityError(f"index {index} is not the one this site answered last: its shares are destroyed or were never asked for")
    return current


def attest(site: Site, event: Survivors, signer: identity.Key) -> tuple[Site, list[Order]]:
    """M4: sign who survived. One statement an index: whoever is alive in it can never be called dead."""
    current, epoch, survivors = standing(site, event.index), site.epoch, event.survivors
    if len(set(survivors)) < len(survivors) or not set(survivors) <= set(current["roster"]):
        raise IdentityError("the survivors repeat a site, or name one that was not in the roster")
    if site.name not in survivors:
        raise IdentityError("this site is said to have dropped out, and is asked to open the sum of the others")
    if len(survivors) < site.terms.enough:
        raise IdentityError(f"{len(survivors)} sites survived, the manifest wants {site.terms.enough}: a sum of fewer is not opened")
    text = statement(
        site.terms, epoch.number, event.index, transcript=epoch.transcript, task=current["task"], roster=current["roster"],
        survivors=survivors, root=event.root,
    )  # fmt: skip
    send = Send(Signature(epoch.number, event.index, signer.sign(text.encode()).hex()))
    if site.rows.get("statement", text) != text:
        raise IdentityError(f"index {event.index}: this site has signed another statement; survivors were moved")
    if "statement" in site.rows:
        return site, [send]
    before = site.row(f"done/{current['work']}")
    if before and before["survivors"] != sorted(survivors):
        raise IdentityError("this very work was opened before with other survivors: the difference would show one site")
    after, order = save(site, {"statement": text})
    return after, [order, send]


def reveal(site: Site, event: Quorum) -> tuple[Site, list[Order]]:
    """M5: with t signatures on this site's own statement, one share for each site: of the seed if it survived, else of the key."""
    current = standing(site, event.index)
    said = site.row("statement")
    if not said:
        raise IdentityError("signatures came for a statement that this site has not signed")
    text = site.rows["statement"].encode()
    survivors = said["survivors"]
    good = [name for name in survivors if identity.verify(site.terms.pins[name], bytes.fromhex(event.signatures.get(name, "")), text)]
    if len(good) < site.terms.threshold:
        raise IdentityError(
            f"{len(good)} survivors signed what this site signed, {site.terms.threshold} must: others were told something else"
        )
    send = Send(shares_of(site, event.index, current["roster"], survivors))
    after, orders = done(site)
    return after, [*orders[:1], send, *orders[1:]]


def done(site: Site) -> tuple[Site, list[Order]]:
    """The sum whose statement this site has signed is open, or may be. It need not last at once: `restored` takes it for granted."""
    current, survivors, last = site.row("round"), site.row("statement")["survivors"], site.row("last")
    if "revealed" in site.rows:
        return site, []
    rows = {
        "revealed": canonical(current["index"]), "last": canonical(survivors),
        f"done/{current['work']}": canonical({"roster": current["roster"], "survivors": survivors}),
    }  # fmt: skip
    after, persist = save(site, rows, [f"tries/{current['work']}"])
    orders: list[Order] = [persist._replace(now=False)]
    if last and len(moved := sorted(set(last) ^ set(survivors))) == 1:
        orders.append(Warn(f"two sums in a row differ by {moved[0]!r} alone: together they say nearly what that site sent"))
    return after, orders


def restored(site: Site) -> tuple[Site, list[Order]]:
    """The site after a restart: of a sum whose statement it signed it may have revealed the shares."""
    return done(site) if "statement" in site.rows else (site, [])


def shares_of(site: Site, index: int, roster: Sequence[str], survivors: Sequence[str]) -> Reveal:
    """One share for each site of the roster."""
    held = bytes.fromhex(site.rows[f"shares/{index}"])
    pairs = {peer: held[PAIR * k : PAIR * (k + 1)] for k, peer in enumerate(site.epoch.peers)}
    seeds = {name: pairs[name][: shares.WIDTH].hex() for name in survivors}
    keys = {name: pairs[name][shares.WIDTH :].hex() for name in roster if name not in survivors}
    return Reveal(site.epoch.number, index, seeds, keys)
