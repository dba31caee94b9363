"""How a command comes by a passphrase: from a file, from the environment, or typed by whoever sits here; never from an option."""

import os
import sys
from pathlib import Path

import click

from collegium.errors import IdentityError, NotFound

VARIABLE = "COLLEGIUM_STEWARD_PASSPHRASE"


def passphrase(file: str | None, asks: str, *, confirm: bool = False, variable: str = VARIABLE) -> str:
    """The passphrase: the first line of `file`, else the variable's, else what is typed, twice if `confirm`. Raises `IdentityError`."""
    if file:
        try:
            return Path(file).read_text().split("\n", 1)[0].rstrip("\r")
        except OSError as e:
            raise NotFound(f"the passphrase's file {file} cannot be read: {e.strerror}") from None
    if variable and (given := os.environ.get(variable)):
        return given
    if not sitting():
        where = f", or set {variable}" if variable else ""
        raise IdentityError(
            "a passphrase is wanted, and nobody is here to type it", hint=f"give it in a file: --passphrase-file FILE{where}"
        )
    return str(click.prompt(asks, hide_input=True, confirmation_prompt=confirm, err=True))


def sitting() -> bool:
    """Whether a person can type here."""
    return sys.stdin.isatty()
