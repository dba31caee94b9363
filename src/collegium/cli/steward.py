"""`collegium site steward`: the key with which a hospital's data steward approves studies."""

from typing import Any

import click

from collegium.cli import secret, settings
from collegium.cli.shell import Screen, columns, command

FOLDER = click.Option(["--folder"], metavar="FOLDER", help="the site's folder; else the one this user joined last")
FILE = click.Path(exists=True, dir_okay=False)
PASSPHRASE = click.Option(["--passphrase-file"], type=FILE, help="a file whose first line is the passphrase; else it is asked for")
KEEP = (
    "Keep the passphrase where only you find it: whoever has it can approve studies in your name.\n"
    "Without it nothing can be approved; then --replace makes another key, and every study must be approved anew."
)


def made(screen: Screen, folder: str | None, passphrase_file: str | None, replace: bool) -> None:
    """Make the data steward's key, encrypted with a passphrase. It stays at this site: the coordinator never sees it.

    The agent computes only for studies that this key has signed. For scripts the variable COLLEGIUM_STEWARD_PASSPHRASE holds the
    passphrase.
    """
    from collegium import identity
    from collegium.site import config, steward
    from collegium.words import words

    where = settings.folder("site", folder)
    config.load(where)
    if replace:
        screen.agreed("Shall another key take the place of the steward's? What it has approved no longer holds.")
    chosen = secret.passphrase(passphrase_file, "Passphrase of the steward's key", confirm=True)
    public = steward.init(where, chosen, replace=replace)
    said = words(identity.fingerprint(public))
    screen.show({"folder": str(where), "public": public, "fingerprint": said}, f"The steward's key is in {where}: {said}.\n{KEEP}")


def changed(screen: Screen, folder: str | None, passphrase_file: str | None, new_passphrase_file: str | None) -> None:
    """Change the passphrase of the steward's key. What it has approved stays approved."""
    from collegium.site import steward

    where = settings.folder("site", folder)
    old = secret.passphrase(passphrase_file, "Present passphrase")
    steward.opened(where, old)  # before anything new is asked for
    new = secret.passphrase(new_passphrase_file, "New passphrase", confirm=True, variable="")
    steward.change(where, old, new)
    screen.show({"folder": str(where)}, "The passphrase is changed.")


def shown(screen: Screen, folder: str | None) -> None:
    """Show the fingerprints that a steward reads out: of this site, and of the steward's key."""
    from collegium import identity
    from collegium.site import config, state, steward
    from collegium.words import words

    where = settings.folder("site", folder)
    found, public = config.load(where), steward.public(where)
    facts: dict[str, Any] = {"site": found.site, "fingerprint": state.fingerprint(found), "public": public}
    facts["steward"] = words(identity.fingerprint(public)) if public else ""
    rows = [
        (f"fingerprint of {found.site}, for the stewards of its partners", facts["fingerprint"]),
        ("fingerprint of the steward's key", facts["steward"] or f"none yet: {steward.INIT.removeprefix('make one: ')}"),
    ]
    screen.show(facts, columns(rows))


REPLACE = click.Option(["--replace"], is_flag=True, help="make another key in place of the one there is")
NEW = click.Option(["--new-passphrase-file"], type=FILE, help="a file whose first line is the new passphrase; else it is asked for")
init = command("init", made, PASSPHRASE, REPLACE, FOLDER)
passphrase = command("passphrase", changed, PASSPHRASE, NEW, FOLDER)
show = command("show", shown, FOLDER)
