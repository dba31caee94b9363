import numpy as np

from collegium.algorithms.glm import Row
from collegium.study.report.coefficients import chart, coefficients, ends
from collegium.study.report.document import Drawing, Grid, Say
from tests.study.report.runs import run


def parts(name):
    record = run(name)
    return record, coefficients(record, record.method).blocks


def tables(blocks):
    return {block.title: block for block in blocks if isinstance(block, Grid)}


def test_odds_ratios_are_the_exponentials_of_the_fit():
    record, blocks = parts("logistic")
    rows = {row[0]: row for row in tables(blocks)["Coefficients"].rows}
    assert list(rows)[:3] == ["Intercept", "age (per years)", "pressure (per mm Hg)"]
    coef = record.results["fit"]["coef"]
    assert rows["age (per years)"][1].startswith(f"{np.exp(coef[1]):.3f} (")
    assert rows["Intercept"][1] == "–"
    assert rows["smoker: yes"][-1] == "< 0.001"


def test_the_level_that_others_are_compared_with_has_a_row_in_its_place():
    _, blocks = parts("logistic")
    rows = {row[0]: row for row in tables(blocks)["Coefficients"].rows}
    assert list(rows)[3:5] == ["sex: F", "sex: M"]
    assert rows["sex: M"] == ["sex: M", "1 (reference)", "0 (reference)", "–", "–"]
    assert rows["ward: heart"][1] == "1 (reference)"
    assert tables(parts("linear")[1])["Coefficients"].rows[4][1:] == ["0 (reference)", "–", "–"]
    drawn = next(block for block in blocks if isinstance(block, Drawing))
    assert "sex: M" not in [row[0] for row in drawn.numbers.rows]


def test_the_reader_is_told_what_a_category_is_compared_with():
    _, blocks = parts("logistic")
    assert Say("Compared with: sex: M; ward: heart.", "note") in blocks


def test_ratios_stand_on_a_logarithmic_axis_without_the_intercept():
    _, blocks = parts("logistic")
    drawn = next(block for block in blocks if isinstance(block, Drawing))
    assert drawn.title == "Odds ratio of each variable"
    assert [row[0] for row in drawn.numbers.rows][:2] == ["age (per years)", "pressure (per mm Hg)"]


def test_coefficients_of_different_units_are_not_drawn_on_one_axis():
    record, blocks = parts("linear")
    assert any(isinstance(block, Drawing) for block in blocks)
    assert tables(blocks)["Coefficients"].head[1] == "Coefficient (95 % interval)"
    assert chart(record.method.model_copy(update={"standardise": False}), [row("age")], ["age"]) == []


def row(name, ratio=1.5):
    return Row(name, 0.4, 0.1, 4.0, 0.001, 0.2, 0.6, ratio, 1.2, 1.8)


def test_an_endless_interval_is_cut_and_not_lost():
    record, _ = parts("logistic")
    wild = row("wild")._replace(ratio_high=1e304, ratio_low=1e-300)
    [drawn] = chart(record.method, [row("age"), wild], ["age", "wild"])
    assert drawn.numbers.rows[1][1] == "1.500 (0.000 to ∞)"
    assert ends([]) is None


def test_only_the_strongest_of_many_are_drawn():
    record, _ = parts("logistic")
    many = [row(str(at))._replace(z=float(at)) for at in range(60)]
    [drawn] = chart(record.method, many, [one.name for one in many])
    assert [one[0] for one in drawn.numbers.rows] == [str(at) for at in range(20, 60)]
    assert "40 that stand out most" in drawn.note


def test_a_fit_that_did_not_settle_says_so_first():
    record = run("logistic")
    fit = {**record.results["fit"], "converged": np.array(0)}
    blocks = coefficients(record._replace(results={**record.results, "fit": fit}), record.method).blocks
    assert blocks[1].kind == "warning"
    assert tables(blocks)["The fit as a whole"].rows[-1][:2] == ["Settled", "no"]


def test_without_a_fit_nothing_is_claimed():
    _, blocks = parts("empty_glm")
    assert blocks == [Say("Not measured: the run failed, and the fit was not finished.")]


def test_hazard_ratios_have_their_tests():
    _, blocks = parts("cox")
    found = tables(blocks)
    assert found["Coefficients"].head[1] == "Hazard ratio (95 % interval)"
    assert [row[0] for row in found["Are hazards proportional?"].rows][-1] == "All together"
    figures = {row[0]: row[1] for row in found["The fit as a whole"].rows}
    assert {"Events", "Likelihood-ratio test", "Concordance"} <= figures.keys()
    assert "Dispersion" not in figures
    assert any(isinstance(block, Drawing) and block.title == "Hazard ratio of each variable" for block in blocks)


def test_few_clusters_are_warned_of():
    _, blocks = parts("clustered")
    assert any(isinstance(block, Say) and "4 hospitals" in block.text and "too small" in block.text for block in blocks)
