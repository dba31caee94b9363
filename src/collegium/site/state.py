"""What the agent is doing, as a small file in the site's folder; and the word it listens to: go on, or pause.

`status` reads it for people, with what has left this hospital; `pause`, `resume` and `stop` reach a running agent.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium import identity
from collegium.errors import CollegiumError, ConflictError, NotFound, StorageError
from collegium.site import invites, ledger, policy
from collegium.site.config import Config, key_of, load, write
from collegium.words import words

Facts = dict[str, Any]
ROOM = 1 << 18  # bytes without which a site cannot work


def only_one(folder: Path) -> int:
    """Hold the site's folder for this process alone, until it ends. Raises `ConflictError`."""
    (folder / "state").mkdir(parents=True, exist_ok=True)
    held = os.open(folder / "state" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise ConflictError(f"an agent already runs in {folder}", hint="stop it first: collegium site stop") from None
    return held


def running(folder: Path) -> bool:
    """Whether an agent holds the folder."""
    path = folder / "state" / "lock"
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def publish(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what the agent is doing; a crash leaves the file as it was."""
    path = folder / "state" / "agent.json"
    try:
        path.with_suffix(".part").write_text(json.dumps(facts, indent=1))
        os.replace(path.with_suffix(".part"), path)
    except OSError as e:
        raise StorageError(f"{path} cannot be written: {e.strerror}", hint="make room on the disk") from None


def last(folder: Path) -> Facts:
    """What the agent last wrote."""
    try:
        found: Facts = json.loads((folder / "state" / "agent.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def paused(folder: Path) -> bool:
    """Whether this site is paused; it stays so over a restart."""
    return (folder / "state" / "paused").exists()


def pause(folder: Path) -> None:
    """Stop computing and answering, at once, until `resume`."""
    load(folder)
    (folder / "state").mkdir(exist_ok=True)
    write(folder / "state" / "paused", b"")


def resume(folder: Path) -> None:
    """Go on where the site stood."""
    load(folder)
    (folder / "state" / "paused").unlink(missing_ok=True)


def stop(folder: Path, *, wait_s: float = 10.0) -> None:
    """End the agent of this folder. Raises `NotFound` if none runs, `ConflictError` if it does not end."""
    if not running(folder):
        raise NotFound(f"no agent runs in {folder}")
    os.kill(int(last(folder)["pid"]), signal.SIGTERM)
    end = time.monotonic() + wait_s
    while running(folder):
        if time.monotonic() > end:
            raise ConflictError(f"the agent in {folder} has not ended after {wait_s:.0f} s", hint="it may be writing; try again")
        time.sleep(0.05)


def full(folder: Path) -> str:
    """What to say of a disk on which nothing more can be written: the agent cannot write that down itself."""
    found = os.statvfs(folder)
    left = found.f_bavail * found.f_frsize
    return f"the disk of {folder} has {left >> 10} KiB left; make room on the disk, then the agent goes on by itself" if left < ROOM else ""


def left_out(runs: Mapping[str, Facts]) -> str:
    """Why this site takes no part in the runs that it has left."""
    gone = [(run, of) for run, of in runs.items() if of.get("status") == "left"]
    said = [f"no part in {repr(of['title']) if of.get('title') else run}: {of.get('detail') or of.get('says', '')}" for run, of in gone]
    return "; ".join(said)


def undecided(config: Config) -> list[Facts]:
    """The studies on which the data steward has to decide."""
    try:
        found = invites.listed(config, policy.load(config.folder / "policy.yaml"))
    except CollegiumError:
        return []  # `invite list` says what is wrong with the files
    return [{"study": o.study, "title": o.title, "state": v.state} for o, v in found if v.state in ("waiting", "changed")]


def fingerprint(config: Config) -> str:
    """This site's own fingerprint in words, for its steward to read out to the others'; nothing if there is no key."""
    try:
        return words(identity.fingerprint(key_of(config.folder).public))
    except CollegiumError:
        return ""


def status(folder: Path) -> Facts:
    """The site in a few facts: who it is, whether an agent runs, what it does, its runs, what has left it."""
    config, now = load(folder), last(folder)
    path = folder / "state" / "ledger.jsonl"
    sums = nbytes = count = 0
    latest: Facts = {}
    for entry in ledger.entries(path):
        count += 1
        if entry["what"] == "sum":
            sums, nbytes, latest = sums + 1, nbytes + int(entry["bytes"]), entry
    alive = running(folder)
    trouble = (now.get("trouble", "") if alive else "") or full(folder) or left_out(now.get("runs", {}))
    return {
        "site": config.site, "federation": config.federation, "coordinator": config.url, "running": alive, "paused": paused(folder),
        "pid": now.get("pid") if alive else None, "contact": now.get("contact", ""), "trouble": trouble,
        "opened_by": now.get("opened_by", ""), "log": now.get("log", 0), "runs": now.get("runs", {}), "fingerprint": fingerprint(config),
        "invitations": undecided(config),
        "left": {"entries": count, "sums": sums, "bytes": nbytes, "last": latest},
    }  # fmt: skip
