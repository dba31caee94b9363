"""The researcher's pages: studies from a question to a result, live. `collegium console`.

    serve(network, port, say)            # until Ctrl-C; `say` is told the address

They run on the researcher's own machine and speak to the coordinator with the researcher's key, as every command does: what these
pages may do is what the key may do. They keep nothing.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from collegium.client.console import drafts, runs, today
from collegium.client.network import Network
from collegium.web import serve as server
from collegium.web.app import Links, Look, build

PORT = 8470
MENU = (("/", "Today"), ("/studies", "Studies"), ("/new", "New study"), ("/sites", "Hospitals"))


def serve(network: Network, port: int, say: Callable[[str], object]) -> None:
    """Show a federation's pages to browsers on this machine until Ctrl-C."""
    title = str(network.status()["federation"])
    links = Links(say)
    links.address = f"http://{server.HOST}:{(chosen := server.free(port))}"
    server.serve(application(network, title, links), chosen, links.new)


def application(network: Network, title: str, links: Links) -> Any:
    """The pages as an ASGI application."""
    stripe = f"Coordinator of {title}: sums and names are shown here, no hospital's rows"
    look = Look(f"{title} · Collegium", stripe, MENU, "collegium.client.console")
    return build({where: partial(page, network) for where, page in PAGES.items()}, look, links)


PAGES: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("GET", "/"): today.page,
    ("GET", "/studies"): today.studies,
    ("GET", "/sites"): today.sites,
    ("POST", "/sites"): today.invited,
    ("GET", "/studies/{run}"): runs.shown,
    ("POST", "/studies/{run}/pause"): runs.turned("pause", "It rests after its present round."),
    ("POST", "/studies/{run}/resume"): runs.turned("resume", "It goes on."),
    ("POST", "/studies/{run}/stop"): runs.turned("stop", "It is stopped. What it has learned is kept."),
    ("GET", "/studies/{run}/report.html"): runs.report,
    ("GET", "/studies/{run}/results.json"): runs.results,
    ("GET", "/new"): drafts.blank,
    ("POST", "/new"): drafts.drafted,
    ("POST", "/new/check"): drafts.checked,
    ("POST", "/new/start"): drafts.started,
}
__all__ = ["MENU", "PAGES", "PORT", "application", "serve"]
