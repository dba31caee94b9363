"""Runs the command line as a user would, and keeps what it said."""

import contextlib
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import Any, NamedTuple

from click.shell_completion import ShellComplete

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


def at_terminal(*arguments: object, columns: int = 80, lines: int = 40) -> str:
    """What a person sees of `collegium ARGUMENTS` at a terminal of this size: everything that was written to it."""
    person, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command, environ = [sys.executable, "-m", "collegium.cli", *map(str, arguments)], kept | {"TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environ) as process:
        os.close(terminal)
        seen = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while piece := os.read(person, 65536):
                seen += piece
        os.close(person)
        process.wait(30)
    return seen.decode().replace("\r\n", "\n")


def offered(*words: object) -> list[str]:
    """What the shell is told to offer for the last of these words: names, or "<file>" and "<dir>" for what it finds by itself."""
    *before, last = map(str, words)
    found = ShellComplete(collegium, {}, "collegium", "_COLLEGIUM_COMPLETE").get_completions(before, last)
    return [one.value if one.type == "plain" else f"<{one.type}>" for one in found]
