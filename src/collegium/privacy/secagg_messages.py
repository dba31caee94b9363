"""Secure sums: what a site and the coordinator say to each other, as JSON, checked at the door.

The names M1 to M5 are those of the protocol's description in `docs/explanation/secure-sums.md`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from collegium.errors import FrameError
from collegium.privacy.secagg import Advert


@dataclass(frozen=True)
class Begin:
    """Coordinator to sites: make the keys of a new epoch, in which these take part."""

    epoch: int
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adverts:
    """Coordinator to sites: the adverts of all."""

    epoch: int
    adverts: tuple[Advert, ...]


@dataclass(frozen=True)
class Bundles:
    """Site to coordinator (M2): sealed shares by receiver. Coordinator to a site: the same by sender."""

    epoch: int
    bundles: Mapping[str, str]


@dataclass(frozen=True)
class Ready:
    """Site to coordinator: all shares are here and whole."""

    epoch: int


@dataclass(frozen=True)
class Complaint:
    """Site to coordinator: the shares of that site cannot be opened."""

    epoch: int
    about: str


@dataclass(frozen=True)
class Ask:
    """Coordinator to sites (M3): the digest of a round's task, the key index to use for it, and who takes part."""

    epoch: int
    index: int
    task: str
    roster: tuple[str, ...]


@dataclass(frozen=True)
class Upload:
    """Site to coordinator: the masked vector, by its digest."""

    epoch: int
    index: int
    digest: str


@dataclass(frozen=True)
class Survivors:
    """Coordinator to survivors (M4): whose vectors came, and the root of the coordinator's log."""

    epoch: int
    index: int
    survivors: tuple[str, ...]
    root: str


@dataclass(frozen=True)
class Signature:
    """Site to coordinator: its signature on the statement of who survived."""

    epoch: int
    index: int
    signature: str


@dataclass(frozen=True)
class Quorum:
    """Coordinator to survivors (M5): the signatures of enough of them."""

    epoch: int
    index: int
    signatures: Mapping[str, str]


@dataclass(frozen=True)
class Reveal:
    """Site to coordinator: its share of the seed of each survivor, and of the key of each site that dropped out."""

    epoch: int
    index: int
    seeds: Mapping[str, str]
    keys: Mapping[str, str]


Message: TypeAlias = Begin | Advert | Adverts | Bundles | Ready | Complaint | Ask | Upload | Survivors | Signature | Quorum | Reveal
KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in get_args(Message)}


def document(message: Message) -> dict[str, Any]:
    """A message as JSON-ready values."""
    return {"kind": type(message).__name__.lower(), **{name: getattr(message, name) for name in type(message).__annotations__}}


def message_of(document: Any) -> Message:
    """The inverse of `document`; what is not of a message's form raises `FrameError`."""
    kind = KINDS.get(str(document.get("kind"))) if isinstance(document, dict) else None
    if kind is None or document.keys() != {"kind", *kind.__annotations__}:
        raise FrameError("not a message of the secure sum", hint="bring both sides to one release")
    values = {name: document[name] for name in kind.__annotations__}
    for name, value in values.items():
        if not CHECKS[name](value):
            raise FrameError(f"{document['kind']}: field {name!r} is not of its form")
    if kind is Adverts:
        values["adverts"] = tuple(Advert(*advert) for advert in values["adverts"])
    message: Message = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    return message


def is_number(value: Any) -> bool:
    """A whole number that counts something."""
    return type(value) is int and 0 <= value < 1 << 31


def is_text(value: Any) -> bool:
    """Text that has bytes: JSON may carry half a character."""
    return isinstance(value, str) and not re.search(r"[\ud800-\udfff]", value)


def is_hex(size: int | None = None) -> Callable[[Any], bool]:
    """Hex of so many bytes, or of any number; in small letters, so that equal bytes are equal texts."""

    def check(value: Any) -> bool:
        try:
            return (
                isinstance(value, str)
                and len(value) == 2 * (len(value) // 2 if size is None else size)
                and bytes.fromhex(value).hex() == value
            )
        except ValueError:
            return False

    return check


def are(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A list of such values."""
    return lambda value: isinstance(value, list | tuple) and all(map(check, value))


def named(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Such values by site."""
    return lambda value: isinstance(value, dict) and all(map(is_text, value)) and all(map(check, value.values()))


def is_advert(value: Any) -> bool:
    """A text and a signature."""
    return isinstance(value, list | tuple) and len(value) == 2 and is_text(value[0]) and is_hex(64)(value[1])


CHECKS: dict[str, Callable[[Any], bool]] = {
    "epoch": is_number, "index": is_number, "task": is_hex(32), "digest": is_hex(32), "root": is_text,
    "text": is_text, "sites": are(is_text), "about": is_text, "roster": are(is_text), "survivors": are(is_text), "signature": is_hex(64),
    "adverts": are(is_advert), "signatures": named(is_hex(64)), "bundles": named(is_hex()), "seeds": named(is_hex(33)),
    "keys": named(is_hex(33)),
}  # fmt: skip
