"""What leaves is told before anything runs, and is never less than what then leaves."""

import numpy as np
import pytest

from collegium.engine import run as course
from collegium.simulation.local import walk
from collegium.study import manifest, outflow, plan
from collegium.study.outflow import Step
from collegium.table import Table

RNG = np.random.default_rng(5)
GLM = manifest.EXAMPLE.replace("kind: averaging, recipe: tabular, rounds: 20", "kind: glm")
STUDIES = {
    "glm": GLM + "held_out: {test: 2, validation: 0}\n",
    "open categories": GLM.replace("categories: [F, M]", "meaning: as written"),
    "statistics": manifest.EXAMPLE.replace(
        "kind: averaging, recipe: tabular, rounds: 20", "kind: statistics, correlations: true, cross: [[sex, sex]]"
    ).replace("outcome: {task: binary, target: readmitted}", ""),
}


def hospital(rows: int) -> Table:
    age = RNG.normal(60, 10, rows).clip(1, 110)
    age[:40] = np.nan  # enough for a column of their own
    ill = (RNG.random(rows) < 0.4).astype(float)
    return Table({"age": age, "sex": RNG.choice(["F", "M"], rows), "readmitted": ill}, np.array([f"p{n}" for n in range(rows)]))


@pytest.mark.parametrize("name", STUDIES)
def test_no_run_sends_more_than_was_said(name: str):
    study = manifest.read(STUDIES[name])
    stages = plan.stages(study)
    told = outflow.steps(study, sites=3)
    assert [step.name for step in told] == [outflow.worded(study, stage.name)[0] for stage in stages]
    largest: dict[int, int] = {}
    runs: list[course.Run] = []
    tables = {site: plan.rows(study, hospital(300)) for site in "abc"}
    walk(stages, tables, watch=runs.append)
    for run in runs:
        largest[run.place.stage] = max(largest.get(run.place.stage, 0), run.target.nbytes)
    assert largest
    for at, nbytes in largest.items():
        assert nbytes <= told[at].nbytes, told[at]


def test_every_kind_of_step_has_a_name_and_words():
    for text in (*STUDIES.values(), manifest.EXAMPLE):
        for step in outflow.steps(manifest.read(text), sites=3):
            assert step.held
            assert step.numbers * 4 <= step.nbytes
            assert step.whole >= step.rounds * step.nbytes


def test_rare_categories_and_missing_values_are_counted_as_if_they_were_there():
    narrow = outflow.steps(manifest.read(GLM), sites=3)[1]
    wide = outflow.steps(manifest.read(STUDIES["open categories"]), sites=3)[1]
    assert wide.numbers > narrow.numbers


def test_a_study_without_a_usable_column_sends_what_can_be_said():
    found = outflow.steps(manifest.read(manifest.EXAMPLE), sites=1)
    assert all(isinstance(step, Step) for step in found)
