"""The way to a coordinator: from its own folder, or from another machine by address, key and fingerprint.

    connect("coordinator")                                                     # on the coordinator's machine
    connect("https://hub.example:8443", key="lead.key", coordinator="5f0c...") # elsewhere; `coordinator status` shows the fingerprint

The fingerprint says which coordinator is meant, so nobody on the way can put another in its place; TLS is pinned to the root
that this coordinator vouches for.
"""

import importlib.metadata as metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path

from collegium import identity
from collegium.client.network import Network, closed
from collegium.errors import IdentityError, NotFound
from collegium.identity import Key
from collegium.site.dial import Dialler, target, way_out
from collegium.site.link import Link

SETTINGS, OPERATOR, ROOT = "coordinator.json", "operator.key", "tls-root.pem"


def connect(
    where: str | os.PathLike[str],
    *,
    key: str | os.PathLike[str] | None = None,
    coordinator: str = "",
    proxy: str = "",
    ca_file: str = "",
    environ: Mapping[str, str] | None = None,
) -> Network:
    """The federation of a coordinator's folder, or of an address `https://...` with a `key` file and a fingerprint.

    `environ` is where a proxy is looked for (HTTPS_PROXY, NO_PROXY) unless `proxy` names one; give `os.environ` to use your
    own. Nothing is asked until the first call.
    """
    known = environ or {}
    if str(where).startswith(("https://", "http://")):
        return from_address(str(where), key, coordinator, proxy, ca_file, known)
    folder = Path(where)
    try:
        settings = json.loads((folder / SETTINGS).read_text())
        root = (folder / ROOT).read_text()
    except OSError:
        raise NotFound(
            f"{folder} is not a coordinator's folder", hint="collegium coordinator init makes one; or give its address"
        ) from None
    to = target(str(settings["url"]))
    dialler = Dialler(to, way_out(to, proxy, known), root=root, ca_file=ca_file)
    return Network(Link(dialler, key_of(Path(key) if key else folder / OPERATOR), str(settings["public"]), agent=agent()))


def from_address(
    url: str, key: str | os.PathLike[str] | None, coordinator: str, proxy: str, ca_file: str, environ: Mapping[str, str]
) -> Network:
    """The coordinator at an address, if it is the one that the fingerprint means. Raises `IdentityError` if it is another."""
    if not key or not coordinator:
        raise NotFound(
            "an address alone does not say which coordinator is meant, nor who asks",
            hint="give the key file and the coordinator's fingerprint, which `collegium coordinator status` shows there",
        )
    to = target(url)
    way = way_out(to, proxy, environ)
    stranger = Link(Dialler(to, way, unchecked=True), None, "", agent=agent())
    try:
        told = stranger.identity()
    finally:
        closed(stranger)
    public = str(told["public"])
    if identity.fingerprint(public) != coordinator:
        raise IdentityError(
            f"another coordinator answers at {url}: its fingerprint is {identity.fingerprint(public)}, {coordinator[:40]} was meant",
            hint="ask its operator for the fingerprint; if it is right, something answers in the coordinator's place: tell IT",
        )
    return Network(Link(Dialler(to, way, root=str(told.get("root", "")), ca_file=ca_file), key_of(Path(key)), public, agent=agent()))


def key_of(path: Path) -> Key:
    """The key of a file: 32 secret bytes in hex. Raises `IdentityError`."""
    try:
        return identity.key(bytes.fromhex(path.read_text().strip()))
    except OSError as e:
        raise IdentityError(
            f"the key {path} cannot be read: {e.strerror}", hint="give the file with --key; it is readable by its owner alone"
        ) from None
    except ValueError:
        raise IdentityError(f"{path} does not hold a key of 32 bytes in hex", hint="restore it from a backup") from None


def agent() -> str:
    """What this program calls itself."""
    return f"collegium/{metadata.version('collegium')}"
