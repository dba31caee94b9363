"""`python -m collegium.cli.tethered COMMAND ...`: the command line as a child that ends with its parent, even when that is killed.

The parent holds the other end of standard input and never writes. When the parent is gone, however it ended, the system closes
that end: so it works wherever there are pipes, and needs neither a watched process number nor a signal of one system.
"""

import os
import signal
import threading
import time

from collegium.cli import main

ORDERLY_S = 9.0  # to end in order, as after a SIGTERM from the parent


def tether(source: int = 0) -> None:
    """Wait until the pipe's other end is closed, then end this process: in order first, then at once."""
    while os.read(source, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORDERLY_S)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=tether, daemon=True).start()
    main()
