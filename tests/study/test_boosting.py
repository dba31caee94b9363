"""Boosted trees as a study: stages, outcomes of every kind, what leaves, and the same model from many hospitals as from one."""

from dataclasses import replace

import numpy as np
import pytest

from collegium import tree as T
from collegium.client.simulate import simulate
from collegium.client.tables import together
from collegium.errors import StudyError
from collegium.simulation.local import walk
from collegium.study import manifest, outflow, plan
from collegium.study.boosting import longest, scores, stages
from tests.study.report.runs import NAMES, hospital, study

METHOD = {"kind": "trees", "trees": 15, "depth": 3}
OUTCOMES = ("binary", "regression", "multiclass")


def survival(**method):
    """A study of time and event."""
    document = study(METHOD, "binary").model_dump(mode="json", exclude_defaults=True)
    variables = {**document["variables"], "time": {"kind": "number"}}
    return manifest.read(
        {**document, "variables": variables, "method": {**METHOD, **method}, "outcome": {"task": "survival", "time": "time", "event": "y"}}
    )


def sites(outcome: str):
    found = {name: hospital(at, n, outcome) for at, (name, n) in enumerate(zip(NAMES, (700, 300, 90), strict=False))}
    rng = np.random.default_rng(0)
    return {name: t.with_columns(time=rng.exponential(np.exp(-(t["age"] - 65) / 20))) for name, t in found.items()}


def walked(chosen, tables):
    ready = {name: plan.rows(chosen, table) for name, table in tables.items()}
    return walk(plan.stages(chosen), ready, seed=1)[0].results


@pytest.mark.parametrize("outcome", [*OUTCOMES, "survival"])
def test_many_hospitals_grow_the_trees_of_one(outcome: str):
    chosen = survival() if outcome == "survival" else study(METHOD, outcome)
    many = sites("binary" if outcome == "survival" else outcome)
    whole = together(many.values())
    same = np.array([name.split(":", 1)[1] for name in whole.patient.tolist()])  # or other patients would be held out
    one = walked(chosen, {"all": replace(whole, patient=same)})
    found = walked(chosen, many)
    wanted = T.flatten(one["fit"])
    for name, leaf in T.flatten(found["fit"]).items():
        np.testing.assert_array_equal(leaf, wanted[name], err_msg=name)
    assert len(found["fit"]["params"]["feature"])
    figure = found["compare"]["pooled"]
    assert float(figure.get("auroc", figure.get("concordance", {"value": figure.get("r2", figure.get("accuracy"))}))["value"]) > 0.55


def test_masks_change_no_bit_of_a_tree():
    chosen = study({**METHOD, "trees": 4, "depth": 2}, privacy={"epoch": 4})  # keys are made anew in the middle of it
    plain, masked = (simulate(chosen, sites("binary"), pooled=False, secure=secure) for secure in (False, True))
    for name, leaf in T.flatten(plain.trees).items():
        np.testing.assert_array_equal(leaf, T.flatten(masked.trees)[name], err_msg=name)
    assert masked.run["secure"]["rounds"] > 9


def test_the_stages_are_what_an_outcome_needs():
    assert [s.name for s in plan.stages(study(METHOD))] == ["features", "bins", "fit", "compare"]
    assert [s.name for s in plan.stages(study(METHOD, "regression"))] == ["features", "bins", "outcome", "fit", "compare"]
    assert [s.name for s in plan.stages(survival())] == ["features", "bins", "times", "fit", "compare"]
    assert [s.name for s in plan.stages(study(METHOD, held_out={"test": 0, "validation": 1}))] == ["features", "bins", "fit"]
    assert longest(study(METHOD).method, "binary") == 1 + 15 * 3
    assert longest(survival().method, "survival") == 1 + 15 * 4
    assert stages.__module__ == "collegium.study.boosting"


def test_scores_are_chances_values_or_risks():
    params = {"base": np.zeros(1), "feature": np.zeros((0, 1, 1)), "left": np.zeros((0, 1, 1, 1)), "value": np.zeros((0, 1, 3))}
    assert scores(params, np.zeros((2, 1), int), "binary").tolist() == [0.5, 0.5]
    assert scores(params, np.zeros((2, 1), int), "survival").tolist() == [0.0, 0.0]
    assert scores({**params, "base": np.zeros(4)}, np.zeros((1, 1), int), "multiclass").tolist() == [[0.25] * 4]


@pytest.mark.parametrize("outcome", [*OUTCOMES, "survival"])
def test_what_leaves_is_known_before_and_never_more(outcome: str):
    chosen = survival() if outcome == "survival" else study(METHOD, outcome)
    before = {step.stage: step for step in outflow.steps(chosen, sites=3)}
    found = walked(chosen, sites("binary" if outcome == "survival" else outcome))
    after = {step.stage: step for step in outflow.steps(chosen, sites=3, found=found)}
    assert before.keys() == after.keys()
    assert all(after[name].numbers <= before[name].numbers for name in before)
    assert "gradients and hessians" in before["fit"].held
    assert before["fit"].rounds == longest(chosen.method, outcome)
    assert before["fit"].ranging == 0  # whole numbers only: no round is needed to find their range


def test_only_what_can_rise_may_be_held_to_it():
    held = study({**METHOD, "monotone": {"age": "up", "smoker": "down"}})
    assert held.method.monotone == {"age": "up", "smoker": "down"}
    for name in ("ward", "y", "height"):
        with pytest.raises(StudyError, match=f"monotone names '{name}'"):
            study({**METHOD, "monotone": {name: "up"}})
    with pytest.raises(StudyError, match="up"):
        study({**METHOD, "monotone": {"age": "sideways"}})


def test_estimates_of_a_study_rise_with_age_where_they_must():
    found = simulate(study({**METHOD, "trees": 40, "monotone": {"age": "up"}}), sites("binary"), pooled=False)
    one = sites("binary")["Lindenhof" if "Lindenhof" in NAMES[:3] else NAMES[0]].where(np.zeros(80, int))
    rising = found.model.predict(one.with_columns(age=np.linspace(20, 100, 80)))
    assert (np.diff(rising) >= 0).all()
    assert np.ptp(rising) > 0.05
