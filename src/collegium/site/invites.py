"""Invitations: studies that ask for this hospital, and what its data steward said to each. Without a yes nothing is computed.

Two files for a study, in `invites/` of the site's folder; each has one writer, so neither overwrites the other:

    DIGEST.json             what was offered: the manifest, the lead, the participants. Written by the agent.
    DIGEST.decision.json    what the steward said: an approval with the steward's signature, or a refusal with its reason.

An approval holds for one manifest, one coordinator, one lead, and a participant list that may only grow (`study/participants`).
`judge` asks all of that again for every run and after every change, against the steward's pinned key. What the coordinator says
of approvals does not matter: it is not asked.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from collegium import identity
from collegium.canonical import canonical
from collegium.errors import IdentityError, NotFound, StorageError
from collegium.identity import Key
from collegium.privacy import secagg
from collegium.site import steward
from collegium.site.config import Config, key_of, write
from collegium.site.policy import Policy
from collegium.study import participants
from collegium.study.participants import Entry

TYPE = "collegium/approval/1"
State = Literal["waiting", "approved", "declined", "changed"]


class Offer(NamedTuple):
    """What a study's invitation says; nothing of it is believed because the coordinator said it."""

    study: str
    manifest: dict[str, Any]
    lead: str
    entries: list[Entry]

    @property
    def title(self) -> str:
        return str(self.manifest["title"])

    def sites(self) -> dict[str, str]:
        """Each participant and its key, as the lead signed them. Raises `IdentityError`."""
        return participants.read(self.entries, self.study, self.lead)

    def cohort(self, pins: Mapping[str, str], site: str) -> dict[str, str]:
        """The participants whose sum a site's part goes into: all of them, unless they are too many for one sum."""
        return secagg.group(self.manifest, self.study, pins, site)


@dataclass(frozen=True)
class Verdict:
    """Whether a study may run here, as things stand, and why not."""

    state: State
    says: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)  # each participant's key, as approved
    table: str = ""  # the table that the steward opened to it
    verified: Collection[str] = ()  # the partners whose fingerprints the steward compared


class Approval(NamedTuple):
    """What the steward signed."""

    coordinator: str
    lead: str
    listed: int  # how many participants there were, and the head of their list
    head: str
    verified: tuple[str, ...]  # sites whose fingerprint the steward compared with them
    min_verified: int  # how many that had to be
    table: str
    at: str


def offer_of(document: Mapping[str, Any]) -> Offer:
    """An offer as the coordinator sends it. Raises `IdentityError` if it cannot be read or its list does not hold."""
    try:
        study, manifest, lead = str(document["study"]), dict(document["manifest"]), str(document["lead"])
    except (KeyError, TypeError, ValueError):
        raise IdentityError("the study came without a lead and a participant list", hint=participants.WAY_OUT) from None
    found = Offer(study, manifest, lead, participants.entries_of(document.get("participants")))
    if hashlib.sha256(canonical(manifest)).hexdigest() != study:
        raise IdentityError("the manifest that came is not the one that was announced")
    found.sites()
    return found


def place(folder: Path, study: str) -> Path:
    """Where a study's invitation is."""
    return folder / "invites" / f"{study}.json"


def decision(folder: Path, study: str) -> Path:
    """Where the steward's word on it is."""
    return folder / "invites" / f"{study}.decision.json"


def record(folder: Path, offer: Offer, at: str) -> None:
    """Keep what was offered, if it is news; a list that was cut short is none."""
    path, kept = place(folder, offer.study), None
    if path.exists():
        kept, first = load(folder, offer.study), received(folder, offer.study)
        if kept.lead == offer.lead and participants.extends(kept.entries, participants.head(offer.entries)):
            return
        at = first
    document = {"received": at, "study": offer.study, "lead": offer.lead, "manifest": offer.manifest}
    path.parent.mkdir(exist_ok=True)
    write(path, canonical({**document, "participants": participants.as_document(offer.entries)}))


def load(folder: Path, study: str) -> Offer:
    """What was offered. Raises `NotFound`, or `IdentityError` if the file was changed since."""
    return offer_of(document_at(place(folder, study), study))


def received(folder: Path, study: str) -> str:
    """When a study was first offered, UTC."""
    return str(document_at(place(folder, study), study).get("received", ""))


def document_at(path: Path, study: str) -> dict[str, Any]:
    """A file of this folder as JSON."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(f"no invitation to a study {study[:16]} came here", hint="collegium invite list names those that did") from None
    except (ValueError, OSError):
        found = None
    if not isinstance(found, dict):
        again = "approve or decline again" if path.name.endswith(".decision.json") else "remove it: it is written again with the next offer"
        raise StorageError(f"{path} is damaged", hint=again)
    return found


def studies(folder: Path) -> Iterator[str]:
    """The digests of all invitations, the oldest first."""
    found = [path.stem for path in (folder / "invites").glob("*.json") if re.fullmatch(r"[0-9a-f]{64}", path.stem)]
    yield from sorted(found, key=lambda study: (received(folder, study), study))


# What the steward says


def approval_text(study: str, approval: Approval) -> str:
    """The bytes that the steward signs, as text."""
    said = {
        "type": TYPE, "study": study, "coordinator": approval.coordinator, "lead": approval.lead,
        "participants": {"count": approval.listed, "head": approval.head}, "verified": sorted(approval.verified),
        "min_verified": approval.min_verified, "table": approval.table, "at": approval.at,
    }  # fmt: skip
    return canonical(said).decode()


def approve(folder: Path, study: str, approval: Approval, key: Key) -> None:
    """Sign and keep an approval; the agent, if it runs, takes part within a second."""
    text = approval_text(study, approval)
    write(decision(folder, study), canonical({"approval": text, "signature": key.sign(text.encode()).hex()}))


def decline(folder: Path, study: str, because: str, at: str) -> None:
    """Say no, with a reason that the study's lead is told; it also takes back an approval. Needs no signature: it allows nothing."""
    place(folder, study).parent.mkdir(exist_ok=True)
    write(decision(folder, study), canonical({"declined": because, "at": at}))


def approval_of(folder: Path, study: str) -> Approval | None:
    """The steward's approval of a study, if there is one. Raises `IdentityError` if it is not what the steward signed."""
    path = decision(folder, study)
    if not path.exists():
        return None
    document = document_at(path, study)
    if "approval" not in document:
        return None
    try:
        text, mark = str(document["approval"]), bytes.fromhex(str(document["signature"]))
        said = json.loads(text)
        listed = said["participants"]
        found = Approval(
            said["coordinator"], said["lead"], listed["count"], listed["head"], tuple(said["verified"]), said["min_verified"],
            said["table"], said["at"],
        )  # fmt: skip
        same = approval_text(said["study"], found) == text
    except (ValueError, KeyError, TypeError):
        raise IdentityError("the steward's approval cannot be read") from None
    pinned = steward.public(folder)
    if not pinned:
        raise IdentityError("there is no steward's key to check the approval against", hint=steward.INIT)
    if not same or not identity.verify(pinned, mark, text.encode()):
        raise IdentityError("the approval is not what this hospital's steward signed: the file was changed, or the steward's key was")
    if said["study"] != study:
        raise IdentityError("the approval is of another study")
    return found


def declined(folder: Path, study: str) -> str | None:
    """Why the steward declined a study; None where that was not done."""
    path = decision(folder, study)
    document = document_at(path, study) if path.exists() else {}
    return str(document["declined"]) if "declined" in document else None


# Whether it holds


def undecided(config: Config, document: Mapping[str, Any], policy: Policy, at: str) -> Verdict | None:
    """Why a study has to wait for the steward, its invitation being kept; None where it need not, or where nobody could approve it."""
    try:
        offer = offer_of(document)
        verdict = judge(config, offer, policy)
    except IdentityError:
        return None  # who takes it up is told, and leaves
    if not policy.auto_approve:
        record(config.folder, offer, at)
    return verdict if verdict.state in ("waiting", "changed") else None


def listed(config: Config, policy: Policy) -> list[tuple[Offer, Verdict]]:
    """Every invitation and how it stands, the oldest first."""
    out = []
    for study in studies(config.folder):
        offer = load(config.folder, study)
        try:
            out.append((offer, judge(config, offer, policy)))
        except IdentityError as e:
            out.append((offer, Verdict("changed", str(e))))
    return out


def judge(config: Config, offer: Offer, policy: Policy) -> Verdict:
    """Whether this offer may run at this site now. Raises `IdentityError` for an offer that nobody could approve."""
    pins = offer.sites()
    mine = key_of(config.folder).public
    if pins.get(config.site) != mine:
        raise IdentityError(
            f"the participant list {'gives this site another key' if config.site in pins else 'does not name this site'}",
            hint=participants.WAY_OUT,
        )
    try:
        if (why := declined(config.folder, offer.study)) is not None:
            return Verdict("declined", f"this hospital's data steward declined the study: {why}")
        if policy.auto_approve:
            return Verdict("approved", "by the rule auto_approve", pins)
        approval = approval_of(config.folder, offer.study)
        if approval is None:
            return Verdict("waiting", "this hospital's data steward has not decided on the study")
        refuse_change(config, offer, approval)
    except (IdentityError, NotFound, StorageError) as e:
        return Verdict("changed", str(e))
    group = offer.cohort(pins, config.site)
    need, have = needed(policy, group), partners(approval.verified, group, config.site)
    if len(have) < need:
        who = "participants there are now" if len(group) == len(pins) else "participants of this site's cohort"
        says = f"{need} partners must be verified among the {len(group)} {who}, {len(have)} are"
        return Verdict("changed", says)
    return Verdict("approved", f"approved {approval.at}", pins, approval.table, have)


def refuse_change(config: Config, offer: Offer, approval: Approval) -> None:
    """Raise `IdentityError` if the offer is not what was approved, or that with participants that its lead added."""
    if approval.coordinator != config.coordinator:
        raise IdentityError("the approval was given for another coordinator")
    if approval.lead != offer.lead:
        raise IdentityError("the study is offered under another lead than the one that was approved")
    if participants.extends(offer.entries, approval.head):
        return
    kept = load(config.folder, offer.study)  # a run that began before the list grew is told the shorter list
    if not (participants.extends(kept.entries, approval.head) and participants.extends(kept.entries, participants.head(offer.entries))):
        raise IdentityError("the participants are not those that were approved: the list was replaced")


def needed(policy: Policy, group: Mapping[str, str]) -> int:
    """How many partners must be verified among those whose sum this site's part goes into, itself among them: as the policy says,
    else one less than that sum opens for.

    With this site they are t, so at most n - t participants can have been made up to read this site's part out of the sum: fewer
    than a third, against which the protocol holds out.
    """
    if policy.min_verified is not None:
        return policy.min_verified
    return secagg.settle("", group, waived=True).threshold - 1 if len(group) > 1 else 0


def refuse_surrounded(policy: Policy, verdict: Verdict, among: Mapping[str, str], site: str) -> None:
    """Raise `IdentityError` for a sum among so few whom the steward knows that the others could be made up, to read this site's part.

    The coordinator chooses which participants are there; what holds for all of them has to hold for those.
    """
    if policy.auto_approve:
        return
    need = min(needed(policy, among), len(among) - 1)
    if (have := len(partners(verdict.verified, among, site))) < need:
        raise IdentityError(
            f"{need} verified partners must be among the {len(among)} sites of a sum, {have} are",
            hint="compare more fingerprints by phone, then approve the study again",
        )


def partners(verified: Collection[str], pins: Mapping[str, str], site: str) -> list[str]:
    """Which verified sites are other participants."""
    return sorted({name for name in verified if name in pins and name != site})


def verified_before(config: Config) -> dict[str, str]:
    """Keys that the steward compared for studies approved before: each key, and when. They need no second call."""
    found: dict[str, str] = {}
    for study in studies(config.folder):
        try:
            approval, offer = approval_of(config.folder, study), load(config.folder, study)
            if approval is None or not participants.extends(offer.entries, approval.head):
                continue
            pins = offer.sites()
        except (IdentityError, StorageError):
            continue
        found |= {pins[name]: approval.at for name in approval.verified if name in pins}
    return found


UNSEEN: tuple[tuple[int, int], ...] = ()  # the stamps of whoever has not looked


def stamps(folder: Path, study: str) -> tuple[tuple[int, int], ...]:
    """Tells whether anything has changed that a verdict depends on."""
    return tuple(stamp(path) for path in (folder / "policy.yaml", decision(folder, study), folder / steward.PUBLIC))


def stamp(path: Path) -> tuple[int, int]:
    """When a file was last written, and which file it is: replacing one within a clock's tick makes another."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino
