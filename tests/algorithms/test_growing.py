"""The coordinator's half of a round: only smaller children are asked, and what it keeps adds up."""

import numpy as np

from collegium.algorithms.growing import whole_level
from collegium.algorithms.splits import ROWS
from collegium.algorithms.trees import trees
from tests.algorithms.test_trees import KNOBS, SHAPE, outcome, rows


def rounds(**knobs):
    """Each state of a small run, and the total that came of it."""
    boost, table = trees("binary", **{**KNOBS, "steps": 2, **knobs}), outcome("binary", rows())
    state, memory = boost.init({}), {}
    while not boost.done(state):
        total, memory = boost.local(boost.share(state), table, memory)
        yield state, total
        state = boost.apply(state, total)


def test_the_smaller_child_is_asked_and_the_other_is_what_is_left():
    seen = 0
    for state, total in rounds(depth=5):
        level = int(state["level"])
        if level == 0:
            continue
        nodes, kept = 2**level, state["kept"]["sums"]
        histogram = whole_level(np.asarray(total["sums"]), state, level)
        assert histogram.shape == (1, nodes, SHAPE.total, 3)
        for column, start in enumerate(SHAPE.starts.tolist()):
            width = int(SHAPE.widths[column])
            split = np.repeat(state["growing"]["feature"][0, nodes // 2 - 1 : nodes - 1] >= 0, 2)
            found = histogram[0, :, start : start + width].sum(1)
            np.testing.assert_array_equal(found[split], kept[0, nodes - 1 : 2 * nodes - 1][split])
            assert not found[~split].any()
        asked = state["ask"][0][state["ask"][0] >= 0]
        beside = np.where(asked % 2, asked + 1, asked - 1)
        assert (kept[0, asked, ROWS] <= kept[0, beside, ROWS]).all()
        seen += len(asked)
    assert seen > 10


def test_a_tree_that_finds_no_split_ends_the_run():
    table = outcome("binary", rows())
    boost = trees("binary", **{**KNOBS, "rules": KNOBS["rules"]._replace(gain=1e9)})
    state = boost.init({})
    for _ in range(2):
        state = boost.apply(state, boost.local(boost.share(state), table, {})[0])
    assert boost.done(state)
    assert len(boost.result(state)["params"]["feature"]) == 1


def test_columns_are_drawn_by_seed():
    used = {int(state["level"]): state["use"] for state, _ in rounds(columns=0.67, parallel=2)}[0]
    assert used.sum(1).tolist() == [2, 2]
    again = [state["use"] for state, _ in rounds(columns=0.67, parallel=2)]
    other = [state["use"] for state, _ in rounds(columns=0.67, parallel=2, seed=9)]
    assert (again[1] == [state["use"] for state, _ in rounds(columns=0.67, parallel=2)][1]).all()
    assert any((a != b).any() for a, b in zip(again, other, strict=False))
