"""What the shell offers where a name is asked for: runs, studies, sites, tables, folders.

A person waits for it at every press of the key, so it looks at this machine's own files or asks the coordinator once, waits
`WAIT_S` at most, and where nothing comes in time, or anything is wrong, offers nothing and says nothing.
"""

import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from collegium.cli import settings

WAIT_S = 1.5
MARKS = {"coordinator": "coordinator.json", "site": "site.toml"}  # the file by which a folder is known
SUFFIXES = (".yaml", ".yml", ".json")
Found: TypeAlias = Iterable[CompletionItem]
Look: TypeAlias = Callable[[click.Context, str], Found]  # what there is, where the word so far is this
Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def offering(*looks: Look, otherwise: str = "") -> Complete:
    """What the looks find, of that which begins as the word does; `otherwise` the shell's own files or folders ("file", "dir")."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        known = [one for look in looks for one in in_time(partial(look, ctx, incomplete))]
        found = [one for one in known if str(one.value).startswith(incomplete)]
        return found or ([CompletionItem(incomplete, type=otherwise)] if otherwise else [])

    return complete


def in_time(look: Callable[[], Found]) -> list[CompletionItem]:
    """What was found within `WAIT_S`: a name that cannot be resolved, or a proxy that is silent, holds nobody up."""
    found: list[CompletionItem] = []

    def ask() -> None:
        try:
            found.extend(look())
        except Exception:  # the shell shows whatever is said here as if it had been typed
            return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(WAIT_S)
    return [] if asking.is_alive() else found


def federation(ctx: click.Context) -> Any:
    """The federation that the options typed so far name."""
    from collegium.client.connect import connect  # local: tables and folders are found without it

    given = ctx.params
    where = given.get("url") or settings.folder("coordinator", given.get("folder"))
    return connect(where, key=given.get("key"), coordinator=given.get("coordinator") or "", environ=os.environ)


def runs(ctx: click.Context, word: str) -> Found:
    """All runs, the newest first."""
    with federation(ctx) as network:
        return [CompletionItem(one["run"], help=f"{one['status']}: {one['title']}") for one in reversed(network.runs)]


def studies(ctx: click.Context, word: str) -> Found:
    """The studies at the coordinator, by the first letters of their digests, which are as good as a name."""
    with federation(ctx) as network:
        return [CompletionItem(one["study"][:12], help=one["title"]) for one in network.studies]


def sites(ctx: click.Context, word: str) -> Found:
    """The hospitals that have joined."""
    with federation(ctx) as network:
        return [CompletionItem(one["name"], help=f"last seen {one['seen']}") for one in network.sites()]


def manifests(ctx: click.Context, word: str) -> Found:
    """The manifests in this folder, or in the one that the word names so far."""
    folder = os.path.dirname(word)
    files = sorted(path.name for path in Path(folder or ".").iterdir() if path.suffix in SUFFIXES)
    return [CompletionItem(os.path.join(folder, name)) for name in files]


def tables(ctx: click.Context, word: str) -> Found:
    """The tables of the site in the folder that is given, or that was joined last."""
    from collegium.data import registry  # local: the base install has no table readers

    return [CompletionItem(one.name, help=one.place.path) for one in registry.listed(settings.folder("site", ctx.params.get("folder")))]


def folders(kind: str) -> Look:
    """Folders of coordinators, or of sites: those where the word points, and the one that was made last."""

    def look(ctx: click.Context, word: str) -> Found:
        near = os.path.dirname(word)
        here = sorted(path.parent.name for path in Path(near or ".").glob(f"*/{MARKS[kind]}"))
        last = settings.known().get(kind)
        return [CompletionItem(os.path.join(near, name)) for name in here] + ([CompletionItem(str(last), help="made last")] if last else [])

    return look


RUNS, STUDIES, SITES = offering(runs), offering(studies), offering(sites)
MANIFESTS = offering(manifests, studies, otherwise="file")
TABLES, TABLES_OR_FILES, PATHS = offering(tables), offering(tables, otherwise="file"), offering(otherwise="file")
COORDINATORS, SITE_FOLDERS = (offering(folders(kind), otherwise="dir") for kind in MARKS)
