"""Joining a federation: from a join code to a site that knows its coordinator and is known by it.

The code carries the fingerprint of the coordinator's key. So the site need not trust the network: whoever answers at the
address shows a key, and only the right one has that fingerprint and can sign. Every step may be repeated after a crash or a
lost answer; the site's key is made once and never leaves its file.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from collegium import identity
from collegium.canonical import canonical
from collegium.errors import CollegiumError, ConflictError, IdentityError, LinkError
from collegium.site import policy
from collegium.site.config import Config, load, make_key, save, write
from collegium.site.dial import Dialler, target, way_out
from collegium.site.link import Link

TRIES = 3


class Joined(NamedTuple):
    """What a site is after joining."""

    site: str
    federation: str
    url: str
    opened_by: str  # who opens TLS on the way, if anybody


def join(
    folder: Path, code: str, *, name: str = "", version: str, environ: Mapping[str, str], proxy: str = "", ca_file: str = ""
) -> Joined:  # fmt: skip
    """Make `folder` a site of the federation that sent this code. Raises `IdentityError`, `ConflictError` or `LinkError`."""
    invited = identity.read_code(code)
    known = former(folder)
    if known and identity.fingerprint(known.coordinator) != invited.coordinator:
        raise ConflictError(
            f"{folder} already belongs to {known.federation or 'a federation'} at {known.url}, the code is of another coordinator",
            hint="use another folder for the other federation",
        )
    to = target(invited.url)
    way = way_out(to, proxy, environ)
    coordinator, root, boot = recognised(Link(Dialler(to, way, unchecked=True), None, ""), invited)
    made, fresh = not folder.exists(), not (folder / "key").exists()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = make_key(folder)

    def forget() -> None:
        """Leave nothing of a try that the coordinator refused."""
        if fresh:
            (folder / "key").unlink()
        if made:
            folder.rmdir()

    dialler = Dialler(to, way, root=root, ca_file=ca_file)
    link = Link(dialler, key, coordinator, agent=f"collegium/{version}")
    link.boot = boot
    try:
        told = introduced(link, {"secret": invited.secret.hex(), "name": name, "version": version}, forget)
    finally:
        link.close()
    write(folder / "root.pem", root.encode())
    if not (folder / "policy.yaml").exists():
        write(folder / "policy.yaml", policy.EXAMPLE.encode())
    kept = known or Config(folder, "", "")
    save(
        Config(
            folder, invited.url, coordinator, str(told["site"]), str(told["federation"]), proxy or kept.proxy, ca_file or kept.ca_file,
            kept.studies_at_once, kept.threads,
        )
    )  # fmt: skip
    return Joined(str(told["site"]), str(told["federation"]), invited.url, dialler.opened_by)


def former(folder: Path) -> Config | None:
    """The settings of an earlier join in this folder."""
    return load(folder) if (folder / "site.toml").exists() else None


def recognised(link: Link, invited: identity.Code) -> tuple[str, str, str]:
    """The public key, root and boot of whoever answers, if it is the coordinator that the join code means."""
    try:
        told = again(link.identity)
    finally:
        link.close()
    public = str(told["public"])
    if identity.fingerprint(public) != invited.coordinator:
        raise IdentityError(
            f"another coordinator answers at {invited.url}: its key is {identity.fingerprint(public)[:8]}..., the join code"
            f" says {invited.coordinator[:8]}...",
            hint="ask for a new code if the coordinator was set up anew; otherwise something answers in its place: tell IT",
        )
    return public, str(told.get("root", "")), str(told.get("boot", "0"))


def introduced(link: Link, request: dict[str, str], forget: Callable[[], None]) -> dict[str, Any]:
    """Hand in the secret, or `forget` the key if it is refused. The same key may do so again, so a lost answer costs nothing."""
    try:
        return again(lambda: link.call("POST", "/v1/join", body=canonical(request)).json())
    except ConflictError as e:
        forget()
        raise ConflictError(f"the join code was used by another machine: {e}", hint="ask for a new code; each works for one site") from None
    except LinkError:
        raise
    except CollegiumError as e:
        if isinstance(e, IdentityError):  # after any other error the key may have been taken: it is kept for the next try
            forget()
        raise IdentityError(f"the coordinator did not take the join code: {e}", hint=e.hint or "ask for a new code") from None


def again(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of a call that is tried a few times when the way is broken."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(LinkError):
            return call()
    return call()
