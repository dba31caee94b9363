"""The command line: `collegium` and its commands, each loaded when it is called.

`main` turns every error into one sentence, a hint and an exit code; `--debug` shows where it came from.
"""

import sys

from collegium.cli.shell import execute
from collegium.cli.tree import collegium


def main() -> None:
    """The `collegium` command."""
    sys.exit(execute(collegium, sys.argv[1:]))
