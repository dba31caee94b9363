"""Secure sums, the coordinator's machine: it carries sealed messages between sites, and rebuilds what opens one sum.

`step(coordinator, event, now=...) -> (coordinator, orders)`; `owed(coordinator, site)` is what a site is to be told now, as often
as it asks. The coordinator holds nothing that opens a single vector: sites reveal the seed of a survivor or the key of a site
that dropped out, never both. What it checks here protects the run (a wrong share, a wrong signature), not the hospitals: they
check for themselves.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from collegium import identity
from collegium.errors import ConflictError, IdentityError, RunError, UpdateError
from collegium.privacy import masks, shares
from collegium.privacy.secagg import Advert, Terms, canonical, read_advert, sha256
from collegium.privacy.secagg_messages import (
    Adverts,
    Ask,
    Begin,
    Bundles,
    Complaint,
    Message,
    Quorum,
    Ready,
    Reveal,
    Signature,
    Survivors,
    Upload,
    document,
)  # fmt: skip
from collegium.privacy.secagg_stand import (
    BULKY,
    Blame,
    Close,
    Coordinator,
    Event,
    Failed,
    From,
    Open,
    Opened,
    Order,
    Prepared,
    Refused,
    Stand,
    Start,
    Stop,
    Tell,
    Tick,
    Unmask,
    keep,
    of_round,
    opened,
    signed,
    staged,
)  # fmt: skip

SOON = 50_000  # products spent on looking for liars while more shares may still come


def step(c: Coordinator, event: Event, *, now: float) -> tuple[Coordinator, list[Order]]:
    """The coordinator after an event, and what to do, in order. A repeated event changes nothing; a wrong one raises."""
    match event:
        case Open():
            return begin(c, event, now)
        case Start():
            return start(c, event)
        case Close():
            return fix(c, event, now)
        case Opened() if c.stand.phase == "opened":
            return keep(c, {"stand": staged(c.stand._replace(phase="idle"))}, c.rows.keys() & of_round(c), now=False)
        case Stop(says) if c.stand.phase in ("upload", "sign", "reveal"):
            return fail(c, "round", says)
        case Refused(site, says) if site in c.terms.pins:
            c, orders = keep(c, {f"refused/{site}": says})
            return then(orders, onward(c, now))
        case From(site, message):
            orders = []
            if recorded := accept(c, site, message):
                rows, blame = recorded
                c, orders = keep(c, rows, now=not isinstance(message, Upload | Signature | Reveal))
                orders += blame
                return then(orders, onward(c, now))
        case Tick() if now >= c.deadline:
            return onward(c, now, late=True)
    return c, []


def restore(terms: Terms, rows: Mapping[str, str], *, now: float, patience_s: float = 600.0) -> tuple[Coordinator, list[Order]]:
    """The coordinator after a restart, and what it still has to do."""
    c = Coordinator(terms, {name: text for name, text in rows.items() if not name.startswith(BULKY)}, patience_s, now + patience_s)
    if c.stand.phase == "opened":
        found, _ = opened(c, shares.WORK)
        return c, [Unmask(tuple(c.round["survivors"]), found)] if found else []
    return onward(c, now)


def then(before: list[Order], after: tuple[Coordinator, list[Order]]) -> tuple[Coordinator, list[Order]]:
    """The orders of two steps, one after the other."""
    return after[0], before + after[1]


def begin(c: Coordinator, event: Open, now: float) -> tuple[Coordinator, list[Order]]:
    """A new epoch: every site is asked for keys."""
    sites = tuple(sorted(event.sites or c.terms.pins))
    if strange := set(sites) - c.terms.pins.keys():
        raise IdentityError(f"{min(strange)!r} was not approved for this study")
    stand = Stand(max(event.number, c.stand.epoch + 1), "adverts", sites)
    c, orders = keep(replace(c, deadline=now + c.patience_s), {"stand": staged(stand)}, {BULKY, *c.rows} - {"stand"})
    return c, [*orders, Tell(sites)]


def start(c: Coordinator, event: Start) -> tuple[Coordinator, list[Order]]:
    """A new round, with an index that was never used."""
    stand, roster = c.stand, sorted(event.roster or c.members)
    if stand.phase != "idle":
        raise ConflictError(f"a round cannot start: the epoch is at {stand.phase!r}")
    if c.left <= 0:
        raise RunError(f"epoch {stand.epoch} has used its {c.terms.rounds} key indices", hint="open a new epoch")
    if not set(roster) <= set(c.members) or len(roster) < c.terms.enough:
        raise RunError(f"{len(set(roster) & set(c.members))} of the sites asked hold keys of this epoch, {c.terms.enough} must")
    row = {"index": stand.free, "task": event.task, "roster": roster}
    rows = {"round": canonical(row), "stand": staged(stand._replace(phase="upload", free=stand.free + 1))}
    c, orders = keep(c, rows, c.rows.keys() & of_round(c))
    return c, [*orders, Tell(tuple(roster))]


def fix(c: Coordinator, event: Close, now: float) -> tuple[Coordinator, list[Order]]:
    """The survivors, once and for all: who comes later is not in this sum."""
    if c.stand.phase != "upload":
        raise ConflictError(f"survivors cannot be fixed: the epoch is at {c.stand.phase!r}")
    survivors = sorted(event.survivors)
    if missing := set(survivors) - set(c.who("upload")):
        raise UpdateError(f"no vector of {min(missing)!r} was committed")
    if len(survivors) < c.terms.enough:
        return fail(c, "round", f"{len(survivors)} sites answered, {c.terms.enough} must")
    rows = {
        "round": canonical(c.round | {"survivors": survivors, "root": event.root}),
        "stand": staged(c.stand._replace(phase="sign")),
    }  # fmt: skip
    c, orders = keep(replace(c, deadline=now + c.patience_s), rows, c.refusals)
    return c, [*orders, Tell(tuple(survivors))]


def fail(c: Coordinator, of: str, says: str) -> tuple[Coordinator, list[Order]]:
    """Nothing of the epoch, or of the round, is used."""
    if of == "epoch":
        c, orders = keep(c, {"stand": staged(Stand(c.stand.epoch))}, {BULKY, *c.rows} - {"stand"})
    else:
        c, orders = keep(c, {"stand": staged(c.stand._replace(phase="idle"))}, of_round(c))
    return c, [*orders, Failed(of, says)]


# What comes from sites


def accept(c: Coordinator, site: str, message: Message) -> tuple[dict[str, str], list[Order]] | None:
    """The rows that a message makes, and whom it blames; None for one that came before, or too late. Raises for a wrong one."""
    stand, blame = c.stand, list[Order]()
    if getattr(message, "epoch", stand.epoch) != stand.epoch or stand.phase == "none":
        raise ConflictError("that epoch is over")
    match message:
        case Advert():
            name, text, timely = f"advert/{site}", canonical(list(message)), stand.phase == "adverts" and site in stand.sites
            if timely and read_advert(c.terms, stand.epoch, message).site != site:
                raise IdentityError(f"site {site!r} sent another site's advert")
        case Bundles(_, bundles):
            name, text, timely = f"dealt/{site}", sha256(canonical(document(message))), stand.phase == "bundles" and site in stand.sites
            if timely and bundles.keys() != set(stand.sites) - {site}:
                raise UpdateError(f"site {site!r} did not deal a bundle to each peer")
        case Ready():
            name, text, timely = f"ready/{site}", "1", stand.phase not in ("adverts", "bundles") and site in c.who("dealt")
        case Complaint(_, about):
            name, text, timely = f"complaint/{site}", about, stand.phase == "ready" and {site, about} <= set(c.who("dealt"))
            blame = [accused(c, site, about)] if timely and name not in c.rows else []
        case Upload() | Signature() | Reveal():
            name, text, timely = of_a_round(c, site, message)
        case _:
            raise UpdateError(f"site {site!r} sent a {type(message).__name__.lower()}, which only a coordinator sends")
    if c.rows.get(name, text) != text:
        raise ConflictError(f"site {site!r} has said something else before: the first one stands")
    if name in c.rows or not timely:
        return None
    sealed = {f"{BULKY}{site}/{to}": text for to, text in message.bundles.items()} if isinstance(message, Bundles) else {}
    used = {f"last/{site}": str(message.index)} if isinstance(message, Upload) else {}
    return {name: text} | sealed | used, blame


def accused(c: Coordinator, site: str, about: str) -> Blame:
    """What a complaint says: one of two lies, until so many have said the same that one of them must be honest."""
    others = [by for by in c.who("complaint") if c.rows[f"complaint/{by}"] == about]
    if len(others) + 1 > max(c.terms.colluders, 1):
        return Blame(about, f"dealt shares that {', '.join([*others, site])} cannot open")
    return Blame("", f"one of {about} and {site} lies: {site} says that it cannot open the shares that {about} dealt it")


def of_a_round(c: Coordinator, site: str, message: Upload | Signature | Reveal) -> tuple[str, str, bool]:
    """The row that a round's message makes, and whether it is in time."""
    if "round" not in c.rows or message.index != c.round["index"]:
        return f"late/{site}", "", False
    current, phase = c.round, c.stand.phase
    survived = phase in ("sign", "reveal") and site in current["survivors"]
    match message:
        case Upload(_, _, digest):
            return f"upload/{site}", digest, phase == "upload" and site in current["roster"]
        case Signature(_, _, signature):
            if survived and not identity.verify(c.terms.pins[site], bytes.fromhex(signature), signed(c).encode()):
                raise IdentityError(f"site {site!r} signed another statement than the one it was sent")
            return f"signature/{site}", signature, survived
        case _:
            dropped = set(current["roster"]) - set(current.get("survivors", ()))
            if survived and (message.seeds.keys() != set(current["survivors"]) or message.keys.keys() != dropped):
                raise UpdateError(f"site {site!r} did not reveal one share for each site of the roster")
            return f"reveal/{site}", canonical([dict(message.seeds), dict(message.keys)]), survived and phase == "reveal"


# How a phase ends


def onward(c: Coordinator, now: float, *, late: bool = False) -> tuple[Coordinator, list[Order]]:
    """The next phase, if all have answered, or enough have and it is late; else nothing."""
    stand, over = c.stand, late or not c.waiting
    fresh = replace(c, deadline=now + c.patience_s)
    match stand.phase:
        case "adverts" if over:
            sites = tuple(c.who("advert"))
            if len(sites) < c.terms.enough:
                return fail(c, "epoch", f"{len(sites)} sites advertised keys, {c.terms.enough} must")
            texts = [json.loads(c.rows[f"advert/{name}"])[0] for name in sites]
            return move(fresh, stand._replace(phase="bundles", sites=sites, transcript=masks.transcript(texts).hex()), sites)
        case "bundles" if over:
            if len(c.who("dealt")) < c.terms.enough:
                return fail(c, "epoch", f"{len(c.who('dealt'))} sites dealt shares, {c.terms.enough} must")
            return move(fresh, stand._replace(phase="ready"), c.who("dealt"))
        case "ready" if over:
            return settle(c)
        case "sign" if len(c.who("signature")) >= c.terms.threshold:
            return move(fresh, stand._replace(phase="reveal"), c.round["survivors"], now=False)
        case "sign" if over or len(c.who("signature")) + len(c.waiting) < c.terms.threshold:
            return fail(c, "round", f"{len(c.who('signature'))} survivors signed, {c.terms.threshold} must")
        case "reveal" if over or len(c.who("reveal")) >= c.terms.threshold:
            return rebuild(c, over=over)
    return c, []


def move(c: Coordinator, stand: Stand, owed_to: Iterable[str], *, now: bool = True) -> tuple[Coordinator, list[Order]]:
    """The next phase; who refused the last one may answer this one."""
    c, orders = keep(c, {"stand": staged(stand)}, c.refusals, now=now)
    return c, [*orders, Tell(tuple(owed_to))]


def settle(c: Coordinator) -> tuple[Coordinator, list[Order]]:
    """The end of the setup. A site that accuses another, and the one accused, stay out: nobody can tell which of them lies."""
    members = tuple(c.members)
    if len(members) < c.terms.enough:
        accused = sorted({c.rows[f"complaint/{by}"] for by in c.who("complaint")})
        return fail(c, "epoch", f"{len(members)} sites hold whole shares, {c.terms.enough} must; accused: {', '.join(accused) or 'none'}")
    c, orders = keep(c, {"stand": staged(c.stand._replace(phase="idle"))}, [BULKY, *c.refusals])
    return c, [*orders, Prepared(members)]


def rebuild(c: Coordinator, *, over: bool) -> tuple[Coordinator, list[Order]]:
    """Open the sum, if the shares that came are enough and right; else wait for more, or give up if no more can come."""
    if len(c.who("reveal")) >= c.terms.threshold:
        found, blame = opened(c, shares.WORK if over else SOON)
        if found:
            c, orders = keep(c, {"stand": staged(c.stand._replace(phase="opened"))}, now=False)
            return c, [*orders, *blame, Unmask(tuple(c.round["survivors"]), found)]
    if not over:
        return c, []
    return fail(c, "round", f"{len(c.who('reveal'))} survivors revealed shares, and no {c.terms.threshold} of them are right")


# What a site is told


def owed(c: Coordinator, site: str, read: Callable[[str], str]) -> Message | None:
    """What this site is to be told now; None if nothing. `read` gives a row by its name, those of the bundles included."""
    stand = c.stand
    if site not in c.waiting and (stand.phase != "upload" or site in c.who("upload") + c.who("refused")):
        return None
    match stand.phase:
        case "adverts":
            return Begin(stand.epoch, tuple(sorted(c.terms.pins)))
        case "bundles":
            return Adverts(stand.epoch, tuple(Advert(*json.loads(c.rows[f"advert/{name}"])) for name in stand.sites))
        case "ready":
            return Bundles(stand.epoch, {name: read(f"{BULKY}{name}/{site}") for name in c.who("dealt") if name != site})
    now = c.round
    if stand.phase == "upload":
        return Ask(stand.epoch, now["index"], now["task"], tuple(now["roster"])) if site in now["roster"] else None
    if f"signature/{site}" not in c.rows:
        return Survivors(stand.epoch, now["index"], tuple(now["survivors"]), now["root"])
    enough = c.who("signature")[: c.terms.threshold]
    return Quorum(stand.epoch, now["index"], {name: c.rows[f"signature/{name}"] for name in enough})
