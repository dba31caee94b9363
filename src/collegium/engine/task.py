"""One task at a site: shared state and rows in, one vector of integers out. The same in a hospital and in a simulation."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.engine.messages import Place
from collegium.privacy import ring, tags
from collegium.privacy.ring import Layout
from collegium.privacy.rounding import Numbers
from collegium.table import Table


def update(algorithm: Algorithm, shared: T.Tree, table: Table, memory: T.Tree) -> tuple[T.Tree, T.Tree]:
    """The site's update and its next memory, which may be kept only if the round closes with this site in it."""
    change, after = algorithm.local(shared, table, memory)
    return change, {"seed": memory["seed"], **after} if "seed" in memory else after


def vector(change: T.Tree, layout: Layout, place: Place, seed: Any, tag: tuple[bytes, str] | None = None) -> Iterator[np.ndarray]:
    """The update in the form that leaves the site, a block at a time. Raises `UpdateError`.

    Weights are rounded at random by the site's `seed`, whichever attempt at the round it is. `tag`, a round's key and the site,
    adds what the sum is checked by; the layout has room for it then.
    """
    if place.phase == "range":
        change = ring.ranges(change, ring.plain(change, layout.sites))
    if tag:
        change = tags.tagged(change, tags.bare(layout), *tag, Numbers(int(seed), place.stage, place.round))
    return ring.encode(change, layout, Numbers(int(seed), place.stage, place.round))


def frame(blocks: Iterator[np.ndarray], nbytes: int) -> bytearray:
    """A whole vector in memory, for updates that are small."""
    out, at = bytearray(nbytes), 0
    for piece in blocks:
        raw: Any = piece.view(np.uint8)
        out[at : at + len(raw)] = raw.data
        at += len(raw)
    return out


def seed(study_seed: int, site: str) -> np.ndarray:
    """The site's own random seed, from the study's: every run of a study trains alike at a site, and sites differ."""
    mixed = hashlib.blake2b(f"{study_seed}|{site}".encode(), digest_size=8).digest()
    return np.array(int.from_bytes(mixed, "little") >> 3, np.int64)
