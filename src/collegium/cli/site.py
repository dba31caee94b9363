"""`collegium site`: join a federation, run the agent, see what it does and what has left the hospital."""

import importlib.metadata as metadata
import os
import sys
from pathlib import Path
from typing import Any

import click

from collegium.cli import complete, settings
from collegium.cli.console import NO_BROWSER, announced, port_option
from collegium.cli.shell import Screen, columns, command

FOLDER = click.Option(
    ["--folder"], metavar="FOLDER", shell_complete=complete.SITE_FOLDERS, help="the site's folder; else the one this user joined last"
)


def joined(screen: Screen, code: str, folder: str, name: str, proxy: str, ca_file: str) -> None:
    """Make this machine a site of a federation, by its join code.

    The code carries the coordinator's address and the fingerprint of its key, so nobody on the way can put another one in its
    place. The site's own key is made here and never leaves its folder.
    """
    from collegium.site import enrol

    path = Path(folder)
    found = enrol.join(path, code, name=name, version=metadata.version("collegium"), environ=os.environ, proxy=proxy, ca_file=ca_file)
    settings.remember("site", path)
    if found.opened_by:
        screen.note(f"note: {found.opened_by} opens TLS on the way; signatures protect what is sent")
    steps = (
        f"Next: name a table (collegium data add NAME PLACE), say in {path / 'policy.yaml'} what studies may do, let the data steward\n"
        "make a key (collegium site steward init), then: collegium site serve"
    )
    screen.show({**found._asdict(), "folder": str(path)}, f"{found.site} has joined {found.federation} at {found.url}.\n{steps}")


def served(screen: Screen, folder: str | None, runs: int) -> None:
    """Run this hospital's agent until Ctrl-C.

    It calls out and is never called: nothing listens here. It takes part in the runs that policy.yaml allows, and goes on where
    it stood after any interruption.
    """
    from collegium.site import agent, progress

    show = progress.fitting(sys.stderr) if screen.lively else progress.Lines(sys.stderr)
    try:
        quiet = screen.quiet
        agent.serve(
            settings.folder("site", folder),
            environ=os.environ,
            version=metadata.version("collegium"),
            show=(lambda run, facts, known: None) if quiet else show,
            runs=runs,
        )
    finally:
        show.close()


def told(screen: Screen, folder: str | None) -> None:
    """Say what this site is doing, and what has left it."""
    from collegium.site import state

    found = state.status(settings.folder("site", folder))
    left: dict[str, Any] = found["left"]
    now = "paused" if found["paused"] else "running" if found["running"] else "not running: collegium site serve"
    rows = [
        ("site", found["site"]),
        ("federation", f"{found['federation']} at {found['coordinator']}"),
        ("agent", now),
        ("last answer of the coordinator", found["contact"]),
        ("seen of its log", f"{found['log']:,} entries"),
        ("trouble", found["trouble"] or "none"),
        ("waits for the data steward", waiting(found["invitations"])),
        ("fingerprint, to read out", found["fingerprint"]),
        ("what has left", f"{left['sums']} sums, {left['bytes']:,} bytes, {left['entries']} lines in the ledger"),
    ]
    runs = [(run, f.get("title", ""), f.get("status", ""), f.get("round", "")) for run, f in found["runs"].items()]
    served = {run: f for run, f in found["runs"].items() if f.get("status") != "left"}  # why the others were left is the trouble above
    why = [f"{run}: {f.get('detail') or f.get('trouble')}" for run, f in served.items() if f.get("detail") or f.get("trouble")]
    table = f"\n\n{screen.table(runs, ('run', 'study', 'status', 'round'))}" if runs else ""
    screen.show(found, "\n\n".join([columns(rows) + table, *why]))


def waiting(invitations: list[dict[str, str]]) -> str:
    """The studies on which the steward has to decide, in a line."""
    names = ", ".join(repr(one["title"]) for one in invitations)
    return f"{names}: collegium invite list" if names else "nothing"


def examined(screen: Screen, folder: str | None) -> None:
    """Find out which hop on the way to the coordinator fails, in words for IT.

    Exit code 4 if the coordinator cannot be reached.
    """
    from collegium.site import doctor

    found = []
    for check in doctor.diagnose(settings.folder("site", folder), environ=os.environ, version=metadata.version("collegium")):
        found.append(check._asdict())
        screen.note(f"{'ok  ' if check.ok else 'FAIL'} {check.hop}: {check.found}")
        if check.fix:
            screen.note(f"     {check.fix}")
    bad = [check for check in found if not check["ok"]]
    end = f"{bad[0]['hop']} fails: {bad[0]['found']}\nwanted: {bad[0]['wanted']}\nhint: {bad[0]['fix']}" if bad else "Every hop works."
    screen.show({"ok": not bad, "hops": found}, end)
    if bad:
        raise click.exceptions.Exit(4)


def opened(screen: Screen, folder: str | None, port: int | None, no_browser: bool) -> None:
    """Open this hospital's own pages in a browser: invitations, running work, models, what has left. Ctrl-C ends it.

    They are served to this machine alone. The link that is printed lets one browser in, once; a new one is printed then.
    """
    from collegium.site import console

    console.serve(Path(settings.folder("site", folder)), console.PORT if port is None else port, announced(screen, no_browser))


join = command(
    "join",
    joined,
    click.Argument(["code"]),
    click.Option(
        ["--folder"],
        metavar="FOLDER",
        type=click.Path(),
        default="collegium-site",
        show_default=True,
        help="where the site's keys and settings are kept",
    ),
    click.Option(["--name"], default="", help="a name for people; the invitation's stands otherwise"),
    click.Option(["--proxy"], default="", metavar="URL", help="http://name:password@host:port; else HTTPS_PROXY"),
    click.Option(["--ca-file"], default="", metavar="FILE", type=click.Path(), help="the CA of a proxy that opens TLS"),
)
serve = command("serve", served, FOLDER, click.Option(["--runs"], type=click.IntRange(0), default=0, help="end after so many runs"))
status = command("status", told, FOLDER)
doctor = command("doctor", examined, FOLDER)
console = command(
    "console",
    opened,
    FOLDER,
    port_option(8471),
    NO_BROWSER,
)
