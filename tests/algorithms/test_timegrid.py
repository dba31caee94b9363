"""The time grid: common intervals that lose nothing, or that are about at least so many patients."""

import numpy as np
import pytest

from collegium.algorithms.timegrid import MOST, enough, joined, timegrid
from collegium.errors import DataError, RunError, StudyError
from collegium.simulation.local import simulate
from collegium.table import Table
from tests.laws.examples import cut
from tests.laws.examples_survival import ARMS, CELLS, followed


def rows(time, event, **more) -> Table:
    return Table({"time": np.array(time, float), "event": np.array(event, float), **more})


def test_one_alone_gives_the_distinct_times_of_events():
    found = simulate(timegrid(6, fewest=1), {"a": rows([1, 3, 3.2], [1, 0, 1]), "b": rows([5, 6, 0], [1, 0, 0])})
    np.testing.assert_array_equal(found["group"], [[-1, 0, 0, 0, 1, 2, 2]])
    np.testing.assert_array_equal(found["end"], [3, 4, 6])
    np.testing.assert_allclose(found["ahead"], [0, 1 / 5, 1 - 4 / 5 * 2 / 3])  # one less the Kaplan-Meier curve before each


@pytest.mark.parametrize("fewest", [2, 5, 10, 30])
@pytest.mark.parametrize("seed", range(20))
def test_every_interval_is_about_so_many(fewest: int, seed: int):
    rng = np.random.default_rng(seed)
    events, censored = rng.poisson(0.7, 60), rng.poisson(1.0, 60)
    group = joined(events, censored, fewest)
    assert (np.diff(group) >= 0).all()
    assert (np.diff(group) <= 1).all()
    counts = [(int(events[group == k].sum()), int(censored[group == k].sum())) for k in range(group.max() + 1)]
    assert len(counts) == 1 or all(enough(*one, fewest) for one in counts)
    assert all(events[group == k][0] > 0 for k in range(group.max() + 1))
    assert not events[group < 0].any()


def test_strata_have_intervals_of_their_own_and_widths_are_exact():
    table = rows([0.3, 0.7, 0.6, 0.1], [1, 1, 1, 1], stratum=np.array(["drug", "drug", "placebo", "placebo"]))
    found = simulate(timegrid(7, width=0.1, strata=ARMS, fewest=1), {"a": table})
    np.testing.assert_array_equal(found["group"], [[-1, -1, -1, 0, 0, 0, 0, 1], [-1, 2, 2, 2, 2, 2, 3, 3]])
    np.testing.assert_array_equal(found["stratum"], [0, 0, 1, 1])
    np.testing.assert_allclose(found["end"], [0.6, 0.7, 0.5, 0.7])


def test_many_sites_are_one():
    table = followed(np.random.default_rng(0))
    one, many = (simulate(timegrid(CELLS), sites) for sites in ({"all": table}, cut(table, 5, np.random.default_rng(1))))
    for name, leaf in one.items():
        np.testing.assert_array_equal(many[name], leaf)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (rows([1, 99], [1, 1]), "beyond the grid"),
        (rows([1, -1], [1, 1]), "negative"),
        (rows([1, np.nan], [1, 1]), "missing"),
        (rows([1, 2], [1, 2]), "other values than 0 and 1"),
        (rows([1, 2], [1, 1], stratum=np.array(["drug", "salt"])), "other values than drug"),
    ],
)
def test_what_is_no_time_is_refused_without_a_value(table: Table, says: str):
    with pytest.raises(DataError, match=says) as told:
        simulate(timegrid(10, strata=ARMS if "stratum" in table else ()), {"a": table})
    assert "99" not in str(told.value)


@pytest.mark.parametrize("cells", [0, MOST])
def test_a_grid_has_a_size(cells: int):
    with pytest.raises(StudyError, match="time grid"):
        timegrid(cells, strata=ARMS)


def test_a_guarded_grid_stops_where_sums_would_be_about_a_few():
    few = rows([1, 2, 3, 4, 5], [1, 1, 1, 1, 0])
    assert len(simulate(timegrid(10, fewest=3), {"a": few})["end"]) == 1
    with pytest.raises(RunError, match="about a few"):  # one is censored: all less the events are that one
        simulate(timegrid(10, fewest=3, guarded=True), {"a": few})
    simulate(timegrid(10, fewest=1, guarded=True), {"a": few})
    by_arm = followed(np.random.default_rng(0), 60).with_columns(stratum=np.array(["drug"] * 55 + ["placebo"] * 5))
    with pytest.raises(RunError, match="stratum 'placebo'"):
        simulate(timegrid(CELLS, strata=ARMS, guarded=True), {"a": by_arm})
