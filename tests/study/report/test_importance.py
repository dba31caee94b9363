"""The report of boosted trees says what they go by, and what that does not mean."""

from collegium.study.report import html
from collegium.study.report.document import Grid, Say
from collegium.study.report.importance import what_it_goes_by
from collegium.study.report.method import in_words
from tests.study.report.runs import NAMES, run, study


def test_variables_stand_by_their_share():
    record = run("trees")
    section = what_it_goes_by(record, record.method)
    [grid] = [block for block in section.blocks if isinstance(block, Grid)]
    assert {row[0] for row in grid.rows} <= set(record.study.features)
    shares = [float(row[1].split()[0]) for row in grid.rows]
    assert shares == sorted(shares, reverse=True)
    assert abs(sum(shares) - 100) < 1
    page = html(record.study, record.results, figures=record.figures, lines=record.lines, facts=record.facts)
    assert "What does the model go by?" in page
    assert "no sign of a cause" in page
    assert "Boosted trees" in in_words(record)
    assert NAMES[0] in page


def test_trees_that_never_grew_are_said():
    record = run("trees")
    gone = record._replace(results={}, facts={"status": "failed"})
    assert "there are no trees" in what_it_goes_by(gone, gone.method).blocks[0].text
    fit = record.results["fit"]
    bare = {**fit, "params": {**fit["params"], "feature": fit["params"]["feature"][:0]}, "gain": fit["gain"] * 0, "uses": fit["uses"] * 0}
    none = record._replace(results={**record.results, "fit": bare})
    warned = what_it_goes_by(none, none.method).blocks[-1]
    assert isinstance(warned, Say)
    assert "same estimate" in warned.text


def test_settings_are_said_in_words():
    record = run("trees")._replace(study=study({"kind": "trees", "rows": "0.8", "monotone": {"age": "up"}}))
    said = in_words(record)
    assert "0.8" in said
    assert "age" in said
