"""The federation at a glance: what needs somebody, its studies, its hospitals."""

from collections.abc import Mapping
from typing import Any

from collegium import identity
from collegium.client.network import Network
from collegium.errors import DataError
from collegium.web.app import Ask, Shown
from collegium.words import words

BADGES = {"finished": "ok", "running": "run", "paused": "warn", "stopped": "bad", "failed": "bad"}
RECENT = 10


def page(network: Network, ask: Ask) -> Shown:
    """What needs somebody, and what runs."""
    runs = [line(one) for one in reversed(network.runs)]
    active = [one | {"waits": waits(network, one)} for one in runs if one["status"] in ("running", "paused")]
    needs = [
        (f"“{one['title']}” is paused: {one['says'] or 'no reason was given'}", one["run"]) for one in active if one["status"] == "paused"
    ]
    needs += [(f"“{one['title']}” waits for the data steward of {', '.join(one['waits'])}", one["run"]) for one in active if one["waits"]]
    over = [one for one in runs if one not in active and one["status"] not in ("running", "paused")][:RECENT]
    return Shown("home.html", {"needs": needs, "active": active, "over": over, "sites": network.sites(), "studies": len(network.studies)})


def waits(network: Network, run: Mapping[str, Any]) -> list[str]:
    """The hospitals whose data steward has not decided about a run that goes on."""
    return [str(name) for name in network.ask(f"/v1/runs/{run['run']}").get("stewards") or ()]


def line(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run in a list."""
    told = {name: run.get(name) or "" for name in ("run", "status", "says", "created", "ended")}
    return told | {"title": run.get("title") or run["study"][:12], "badge": BADGES.get(run["status"], "idle")}


def studies(network: Network, ask: Ask) -> Shown:
    """Every run, newest first; and studies that were submitted and never run."""
    runs = network.runs
    ran = {run["study"] for run in runs}
    rest = [one for one in network.studies if one["study"] not in ran]
    return Shown("studies.html", {"rows": [line(one) for one in reversed(runs)], "rest": rest})


def sites(network: Network, ask: Ask, code: str = "", name: str = "") -> Shown:
    """The hospitals that have joined, with the words by which they are known; and a way to invite another."""
    rows = [
        (one["name"], one.get("seen") or "never", one.get("version", ""), words(identity.fingerprint(str(one["key"]))))
        for one in network.sites()
    ]  # fmt: skip
    return Shown("sites.html", {"rows": rows, "code": code, "name": name})


def invited(network: Network, ask: Ask) -> Shown:
    """A join code for one hospital, shown once."""
    name = ask.form.get("name", "").strip()
    if not name:
        raise DataError("a name for the hospital is wanted", hint="go back and write one, such as lindenhof")
    return sites(network, ask, network.invite(name), name)
