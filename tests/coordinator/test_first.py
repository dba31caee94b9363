"""First weights come in by pieces, in order and held to their digest; a run keeps them, and leaves nothing behind."""

from pathlib import Path

import numpy as np
import pytest

from collegium import identity, wire
from collegium import tree as T
from collegium.coordinator.blobs import Blobs
from collegium.coordinator.first import First
from collegium.errors import FrameError, NotFound, StorageError, StudyError
from collegium.study import layers, manifest
from collegium.study.plan import planned
from tests.coordinator.world import MANIFEST, Refused, World, in_loop

TRAINING = {**MANIFEST, "outcome": {"task": "binary", "target": "ill"}, "method": {"kind": "averaging", "hidden": [3]}}
STUDY = manifest.read(TRAINING)
PARAMS = layers.first(1, (3,), 1, seed=5)
FRAME = b"".join(bytes(piece) for piece in wire.encode(PARAMS))
NAME = identity.digest(FRAME)


@pytest.fixture
def first(tmp_path: Path) -> First:
    return First(Blobs(tmp_path / "blobs"))


def test_a_piece_goes_where_the_last_one_ended_or_nowhere(first: First):
    assert first.receive(NAME, 0, len(FRAME), FRAME[:50]) == 50
    assert first.receive(NAME, 0, len(FRAME), FRAME[:50]) == 50  # again, because the answer was lost
    assert first.receive(NAME, 80, len(FRAME), FRAME[80:]) == 50
    with pytest.raises(FrameError, match="50 bytes are here, and they are not the file"):
        first.take(NAME, STUDY, planned)
    with pytest.raises(NotFound, match="no first weights"):
        first.take(NAME, STUDY, planned)
    assert first.receive(NAME, 0, len(FRAME), FRAME) == len(FRAME)
    found = first.take(NAME, STUDY, planned)["first"]["params"]
    np.testing.assert_array_equal(np.asarray(found["0"]["weight"]), PARAMS["0"]["weight"])
    first.forget(NAME)
    np.testing.assert_array_equal(np.asarray(found["1"]["weight"]), PARAMS["1"]["weight"])  # an open file outlives its name


def test_what_makes_no_sense_is_refused(first: First, tmp_path: Path):
    with pytest.raises(FrameError, match="named by its digest"):
        first.receive("../" + NAME[3:], 0, 1, b"x")
    with pytest.raises(FrameError, match="does not lie in a file of 3 bytes"):
        first.receive(NAME, 2, 3, b"xx")
    with pytest.raises(FrameError, match="a piece of 0 bytes"):
        first.receive(NAME, 0, 3, b"")
    first.receive(NAME, 0, 10, b"x")
    assert list(First(first.blobs).folder.iterdir()) == []  # an earlier start's: nobody goes on with it
    full = First(Blobs(tmp_path / "full", free=lambda folder: 0))
    with pytest.raises(StorageError, match="MiB left"):
        full.receive(NAME, 0, 10, b"x")


def test_weights_of_another_model_are_refused_by_the_leaf(first: First):
    other = manifest.read({**TRAINING, "method": {"kind": "averaging", "hidden": [4]}})
    first.receive(NAME, 0, len(FRAME), FRAME)
    with pytest.raises(StudyError, match="leaf '0/weight' has the shape"):
        first.take(NAME, other, planned)


@in_loop
async def test_a_run_begins_from_them_and_they_outlive_a_restart(tmp_path: Path):
    world = World(tmp_path / "hub", plan=planned)
    async with world.app.running():
        sites = await world.join("amber", "birch")
        path, kind = f"/v1/first/{NAME}", "application/octet-stream"
        study = (await world.operator.call("POST", "/v1/studies", {"manifest": STUDY.model_dump(mode="json")}))["study"]
        await world.enlist(study, *sites)
        asked = {"sites": [site.name for site in sites], "first": NAME}
        with pytest.raises(Refused) as refused:
            await world.operator.call("POST", f"/v1/studies/{study}/start", asked)
        assert (refused.value.status, refused.value.code) == (404, "not_found")
        with pytest.raises(Refused) as refused:
            await world.operator.send(sites[0].signed("PUT", path, FRAME, query=f"at=0&of={len(FRAME)}", kind=kind))
        assert refused.value.code == "not_allowed"
        await world.operator.send(world.operator.signed("PUT", path, FRAME, query=f"at=0&of={len(FRAME)}", kind=kind))
        run = (await world.operator.call("POST", f"/v1/studies/{study}/start", asked))["run"]
        assert list((world.folder / "first").iterdir()) == []
        events = (await world.operator.call("GET", f"/v1/runs/{run}/events"))["events"]
        assert events[0]["says"] == f"started with 2 sites: amber, birch; training begins from weights that were brought, of digest {NAME}"
        assert (await world.operator.call("GET", f"/v1/runs/{run}"))["first"] == NAME
    again = World(world.folder, found=False, plan=planned)
    async with again.app.running():
        live = again.app.runs.live[run]
        assert live.given.keys() == {"first"}
        for name, leaf in T.flatten({"params": PARAMS}).items():
            np.testing.assert_array_equal(np.asarray(T.flatten(live.kept.run.results["first"])[name]), leaf)
        await again.operator.call("POST", f"/v1/runs/{run}/stop")
        assert (await again.operator.call("GET", f"/v1/runs/{run}/results"))["results"] is None  # what was brought is no result
