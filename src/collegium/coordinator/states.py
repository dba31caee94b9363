"""A run's place as frames and references: what is written once a round, and how it comes back after a restart.

A state may be larger than memory and share most of its arrays with what sites are sent, with the best model so far, or with
results of earlier stages. So every leaf is a *reference*, (digest of a frame, name in it), and only arrays that are in no
frame yet are written: first the shared frame, which sites fetch, then the rest. A leaf is known by its identity: algorithms
pass arrays on or make new ones, and never change one in place.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.coordinator.blobs import Blobs, Frame
from collegium.engine import run as course
from collegium.engine.messages import Place
from collegium.engine.run import Run, Stage
from collegium.privacy.ring import Layout


class Ref(NamedTuple):
    """Where a leaf is kept; an empty branch has no leaf there."""

    frame: str  # digest
    leaf: str


@dataclass(frozen=True)
class Kept:
    """A run's place with all its arrays in frames."""

    run: Run
    shared: Frame  # what sites are sent
    refs: Mapping[str, Ref]  # by path: "state/..." and "results/STAGE/..."
    frames: Mapping[str, Frame]  # by digest: the frames that `refs` and `shared` need
    new: tuple[Frame, ...] = ()  # those written for this place


class Known:
    """Which arrays are in which frame, by identity; holds on to each array, so that no identity is used twice."""

    def __init__(self) -> None:
        self.refs: dict[int, Ref] = {}
        self.held: list[Any] = []

    def note(self, leaf: Any, ref: Ref) -> None:
        """This very array is kept there."""
        self.refs[id(leaf)] = ref
        self.held.append(leaf)


def keep(run: Run, stages: Sequence[Stage], before: Kept | None, blobs: Blobs) -> Kept:
    """Write what is new of a place. `before` is the last place kept; its arrays are not written again."""
    if before and run.state is before.run.state and run.results is before.run.results:
        return replace(before, run=run, new=())  # the same round asked anew, or its second phase
    run = replace(run, state=solid(run.state), results=solid(run.results))
    known = Known()
    known.note(T.NOTHING, Ref("", ""))
    if before:
        for path, leaf in flat(before.run).items():
            known.note(leaf, before.refs[path])
    sent, new = T.flatten(course.shared(run, stages)), list[Frame]()
    if derived := not {id(leaf) for leaf in sent.values() if hasattr(leaf, "block")} <= {id(leaf) for leaf in flat(run).values()}:
        new += write_rest(run, known, blobs)  # first: what is made from a state must not make the sum anew for each look at it
        run = settled(run, known, new, blobs)
        sent = T.flatten(course.shared(run, stages))
    new.insert(0, shared := write(sent, known, blobs))
    if not derived:
        new += write_rest(run, known, blobs)
        run = settled(run, known, new, blobs)
    known.note(T.NOTHING, Ref(shared.digest, ""))
    refs = {path: known.refs[id(leaf)] for path, leaf in flat(run).items()}
    frames = (dict(before.frames) if before else {}) | {frame.digest: frame for frame in new}
    wanted = {ref.frame for ref in refs.values()} | {shared.digest}
    return Kept(run, shared, refs, {digest: frame for digest, frame in frames.items() if digest in wanted}, tuple(new))


def write_rest(run: Run, known: Known, blobs: Blobs) -> list[Frame]:
    """Frames of the leaves of results and state that are in none yet."""
    new = list[Frame]()
    parts: list[T.Tree] = [{"results": {name: tree}} for name, tree in run.results.items()]
    for part in [*parts, {"state": run.state}]:
        if fresh := {path: leaf for path, leaf in T.flatten(part).items() if id(leaf) not in known.refs}:
            new.append(write(fresh, known, blobs))
    return new


def settled(run: Run, known: Known, new: Sequence[Frame], blobs: Blobs) -> Run:
    """The run with what was written read from there from now on: expressions, and large arrays."""
    leaves, small = flat(run), {frame.digest for frame in new if frame.body}
    refs = {path: known.refs[id(leaf)] for path, leaf in leaves.items()}
    moved = {path: ref for path, ref in refs.items() if not (isinstance(leaves[path], np.ndarray) and ref.frame in small)}
    found = load(moved, {frame.digest: frame for frame in new}, blobs)
    for path, leaf in found.items():
        known.note(leaf, refs[path])
    return rebuilt(run, leaves | found)


def write(leaves: Mapping[str, Any], known: Known, blobs: Blobs) -> Frame:
    """Leaves as one frame, noted as kept there."""
    frame = blobs.write(T.unflatten(leaves))
    for path, leaf in leaves.items():
        known.note(leaf, Ref(frame.digest, path))
    return frame


def finish(run: Run, given: Mapping[str, Any], blobs: Blobs) -> Frame:
    """The frame of all stages' results, `STAGE/...`; what came with the study is left out."""
    return blobs.write({name: tree for name, tree in run.results.items() if name not in given})


def solid(tree: T.Tree) -> dict[str, Any]:
    """The same tree with every plain number an array, so that each leaf has one identity."""
    return {
        key: value if hasattr(value, "shape") else solid(value) if isinstance(value, Mapping) else np.asarray(value)
        for key, value in tree.items()
    }


def flat(run: Run) -> dict[str, Any]:
    """All leaves of a run's state and results by path."""
    return T.flatten({"state": run.state, "results": run.results})


def rebuilt(run: Run, leaves: Mapping[str, Any]) -> Run:
    """The run with these leaves; names in sorted order, as after a restart."""
    tree = T.unflatten(leaves)
    return replace(run, state=tree["state"], results=tree["results"])


def load(refs: Mapping[str, Ref], frames: Mapping[str, Frame], blobs: Blobs) -> dict[str, Any]:
    """The leaves that these frames hold, by path."""
    needed = {ref.frame for ref in refs.values()} & frames.keys()
    held = {digest: blobs.load(frames[digest]) for digest in needed}
    return {path: held[ref.frame][ref.leaf] if ref.leaf else T.NOTHING for path, ref in refs.items() if ref.frame in held}


def text(kept: Kept) -> str:
    """Where the parts of a place are, and how often it was ranged, as JSON; each digest is written once."""
    digests = sorted({ref.frame for ref in kept.refs.values()})
    number = {digest: n for n, digest in enumerate(digests)}
    leaves = {path: [number[ref.frame], ref.leaf] for path, ref in kept.refs.items()}
    parts = {"shared": kept.shared.digest, "frames": digests, "leaves": leaves, "ranged": kept.run.ranged}
    return json.dumps(parts, separators=(",", ":"))


def recall(document: str, place: Place, layout: Layout, target: Layout, frames: Mapping[str, Frame], blobs: Blobs) -> Kept:
    """A kept place after a restart: its small arrays in memory, its large ones where they are."""
    found = json.loads(document)
    refs = {path: Ref(found["frames"][number], leaf) for path, (number, leaf) in found["leaves"].items()}
    leaves = load(refs, frames, blobs)
    run = Run(place, {}, layout, target, ranged=found.get("ranged", 1))  # a place that an earlier version wrote does not say
    return Kept(rebuilt(run, leaves), frames[found["shared"]], refs, dict(frames))
