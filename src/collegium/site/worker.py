"""The process that holds the patients' rows: one for each study, warm from its first task to its last.

It has no key, and no network but to read a table of the hospital's own database. Tasks come in on a pipe and sums go out on
a pipe; the agent, which has the keys, decides what is sent. An error's text stays here, in the log: only a code and a
sentence without data go further.
"""

import contextlib
import errno
import importlib
import logging
import mmap
import os
import re
import select
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import blake3
import numpy as np

from collegium import tree as T
from collegium import wire
from collegium.engine import task as tasks
from collegium.engine.messages import Task, task_of
from collegium.engine.run import Stage
from collegium.errors import CollegiumError, DataError, StudyError, UpdateError
from collegium.identity import Chunks, vector_digest
from collegium.privacy.masks import Mask, Streams
from collegium.privacy.ring import Layout
from collegium.site import policy
from collegium.site.frames import INLINE, receive, send
from collegium.site.memory import Memory
from collegium.site.reading import apart
from collegium.study import manifest, plan
from collegium.study.manifest import Averaging, Study
from collegium.table import Table

log = logging.getLogger("collegium.site.worker")
SAYS = {
    "data": "the site's table does not fit the study",
    "study": "this site's Collegium cannot run the study as written",
    "update": "the site's update did not have the form that the round asks for",
    "frame": "the state came damaged",
    "link": "the site's database cannot be reached",
    "storage": "the site's disk is full or cannot be written",
    "failed": "the computation failed at the site",
}
DIVERGES = "the site's update held NaN or infinity: training may diverge (lower the learning rate), or the data hold extreme values"
RELEASE = "bring this site and the coordinator to one release of Collegium"
FINAL = ("data", "study")  # cannot heal within a run
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Change(NamedTuple):
    """One round's update: made once, however often and in whichever phase the round is asked."""

    stage: int
    round: int
    state: str
    update: T.Tree
    after: T.Tree


class Bench:
    """A study at work on this site's rows."""

    def __init__(self, study: Study, stages: Sequence[Stage], table: Table, folder: Path, site: str) -> None:
        self.study, self.stages, self.table, self.folder, self.site = study, stages, table, folder, site
        self.memory = Memory(folder / "memory", tasks.seed(study.seed, site))
        self.change: Change | None = None

    def answer(self, task: Task, state: Any, masks: Sequence[Mask] = (), tag: bytes = b"") -> tuple[dict[str, Any], Any]:
        """The vector that a task asks for, under these masks: its digest and size, and the bytes themselves or the file they are in.

        `tag` is the key of the tags by which the sum is checked, where the study wants them.
        """
        stage = self.stages[task.place.stage]
        refuse_bits(stage, task.layout)
        self.memory.settle([s.name for s in self.stages], task.counted, task.place)
        now = task.place.stage, task.place.round, task.state
        if self.change is None or self.change[:3] != now:
            self.change = None  # lets go of the former update before the next is made
            shared = T.map(np.asarray, wire.decode(state))
            update, after = tasks.update(stage.algorithm, shared, self.table, self.memory.of(stage.name))
            self.change = Change(*now, update, after)
        self.memory.suspend(stage.name, task.place, self.change.after)
        seed, checked = self.memory.first["seed"], (tag, self.site) if tag else None
        plain = tasks.vector(self.change.update, task.layout, task.place, seed, checked)
        pieces = masked(plain, task.layout, masks)
        line = shown(self.change.after.get("line", {}))
        if task.layout.nbytes <= INLINE:
            whole = tasks.frame(pieces, task.layout.nbytes)
            return {"digest": blake3.blake3(whole).hexdigest(), "nbytes": len(whole), "line": line}, whole
        return {**spooled(pieces, self.folder / "spool"), "line": line}, b""


def refuse_bits(stage: Stage, layout: Layout) -> None:
    """Raise `UpdateError` where weights are asked for in other steps than the study says, which its approval has told."""
    for leaf in layout.leaves:
        if leaf.dtype == "float32" and leaf.bits != stage.bits:
            raise UpdateError(f"leaf {leaf.name!r} is asked for in {leaf.bits} bits, the study sends {stage.bits}")


def masked(pieces: Iterator[np.ndarray], layout: Layout, masks: Sequence[Mask]) -> Iterator[np.ndarray]:
    """The vector with masks laid over it, while its blocks are still in the processor's cache."""
    streams, at = Streams(masks), 0
    for piece in pieces:
        if masks:
            streams.apply(piece.view(np.uint8), at, layout)
        at += piece.nbytes
        yield piece


def spooled(pieces: Any, folder: Path) -> dict[str, Any]:
    """Write a vector to a file as it is made; a few MiB of it are in memory at a time. Each chunk of it is digested on the way.

    The file of the round before is written over: its pages need not be found again. Without fsync: what a power cut takes is
    made again from the same state, rows and seed, to the same bytes.
    """
    folder.mkdir(exist_ok=True)
    path, part = folder / "vector", folder / "vector.part"
    chunks = Chunks()
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, part)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb", buffering=0) as file:
        for piece in pieces:
            raw = piece.view(np.uint8).data
            chunks.update(raw)
            while raw:
                raw = raw[file.write(raw) :]
        file.truncate(chunks.nbytes)
    os.replace(part, path)
    return {"digest": vector_digest(chunks.digests), "nbytes": chunks.nbytes, "spool": str(path), "chunks": chunks.digests}


def shown(line: Mapping[str, Any]) -> dict[str, str]:
    """The site's own line of results as text, for the site and for whom its policy shows it."""
    return {name: repr(np.asarray(value).item()) for name, value in line.items() if np.ndim(value) == 0}


def opened(says: Mapping[str, Any]) -> tuple[Bench, int]:
    """The study made ready: its stages, and its rows, read and checked; and how many rows the table has."""
    study = manifest.read(says["manifest"])
    if manifest.digest(study) != says["study"]:
        raise StudyError("the manifest is not the one whose digest was announced", hint="bring both sides to one release")
    table = apart(lambda: ready(study, Path(says["home"]), says["table"]))
    learner = room("recipes").learner(study) if isinstance(study.method, Averaging) else None
    bench = Bench(study, plan.stages(study, learner), plan.rows(study, table), Path(says["folder"]), says["site"])
    return bench, len(table)


def ready(study: Study, home: Path, name: str) -> Table:
    """The rows of a named table that the study may use: read through its mapping, cleaned by its recipe, checked."""
    found = room("data.intake").named(home, name, study, terms(home, name))
    rows, left = room("recipes").cleaned(study, found.table)
    try:
        out: Table = room("data.quality").passed(found._replace(table=rows, left_out={**found.left_out, **left}), study)[0]
    except DataError as e:
        raise DataError(f"table {name!r}: {e}", hint=e.hint) from None
    return out


def terms(home: Path, name: str) -> Any:
    """What the policy says about the patients and the columns of a table."""
    return room("data.intake").Terms(*policy.terms(policy.load(home / "policy.yaml"), name))


def room(name: str) -> Any:
    """A part of Collegium that only a worker needs; a site without that part's extras is told so."""
    try:
        return importlib.import_module(f"collegium.{name}")
    except ImportError as e:
        raise StudyError(f"this site lacks {e.name!r}", hint="install Collegium with the extras that the study needs") from e


def failure(error: BaseException, study: Study | None) -> dict[str, Any]:
    """What may be told of an error: its code, and a sentence that names at most variables of the manifest."""
    code = error.code if isinstance(error, CollegiumError) and error.code in SAYS else "failed"
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        code = "storage"
    if isinstance(error, MemoryError):
        return {"failure": "failed", "says": "the site has too little memory for the study", "final": False, "detail": str(error)}
    text = str(error)
    public = sorted(name for name in (study.variables if study else ()) if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))
    at = f" at {', '.join(map(repr, public[:5]))}" if public else ""
    way_out = (error.hint if isinstance(error, CollegiumError) else "") or (RELEASE if code == "update" else "")
    hint = f"; way out: {way_out}" if way_out else ""
    what = DIVERGES if text.endswith("NaN or infinity") else SAYS[code]
    return {"failure": code, "says": f"{what}{at}; its log has the details", "final": code in FINAL, "detail": text + hint}


def serve(inward: int, outward: int) -> None:
    """Answer the agent's messages until it is gone."""
    bench: Bench | None = None
    while (message := receive(inward)) is not None:
        says, payload = message
        try:
            if says["do"] == "open":
                bench, rows = opened(says)
                threading.Thread(target=leave_with, args=(inward,), daemon=True).start()  # not before: reading forks
                send(outward, {"rows": rows, "stages": [stage.name for stage in bench.stages]})
            elif says["do"] == "task" and bench is not None:
                with Shared(says.get("state", ""), payload) as state:
                    masks = [Mask(bytes.fromhex(key), int(sign)) for key, sign in says.get("masks", ())]
                    send(outward, *bench.answer(task_of(says["task"]), state, masks, bytes.fromhex(says.get("tag", ""))))
        except Exception as e:
            log.exception("%s", says["do"])
            send(outward, failure(e, bench.study if bench else readable(says)))


def readable(says: Mapping[str, Any]) -> Study | None:
    """The study of a message, if it can be read at all."""
    try:
        return manifest.read(says.get("manifest"))
    except CollegiumError:
        return None


class Shared:
    """The state that came with a task: inside the message, or a file that is mapped and not copied."""

    def __init__(self, path: str, payload: memoryview) -> None:
        self.path, self.payload = path, payload

    def __enter__(self) -> Any:
        if not self.path:
            return self.payload
        with open(self.path, "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # unmapped when the last array over it is gone

    def __exit__(self, *_: object) -> None:
        self.payload.release()


def leave_with(inward: int) -> None:
    """End at once when the agent is gone: a training that nobody waits for must not go on for hours."""
    poll = select.poll()
    poll.register(inward, 0)  # asks for nothing, and so hears of nothing but the pipe's end
    poll.poll()
    os._exit(0)


def main() -> None:
    """The worker's life: messages on standard input, answers on standard output, all else into the log."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    outward = os.dup(1)
    os.dup2(2, 1)  # what a library prints goes into the log, not into the answers
    serve(0, outward)


if __name__ == "__main__":
    main()
