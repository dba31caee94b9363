"""Runs the command line as a user would, and keeps what it said."""

import contextlib
import io
import json
from typing import Any, NamedTuple

from collegium.cli.shell import execute
from collegium.cli.tree import collegium


class Spoken(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def speak(*arguments: object) -> Spoken:
    """Run `collegium ARGUMENTS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = execute(collegium, [str(a) for a in arguments])
    return Spoken(code, out.getvalue(), err.getvalue())
