"""The hospital's own pages: what waits for its people, what runs, what left, which models it has. `collegium site console`.

    serve(folder, port, say)             # until Ctrl-C; `say` is told the address

The pages show what is in the site's folder and change what `collegium invite`, `site` and `model` change: they hold no state of
their own, so that agent, command line and console may be used at once. Whoever sits here is asked for the steward's passphrase
at every approval, for the link that let the browser in proves no more than that somebody can read this machine's terminal.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from collegium.site import config, state
from collegium.site.console import invitations, ledger, models, today
from collegium.web import serve as server
from collegium.web.app import Links, Look, Page, build

PORT = 8471
MENU = (("/", "Today"), ("/invitations", "Invitations"), ("/running", "Running"), ("/models", "Models"), ("/ledger", "Ledger"))


def serve(folder: Path, port: int, say: Callable[[str], object]) -> None:
    """Show the pages of a site's folder to browsers on this machine until Ctrl-C."""
    found = config.load(folder)
    links = Links(say)
    links.address = f"http://{server.HOST}:{(chosen := server.free(port))}"
    server.serve(application(folder, found.site, links), chosen, links.new)


def application(folder: Path, site: str, links: Links) -> Any:
    """The console as an ASGI application."""
    stripe = f"Inside {site}: what is shown here never leaves this machine"
    look = Look(f"{site} · Collegium", stripe, MENU, "collegium.site.console", partial(waiting, folder))
    return build({where: partial(page, folder) for where, page in PAGES.items()}, look, links)


def waiting(folder: Path) -> Mapping[str, int]:
    """How many studies wait for the steward."""
    return {"/invitations": len(state.undecided(config.load(folder)))}


PAGES: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("GET", "/"): today.page,
    ("GET", "/running"): today.running,
    ("POST", "/pause"): today.paused,
    ("POST", "/resume"): today.resumed,
    ("GET", "/invitations"): invitations.listed,
    ("GET", "/invitations/{study}"): invitations.shown,
    ("POST", "/invitations/{study}/approve"): invitations.approved,
    ("POST", "/invitations/{study}/decline"): invitations.declined,
    ("GET", "/models"): models.listed,
    ("GET", "/models/{run}"): models.shown,
    ("POST", "/models/{run}/use"): models.used,
    ("GET", "/ledger"): ledger.page,
    ("GET", "/ledger.jsonl"): ledger.export,
}
__all__ = ["MENU", "PAGES", "PORT", "Page", "application", "serve"]
