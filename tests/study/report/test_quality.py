import numpy as np
import pytest
from scipy.stats import binomtest

from collegium.charts import Series
from collegium.study.report.document import Drawing, Grid
from collegium.study.report.quality import learning, quality, risks, thinned, thresholds, wilson
from tests.study.report.runs import run


def tables(section):
    return {block.title: block for block in section.blocks if isinstance(block, Grid)}


def drawn(section):
    return [block.title for block in section.blocks if isinstance(block, Drawing)]


def test_the_learning_curve_is_the_watched_error():
    section = learning(run("binary"))
    assert drawn(section) == ["Error on the patients kept for checking"]
    assert "The figure was taken in 39 rounds" in section.blocks[0].text


def test_the_model_that_is_kept_is_named():
    figures = [{"stage": "fit", "round": at, "loss": loss} for at, loss in enumerate((0.9, 0.5, 0.7), 1)]
    assert "the one that went into round 2" in learning(run("binary")._replace(figures=figures)).blocks[0].text


def test_a_fit_climbs_and_its_look_for_scales_is_no_step():
    [curve] = [block for block in learning(run("logistic")).blocks if isinstance(block, Drawing)]
    assert curve.title == "How well the fit describes the rows"
    assert all(row[1].startswith("\N{MINUS SIGN}") for row in curve.numbers.rows)


def test_without_figures_nothing_was_watched():
    assert learning(run("nobody_held_out")).blocks[0].text.startswith("Not measured")


@pytest.mark.parametrize(
    ("name", "rows", "charts"),
    [
        ("binary", ["AUROC", "Average precision", "Brier score", "Calibration slope"], 2),
        ("multiclass", ["Accuracy", "AUROC, each class against the rest", "Log loss"], 0),
        ("regression", ["R2", "Typical error (RMSE)", "Mean error (MAE)", "Bias", "Slope"], 0),
    ],
)
def test_each_task_has_its_measures(name, rows, charts):
    section = quality(run(name))
    found = [row[0] for row in tables(section)["Measures of quality"].rows]
    assert [row for row in rows if row not in found] == []
    assert len(drawn(section)) == charts


def test_figures_are_those_of_the_run():
    record = run("binary")
    rows = {row[0]: row for row in tables(quality(record))["Measures of quality"].rows}
    auroc = record.quality["auroc"]
    assert rows["AUROC"][1] == f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})"
    assert f"at most {auroc['error']:.4f}" in rows["AUROC"][2]
    assert rows["Brier score"][1] == f"{float(record.quality['brier']):.3f}"


def test_errors_of_a_number_have_its_unit():
    rows = {row[0]: row for row in tables(quality(run("regression")))["Measures of quality"].rows}
    assert rows["Typical error (RMSE)"][1].endswith(" mmol/L")


def test_thresholds_in_plain_numbers_add_up():
    found = {
        "rows": 1000,
        "positives": 200,
        "confusion": {"asked": [0.2], "threshold": [0.21], "sensitivity": [0.8], "specificity": [0.9], "ppv": [0.667], "npv": [0.947]},
    }
    said = thresholds(found).rows[0][-1]
    assert said == "Of 100 patients it marks about 24; about 16 of these have the outcome. It misses about 4."


def test_survival_is_measured_by_concordance():
    found = {"rows": np.array(400), "events": np.array(90), "concordance": {"value": 0.71, "low": 0.66, "high": 0.76, "error": 0.004}}
    rows = risks(run("binary"), found)
    assert rows[0][1:] == ["400", "90 of them with the outcome."]
    assert rows[1][1] == "0.710 (0.660 to 0.760)"


def test_few_events_are_hidden():
    assert risks(run("binary"), {"rows": np.array(400), "events": np.array(4)})[0][2] == "hidden of them with the outcome."


@pytest.mark.parametrize(("part", "n"), [(0.0, 12), (0.25, 40), (1.0, 10)])
def test_wilson_is_wilson(part, n):
    expected = binomtest(round(part * n), n).proportion_ci(method="wilson")
    assert wilson(part, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_long_curves_keep_their_ends_in_the_table():
    [short] = thinned([Series("a", list(range(1000)), list(range(1000)))], 10)
    assert (short.x[0], short.x[-1], len(short.y)) == (0, 999, 10)


def test_no_test_no_quality():
    assert quality(run("nobody_held_out")).blocks[0].text.startswith("Not measured: no patients were kept out")
    assert quality(run("tiny")).blocks[0].text.startswith("Not measured: fewer than 10 patients")
