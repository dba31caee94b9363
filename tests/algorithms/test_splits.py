"""The best split against trying every one, and the rules that some must keep."""

import itertools

import numpy as np
import pytest

from collegium.algorithms.forest import Shape
from collegium.algorithms.splits import BOUND, UNIT, Rules, best

SHAPE = Shape(np.array([5, 4, 6]), np.array([False, False, True]))
PLAIN = Rules(smooth=0.0)
FREE = np.array([[-BOUND, BOUND]])


def histogram(seed: int, rows: int = 400, missing: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A node's sums, with the rows they are made of: (1, bins, 3), bin numbers, gradients."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(0, w - (not missing), rows) for w in SHAPE.widths.tolist()], axis=1)
    gradient = np.rint((rng.normal(size=rows) + 0.3 * (x[:, 2] % 2) - 0.2 * x[:, 0]) * 1000) / 1024
    out = np.zeros((1, SHAPE.total, 3), np.int64)
    for column, start in enumerate(SHAPE.starts.tolist()):
        for bin, g in zip(x[:, column].tolist(), gradient.tolist(), strict=True):
            out[0, start + bin] += np.array([g * UNIT, UNIT, 1]).astype(np.int64)
    return out, x, gradient


def run(hist, rules=PLAIN, allowed=(True, True, True), monotone=(0, 0, 0), bounds=FREE):
    return best(hist, SHAPE, np.array([allowed]), np.array(monotone), bounds, rules)


def value(gradient: np.ndarray, l2: float) -> float:
    return float(gradient.sum() ** 2 / (len(gradient) + l2))


def every(x, gradient, rules):
    """The gain of every split there is: cuts of numbers with the missing on either side, and all sets of levels."""
    for column, width in enumerate(SHAPE.widths.tolist()):
        known = range(width - 1)
        sets = [range(k + 1) for k in known]
        if SHAPE.category[column]:
            sets = [s for n in range(1, width) for s in itertools.combinations(known, n)]
        for chosen, lost in itertools.product(sets, (False, True)):
            left = np.isin(x[:, column], [*chosen, *([width - 1] if lost else [])])
            if min(left.sum(), (~left).sum()) >= rules.least:
                yield sum(value(part, rules.l2) for part in (gradient[left], gradient[~left])) - value(gradient, rules.l2)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("least", [1, 60])
def test_no_split_gains_more(seed: int, least: int):
    hist, x, gradient = histogram(seed)
    rules = Rules(smooth=0.0, least=least)
    found = run(hist, rules)
    assert found.gain[0] == pytest.approx(max(every(x, gradient, rules)), rel=1e-9)
    column = int(found.feature[0])
    left = found.left[0][x[:, column]]
    assert found.sums[0, 0, 2] == left.sum()
    assert found.sums[0].sum(0).tolist() == hist[0, : SHAPE.widths[0]].sum(0).tolist()


def test_columns_that_are_not_allowed_and_splits_that_gain_too_little_are_left():
    hist, _, _ = histogram(3)
    assert run(hist, allowed=(False, True, False)).feature.tolist() == [1]
    assert run(hist, Rules(gain=1e9)).feature.tolist() == [-1]
    assert run(hist, Rules(least=201)).feature.tolist() == [-1]
    assert run(hist, Rules(hessian=201.0)).feature.tolist() == [-1]
    assert run(np.zeros_like(hist)).feature.tolist() == [-1]


def test_where_nobody_was_missing_later_ones_go_with_the_many():
    hist, x, _ = histogram(5, missing=False)
    found = run(hist)
    column = int(found.feature[0])
    left = found.left[0][x[:, column]].sum()
    assert found.left[0, SHAPE.widths[column] - 1] == (left >= len(x) - left)


@pytest.mark.parametrize("way", [1, -1])
def test_a_column_may_be_held_to_one_direction(way: int):
    hist, _, _ = histogram(1)
    for column in range(2):
        rule = [0, 0, 0]
        rule[column] = way
        found = run(hist, monotone=rule, allowed=[at == column for at in range(3)])
        if found.feature[0] >= 0:
            left, right = (-g / (h + UNIT) for g, h, _ in found.sums[0].tolist())
            assert way * (right - left) >= 0


def test_bounds_hold_back_what_a_split_can_gain():
    hist, _, _ = histogram(2)
    tight = run(hist, bounds=np.array([[-0.01, 0.01]]))
    assert tight.gain[0] < run(hist).gain[0]
