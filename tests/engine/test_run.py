"""The course of a run: stages, ranging, early ends, abandoned and damaged rounds."""

from dataclasses import replace

import numpy as np
import pytest

from collegium.algorithms.algorithm import Algorithm
from collegium.engine import run as course
from collegium.engine import task
from collegium.engine.fold import fold_bytes
from collegium.engine.messages import Place
from collegium.engine.run import Stage
from collegium.errors import RunError
from collegium.table import Table

EMPTY = Table({"x": np.zeros(0)})


def counter(name="count", until=99):
    """Adds up whole numbers: no ranging."""
    return Algorithm(
        lambda given: {"n": np.array(int(given.get("start", {}).get("n", 0)))},
        lambda shared, table, memory: ({"n": np.array(len(table))}, memory),
        lambda state, total: {"n": state["n"] + total["n"]},
        lambda state: int(state["n"]) >= until,
        name=name,
    )


def grower():
    """Sends numbers that grow a thousandfold a round."""
    return Algorithm(
        lambda given: {"size": np.array(1.0)},
        lambda shared, table, memory: ({"x": np.full(4, float(shared["size"]) * len(table), np.float32)}, memory),
        lambda state, total: {"size": state["size"] * 1000, "last": total["x"][0].astype(float)},
    )


def turn(run, stages, rows=(2, 3)):
    tables = [Table({"x": np.zeros(n)}) for n in rows]
    stage = stages[run.place.stage]
    changes = [task.update(stage.algorithm, course.shared(run, stages), t, {})[0] for t in tables]
    vectors = [bytes(task.frame(task.vector(c, run.layout, run.place, 0), run.layout.nbytes)) for c in changes]
    total = fold_bytes(run.layout, vectors)
    return course.close(run, stages, lambda at, size: total[at : at + size], len(rows))


def test_counts_need_no_ranging_and_stages_hand_on_their_results():
    stages = [Stage("start", counter(until=10), 5, EMPTY), Stage("then", counter(), 2, EMPTY)]
    run = course.begin(stages, 2)
    assert run.place == Place(0, 1, 1, "sum")
    run = turn(run, stages)
    assert run.place == Place(0, 2, 1, "sum")
    run = turn(run, stages)  # 10 are counted: done before its rounds are used up
    assert run.place == Place(1, 1, 1, "sum")
    assert run.state["n"] == 10
    run = turn(turn(run, stages), stages)
    assert run.over
    assert run.results["then"]["n"] == 20


def test_results_may_come_with_the_study():
    stages = [Stage("then", counter(), 1, EMPTY)]
    assert turn(course.begin(stages, 2, {"start": {"n": np.array(7)}}), stages).results["then"]["n"] == 12


def test_floats_are_ranged_once_a_stage():
    stages = [Stage("grow", grower(), 9, EMPTY)]
    run = course.begin(stages, 2)
    assert run.place == Place(0, 1, 1, "range")
    run = turn(run, stages)
    assert run.place == Place(0, 1, 1, "sum")
    run = turn(run, stages)
    assert run.place == Place(0, 2, 1, "sum")
    assert run.state["last"] == pytest.approx(5, rel=1e-6)


def test_values_beyond_the_range_are_asked_again_not_summed_wrong():
    stages = [Stage("grow", grower(), 9, EMPTY)]
    run = turn(turn(course.begin(stages, 2), stages), stages)
    run = turn(run, stages)  # a thousand times larger: clipped
    assert run.place == Place(0, 2, 2, "range")
    run = turn(turn(run, stages), stages)
    assert run.place == Place(0, 3, 1, "sum")
    assert run.state["last"] == pytest.approx(5000, rel=1e-6)


def test_a_run_that_keeps_being_clipped_stops_and_says_so():
    stages = [Stage("grow", grower(), 9, EMPTY)]
    run = turn(turn(course.begin(stages, 2), stages), stages)
    run = replace(run, ranged=course.RANGINGS)
    with pytest.raises(RunError, match="stage 'grow', round 2: 1e\\+02 % of the numbers were larger than the range"):
        turn(run, stages)


def test_an_abandoned_round_is_asked_again():
    stages = [Stage("start", counter(), 5, EMPTY)]
    run = course.again(course.begin(stages, 2))
    assert run.place == Place(0, 1, 2, "sum")
    assert turn(run, stages).place == Place(0, 2, 1, "sum")


def test_a_round_that_was_given_up_may_still_take_new_ranges():
    """Hospitals that were away have nothing to do with numbers that grow: only rangings are counted."""
    stages = [Stage("grow", grower(), 9, EMPTY)]
    run = turn(turn(course.begin(stages, 2), stages), stages)
    for _ in range(course.RANGINGS):
        run = course.again(run)
    run = turn(run, stages)  # clipped
    assert (run.place, run.ranged) == (Place(0, 2, course.RANGINGS + 2, "range"), 2)
    run = course.again(run)
    run = turn(turn(run, stages), stages)
    assert (run.place, run.ranged) == (Place(0, 3, 1, "sum"), 1)


def test_a_sum_of_another_number_of_sites_is_not_used():
    stages = [Stage("start", counter(), 5, EMPTY)]
    run = course.begin(stages, 3)
    vector = bytes(task.frame(task.vector({"n": np.array(1)}, run.layout, run.place, 0), run.layout.nbytes))
    with pytest.raises(RunError, match="the sum holds 1 sites, 2 were added"):
        course.close(run, stages, lambda at, size: vector[at : at + size], 2)
