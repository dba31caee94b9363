"""A console as a process on this machine: it listens on the loopback address alone, and ends with Ctrl-C."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from collegium.errors import LinkError

HOST = "127.0.0.1"
TRIES = 20  # ports after the one that is wanted, where others may be taken


def free(port: int) -> int:
    """The first port from this one on that nobody listens on; 0 for any. Raises `LinkError`."""
    for wanted in range(port, port + TRIES) if port else (0,):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, wanted))
            return int(probe.getsockname()[1])
    raise LinkError(f"ports {port} to {port + TRIES - 1} of {HOST} are taken", hint="choose another with --port")


def serve(app: Any, port: int, ready: Callable[[], object]) -> None:
    """Answer browsers on this machine until SIGTERM or Ctrl-C; `ready` is called once they are answered."""
    asyncio.run(run(app, port, ready))


async def run(app: Any, port: int, ready: Callable[[], object]) -> None:
    """The same, inside an event loop."""
    server: Any = Server(
        app, address=HOST, port=port, interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False, log_enabled=False
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    serving = asyncio.create_task(server.serve())
    heard = asyncio.create_task(listening(port))
    await asyncio.wait((serving, heard), return_when=asyncio.FIRST_COMPLETED)
    if heard.done():
        ready()
    heard.cancel()
    await serving


async def listening(port: int) -> None:
    """Return once a connection is taken."""
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
