"""Secure sums, a site's memory and the setup of an epoch: keys drawn, adverts checked, shares dealt and collected.

A site keeps rows of text, each for one thing that lives and dies by itself: the seed and key of one index, the peers' public
keys and the shares of that index. Setting up costs a site two messages; it may sleep between them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from collegium import identity
from collegium.errors import ConflictError, IdentityError
from collegium.privacy import masks, shares
from collegium.privacy.masks import Mask
from collegium.privacy.secagg import Advert, Persist, Terms, advert_text, canonical, commitment, read_advert
from collegium.privacy.secagg_messages import Adverts, Ask, Bundles, Complaint, Message, Ready

PAIR = 2 * shares.WIDTH  # bytes of one index in a bundle: a share of the seed, a share of the key
NONCE = bytes(12)  # every sealing key seals one bundle


@dataclass(frozen=True)
class Asked:
    """What the coordinator asks, with the digests that this site has made itself of the task it was given (`secagg.digests`)."""

    ask: Ask
    task: str
    work: str


class Send(NamedTuple):
    """Give this to the coordinator; again, as often as it is asked for."""

    message: Message


class Encode(NamedTuple):
    """Compute the update, encode it, add these masks, write it to the disk, and say `Spooled`."""

    asked: Asked
    masks: tuple[Mask, ...]


class Retire(NamedTuple):
    """This site's secrets are of the past: it takes no part until the next epoch."""

    says: str


class Warn(NamedTuple):
    """Something that the protocol cannot hide and a person should know."""

    says: str


Order: TypeAlias = Persist | Send | Encode | Retire | Warn


@dataclass(frozen=True)
class Site:
    """One site's part in the secure sums of one study; `rows` is all that has to be kept, and what it is restored from."""

    terms: Terms
    name: str
    rows: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def epoch(self) -> "Epoch":
        """Where the epoch stands."""
        return Epoch(**json.loads(self.rows["epoch"])) if "epoch" in self.rows else Epoch()

    def row(self, name: str) -> Any:
        """A row that holds JSON; None if there is none."""
        return json.loads(self.rows[name]) if name in self.rows else None


class Epoch(NamedTuple):
    """The epoch's standing: `none`, `adverted`, `dealt`, `ready`, `retired`."""

    number: int = 0
    phase: str = "none"
    transcript: str = ""
    sites: Sequence[str] = ()  # all that advertised, by name
    peers: Sequence[str] = ()  # those of them whose shares are here, by name
    burned: int = -1  # the highest index used


def save(site: Site, rows: Mapping[str, str], forget: Sequence[str] = ()) -> tuple[Site, Persist]:
    """The site with these rows changed, and the order that makes it last."""
    gone = tuple(name for name in forget if name in site.rows and name not in rows)
    kept = {name: text for name, text in site.rows.items() if name not in gone}
    return replace(site, rows=kept | dict(rows)), Persist(rows, gone)


def staged(epoch: Epoch) -> str:
    """The epoch as a row."""
    return canonical({name: list(value) if isinstance(value, tuple) else value for name, value in epoch._asdict().items()})


def of_epoch(site: Site) -> list[str]:
    """The rows that end with an epoch. What was opened, and what was tried, outlives it."""
    return [name for name in site.rows if not name.startswith(("done/", "tries/"))]


def begin(site: Site, number: int, signer: identity.Key, entropy: bytes) -> tuple[Site, list[Order]]:
    """M1: draw the keys of a new epoch and advertise them. An epoch of an earlier number never comes back."""
    if number == site.epoch.number and "advert" in site.rows:
        return site, [Send(Advert(*site.row("advert")))]
    if number <= site.epoch.number:
        raise IdentityError(f"epoch {number} cannot begin: this site has seen epoch {site.epoch.number}")
    if site.terms.pins.get(site.name) != signer.public:
        raise IdentityError(f"the manifest names another key for site {site.name!r} than this site has")
    rounds = site.terms.rounds
    drawn = masks.keystream(masks.derive(entropy, "epoch"), 64 * (rounds + 1))
    sealing, deal_seed, *own = (drawn[at : at + 32] for at in range(0, len(drawn), 32))
    seeds, keys = own[::2], own[1::2]
    text = advert_text(
        site.terms, number, site.name, public(sealing), b"".join(map(public, keys)), b"".join(map(commitment, seeds))
    )  # fmt: skip
    advert = Advert(text, signer.sign(text.encode()).hex())
    rows = {f"key/{k}": (seed + key).hex() for k, (seed, key) in enumerate(zip(seeds, keys, strict=True))}
    rows |= {"epoch": staged(Epoch(number, "adverted")), "advert": canonical(list(advert)), "secret": (sealing + deal_seed).hex()}
    after, order = save(site, rows, of_epoch(site))
    return after, [order, Send(advert)]


def public(private: bytes) -> bytes:
    """The public half of an X25519 key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, theirs: bytes) -> bytes:
    """The secret that two X25519 keys have in common."""
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(theirs))


def deal(site: Site, event: Adverts) -> tuple[Site, list[Order]]:
    """M2: check every advert, fix the transcript, and seal for each peer its shares of all indices."""
    read = [read_advert(site.terms, event.epoch, advert) for advert in event.adverts]
    names = [peer.site for peer in read]
    if len(set(names)) < len(names):
        raise IdentityError(f"the adverts name {max(names, key=names.count)!r} twice")
    if len(names) < site.terms.enough:
        raise IdentityError(f"{len(names)} sites advertised keys, the manifest wants {site.terms.enough}: a sum of fewer is not hidden")
    if Advert(*site.row("advert")) not in event.adverts:
        raise IdentityError("this site's own advert is missing or altered in the list that came back")
    keys = [key for peer in read for key in (peer.sealing, *peer.keys)]
    if len(set(keys)) < len(keys):
        raise IdentityError("two adverts hold the same public key: a site's key was copied")
    transcript = masks.transcript(advert.text for advert in event.adverts).hex()
    peers = {peer.site: peer for peer in sorted(read)}
    epoch = site.epoch
    if epoch.phase != "adverted":
        if transcript != epoch.transcript:
            raise IdentityError("another list of adverts came for the same epoch: sites are being shown different keys")
        return (site, [Send(Ready(epoch.number))]) if epoch.phase == "ready" else (site, [Send(bundled(site, peers))])
    rows = {f"peers/{k}": b"".join(peer.keys[k] for peer in peers.values()).hex() for k in range(site.terms.rounds)}
    rows["epoch"] = staged(epoch._replace(phase="dealt", transcript=transcript, sites=list(peers)))
    rows["seals"] = b"".join(peer.sealing for peer in peers.values()).hex()
    after, order = save(site, rows)
    return after, [order, Send(bundled(after, peers))]


def dealt(site: Site) -> list[list[bytes]]:
    """Every site's shares of this site's seeds and keys: the same each time they are made from the rows."""
    own = (bytes.fromhex(site.rows[f"key/{k}"]) for k in range(site.terms.rounds))
    secrets = [half for pair in own for half in (pair[:32], pair[32:])]
    return shares.split(secrets, len(site.epoch.sites), site.terms.threshold, bytes.fromhex(site.rows["secret"])[32:])


def study_key(site: Site) -> bytes:
    """The key by which sites check sums, drawn by the first site by name; nothing where the terms do not want it."""
    lead = site.terms.verified and site.name == site.epoch.sites[0]
    return masks.derive(bytes.fromhex(site.rows["secret"])[32:], "study key") if lead else b""


def bundled(site: Site, peers: Mapping[str, Any]) -> Bundles:
    """The sealed shares, by receiver."""
    sealing, transcript = bytes.fromhex(site.rows["secret"])[:32], bytes.fromhex(site.epoch.transcript)
    out = {}
    for name, parts in zip(site.epoch.sites, dealt(site), strict=True):
        if name != site.name:
            key = masks.share_key(agree(sealing, peers[name].sealing), transcript, site.name, name)
            out[name] = ChaCha20Poly1305(key).encrypt(NONCE, b"".join(parts) + study_key(site), transcript).hex()
    return Bundles(site.epoch.number, out)


def collect(site: Site, event: Bundles) -> tuple[Site, list[Order]]:
    """Open the bundles of all peers; one that does not open is told to the coordinator by its sender's name."""
    epoch = site.epoch
    if epoch.phase == "ready":
        return site, [Send(Ready(epoch.number))]
    if epoch.phase != "dealt":
        raise ConflictError("shares came before the adverts that they were sealed under")
    if strange := event.bundles.keys() - (set(epoch.sites) - {site.name}):
        raise IdentityError(f"shares came from {min(strange)!r}, which did not advertise keys")
    if 1 + len(event.bundles) < site.terms.enough:
        raise IdentityError(f"{1 + len(event.bundles)} sites dealt shares, the manifest wants {site.terms.enough}")
    bare = dealt(site)[epoch.sites.index(site.name)]
    found, key = {site.name: b"".join(bare)}, study_key(site)
    for sender, sealed in event.bundles.items():
        whole = unsealed(site, sender, bytes.fromhex(sealed))
        extra = 32 if site.terms.verified and sender == epoch.sites[0] else 0
        if len(whole) != PAIR * site.terms.rounds + extra:
            return site, [Send(Complaint(epoch.number, sender))]
        found[sender], key = whole, whole[len(whole) - extra :] if extra else key
    if site.terms.verified and not key:
        raise IdentityError(f"the shares of {epoch.sites[0]!r} are missing, and with them the key by which this study checks its sums")
    peers = sorted(found)
    rows = {
        f"shares/{k}": b"".join(found[peer][PAIR * k : PAIR * (k + 1)] for peer in peers).hex() for k in range(site.terms.rounds)
    }  # fmt: skip
    rows |= {"epoch": staged(epoch._replace(phase="ready", peers=peers))} | ({"study key": key.hex()} if key else {})
    after, order = save(site, rows, ("secret", "seals"))
    return after, [order, Send(Ready(epoch.number))]


def unsealed(site: Site, sender: str, sealed: bytes) -> bytes:
    """A peer's bundle, or nothing if it was not sealed by that peer for this site in this epoch."""
    at = 32 * site.epoch.sites.index(sender)
    theirs, own = bytes.fromhex(site.rows["seals"])[at : at + 32], bytes.fromhex(site.rows["secret"])[:32]
    transcript = bytes.fromhex(site.epoch.transcript)
    key = masks.share_key(agree(own, theirs), transcript, sender, site.name)
    try:
        return ChaCha20Poly1305(key).decrypt(NONCE, sealed, transcript)
    except InvalidTag:
        return b""


def retire(site: Site, epoch: int) -> tuple[Site, list[Order]]:
    """Destroy what is left of an epoch; its number stays, so that it never comes back."""
    after, order = save(site, {"epoch": staged(Epoch(epoch, "retired"))}, of_epoch(site))
    return after, [order]


def resume(site: Site, epoch: int, index: int) -> tuple[Site, list[Order]]:
    """A start. Where the log has seen more of this site than the site itself, its rows come from a backup, and are given up."""
    own = site.epoch
    if (epoch, index) <= (own.number, own.burned):
        return site, []
    after, orders = retire(site, epoch)
    says = f"this site's state is older than what it sent (epoch {epoch}, index {index}): restored from a backup, or copied"
    return after, [*orders, Retire(f"{says}; it takes part again from the next epoch")]
