import numpy as np
import pytest

from collegium.study.report.comparison import comparison, headline, pooled
from collegium.study.report.document import Drawing, Grid
from tests.study.report.runs import NAMES, run


def table(record):
    return next(block for block in comparison(record).blocks if isinstance(block, Grid))


def said(record):
    return " ".join(block.text for block in comparison(record).blocks if hasattr(block, "text"))


def test_the_sheet_has_the_mean_everybody_and_each_published_line():
    record = run("binary")
    assert [row[0] for row in table(record).rows] == ["Mean over hospitals", "All held-out patients together", *NAMES[:2]]
    mean = record.results["compare"]["gain"]
    assert table(record).rows[0][3].startswith(f"{float(mean['value']):+.3f}".replace("-", "\N{MINUS SIGN}"))
    assert "2 hospitals of 4 keep their own lines" in said(record)


def test_a_hospital_alone_in_keeping_its_line():
    record = run("binary")
    found = record._replace(facts={**record.facts, "sites": 3})
    assert "1 hospital of 3 keeps its own line" in said(found)


def test_in_a_simulation_the_pooled_model_stands_beside():
    record = run("simulated")
    found = table(record)
    assert found.head[4] == "All rows in one place"
    values = [record.pooled[name][0] for name, line in record.lines if "gain" in line]
    assert found.rows[0][4] == f"{np.mean(values):.3f}"
    assert "a real hospital decides" in said(record)
    drawn = next(block for block in comparison(record).blocks if isinstance(block, Drawing))
    assert "All rows in one place" in drawn.wide


def test_pooled_figures_of_hospitals_that_were_not_compared_are_not_in_the_mean():
    record = run("simulated")
    out = record._replace(pooled={NAMES[3]: (0.9, 0.9, 0.9)})  # too small to be compared
    assert pooled(out, out.sheet)[0] is None


@pytest.mark.parametrize(
    ("name", "words"), [("binary", "of 100 pairs of one patient with the outcome"), ("multiclass", "names the right class for about")]
)
def test_figures_are_also_said_as_so_many_of_a_hundred(name, words):
    assert words in said(run(name))


def test_the_headline_is_that_of_the_comparison_with_true_minus_signs():
    assert headline(run("binary")).startswith("Working together ")
    assert "-0" not in headline(run("binary"))
    assert headline(run("statistics")).startswith("This study describes patients.")
    assert headline(run("nobody_held_out")).startswith("Not measured: no patients were kept out")
    assert headline(run("stopped")).startswith("Not measured: the run was stopped")


def test_one_hospital_alone_is_not_summed_up():
    record = run("one_class")
    assert table(record).rows[0][1:4] == ["Not measured"] * 3
    assert "had one outcome only" in table(record).rows[0][-1]


def test_too_few_for_any_figure():
    assert "Not measured" in table(run("tiny")).rows[1][2]
    assert not any(isinstance(block, Drawing) for block in comparison(run("tiny")).blocks)
