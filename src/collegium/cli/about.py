"""Commands about Collegium itself."""

import platform
from typing import Any

import click

from collegium.cli import settings
from collegium.cli.shell import Screen, columns, command
from collegium.errors import CollegiumError

EXTRAS = {"site": "pyarrow", "deep": "torch", "plot": "matplotlib", "ray": "ray"}
NEXT = [
    ("collegium demo", "see a whole federation run here, in under a minute"),
    ("collegium simulate STUDY --site NAME=FILE ...", "try a study on your own files"),
    ("collegium coordinator init", "found a federation"),
    ("collegium site join CODE", "join one with the code of your invitation"),
]


def installed() -> dict[str, str]:
    """What Collegium runs on: versions, and the extras that are here."""
    import importlib.metadata as metadata
    from importlib.util import find_spec

    extras = [name for name, module in EXTRAS.items() if find_spec(module)]
    return {
        "collegium": metadata.version("collegium"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "extras": ", ".join(extras),
    }


def print_version(screen: Screen) -> None:
    """Print the version of Collegium and what it runs on."""
    found = installed()
    screen.show(found, columns(found.items()))


def print_completion(screen: Screen, shell: str) -> None:
    """Print a script that completes commands; add `eval "$(collegium completion bash)"` to your shell's start file.

    It completes commands, options, files, and names: runs, studies and sites by asking the coordinator, which may take a second and
    a half, tables and folders by looking here. Where nothing answers it offers nothing.
    """
    from click.shell_completion import get_completion_class

    from collegium.cli.tree import collegium

    kind = get_completion_class(shell)
    if kind is None:
        raise CollegiumError(f"there is no completion for {shell!r}")
    script = kind(collegium, {}, "collegium", "_COLLEGIUM_COMPLETE").source()
    screen.show({"shell": shell, "script": script}, script)


def welcome(screen: Screen) -> None:
    """Print what is set up here, and the next sensible command."""
    found = {kind: str(path) for kind, path in settings.known().items()}
    steps: list[tuple[str, str]] = []
    if "coordinator" in found:
        steps += [
            ("collegium coordinator serve", "run the coordinator"),
            ("collegium site invite NAME", "invite a hospital"),
            ("collegium study start FILE", "start a study"),
        ]
    if "site" in found:
        steps += [
            ("collegium data add NAME PLACE", "make a table known"),
            ("collegium invite list", "see which studies ask for this hospital"),
            ("collegium site serve", "run the agent"),
            ("collegium site doctor", "check the way"),
        ]
    data: dict[str, Any] = {"folders": found, "next": [step for step, _ in steps or NEXT]}
    here = "\n".join(f"{kind}: {path}" for kind, path in found.items()) or "Nothing is set up for this user yet."
    screen.show(data, f"{here}\n\nNext:\n{columns((f'  {step}', says) for step, says in steps or NEXT)}\n\nAll commands: collegium --help")


SHELLS = click.Choice(["bash", "zsh", "fish"])
version = command("version", print_version)
completion = command("completion", print_completion, click.Argument(["shell"], type=SHELLS, default="bash"))
