"""The data steward's own key: what approves a study at this hospital, and nothing else does.

It lies in the site's folder, encrypted with a passphrase that only the steward knows, so that neither the agent, nor whoever
runs the machine, nor a copy of the disk can approve anything. Its public half is pinned beside it; the agent checks every
approval against that. Neither half is ever sent: the coordinator does not know that there is such a key.

    steward.key     the key, sealed: scrypt makes a second key of the passphrase, ChaCha20-Poly1305 seals with it
    steward.pub     the public half, in hex
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from collegium import identity
from collegium.errors import ConflictError, IdentityError, NotFound
from collegium.identity import Key
from collegium.site.config import write

SECRET, PUBLIC = "steward.key", "steward.pub"
COST = 1 << 16  # of scrypt with r = 8: 64 MiB and a quarter of a second for each passphrase that somebody tries
SHORTEST = 10
INIT = "make one: collegium site steward init"


def init(folder: Path, passphrase: str, *, replace: bool = False, cost: int = COST) -> str:
    """A new steward's key in the site's folder; returns its public half. Raises `ConflictError` where there is one.

    With `replace` it takes the former one's place, and what that one approved no longer holds.
    """
    if not replace and ((folder / SECRET).exists() or (folder / PUBLIC).exists()):
        raise ConflictError(
            f"{folder} has a steward's key already",
            hint="collegium site steward passphrase changes its passphrase; --replace makes another, and every study must be approved anew",
        )
    seed = os.urandom(32)
    made = identity.key(seed)
    write(folder / SECRET, sealed(seed, passphrase, made.public, cost), mode=0o600)
    write(folder / PUBLIC, made.public.encode() + b"\n")
    return made.public


def change(folder: Path, old: str, new: str, *, cost: int = COST) -> None:
    """Another passphrase for the same key: approvals stay as they are. Raises `IdentityError` for a wrong one."""
    seed = opened(folder, old)
    write(folder / SECRET, sealed(seed, new, identity.key(seed).public, cost), mode=0o600)


def key(folder: Path, passphrase: str) -> Key:
    """The steward's key, to sign one approval with. Raises `IdentityError` for a wrong passphrase."""
    return identity.key(opened(folder, passphrase))


def public(folder: Path) -> str:
    """The pinned public half; nothing where no steward was set up. Raises `IdentityError` if the file is damaged."""
    try:
        found = (folder / PUBLIC).read_text().strip()
    except FileNotFoundError:
        return ""
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise IdentityError(f"{folder / PUBLIC} does not hold a public key in hex", hint="restore it from a backup")
    return found


def sealed(seed: bytes, passphrase: str, public: str, cost: int) -> bytes:
    """The key's file: the seed under a key made of the passphrase, and what it takes to make that again."""
    if len(passphrase) < SHORTEST:
        raise IdentityError(
            f"the passphrase has {len(passphrase)} characters, at least {SHORTEST} are wanted", hint="four words that you make up will do"
        )
    salt, nonce = os.urandom(16), os.urandom(12)
    inside = ChaCha20Poly1305(stretched(passphrase, salt, cost)).encrypt(nonce, seed, public.encode())
    document = {
        "collegium": 1, "kdf": "scrypt", "cost": cost, "salt": salt.hex(), "nonce": nonce.hex(), "sealed": inside.hex(), "public": public,
    }  # fmt: skip
    return json.dumps(document, indent=1).encode()


def opened(folder: Path, passphrase: str) -> bytes:
    """The seed in the key's file. Raises `NotFound` or `IdentityError`."""
    path = folder / SECRET
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        salt, nonce, inside = (bytes.fromhex(document[name]) for name in ("salt", "nonce", "sealed"))
        said, cost = str(document["public"]), int(document["cost"])
    except FileNotFoundError:
        raise NotFound(f"{folder} has no steward's key", hint=INIT) from None
    except (ValueError, KeyError, TypeError):
        raise IdentityError(
            f"{path} is damaged", hint="restore it from a backup, or make another: collegium site steward init --replace"
        ) from None
    if not 1 << 10 <= cost <= 1 << 20 or cost & (cost - 1):
        raise IdentityError(f"{path} asks for a strange amount of work ({cost})", hint="restore it from a backup")
    if path.stat().st_mode & 0o077:
        raise IdentityError(f"{path} can be read by other users", hint=f"chmod 600 {path}")
    try:
        seed = ChaCha20Poly1305(stretched(passphrase, salt, cost)).decrypt(nonce, inside, said.encode())
    except InvalidTag:
        raise IdentityError("the passphrase is not the one of this steward's key", hint="nothing was signed; try again") from None
    if identity.key(seed).public != public(folder):
        raise IdentityError(
            f"{folder / PUBLIC} is not the public half of {path}: somebody put another key in its place",
            hint="restore both from a backup, and find out who may write there",
        )
    return seed


def stretched(passphrase: str, salt: bytes, cost: int) -> bytes:
    """32 bytes that are slow to make of a passphrase."""
    return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase.encode())
