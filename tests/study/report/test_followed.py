"""Survival curves and a baseline, as a report shows them: what is told, and that nothing is told of a few."""

import numpy as np

from collegium.study.report.document import Drawing, Grid, Say
from collegium.study.report.followed import NOT_REACHED, baseline, followed, median
from tests.study.report.runs import run


def parts(name):
    record = run(name)
    return record, followed(record, record.method).blocks


def tables(blocks):
    return {block.title: block for block in blocks if isinstance(block, Grid)}


def test_two_groups_have_two_curves_and_a_test():
    _, blocks = parts("curves")
    drawn = next(block for block in blocks if isinstance(block, Drawing))
    assert {row[1] for row in drawn.numbers.rows} == {"sex: F", "sex: M"}
    assert "At risk" in drawn.wide
    assert "Days" in drawn.wide
    assert [row[0] for row in tables(blocks)["Do the groups differ?"].rows] == [
        "Log-rank test",
        "Log-rank test, stratified by hospital",
    ]
    assert {row[0] for row in tables(blocks)["Each group in figures"].rows} == {"sex: F", "sex: M"}


def test_no_row_of_a_curve_is_about_fewer_than_ten():
    for name in ("curves", "one_curve"):
        _, blocks = parts(name)
        drawn = next(block for block in blocks if isinstance(block, Drawing))
        assert min(int(row[3].replace(",", "")) for row in drawn.numbers.rows) >= 10


def test_one_curve_has_no_test_and_a_horizon():
    _, blocks = parts("one_curve")
    figures = tables(blocks)
    assert "Do the groups differ?" not in figures
    assert figures["Each group in figures"].head[-1] == "Mean up to 180 (95 % interval)"
    assert figures["Each group in figures"].rows[0][0] == "All patients"


def test_small_groups_are_hidden():
    record, _ = parts("one_curve")
    few = {**record.results["survival"], "n": np.array([8]), "events": np.array([3])}
    blocks = followed(record._replace(results={"survival": few}), record.method).blocks
    assert tables(blocks)["Each group in figures"].rows[0][1:] == ["hidden", "hidden", "hidden", "hidden"]


def test_a_run_without_an_end_says_so():
    assert parts("empty_curves")[1] == [Say("Not measured: the run failed, and nothing was counted.")]


def test_a_median_may_lie_beyond_the_end():
    assert median(-1.0, -1.0, -1.0) == NOT_REACHED
    assert median(40.0, 30.0, -1.0) == "40.00 (30.00 to not reached)"
    assert median(-1.0, 30.0, -1.0) == "Not reached (30.00 to not reached)"


def test_the_baseline_is_drawn_for_each_stratum():
    for name, labels in (("cox", {"Mean patient"}), ("cox_by_site", {"sex: F", "sex: M"})):
        record = run(name)
        (drawn,) = baseline(record, record.method)
        assert {row[1] for row in drawn.numbers.rows} == labels
    assert baseline(run("empty_cox"), run("cox").method) == []
