"""What this user works with: the coordinator's folder and the site's folder that the last `init` and `join` made.

One small file in the user's configuration folder; every command takes `--folder` instead.
"""

import json
from pathlib import Path

import click

from collegium.errors import NotFound, StorageError

KINDS = {"coordinator": "collegium coordinator init", "site": "collegium site join CODE"}


def file() -> Path:
    """Where the settings are."""
    return Path(click.get_app_dir("collegium")) / "profile.json"


def known() -> dict[str, Path]:
    """The folders remembered, of those that still exist."""
    try:
        found = json.loads(file().read_text())
    except (OSError, ValueError):
        return {}
    return {
        kind: Path(found[kind]) for kind in KINDS if isinstance(found, dict) and Path(str(found.get(kind, ""))).is_dir() and found.get(kind)
    }


def remember(kind: str, folder: Path) -> None:
    """Use this folder from now on where none is given."""
    said = {name: str(path) for name, path in known().items()} | {kind: str(folder.resolve())}
    try:
        file().parent.mkdir(parents=True, exist_ok=True)
        file().write_text(json.dumps(said, indent=1))
    except OSError as e:
        raise StorageError(f"{file()} cannot be written: {e.strerror}", hint="give --folder with each command instead") from None


def folder(kind: str, given: str | None) -> Path:
    """The folder to work in: the one given, else the one remembered. Raises `NotFound` with the command that makes one."""
    if given:
        return Path(given)
    found = known().get(kind)
    if found is None:
        raise NotFound(f"no {kind} is set up for this user", hint=f"{KINDS[kind]}, or give --folder")
    return found
