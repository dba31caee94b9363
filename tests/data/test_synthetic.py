import numpy as np
import pytest

from collegium.data.quality import check, ready
from collegium.data.synthetic import make
from collegium.recipes import RECIPES, find
from collegium.study import manifest, plan

STUDY = manifest.read(manifest.EXAMPLE)


def of_task(task: str, *, column: str = "") -> manifest.Study:
    document = manifest.read(find("tabular").template()).model_dump()
    document["variables"] |= {"kind": {"kind": "category", "categories": ["a", "b", "c"]}, "days": {"kind": "number", "low": 0}}
    document["variables"] |= {"code": {"kind": "category"}, "death": {"kind": "binary", "categories": ["no", "yes"]}}
    document["outcome"] = {
        "binary": {"task": task, "target": "outcome"},
        "multiclass": {"task": task, "target": "kind"},
        "regression": {"task": task, "target": "creatinine"},
        "survival": {"task": task, "time": "days", "event": "death"},
    }[task]
    return manifest.read(document | {"held_out": {"column": column}})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "survival"])
def test_made_up_rows_pass_the_check_of_real_ones(task: str):
    study = of_task(task)
    report = check(make(study, 400, seed=3), study)
    assert report.light in ("green", "amber")
    assert not [line for line in report.lines if line.light == "red"]
    rows = plan.rows(study, ready(make(study, 400, seed=3), study))
    assert len(rows) > 380


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_can_be_rehearsed(name: str):
    study = manifest.read(find(name).template())
    assert len(ready(make(study, 300, seed=1), study)) == 300


def test_the_same_seed_gives_the_same_rows_and_another_seed_another_site():
    one, two, other = make(STUDY, 50, seed=1), make(STUDY, 50, seed=1), make(STUDY, 50, seed=2)
    np.testing.assert_array_equal(one["age"], two["age"])
    assert not np.array_equal(one["age"], other["age"])
    assert not set(one.patient) & set(other.patient)


def test_sites_differ_by_their_shift_and_share_one_truth():
    means = [np.nanmean(make(STUDY, 500, seed, site_shift=1.0)["age"]) for seed in range(6)]
    alike = [np.nanmean(make(STUDY, 500, seed)["age"]) for seed in range(6)]
    assert np.std(means) > 5 * np.std(alike)
    slopes = []
    for seed in range(4):
        table = make(STUDY, 2000, seed, site_shift=0.5, missing=0)
        slopes.append(np.corrcoef(table["age"], table["readmitted"])[0, 1])
    assert np.ptp(np.sign(slopes)) == 0


def test_some_patients_come_again_and_a_column_may_say_who_is_held_out():
    table = make(of_task("binary", column="set"), 500, seed=1)
    assert 350 < table.patients() < 450
    for name in np.unique(table.patient):
        assert len(set(table["set"][table.patient == name])) == 1
    assert {"test", "train", "validation"} == set(table["set"])


def test_no_rows():
    assert len(make(STUDY, 0, seed=1)) == 0


@pytest.mark.parametrize("method", [{"kind": "cox", "strata": "arm"}, {"kind": "survival", "by": "arm"}])
def test_made_up_rows_of_survival_have_groups_and_an_end(method):
    kinds = {"age": {"kind": "number"}, "arm": {"kind": "category", "categories": ["drug", "placebo"]}}
    kinds |= {"days": {"kind": "number", "high": 90}, "died": {"kind": "binary"}}
    outcome = {"task": "survival", "time": "days", "event": "died"}
    study = manifest.read({"title": "t", "purpose": "p", "variables": kinds, "outcome": outcome, "method": method})
    made = make(study, 300, seed=2)
    assert np.asarray(made["days"]).max() <= 90
    assert len(plan.rows(study, ready(made, study))) > 250
