"""Rounding at random: nothing is lost on average, whole numbers stay, and the same round gives the same bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.privacy import ring
from collegium.privacy.rounding import Numbers

LEAF = ring.Leaf("w", "float32", (1,), 0)


def rounded(values, draw, limit=2**20):
    whole, over = ring.to_ring(np.array(values, np.float32), LEAF, limit, draw)
    return whole.view(np.int32), over


@pytest.mark.parametrize("value", [0.0, 0.001, 0.25, 0.5, 0.999, 3.7, -0.001, -0.5, -7.3, 1000.125])
def test_the_mean_of_many_roundings_is_the_number(value):
    count = 400_000
    found, _ = rounded(np.full(count, value), Numbers(1, 0, 1))
    assert set(found.tolist()) <= {int(np.floor(value)), int(np.ceil(value))}
    assert found.mean() == pytest.approx(np.float32(value), abs=5 * 0.5 / count**0.5)


def test_changes_below_half_a_step_add_up_over_rounds_and_to_the_nearest_they_are_lost():
    small = np.full(1000, 0.1)
    at_random = sum(rounded(small, Numbers(1, 0, number))[0].mean() for number in range(1, 101))
    assert at_random == pytest.approx(10, abs=0.5)
    assert sum(rounded(small, None)[0].mean() for _ in range(100)) == 0


@given(st.integers(-(2**24), 2**24), st.integers(0, 2**61), st.integers(1, 9))
def test_whole_numbers_stay_as_they_are(value, seed, number):
    found, over = rounded(np.full(9, value), Numbers(seed, 0, number), 2**24)
    assert (found.tolist(), over) == ([value] * 9, 0)


@given(st.floats(-1e6, 1e6, width=32))
def test_the_next_whole_number_up_or_down_is_taken(value):
    found, over = rounded(np.full(50, value), Numbers(3, 0, 1))
    assert np.all(np.abs(found - np.float64(np.float32(value))) < 1)
    assert over == 0


def test_what_lies_beyond_the_limit_is_clipped_and_counted():
    found, over = rounded([10.0, 9.5, 11.0, -12.5, 1e30], Numbers(3, 0, 1), 10)
    assert over == 3
    assert np.abs(found).max() == 10


def test_the_numbers_follow_from_the_seed_the_stage_and_the_round_and_from_nothing_else():
    streams = {
        (seed, stage, number): Numbers(seed, stage, number)(64).tobytes() for seed in (0, 2**61) for stage in (0, 1) for number in (1, 2)
    }
    assert len({*streams.values()}) == 8
    again = Numbers(2**61, 1, 2)
    assert again(3).tobytes() + again(0).tobytes() + again(61).tobytes() == streams[2**61, 1, 2]
    assert Numbers(7, 0, 1)(4).tolist() == [56599, 26127, 64749, 1884]


def test_statistics_are_rounded_to_the_nearest_whatever_is_drawn():
    update = {"x": np.array([0.3, -2.6])}
    layout = ring.Layout((ring.Leaf("x", "float64", (2,), 0),), 2)
    (block, _) = ring.encode(update, layout, Numbers(1, 0, 1))
    assert block.view(np.int64).tolist() == [0, -3]
