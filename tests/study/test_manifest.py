"""Manifests: read, refused by the place of the mistake, named by their digest."""

import json
import re

import pytest
import yaml

from collegium.errors import StudyError
from collegium.study import manifest
from collegium.study.manifest import EXAMPLE, digest, read, signed, text


def changed(**fields):
    return yaml.safe_load(EXAMPLE) | fields


def test_the_example_reads():
    study = read(EXAMPLE)
    assert study.features == ("age", "sex")
    assert study.quorum == 3
    assert study.holding.test == 2


def test_order_of_fields_and_written_defaults_change_nothing():
    study = read(EXAMPLE)
    again = read(json.loads(signed(study)))
    assert again == study
    assert digest(again) == digest(study)
    assert again.features == study.features
    assert read(text(study)) == study


def test_any_change_makes_another_study():
    assert digest(read(changed(seed=2))) != digest(read(EXAMPLE))


def test_decimals_stay_as_they_are_written():
    study = read(EXAMPLE.replace("rounds: 20", "rounds: 20, local: {lr: 0.1}, mu: 1e-3"))
    assert str(study.method.local.lr) == "0.1"
    assert b'"lr":"0.1"' in signed(study)
    assert float(study.method.mu) == 0.001


def test_a_description_holds_nobody_out_and_a_fit_of_all_neither():
    outcome = {"task": "binary", "target": "readmitted"}
    assert read(changed(method={"kind": "glm"}, outcome=outcome)).holding.test == 0
    assert read(changed(method={"kind": "statistics"}, outcome=None)).holding.test == 0


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("a: [", "not YAML"),
        ("just text", "a mapping of fields, found str"),
        (changed(title=""), "title: String should have at least 1 character"),
        (changed(collegium=2), "collegium: Input should be 1; found '2'"),
        (changed(surprise=1), "surprise: Extra inputs are not permitted"),
        (changed(variables={}), "variables: "),
        (changed(outcome=None), "method 'averaging' needs an outcome"),
        (changed(outcome={"task": "binary", "target": "died"}), "'died', which is not among the variables age, readmitted, sex"),
        (changed(outcome={"task": "survival", "target": "age"}), "survival names `time` and `event`"),
        (changed(outcome={"task": "multiclass", "target": "sex"}), "lists its categories, three or more"),
        (changed(variables={"readmitted": {"kind": "binary"}}), "every variable is the outcome"),
        (changed(variables={"age": {"kind": "number", "categories": ["a"]}}), "a number has no categories"),
        (changed(variables={"age": {"kind": "number", "low": 5, "high": 5}}), r"low \(5\) must be below high \(5\)"),
        (changed(variables={"sex": {"kind": "category", "unit": "kg"}}), "only a number has a unit"),
        (changed(variables={"sex": {"kind": "category", "categories": ["F", "F"]}}), "a category stands twice"),
        (changed(variables={"sex": {"kind": "binary", "categories": ["F", "M", "X"]}}), "no or two categories, found 3"),
        (changed(method={"kind": "magic"}), "method: Input tag 'magic' found"),
        (changed(method={"kind": "averaging", "rounds": 0}), "method.averaging.rounds: .* found '?0"),
        (changed(method={"kind": "statistics", "cross": [["sex", "died"]]}, outcome=None), "a cross table names 'died'"),
    ],
)
def test_a_mistake_is_told_by_its_place(document, says):
    with pytest.raises(StudyError, match=says):
        read(document)


def test_a_misspelt_field_is_met_with_the_nearest_name():
    with pytest.raises(StudyError) as e:
        read(EXAMPLE.replace("unit:", "units:"))
    assert e.value.hint == "did you mean 'unit' for 'units'?"


def test_yaml_runs_no_code():
    with pytest.raises(StudyError, match="not YAML"):
        read("title: !!python/object/apply:os.system ['true']")


def test_signed_bytes_hold_no_floats():
    assert b"." not in manifest.signed(read(EXAMPLE)).replace(b'"0.', b"").replace(b"days.", b"")


SURVIVAL = {
    "title": "Survival",
    "purpose": "To know who lives longer.",
    "variables": {
        "age": {"kind": "number"},
        "arm": {"kind": "category", "categories": ["drug", "placebo"]},
        "days": {"kind": "number", "high": 365},
        "died": {"kind": "binary"},
    },
    "outcome": {"task": "survival", "time": "days", "event": "died"},
}


def survival(method, **fields):
    return {**SURVIVAL, "method": method, **fields}


def test_strata_and_groups_are_no_features():
    assert read(survival({"kind": "cox"})).features == ("age", "arm")
    assert read(survival({"kind": "cox", "strata": "arm"})).features == ("age",)
    curves = read(survival({"kind": "survival", "by": "arm"}))
    assert (curves.features, curves.parted, curves.exact) == ((), "arm", False)
    assert read(survival({"kind": "cox"})).exact
    assert read(survival({"kind": "cox"})).holding.test == 0


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (survival({"kind": "cox"}, outcome={"task": "binary", "target": "died"}), "needs `outcome: {task: survival"),
        (survival({"kind": "survival"}, outcome=None), "needs an outcome"),
        (survival({"kind": "cox"}, variables={**SURVIVAL["variables"], "days": {"kind": "number"}}), "a number with a `high`"),
        (survival({"kind": "cox"}, variables={**SURVIVAL["variables"], "died": {"kind": "number"}}), "'died' is binary"),
        (survival({"kind": "cox", "strata": "age"}), "no variable with listed categories"),
        (survival({"kind": "survival", "by": "ward"}), "no variable with listed categories"),
        (survival({"kind": "cox", "strata": "arm", "horizons": [90]}), "needs one baseline"),
        (survival({"kind": "cox", "fewest": 5}), "say why"),
        (survival({"kind": "survival", "fewest": 1, "grid": 0}), "grid"),
    ],
)
def test_a_study_of_survival_lacks_nothing(document, says: str):
    with pytest.raises(StudyError, match=re.escape(says)):
        read(document)


def test_a_finer_grid_takes_a_reason():
    assert read(survival({"kind": "cox", "fewest": 1}, privacy={"because": "The rows are public."})).method.fewest == 1


@pytest.mark.parametrize(
    ("privacy", "says"),
    [
        ({"cohort": 32}, "cohorts of fewer than 64 sites let the coordinator see sums over a few of them: say why"),
        ({"cohort": 5, "because": "few"}, "privacy.cohort: Input should be greater than or equal to 6"),
        ({"cohort": 129}, "privacy.cohort: Input should be less than or equal to 128"),
        ({"secure_aggregation": "off", "because": "trusted", "verified": True}, "`verified` checks secure sums, and this study has none"),
    ],
)
def test_small_cohorts_take_a_reason_and_checks_take_secure_sums(privacy, says):
    with pytest.raises(StudyError, match=re.escape(says)):
        read(changed(privacy=privacy))


def test_of_cohorts_and_checks_a_study_says_nothing_unless_it_wants_them():
    chosen = read(changed(privacy={"cohort": 32, "because": "the region wants it", "verified": True})).privacy
    assert (chosen.cohort, chosen.verified) == (32, True)
    assert (read(EXAMPLE).privacy.cohort, read(EXAMPLE).privacy.verified) == (128, False)
