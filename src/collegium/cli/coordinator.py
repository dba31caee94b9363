"""`collegium coordinator`: found a federation, serve it, look at it; and `site invite`, which is the coordinator's to give."""

import os
import sys
from pathlib import Path

import click

from collegium.cli import complete, settings
from collegium.cli.shell import Screen, command

PATH = click.Path()
FOLDER = click.Option(
    ["--folder"], metavar="FOLDER", shell_complete=complete.COORDINATORS, help="the coordinator's folder; else the one this user made last"
)


def founded(screen: Screen, folder: str, url: str, title: str, host: tuple[str, ...]) -> None:
    """Make a folder for a new federation: keys, certificate, database. Nothing is ever overwritten.

    Keep the folder private and in your backups: who has its keys is the coordinator.
    """
    from collegium import identity
    from collegium.coordinator import founding

    path = Path(folder)
    made = founding.init(path, url, title, hosts=host)
    settings.remember("coordinator", path)
    fingerprint = identity.fingerprint(made.public)
    text = f"{title} has its coordinator in {path}, for the address {url}.\nFingerprint: {fingerprint}\nNext: collegium coordinator serve"
    screen.show({"folder": str(path), "url": url, "title": title, "fingerprint": fingerprint}, text)


def served(screen: Screen, folder: str | None, host: str, port: int, log_file: str | None) -> None:
    """Run the coordinator until Ctrl-C.

    It may be stopped or killed at any moment: the next start goes on where the runs stood.
    """
    from collegium.coordinator import serve

    where = settings.folder("coordinator", folder)
    log = Path(log_file) if log_file else None
    serve.serve(where, host=host, port=port, terminal=None if screen.quiet else sys.stderr, log_file=log)


def told(screen: Screen, folder: str | None) -> None:
    """The federation at a glance: its fingerprint, its sites, its runs."""
    from collegium.client.connect import connect

    with connect(settings.folder("coordinator", folder), environ=os.environ) as network:
        found = network.status()
    sites = [(site["name"], site["seen"], site["version"]) for site in found["sites"]]
    runs = [(run["run"], run.get("title", ""), run["status"], run["says"]) for run in found["runs"]]
    parts = [f"{found['federation']} at {found['url']}, fingerprint {found['fingerprint']}"]
    parts.append(screen.table(sites, ("site", "last seen", "version")) if sites else "No site has joined: collegium site invite NAME")
    parts += [screen.table(runs, ("run", "study", "status", ""))] if runs else []
    screen.show(found, "\n\n".join(parts))


def invited(screen: Screen, name: str, folder: str | None) -> None:
    """Mint a join code for one hospital. It works once, for 72 hours; give it to the hospital by a way you trust.

    Run it where the coordinator's folder is, while the coordinator runs. Inviting a name again lets that hospital come back
    with a new key.
    """
    from collegium.client.connect import connect

    with connect(settings.folder("coordinator", folder), environ=os.environ) as network:
        code = network.invite(name)
    screen.note(f"A join code for {name}: it works once, for 72 hours. At the hospital: collegium site join CODE")
    screen.show({"name": name, "code": code}, code)


init = command(
    "init",
    founded,
    click.Option(["--folder"], metavar="FOLDER", type=PATH, default="collegium-coordinator", show_default=True, help="the folder to make"),
    click.Option(["--url"], metavar="URL", required=True, help="how hospitals will reach it: https://hub.example:8443"),
    click.Option(["--title"], default="Federation", show_default=True, help="the federation's name, for people"),
    click.Option(["--host"], multiple=True, metavar="NAME", help="a further name or address for its certificate; once for each"),
)
serve = command(
    "serve",
    served,
    FOLDER,
    click.Option(["--host"], default="0.0.0.0", show_default=True, help="the address to listen on"),
    click.Option(["--port"], type=click.IntRange(0, 65535), default=0, help="the port to listen on; else that of the federation's address"),
    click.Option(["--log-file"], metavar="FILE", type=PATH, help="keep a JSON log in this file"),
)
status = command("status", told, FOLDER)
invite = command("invite", invited, click.Argument(["name"]), FOLDER)
