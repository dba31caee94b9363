"""What a site keeps to itself between rounds, on its disk, and only of rounds that counted.

A round's new memory is written as pending before its update leaves. It takes the place of the old one when the coordinator says
that the update went into the sum and asks for another round; otherwise it is thrown away, as if the round had never been.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from collegium import tree as T
from collegium import wire
from collegium.engine.messages import Place
from collegium.site.config import settle


class Memory:
    """The memory of one run, a file for each stage that has any."""

    def __init__(self, folder: Path, seed: np.ndarray) -> None:
        self.folder, self.first = folder, {"seed": seed}
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, stage: str) -> T.Tree:
        """What the last counted round of a stage left; at first the site's seed alone."""
        path = self.folder / f"{stage}.safetensors"
        return wire.decode(path.read_bytes()) if path.exists() else self.first

    def suspend(self, stage: str, place: Place, after: T.Tree) -> None:
        """Keep a round's new memory until it is known whether the round counted."""
        pending = self.folder / f"{stage}.pending"
        if after is self.first or not after.keys() - {"seed"}:
            pending.unlink(missing_ok=True)  # nothing to remember
            return
        part = pending.with_suffix(".part")
        with part.open("wb") as file:
            for piece in wire.encode(after, {"round": str(place.round)}):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, pending)
        settle(self.folder)

    def settle(self, stages: Sequence[str], counted: Place | None, asked: Place) -> None:
        """Take over the pending memory of the round that counted and is over; drop that of rounds that did not."""
        for pending in self.folder.glob("*.pending"):
            held = stages.index(pending.stem), round_of(pending)
            if held == (asked.stage, asked.round):
                continue  # the same round is asked again: its update, and so its memory, are made from what was before it
            if counted is not None and counted.phase == "sum" and held == (counted.stage, counted.round):
                os.replace(pending, pending.with_suffix(".safetensors"))
            else:
                pending.unlink()
            settle(self.folder)


def round_of(path: Path) -> int:
    """The round that a pending memory belongs to."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _, _, metadata = wire.layout(lambda at, count: os.pread(file.fileno(), count, at), size)
    return int(metadata["round"])
