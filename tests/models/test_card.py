import json

import numpy as np
import pytest

from collegium.models.card import NOT_MEASURED, card, markdown
from collegium.study import manifest

STUDY = manifest.read(manifest.EXAMPLE)


def results() -> dict:
    """What a run of three hospitals leaves, in the form of the stages."""
    figure = {"value": np.array(0.81), "low": np.array(0.78), "high": np.array(0.84)}
    counts = {
        "compared": 3,
        "gaining": 2,
        "alone_better": 1,
        "gaining_clearly": 1,
        "alone_clearly": 0,
        "one_class": 0,
        "too_few": 0,
        "untrained": 0,
    }
    pooled = {
        "task": np.array(0), "rows": np.array(400), "patients": np.array(350), "brier": np.array(0.1234567),
        "auroc": {**figure, "error": np.array(0.001)}, "calibration": {"slope": np.array(0.95), "intercept": np.array(0.01)},
    }  # fmt: skip
    compare = {"task": np.array(0), "pooled": pooled, "sites": {name: np.array(n) for name, n in counts.items()}}
    compare |= dict.fromkeys(("alone", "joint", "gain"), figure)
    features = {"numbers": {"n": np.array([1190]), "missing": np.array([10])}}
    return {"features": features, "fit": {"rounds": np.array(20)}, "compare": compare}  # fmt: skip


def test_a_card_is_filled_in_from_what_was_measured():
    made = card(STUDY, results(), sites=3, created="2 May 2026")
    assert made["trained_on"] == {"sites": 3, "rows": 1200, "rounds": 20}
    assert made["quality"]["headline"].startswith("Working together helped 2 of 3 hospitals")
    assert made["quality"]["lines"][0]["joint"] == [0.81, 0.78, 0.84]
    assert made["quality"]["more"]["brier"] == 0.123457
    assert made["output"] == "the probability that readmitted is 1"
    assert made["model"] == "logistic regression (recipe tabular), trained by federated averaging"
    assert [one["name"] for one in made["inputs"]] == ["age", "sex"]
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_the_limits_say_who_is_better_off_alone_and_what_is_unknown():
    limits = card(STUDY, results(), sites=3)["limits"]
    assert "At 1 of 3 hospitals that could be compared, a model of its own was better." in limits
    assert sum(NOT_MEASURED in limit for limit in limits) == 4
    bare = card(STUDY, {"fit": {}}, sites=3)["limits"]
    assert any("calibration" in limit and NOT_MEASURED in limit for limit in bare)


def test_the_page_has_every_section_and_no_gap():
    page = markdown(card(STUDY, results(), sites=3))
    for section in (
        "# Thirty-day readmission",
        "## Not for",
        "## Trained on",
        "## How good it is",
        "## Limits",
        "## Inputs",
        "## Versions",
    ):
        assert section in page
    assert "| age | number | years | 0 to 120 |" in page
    assert "3 hospitals, 1,200 rows, 20 rounds" in page
    assert "0.81 (0.78 to 0.84)" in page
    assert "None" not in page


def test_without_results_every_section_says_not_measured():
    page = markdown(card(STUDY, {}, sites=0))
    assert "## How good it is\n\nNot measured." in page
    assert "0 hospitals, not measured rows, not measured rounds" in page


def test_a_manifest_cannot_put_markup_or_columns_into_the_page():
    odd = STUDY.model_dump() | {"title": "A <script>alert(1)</script>\n# title", "purpose": "p"}
    odd["variables"]["age"]["meaning"] = "a | b"
    page = markdown(card(manifest.read(odd), results(), sites=3))
    assert "<script" not in page
    assert page.startswith("# A &lt;script>alert(1)&lt;/script> # title\n")
    assert "a \\| b" in page


@pytest.mark.parametrize(
    ("outcome", "method", "output", "kind"),
    [
        ({"task": "regression", "target": "age"}, {}, "an estimate of age in years", "linear regression (recipe tabular)"),
        ({"task": "multiclass", "target": "kind"}, {"hidden": [8, 4]}, "the probability of each kind: a, b, c", "hidden layers of 8, 4"),
        ({"task": "binary", "target": "readmitted"}, {"kind": "glm"}, "the probability that readmitted is 1", "model, binomial"),
    ],
)  # fmt: skip
def test_each_kind_of_model_is_named(outcome: dict, method: dict, output: str, kind: str):
    document = STUDY.model_dump(exclude_defaults=True)
    document["variables"] |= {"kind": {"kind": "category", "categories": ["a", "b", "c"]}}
    document |= {"outcome": outcome, "method": ({"kind": "averaging"} | method)}
    made = card(manifest.read(document), {}, sites=3)
    assert made["output"] == output
    assert kind in made["model"]
