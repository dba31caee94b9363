"""A place comes back from its frames as it was, and nothing that is kept already is written again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collegium import tree as T
from collegium import wire
from collegium.algorithms.coarse import packed
from collegium.coordinator import states
from collegium.coordinator.blobs import Blobs
from collegium.engine import run as course
from collegium.engine.messages import Place
from collegium.engine.run import Run, Stage
from collegium.privacy import ring
from tests.coordinator.world import LIKE, drift, equal
from tests.trees import Disk

SHAPE = ring.plain({"w": np.zeros(3)}, 3)


def place_of(state: T.Tree, results: T.Tree | None = None, number: int = 1) -> Run:
    return Run(Place(0, number, 1, "sum"), state, SHAPE, SHAPE, results or {})


def sharing(*names: str) -> list[Stage]:
    return [Stage("fit", drift()._replace(share=lambda state: {n: state[n] for n in names}), 9, LIKE)]


def again(kept: states.Kept, blobs: Blobs) -> Run:
    run = kept.run
    return states.recall(states.text(kept), run.place, run.layout, run.target, dict(kept.frames), blobs).run


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_empty_subtrees_plain_numbers_and_kinds_come_back(blobs: Blobs):
    state = {
        "w": np.arange(3, dtype=np.float32),
        "n": 7,
        "x": 0.5,
        "opt": {},
        "kept": {"deep": {}, "flag": np.array(True)},
        "one": np.float64(2),
    }
    kept = states.keep(place_of(state, {"before": {"k": np.arange(2), "none": {}}}), sharing("w"), None, blobs)
    found = again(kept, blobs)
    assert found.state["opt"] == {} == found.state["kept"]["deep"] == found.results["before"]["none"]
    assert equal(found.state, {**state, "n": np.array(7), "x": np.array(0.5)})
    assert equal(found.results, {"before": {"k": np.arange(2), "none": {}}})
    assert (found.place, found.layout) == (kept.run.place, kept.run.layout)
    assert equal(kept.run.state, found.state)


def test_a_run_without_state_or_results_comes_back(blobs: Blobs):
    stages = [Stage("fit", drift()._replace(share=lambda state: {}), 1, LIKE)]
    found = again(states.keep(place_of({}), stages, None, blobs), blobs)
    assert (found.state, found.results) == ({}, {})


def test_what_is_shared_is_not_written_twice(blobs: Blobs):
    w = np.arange(400_000.0)
    kept = states.keep(place_of({"w": w, "best": w, "n": np.array(1)}), sharing("w"), None, blobs)
    assert [frame.nbytes > 1 << 20 for frame in kept.new] == [True, False]
    assert kept.refs["state/best"] == kept.refs["state/w"] == states.Ref(kept.shared.digest, "w")
    assert blobs.names() == [kept.shared.digest]


def test_the_best_so_far_stays_where_it_was_first_written(blobs: Blobs):
    stages = sharing("w")
    first = states.keep(place_of({"w": np.arange(400_000.0), "best": np.zeros(2)}), stages, None, blobs)
    old = first.run.state["w"]
    moved = T.map(lambda w: w + 1, {"w": old})["w"]
    second = states.keep(place_of({"w": moved, "best": old}, number=2), stages, first, blobs)
    assert second.refs["state/best"] == first.refs["state/w"]
    assert [frame.digest for frame in second.new] == [second.shared.digest]  # one large frame a round, and no more
    third = states.keep(
        place_of({"w": T.map(lambda w: w + 1, {"w": second.run.state["w"]})["w"], "best": second.run.state["best"]}), stages, second, blobs
    )
    assert third.frames.keys() == {third.shared.digest, first.shared.digest}  # the second is needed no more
    assert np.array_equal(np.asarray(again(third, blobs).state["w"]), np.arange(400_000.0) + 2)
    assert np.array_equal(np.asarray(again(third, blobs).state["best"]), np.arange(400_000.0))


class Looked(Disk):
    """Counts how many of its elements were ever read."""

    read = 0

    def block(self, start, stop):
        self.read += stop - start
        return super().block(start, stop)


def test_what_is_made_from_a_state_for_the_sites_reads_the_sum_once(blobs: Blobs):
    stages = [Stage("fit", drift()._replace(share=lambda state: {"w": packed({"w": state["w"]}), "n": state["n"]}), 9, LIKE)]
    values = np.linspace(-1, 1, 400_000, dtype=np.float32)
    total = Looked(values)
    moved = T.map(lambda w, s: w + s, {"w": np.zeros_like(values)}, {"w": total})["w"]
    kept = states.keep(place_of({"w": moved, "best": np.ones(2), "n": np.array(1)}), stages, None, blobs)
    assert total.read == values.size
    assert kept.refs["state/w"].frame != kept.shared.digest
    assert (kept.new[0], len(kept.new)) == (kept.shared, 2)
    assert kept.shared.nbytes < 2 * values.size + 1000
    shared = blobs.load(kept.shared)
    np.testing.assert_allclose(np.asarray(shared["w/steps/w"]) * 2.0**-15 * 2 ** int(shared["w/power/w"]), values, atol=2.0**-15)
    assert np.array_equal(np.asarray(again(kept, blobs).state["w"]), values)
    after = states.keep(
        replace(kept.run, state={**kept.run.state, "w": T.map(np.negative, {"w": kept.run.state["w"]})["w"]}), stages, kept, blobs
    )
    assert np.array_equal(np.asarray(again(after, blobs).state["w"]), -values)
    assert kept.shared.digest not in after.frames


def test_results_of_a_finished_stage_are_a_frame_of_their_own_and_stay(blobs: Blobs):
    stages = sharing("w")
    fit = {"w": np.arange(3.0)}
    first = states.keep(place_of({"w": np.ones(3)}, {"features": fit}), stages, None, blobs)
    second = states.keep(place_of({"w": np.zeros(3)}, first.run.results, number=2), stages, first, blobs)
    assert second.refs["results/features/w"] == first.refs["results/features/w"]
    assert len(second.new) == 1


def test_the_same_state_is_not_written_again(blobs: Blobs):
    kept = states.keep(place_of({"w": np.ones(3)}), sharing("w"), None, blobs)
    asked = states.keep(course.again(kept.run), sharing("w"), kept, blobs)
    assert (asked.new, asked.run.place.attempt, asked.refs) == ((), 2, kept.refs)


def test_how_often_a_round_was_ranged_outlives_a_restart(blobs: Blobs):
    kept = states.keep(replace(place_of({"w": np.ones(3)}), ranged=2), sharing("w"), None, blobs)
    asked = states.keep(course.again(kept.run), sharing("w"), kept, blobs)
    assert again(asked, blobs).ranged == 2
    old = {name: value for name, value in json.loads(states.text(asked)).items() if name != "ranged"}
    layout = asked.run.layout
    assert states.recall(json.dumps(old), asked.run.place, layout, layout, asked.frames, blobs).run.ranged == 1


def test_the_last_frame_holds_the_results_but_not_what_was_given(blobs: Blobs):
    run = place_of({}, {"first": {"params": np.ones(2)}, "fit": {"w": np.zeros(2)}})
    frame = states.finish(run, {"first": {}}, blobs)
    assert frame.body is not None
    assert T.flatten(wire.decode(frame.body)).keys() == {"fit/w"}
