"""`collegium console`: the researcher's pages; and what every console says when it opens."""

from collections.abc import Callable
from typing import Any

import click

from collegium.cli.shell import Screen, command
from collegium.cli.study import THERE, network

NO_BROWSER = click.Option(["--no-browser"], is_flag=True, help="print the link only")


def port_option(usual: int) -> click.Option:
    """Where a console listens."""
    return click.Option(
        ["--port"], type=click.IntRange(0, 65535), help=f"the port to listen on, 0 for any; else {usual} or the next that is free"
    )


def announced(screen: Screen, no_browser: bool) -> Callable[[str], object]:
    """Prints each link that lets a browser in, and opens the first where a person sits at this machine."""
    said: list[str] = []

    def say(address: str) -> None:
        screen.note(f"{'Another browser' if said else 'A browser'} is let in, once, by: {address}")
        said.append(address)
        if len(said) == 1 and screen.lively and not no_browser:
            import webbrowser  # local: only where it is used

            webbrowser.open(address)

    return say


def opened(screen: Screen, port: int | None, no_browser: bool, **there: Any) -> None:
    """Open a federation's pages in a browser: what needs somebody, a new study, runs as they go on, results. Ctrl-C ends it.

    They are served to this machine alone and use your key, as every command does. The link that is printed lets one browser in,
    once; a new one is printed then.
    """
    from collegium.client import console as pages

    with network(**there) as net:
        pages.serve(net, pages.PORT if port is None else port, announced(screen, no_browser))


console = command("console", opened, *THERE, port_option(8470), NO_BROWSER)
