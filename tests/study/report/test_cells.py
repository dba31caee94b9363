import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collegium.study.report.cells import FEWEST, HIDDEN, hidden, shown

counts = st.lists(st.one_of(st.integers(0, 15), st.integers(0, 2000)), min_size=1, max_size=12)


def told_apart(line, mask):
    """Whether a reader who knows the total of a line can work out a small group, or already sees it."""
    line, mask = np.asarray(line), np.asarray(mask)
    seen = line[~mask]
    if ((seen > 0) & (seen < FEWEST)).any():
        return True
    return bool(mask.any() and not mask.all() and (mask.sum() < 2 or line[mask].sum() < FEWEST))


@given(counts)
def test_no_small_group_of_a_line_can_be_worked_out(line):
    assert not told_apart(line, hidden(np.array(line)))


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_no_small_group_of_a_table_can_be_worked_out_from_its_margins(rows, columns, data):
    table = np.array([data.draw(st.lists(st.integers(0, 40), min_size=columns, max_size=columns)) for _ in range(rows)])
    mask = hidden(table)
    for lines, masks in ((table, mask), (table.T, mask.T)):
        assert not any(told_apart(line, one) for line, one in zip(lines, masks, strict=True))


def test_nothing_is_hidden_without_need():
    assert not hidden(np.array([0, 10, 400])).any()
    assert not hidden(np.array([[0, 12], [30, 0]])).any()


def test_two_single_patients_are_hidden_with_a_third_group():
    """1 + 1 of a known total of 2 can only be 1 and 1."""
    assert hidden(np.array([1, 1, 50, 80])).tolist() == [True, True, True, False]


def test_a_count_is_written_or_hidden():
    assert shown(3, True, 50) == HIDDEN
    assert shown(25, False, 50) == "25 (50.0\N{NO-BREAK SPACE}%)"
    assert shown(1200, False) == "1,200"
