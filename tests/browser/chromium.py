"""A real Chromium, the system's own; tests are skipped where there is none, and `.ci/run` brings it."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needed = pytest.mark.skipif(FOUND is None, reason="no Chromium on this machine: apt-get install chromium")
HERE = ("http://127.0.0.1:", "data:", "blob:")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium(**options: object) -> Iterator[BrowserContext]:
    """One browser; what its pages complain about fails the test, and so does a request to another host."""
    complaints = list[str]()

    def said(kind: str, text: str) -> None:
        if kind == "error" and "status of 409" not in text:  # a page that says that something did not work
            complaints.append(text)

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=FOUND, args=[*QUIET])
        context = browser.new_context(**options)
        context.on("console", lambda message: said(message.type, message.text))
        context.on("weberror", lambda error: said("error", str(error.error)))
        context.on("request", lambda asked: None if asked.url.startswith(HERE) else said("error", asked.url))
        yield context
        browser.close()
    assert not complaints, complaints


@contextmanager
def console(command: str, folder: Path) -> Iterator[str]:
    """A console as a process, `site console` or `console`; the link that lets a browser in."""
    asked = [sys.executable, "-m", "collegium.cli", *command.split(), "--folder", str(folder), "--no-browser", "--port", "0"]
    with subprocess.Popen(asked, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        try:
            yield re.search(r"http://\S+", line)[0]  # type: ignore[index]
        finally:
            process.terminate()
            process.stderr.read()
