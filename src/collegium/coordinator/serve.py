"""The coordinator as a process: granian with native TLS in this very process, JSON logs, an orderly end within ten seconds.

One process, so that ending it ends everything: no worker lives on behind a killed parent and holds the port.
"""

import asyncio
import contextlib
import datetime
import json
import logging
import logging.handlers
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.embed import Server

from collegium.coordinator import certificate, home
from collegium.coordinator.app import App, build
from collegium.coordinator.live import Reached
from collegium.coordinator.records import Event
from collegium.errors import LinkError
from collegium.study.plan import planned

log = logging.getLogger("collegium.coordinator.serve")
END_S = 8.0  # after SIGTERM, before the process ends whatever it is doing


def serve(
    folder: Path,
    *,
    host: str = "0.0.0.0",
    port: int = 0,
    hosts: Sequence[str] = (),
    terminal: TextIO | None = None,
    reached: Reached = lambda name, place: None,
    log_file: Path | None = None,
    ready: Callable[[str], object] = lambda address: None,
) -> None:
    """Run the coordinator of `folder` until SIGTERM or Ctrl-C. `port` 0 takes the port of the federation's address.

    `terminal` gets the address and a line for each event; JSON logs go to `log_file`, or to standard error if there is no
    terminal. `ready` is called with the address once it answers.
    """
    with home.only_one(folder):
        keep_logs(log_file, quiet=terminal is not None)
        settings = home.settings(folder)
        parts = urlsplit(settings["url"])
        port = port or parts.port or 443
        names = list(dict.fromkeys([parts.hostname or host, "localhost", "127.0.0.1", *hosts]))
        files = certificate.ensure(folder, home.key(folder), names, datetime.datetime.now(datetime.UTC))
        refuse_taken(host, port)
        say = printer(terminal)
        app = build(folder, plan=planned, reached=reached, tell=lambda event: say(line(event)))
        say(f"Collegium coordinator of {settings['title']!r}, at {settings['url']} (port {port}); Ctrl-C ends it")
        asyncio.run(run(app, files, host, port, ready))


async def run(app: App, files: certificate.Files, host: str, port: int, ready: Callable[[str], object]) -> None:
    """Serve until a signal, then answer those who wait and let go."""
    server: Any = Server(
        app, address=host, port=port, interface=Interfaces.ASGI, http=HTTPModes.auto, websockets=False, log_enabled=False,
        ssl_cert=files.certificate, ssl_key=files.key, ssl_protocol_min=SSLProtocols.tls12, backpressure=4096, backlog=1024,
        http1_settings=HTTP1Settings(max_buffer_size=1 << 20),
    )  # fmt: skip
    loop = asyncio.get_running_loop()

    def end() -> None:
        last = threading.Timer(END_S, os._exit, [0])  # a large sum under way is not waited for: the next start does it again
        last.daemon = True
        last.start()
        app.hush()
        loop.call_later(0.2, server.stop)  # what was just answered still has to leave

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    app.started = lambda: ready(f"https://{host}:{port}")
    await server.serve()
    if app.failure:
        raise app.failure


def refuse_taken(host: str, port: int) -> None:
    """Raise `LinkError` where another program listens already: the server itself would share the port in silence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            raise LinkError(f"{host}:{port} cannot be listened on: {e.strerror}", hint="choose another port with --port") from None


def line(event: Event) -> str:
    """An event as a line on the terminal."""
    at = datetime.datetime.fromtimestamp(event.at, datetime.UTC).astimezone().strftime("%H:%M:%S")
    return f"{at}  {f'run {event.run}: ' if event.run else ''}{event.says}"


def printer(terminal: TextIO | None) -> Callable[[str], object]:
    """Writes lines to a terminal, if there is one; one that was closed is no reason to stop."""

    def say(text: str) -> None:
        if terminal is not None:
            with contextlib.suppress(OSError, ValueError):
                terminal.write(text + "\n")
                terminal.flush()

    return say


class AsJson(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's words and what was added to it."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        found = {"at": at, "level": record.levelname.lower(), "part": record.name.removeprefix("collegium."), "says": record.getMessage()}
        found |= {name: value for name in ("run", "kind") if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            found["trace"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


def keep_logs(file: Path | None, *, quiet: bool) -> None:
    """Send our logs as JSON lines to a file (20 MB, kept five times), or to standard error unless a person reads it."""
    ours = logging.getLogger("collegium")
    handler: logging.Handler
    if file is not None:
        handler = logging.handlers.RotatingFileHandler(file, maxBytes=20 << 20, backupCount=5, encoding="utf-8")
    elif quiet:
        handler = logging.NullHandler()
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(AsJson())
    ours.handlers[:] = [handler]
    ours.setLevel(logging.INFO)
    ours.propagate = False
