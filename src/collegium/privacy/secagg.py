"""Secure sums: what a site and a coordinator both know of the protocol. The terms, the messages, and what gets signed.

The protocol is Bonawitz 2017 (Practical Secure Aggregation, CCS; the variant for a lying server), with the keys of many rounds
made ahead in one *epoch*: for each key index a site draws an X25519 key and a seed, advertises them under its identity key, and
deals shares of both to its peers. A round uses one index, once: the site adds the mask of its seed and one mask for each peer
(`masks`), uploads, signs one statement of who survived, and on a quorum of such signatures reveals one share for each site: of
the seed of a survivor, of the key of a site that dropped out. Never both: that is what keeps a single vector shut.

`secagg_site` and `secagg_coordinator` are the two machines, `secagg_messages` what they say. They hold `rows` of text, which are
all there is to keep: what an order `Persist` wrote is what a restart finds.

What the machines leave to the shells: to carry out orders one after the other, a `Persist` synced before the next; to keep a
site's rows where only the agent reads them, and to overwrite what is forgotten; to make a task's digests from the task that
will be run, checked against the manifest (`digests`); to check the log before its root goes into a statement; and to draw the
entropy of every step from the operating system.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from collegium import identity
from collegium.canonical import canonical as canonical_bytes
from collegium.errors import IdentityError, StudyError

LARGEST = 128  # sites in one secure sum at most; a manifest may want fewer (`privacy.cohort`)
CURVE = (1 << 255) - 19
LOW_ORDER = {  # points that agree on zero with every key (Bernstein, cr.yp.to/ecdh.html)
    0, 1, CURVE - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
}  # fmt: skip


class Terms(NamedTuple):
    """What the approved manifest fixes for one cohort; nothing of it is ever taken from the coordinator."""

    study: str  # the manifest's digest
    pins: Mapping[str, str]  # each site and its identity key, as the steward approved them
    threshold: int  # t: shares and signatures needed to open a sum
    rounds: int = 128  # key indices in an epoch
    least: int = 2  # the fewest sites in a roster, where more than the threshold
    attempts: int = 3  # how often one piece of work is tried without being opened
    verified: bool = False  # sites share a key by which they check the sum itself (`tags`)

    @property
    def enough(self) -> int:
        """The fewest sites that an epoch or a roster may have."""
        return max(self.threshold, self.least)

    @property
    def colluders(self) -> int:
        """How many sites may side with the coordinator and still learn no other site's vector: 2t > n + c, two honest left."""
        return min(2 * self.threshold - len(self.pins) - 1, len(self.pins) - 2)


def settle(
    study: str,
    pins: Mapping[str, str],
    *,
    curious: bool = False,
    waived: bool = False,
    least: int = 2,
    rounds: int = 128,
    verified: bool = False,
) -> Terms:
    """The terms of a cohort: t is more than two thirds of the sites, or with `curious` more than half. Raises `StudyError`.

    >>> settle("ab" * 32, {name: name.encode().hex() for name in "abcde"}).threshold
    4
    """
    n = len(pins)
    if len(set(pins.values())) < n:
        raise StudyError("two sites have the same identity key: one of them is not there", hint="ask each site for its own fingerprint")
    if n > LARGEST:
        raise StudyError(
            f"{n} sites are too many for one secure sum, at most {LARGEST} fit", hint="cut them into cohorts, each with a sum of its own"
        )
    if n < 2 or (n == 2 and not waived):
        raise StudyError(
            f"a secure sum needs three sites, found {n}: with two, each can take its own part from the sum and read the other's",
            hint="add a site, or let both agree and say why in the manifest",
        )
    return Terms(study, dict(pins), n // 2 + 1 if curious else 2 * n // 3 + 1, rounds, least, verified=verified)


def wanted(chosen: str, minimum: int) -> bool:
    """Whether a manifest's choice (`auto`, `on`, `off`) means secure sums, in a study of at least so many sites."""
    return chosen == "on" or (chosen == "auto" and minimum >= 3)


def agreed(manifest: Mapping[str, Any], digest: str, pins: Mapping[str, str], *, of: int = 0) -> Terms:
    """The terms of a manifest (as JSON) over these sites, which are of one cohort in a study of `of` participants.

    The coordinator and every site work them out for themselves.
    """
    chosen = manifest["privacy"]
    return settle(
        digest, pins, curious=bool(chosen["curious"]), waived=bool(chosen["because"]), least=max(fewest(manifest, of), 2),
        rounds=int(chosen["epoch"]), verified=bool(chosen.get("verified", False)),
    )  # fmt: skip


def limit(manifest: Mapping[str, Any]) -> int:
    """How many sites make one sum at most; the participants of a larger study are cut into cohorts."""
    return int(manifest["privacy"].get("cohort", LARGEST))


def fewest(manifest: Mapping[str, Any], of: int) -> int:
    """The fewest sites of which a sum is opened, in a study of so many participants: the manifest's minimum, or of a cohort a part."""
    most = limit(manifest)
    return smallest(most) if of > most else int(manifest["sites"]["minimum"])


def badge(terms: Terms, cohorts: int = 1) -> str:
    """One sentence for the manifest's page and the approval: from whom the sum hides a site, and what that costs."""
    n, t = len(terms.pins), terms.threshold
    if n == 2:
        return "protects against the coordinator only: each of the two sites can work out the other's part; neither may drop out"
    who = (
        f"the coordinator, even if it lies and {terms.colluders} of the other sites help it" if terms.colluders else "the coordinator alone"
    )
    drop = "no site may drop out of a round" if t == n else f"{n - t} of {n} sites may drop out of a round"
    whole = f"protects against {who}; {drop}"
    if cohorts == 1:
        return whole
    return f"{whole}; the coordinator sees the sums of {cohorts} cohorts, this one of {n} sites and never of fewer than {terms.enough}"


def cohorts(study: str, sites: Iterable[str], *, largest: int = LARGEST) -> list[tuple[str, ...]]:
    """The participants cut into groups of which each has its own secure sum, of about half as many as fit; one group where all fit.

    Who meets whom follows from the study's digest and the list of participants, so nobody can pick a hospital's companions, and
    it is the same in every epoch: two ways of cutting would give two sums whose difference shows fewer sites than either. Sizes
    differ by one at most.
    """
    names = sorted(sites)
    groups = 1 if len(names) <= largest else min(round(2 * len(names) / largest), len(names) // smallest(largest))
    mixed = sorted(names, key=lambda name: hashlib.sha256(f"{study}|{name}".encode()).digest())
    return [tuple(sorted(mixed[k::groups])) for k in range(groups)]


def smallest(largest: int) -> int:
    """The fewest sites of which a cohort's sum is opened, where at most `largest` fit: a quarter, and three at least."""
    return max(largest // 4, 3)


def group(manifest: Mapping[str, Any], study: str, pins: Mapping[str, str], site: str) -> dict[str, str]:
    """The participants (with their keys) in whose sum this site's part goes; the coordinator sees that sum."""
    found = cohorts(study, pins, largest=limit(manifest))
    return {name: pins[name] for each in found if site in each for name in each}


# What is signed


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, of whole numbers and text: the same bytes everywhere."""
    return canonical_bytes(value).decode()


def digests(*, run: str, study: str, place: Sequence[Any], layout: Any, state: str) -> tuple[str, str]:
    """The digests of a task and of its work; `place` is stage, round, attempt, phase, `layout` its JSON, `state` a digest.

    The *task* is all of it, and masks are bound to it. The *work* is what the site's rows are asked: the same study, stage,
    phase and state are the same work in whatever run, round, attempt or scale they come, or a repeat could be told from the
    first by one site less.
    """
    stage, _, _, phase = place
    task = {"type": "collegium/task/1", "run": run, "study": study, "place": list(place), "layout": layout, "state": state}
    work = {"type": "collegium/work/1", "study": study, "stage": stage, "phase": phase, "state": state}
    return sha256(canonical(task)), sha256(canonical(work))


def sha256(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


class Advert(NamedTuple):
    """Site to coordinator (M1): its keys for the epoch, signed."""

    text: str
    signature: str


def advert_text(terms: Terms, epoch: int, site: str, sealing: bytes, keys: bytes, seeds: bytes) -> str:
    """What a site advertises for an epoch: the public keys it seals and masks with, and a commitment to each seed."""
    said = {
        "type": "collegium/adv/1", "study": terms.study, "epoch": epoch, "rounds": terms.rounds, "threshold": terms.threshold,
        "sites": len(terms.pins), "site": site, "kem": "x25519", "seal": sealing.hex(), "keys": keys.hex(), "seeds": seeds.hex(),
    }  # fmt: skip
    return canonical(said)


def commitment(seed: bytes) -> bytes:
    """What is advertised of a seed, so that a wrong share of it is noticed."""
    return hashlib.sha256(b"b" + seed).digest()


class Advertised(NamedTuple):
    """An advert, read and checked."""

    site: str
    sealing: bytes
    keys: tuple[bytes, ...]  # one X25519 public key an index
    seeds: tuple[bytes, ...]  # the commitments


def read_advert(terms: Terms, epoch: int, advert: Advert) -> Advertised:
    """The advert, if its site is pinned and signed it for this study, epoch and threshold. Raises `IdentityError`."""
    try:
        said = json.loads(advert.text)
        site = str(said["site"])
        sealing, keys, seeds = (bytes.fromhex(said[name]) for name in ("seal", "keys", "seeds"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise IdentityError("a key advert cannot be read") from None
    pin = terms.pins.get(site)
    if pin is None:
        raise IdentityError(f"key advert of {site[:80]!r}: no such site was approved for this study")
    if not identity.verify(pin, bytes.fromhex(advert.signature), advert.text.encode()):
        raise IdentityError(f"key advert of {site!r}: not signed by the key that was approved for it: somebody put other keys in its place")
    if advert.text != advert_text(terms, epoch, site, sealing, keys, seeds) or not len(keys) == len(seeds) == 32 * terms.rounds:
        raise IdentityError(f"key advert of {site!r}: made for another study, epoch, threshold or number of rounds")
    cut, committed = (tuple(part[at : at + 32] for at in range(0, len(part), 32)) for part in (keys, seeds))
    for key in (sealing, *cut):
        if len(key) != 32 or (point := int.from_bytes(key, "little")) >= CURVE or point in LOW_ORDER:
            raise IdentityError(f"key advert of {site!r}: holds a public key that no honest site makes")
    return Advertised(site, sealing, cut, committed)


def statement(
    terms: Terms, epoch: int, index: int, *, transcript: str, task: str, roster: Sequence[str], survivors: Sequence[str], root: str
) -> str:
    """What a site signs before a sum is opened: whose vectors are in it, of which task, and the history it has seen (`root`)."""
    said = {
        "type": "collegium/surv/1", "study": terms.study, "epoch": epoch, "index": index, "transcript": transcript, "task": task,
        "roster": sorted(roster), "survivors": sorted(survivors), "root": root,
    }  # fmt: skip
    return canonical(said)


class Persist(NamedTuple):
    """Write these rows and destroy those, in one transaction that is on the disk before the next order is carried out.

    A name to forget that ends in `/` stands for all rows that begin with it. Where it is not for `now`, it may wait for the next
    that is, and go with it: what a restart loses by that is said again by those who said it.
    """

    rows: Mapping[str, str]
    forget: tuple[str, ...] = ()
    now: bool = True

    def __repr__(self) -> str:
        return f"Persist({sorted(self.rows)}, forget={list(self.forget)})"  # the rows are secrets


def together(orders: Iterable[Persist]) -> Persist:
    """Several changes of the rows, one after the other, as one."""
    rows, gone = dict[str, str](), dict[str, None]()
    for order in orders:
        gone |= dict.fromkeys(order.forget)
        kinds = tuple(name for name in order.forget if name.endswith("/"))
        rows = {name: text for name, text in rows.items() if name not in order.forget and not name.startswith(kinds)}
        rows |= order.rows
    return Persist(rows, tuple(name for name in gone if name not in rows))
