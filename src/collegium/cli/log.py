"""`collegium log`: read the coordinator's log, take a copy of it, and check a copy without any network."""

import importlib.metadata as metadata
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from collegium.cli import settings
from collegium.cli.shell import Screen, command
from collegium.client.connect import connect
from collegium.client.network import Network

FOLDER = click.Option(["--folder"], metavar="FOLDER", help="the coordinator's folder; else the one this user made last")
SITE = click.Option(["--site"], metavar="FOLDER", help="a site's folder: ask with its key, as its hospital")
URL = click.Option(["--url"], metavar="URL", help="the coordinator's address, with --key, from another machine")
KEY = click.Option(["--key"], metavar="FILE", help="the key to sign with, for --url")
WHICH = click.Option(["--coordinator"], default="", metavar="FINGERPRINT", help="which coordinator is meant, for --url")
THERE = (FOLDER, SITE, URL, KEY, WHICH)
ABOUT = ("site", "run", "study", "digest", "failure", "key")


def network(folder: str | None, site: str | None, url: str | None, key: str | None, coordinator: str) -> Network:
    """The federation that the options name, as the holder of the coordinator's folder, of a site or of a key."""
    if site:
        from collegium.site import config
        from collegium.site.agent import linked

        return Network(linked(config.load(Path(site)), os.environ, metadata.version("collegium")))
    where = url or settings.folder("coordinator", folder)
    return connect(where, key=key, coordinator=coordinator, environ=os.environ)


def shown(screen: Screen, last: int, run: str, **there: Any) -> None:
    """Show the newest entries of the coordinator's log: when, who, what, about what."""
    from collegium.client import audit

    with network(**there) as net:
        told = net.ask("/v1/log")
        start = 0 if run else max(int(told["size"]) - last, 0)
        pages = audit.entries(net, start)
        found = [entry for texts, _ in pages for entry in map(json.loads, texts) if str(entry.get("run", "")).startswith(run)]
    rows = [(one["seq"], moment(one["time"]), one["actor"], one["action"], said(one)) for one in found[-last:]]
    text = screen.table(rows, ("entry", "time (UTC)", "who", "what", "about"))
    screen.show({**told, "entries": found[-last:]}, f"{told['origin']}, {told['size']} entries\n\n{text}")


def moment(seconds: int) -> str:
    """A time, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def said(entry: dict[str, Any]) -> str:
    """What an entry is about, short."""
    parts = [f"{name} {str(entry[name])[:16]}" for name in ABOUT if entry.get(name) and entry[name] != entry["actor"]]
    parts += [f"place {'/'.join(map(str, entry['place']))}"] if "place" in entry else []
    parts += [f"sites {', '.join(entry['sites'])}"] if "sites" in entry else []
    return ", ".join(parts)


def exported(screen: Screen, file: str, **there: Any) -> None:
    """Write the whole log of the coordinator into FILE, checked on the way: to be kept, or given to an auditor."""
    from collegium.client import audit

    with network(**there) as net:
        verdict = audit.export(net, Path(file))
    text = f"{verdict.entries} entries of {verdict.origin} are in {file}; every signature and hash holds."
    text += f"\nCheck it anywhere: collegium log verify {file}"
    screen.show({"file": file, "entries": verdict.entries, "origin": verdict.origin}, text)


def verified(screen: Screen, file: str, key: str, site: str | None) -> None:
    """Check a copy of a log, with no network: nothing altered, removed, inserted or reordered; the first entry that is, by name.

    FILE was written by `log export`. --key says which coordinator must have signed it; --site also holds it against what that
    hospital's agent has seen. Exit code 8 if it does not hold.
    """
    from collegium import identity
    from collegium.client import audit

    seen: dict[int, str] = {}
    if site:
        from collegium.site import config, witness

        key, seen = key or config.load(Path(site)).coordinator, witness.remembered(Path(site))
    verdict = audit.verify(Path(file), key=key, seen=seen)
    fingerprint = identity.fingerprint(verdict.public)
    fault = verdict.fault
    facts = {
        "ok": fault is None, "file": file, "entries": verdict.entries, "origin": verdict.origin, "fingerprint": fingerprint,
        "checkpoints": verdict.checkpoints, "clock_went_back": verdict.backwards, "key_given": bool(key), "seen": sorted(seen),
        "fault": fault._asdict() if fault else None,
    }  # fmt: skip
    if fault:
        text = f"The log does not hold: {fault.says}.\nUp to the last checkpoint before that, {verdict.entries} entries hold."
    else:
        text = f"{verdict.entries} entries hold, signed by the coordinator {fingerprint}."
        text += "" if not seen else f" They are what this hospital's agent has seen ({', '.join(map(str, sorted(seen)))} entries)."
        text += "" if key else "\nCompare this fingerprint with the operator's by phone: without --key the file vouches for itself."
        text += f"\nThe coordinator's clock went back before {verdict.backwards} entries." if verdict.backwards else ""
    screen.show(facts, text)
    if fault:
        raise click.exceptions.Exit(8)


FILE = click.Argument(["file"])
show = command(
    "show",
    shown,
    click.Option(["--last"], type=click.IntRange(1), default=20, show_default=True, metavar="N", help="so many entries"),
    click.Option(["--run"], default="", metavar="RUN", help="only entries of this run"),
    *THERE,
)
export = command("export", exported, FILE, *THERE)
verify = command(
    "verify",
    verified,
    FILE,
    click.Option(["--key"], default="", metavar="FINGERPRINT", help="the coordinator's fingerprint, or its public key"),
    click.Option(["--site"], metavar="FOLDER", help="a site's folder: hold the file against what its agent has seen"),
)
