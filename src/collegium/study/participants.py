"""Who takes part in a study: a list that only grows, each entry signed by the study's lead and bound to the entry before it.

A coordinator that could name the participants could name sites of its own, and read a hospital's part out of a sum with them. So
the lead signs each site's key, a hospital's steward approves the list as it is (its *head*, the digest of its last entry), and
a site that joins later is a further entry. Nothing that was approved can be changed, reordered or taken out unnoticed.

>>> from collegium import identity
>>> lead, study = identity.key(b"l" * 32), "ab" * 32
>>> entries = signed(study, lead, {"leeds": "01" * 32, "york": "02" * 32})
>>> sorted(read(entries, study, lead.public))
['leeds', 'york']
>>> more = appended(entries, study, lead, {"hull": "03" * 32})
>>> extends(more, head(entries)), extends(entries, head(more))
(True, False)
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from collegium import identity
from collegium.canonical import canonical
from collegium.errors import IdentityError
from collegium.identity import Key

TYPE = "collegium/participant/1"
HEX = re.compile(r"[0-9a-f]{64}")
WAY_OUT = "do not take part: ask the study's lead, by a way that you trust, for the list and for the fingerprint of the lead's key"


class Entry(NamedTuple):
    """One site that takes part: the text that was signed, and the lead's signature in hex."""

    text: str
    signature: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, by which the next entry names it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def signed(study: str, lead: Key, sites: Mapping[str, str]) -> list[Entry]:
    """The list of a study with this manifest digest: each site with its public key, by name, signed by the lead."""
    return appended([], study, lead, sites)


def appended(entries: Sequence[Entry], study: str, lead: Key, more: Mapping[str, str]) -> list[Entry]:
    """The list with further sites at its end. Raises `IdentityError` if it could not be read afterwards."""
    out = list(entries)
    for site, key in sorted(more.items()):
        said = {"type": TYPE, "study": study, "number": len(out) + 1, "before": head(out), "site": site, "key": key}
        text = canonical(said).decode()
        out.append(Entry(text, lead.sign(text.encode()).hex()))
    read(out, study, lead.public)
    return out


def head(entries: Sequence[Entry]) -> str:
    """What stands for the whole list: the digest of its last entry, or nothing where there is none."""
    return entries[-1].digest if entries else ""


def read(entries: Sequence[Entry], study: str, lead: str) -> dict[str, str]:
    """Each site and its key, in the list's order, if the lead signed exactly this list for this study. Raises `IdentityError`."""
    found: dict[str, str] = {}
    owners: dict[str, str] = {}
    before = ""
    for number, entry in enumerate(entries, 1):
        site, key = checked(entry, number, before, study, lead)
        if site in found:
            raise wrong(number, f"names {site!r} a second time; a site stands there once, with one key")
        if key in owners:
            raise wrong(number, f"gives {site!r} the key of {owners[key]!r}: one of the two is not there")
        found[site], owners[key], before = key, site, entry.digest
    return found


def checked(entry: Entry, number: int, before: str, study: str, lead: str) -> tuple[str, str]:
    """The site and key of one entry that stands where it belongs."""
    try:
        said = json.loads(entry.text)
        site, key = said["site"], said["key"]
        whole = canonical(
            {"type": TYPE, "study": said["study"], "number": said["number"], "before": said["before"], "site": site, "key": key}
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise wrong(number, "cannot be read") from None
    if whole.decode() != entry.text or not isinstance(site, str) or not 0 < len(site) <= 80:
        raise wrong(number, "does not have the form of an entry")
    if not isinstance(key, str) or not HEX.fullmatch(key):
        raise wrong(number, f"holds no key of 32 bytes for {site!r}")
    if said["study"] != study:
        raise wrong(number, f"is of another study ({str(said['study'])[:12]}, not {study[:12]})")
    if said["number"] != number:
        raise wrong(number, f"says it is number {str(said['number'])[:12]}: an entry is missing, or they were put in another order")
    if said["before"] != before:
        raise wrong(number, "does not follow the entry before it: an entry was changed, taken out or put in")
    if not identity.verify(lead, signature(entry), entry.text.encode()):
        raise wrong(number, f"({site!r}) is not signed by the study's lead")
    return site, key


def signature(entry: Entry) -> bytes:
    """An entry's signature; none if it is not hexadecimal."""
    try:
        return bytes.fromhex(entry.signature)
    except ValueError:
        return b""


def wrong(number: int, what: str) -> IdentityError:
    """The refusal of a list, by the number of the entry."""
    return IdentityError(f"participant list, entry {number}: {what}", hint=WAY_OUT)


def extends(new: Sequence[Entry], approved: str) -> bool:
    """Whether a list that was read is the one with this head, or that one with more at its end."""
    return not approved or any(entry.digest == approved for entry in new)


def entries_of(document: Any) -> list[Entry]:
    """A list as it travels: pairs of text and signature. Raises `IdentityError`."""
    match document:
        case list(pairs) if all(isinstance(p, list | tuple) and len(p) == 2 and all(isinstance(x, str) for x in p) for p in pairs):
            return [Entry(text, mark) for text, mark in pairs]
    raise IdentityError("a participant list is a list of pairs: the text of an entry, and its signature", hint=WAY_OUT)


def as_document(entries: Sequence[Entry]) -> list[list[str]]:
    """The inverse of `entries_of`."""
    return [list(entry) for entry in entries]


def upto(entries: Sequence[Entry], sites: Sequence[str]) -> list[Entry]:
    """The list as far as the last of these sites: what all sites of a run are told, whatever was appended since it began."""
    places = [at for at, entry in enumerate(entries, 1) if json.loads(entry.text)["site"] in sites]
    return list(entries[: max(places, default=0)])
