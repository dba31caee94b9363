"""The site's own settings: `site.toml` in its folder, written when the site joins and then the hospital's to edit.

Beside it lie `key` (the site's secret), `root.pem` (the coordinator's, pinned), `policy.yaml` (what the hospital allows),
`state/` (what the agent is at), `models/` (what came out) and `log/`.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium import identity
from collegium.errors import IdentityError, NotFound, StorageError, StudyError
from collegium.identity import Key

FIELDS: dict[str, dict[str, type]] = {
    "": {"site": str, "federation": str},
    "coordinator": {"url": str, "key": str},
    "network": {"proxy": str, "ca_file": str},
    "resources": {"studies_at_once": int, "threads": int},
}


class ConfigError(StudyError):
    """A settings file of the site cannot be read as written: mend it."""


@dataclass(frozen=True)
class Config:
    """What `site.toml` says; defaults where it says nothing."""

    folder: Path
    url: str
    coordinator: str  # the coordinator's public key, hex
    site: str = ""  # the name under which the coordinator knows this site
    federation: str = ""
    proxy: str = ""
    ca_file: str = ""
    studies_at_once: int = 1
    threads: int = 1

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def root(self) -> str:
        """The coordinator's pinned root certificate, PEM."""
        path = self.folder / "root.pem"
        return path.read_text() if path.exists() else ""


def load(folder: Path) -> Config:
    """The settings of the site in `folder`. Raises `NotFound` or `ConfigError`, naming place and way out."""
    path = folder / "site.toml"
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise NotFound(f"{folder} is not a site's folder: it has no site.toml", hint="join first: collegium site join CODE") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path}: {e}", hint="see the page on site.toml for an example") from None
    sections = {name: value for name, value in document.items() if isinstance(value, dict)}
    checked(path, "", {name: value for name, value in document.items() if name not in sections})
    refuse_unknown(path, "section", sections, [name for name in FIELDS if name])
    for name, values in sections.items():
        checked(path, name, values)
    there, network, resources = (sections.get(name, {}) for name in ("coordinator", "network", "resources"))
    if missing := [name for name in ("url", "key") if name not in there]:
        raise ConfigError(f"{path}: [coordinator] has no {missing[0]!r}", hint="join again with a new code")
    return Config(
        folder, there["url"], there["key"], document.get("site", ""), document.get("federation", ""),
        network.get("proxy", ""), network.get("ca_file", ""),
        max(1, resources.get("studies_at_once", 1)), max(1, resources.get("threads", 1)),
    )  # fmt: skip


def checked(path: Path, section: str, values: dict[str, Any]) -> None:
    """Refuse settings that are not known or of another type."""
    where = f"[{section}] " if section else ""
    refuse_unknown(path, f"{where}setting", values, FIELDS[section])
    for name, value in values.items():
        wanted = FIELDS[section][name]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(f"{path}: {where}{name} is a {type(value).__name__}; wanted {'text' if wanted is str else 'a whole number'}")


def refuse_unknown(path: Path, what: str, found: Iterable[str], known: Iterable[str]) -> None:
    """Raise `ConfigError` for the first name that is not known, with the nearest one that is."""
    names = list(known)
    for name in found:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names))}"
            raise ConfigError(f"{path}: {what} {name!r} is not known", hint=hint)


def save(config: Config) -> None:
    """Write `site.toml`, whole or not at all; readable by its owner alone, for it may hold a proxy's password."""
    lines = [
        "# This hospital's agent. What studies may do here stands in policy.yaml, not in this file.",
        f"site = {quoted(config.site)}",
        f"federation = {quoted(config.federation)}",
        "",
        "[coordinator]",
        f"url = {quoted(config.url)}",
        f"key = {quoted(config.coordinator)}",
        "",
        "[network]",
        "# proxy = 'http://name:password@proxy.hospital.example:3128'   # else HTTPS_PROXY; 'none' for no proxy",
        *([f"proxy = {quoted(config.proxy)}"] if config.proxy else []),
        "# ca_file = '/etc/ssl/hospital.pem'                            # the CA of a proxy that opens TLS",
        *([f"ca_file = {quoted(config.ca_file)}"] if config.ca_file else []),
        "",
        "[resources]",
        f"studies_at_once = {config.studies_at_once}",
        f"threads = {config.threads}",
        "",
    ]
    write(config.folder / "site.toml", "\n".join(lines).encode(), mode=0o600)


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a small file so that a crash leaves the old one or the new one. Raises `StorageError`."""
    part = path.with_name(path.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            os.fchmod(descriptor, mode)
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(part, path)
        settle(path.parent)
    except OSError as e:
        raise StorageError(
            f"{path} cannot be written: {e.strerror}", hint="make room on the disk, or give the agent's user the right"
        ) from None


def settle(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tables(folder: Path) -> list[str]:
    """The names of the tables that the hospital named with `data add`. Read here, so that the agent need not load table readers."""
    path = folder / "data.json"
    if not path.exists():
        return []
    try:
        return sorted(json.loads(path.read_text())["tables"])
    except (OSError, ValueError, KeyError, TypeError):
        raise StorageError(f"{path} is damaged", hint="remove it and add the tables again") from None


def key_of(folder: Path) -> Key:
    """The site's key. Raises `IdentityError` if it is missing, damaged or readable by others."""
    path = folder / "key"
    try:
        seed, mode = bytes.fromhex(path.read_text().strip()), path.stat().st_mode & 0o077
    except FileNotFoundError:
        raise IdentityError(f"{path} is missing: the site has no key", hint="restore it from a backup, or join again") from None
    except ValueError:
        seed, mode = b"", 0
    if len(seed) != 32:
        raise IdentityError(f"{path} does not hold a key of 32 bytes", hint="restore it from a backup, or join again with a new code")
    if mode:
        raise IdentityError(f"{path} can be read by other users", hint=f"chmod 600 {path}; join again if they might have read it")
    return identity.key(seed)


def make_key(folder: Path) -> Key:
    """The site's key, made if there is none: the private half never leaves this file."""
    if not (folder / "key").exists():
        write(folder / "key", os.urandom(32).hex().encode(), mode=0o600)
    return key_of(folder)
