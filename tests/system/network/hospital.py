"""A hospital as a network namespace: one way out, TCP to port 443; nothing may come in. Rules can be broken on purpose."""

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAME = f"clg{os.getpid() % 100_000}"
NET = "10.213.77"
CLONE_NEWNET = 0x40000000


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def inside(*words: str) -> None:
    ip("-n", NAME, *words)


@contextmanager
def hospital() -> Iterator[str]:
    """The address of the coordinator as the hospital sees it. Skips where the machine does not let a test make networks."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("making a network namespace needs root and iproute2")
    try:
        ip("netns", "add", NAME)
    except subprocess.CalledProcessError as e:
        pytest.skip(f"this machine makes no network namespaces: {e.stderr.strip()}")
    try:
        ip("link", "add", f"{NAME}a", "type", "veth", "peer", "name", f"{NAME}b", "netns", NAME)
        ip("addr", "add", f"{NET}.1/24", "dev", f"{NAME}a")
        ip("link", "set", f"{NAME}a", "up")
        for words in (f"addr add {NET}.2/24 dev {NAME}b", f"link set {NAME}b up", "link set lo up"):
            inside(*words.split())
        only_443()
        yield f"{NET}.1"
    finally:
        subprocess.run(["ip", "link", "del", f"{NAME}a"], check=False, capture_output=True)
        ip("netns", "del", NAME)


def only_443() -> None:
    """A firewall by routing rules, which need no further package: what does not go to TCP port 443 has no way."""
    inside("rule", "add", "pref", "100", "ipproto", "tcp", "dport", "443", "lookup", "main")
    inside("rule", "add", "pref", "200", "to", "127.0.0.0/8", "lookup", "main")
    inside("rule", "add", "pref", "300", "prohibit")


@contextmanager
def broken(*rule: str) -> Iterator[None]:
    """One more rule in the firewall, for a while."""
    inside("rule", "add", "pref", "50", *rule)
    try:
        yield
    finally:
        inside("rule", "del", "pref", "50")


def enter(work: Callable[[], Any]) -> Any:
    """What `work()` gives in a thread that is inside the hospital; sockets belong to where their thread is."""
    out: list[Any] = []

    def run() -> None:
        move_in()
        try:
            out.append(work())
        except BaseException as e:
            out.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(out[0], BaseException):
        raise out[0]
    return out[0]


def move_in() -> None:
    """This thread, and threads and processes that it starts, are in the hospital from now on."""
    with Path(f"/var/run/netns/{NAME}").open("rb") as place:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(place.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
