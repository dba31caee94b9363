"""What leaves is told before anything runs, and is never less than what then leaves."""

import numpy as np
import pytest

from collegium.data.quality import ready
from collegium.engine import run as course
from collegium.privacy import ring
from collegium.simulation.local import walk
from collegium.study import manifest, outflow, plan
from collegium.table import Table
from tests.study.report.runs import learner, run

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
    for found in runs:
        largest[found.place.stage] = max(largest.get(found.place.stage, 0), found.target.nbytes)
    assert largest
    for at, nbytes in largest.items():
        assert nbytes <= told[at].nbytes, told[at]


def test_every_kind_of_step_has_a_name_and_words():
    for text in (*STUDIES.values(), manifest.EXAMPLE):
        for step in outflow.steps(manifest.read(text), sites=3):
            assert step.held
            assert step.numbers * 4 <= step.nbytes
            assert step.whole >= step.sums == step.rounds * step.nbytes


def test_sixteen_bits_are_said_and_halve_what_training_sends():
    wide, short = (
        outflow.steps(manifest.read(manifest.EXAMPLE.replace("rounds: 20", f"hidden: [500], rounds: 20, bits: {bits}")), sites=3)[1]
        for bits in (32, 16)
    )
    assert {array.bits for array in short.arrays if array.name.startswith("delta/")} == {16}
    assert {array.bits for array in wide.arrays if array.name.startswith("delta/")} == {32}
    assert [array.bits for array in short.arrays if array.name == "check/loss"] == [64]
    assert short.numbers == wide.numbers
    assert wide.nbytes - short.nbytes == pytest.approx(2 * short.numbers, abs=20)


def test_rare_categories_and_missing_values_are_counted_as_if_they_were_there():
    narrow = outflow.steps(manifest.read(GLM), sites=3)[1]
    wide = outflow.steps(manifest.read(STUDIES["open categories"]), sites=3)[1]
    assert wide.numbers > narrow.numbers


RUNS = (
    "binary",
    "regression",
    "multiclass",
    "logistic",
    "linear",
    "poisson",
    "clustered",
    "cox",
    "cox_by_site",
    "curves",
    "statistics",
    "nobody_held_out",
)


@pytest.mark.parametrize("name", RUNS)
def test_no_update_of_a_real_run_is_larger(name: str):
    record = run(name)
    told, sent = (outflow.steps(record.study, sites=record.sites or 0, found=found) for found in (None, record.results))
    assert [step.stage for step in told] == [step.stage for step in sent]
    for step, one in zip(told, sent, strict=True):
        assert step.numbers >= one.numbers > 0
        assert step.nbytes >= one.nbytes > 0
    assert told[0].nbytes == sent[0].nbytes  # which depends on nothing that is found


def test_what_a_real_run_sends_is_the_most_where_everything_is_there():
    study = manifest.read(manifest.EXAMPLE)
    sexes = np.array(["F", "M", "", "neither"])[np.arange(400) % 4]  # the last is not in the list: it counts as missing
    columns = {"age": np.where(np.arange(400) % 5, 60.0, np.nan), "sex": sexes, "readmitted": np.arange(400) % 2.0}
    rows = plan.rows(study, ready(Table(columns, np.array([f"p{at}" for at in range(400)])), study))
    stages, sent, runs = plan.stages(study, learner("binary")), dict[str, int](), list[course.Run]()
    walk(stages, {"a": rows, "b": rows, "c": rows}, watch=runs.append)
    for found in runs:
        if found.place.phase == "sum" and not found.over:
            change, _ = stages[found.place.stage].algorithm.local(course.shared(found, stages), rows, {"seed": np.array(0)})
            sent[stages[found.place.stage].name] = sum(block.nbytes for block in ring.encode(change, found.layout))
    assert sent == {step.stage: step.nbytes for step in outflow.steps(study, sites=3)}


def test_an_open_vocabulary_is_taken_to_be_full():
    asked = {"code": {"kind": "category"}, "ill": {"kind": "binary"}}
    aim = {"outcome": {"task": "binary", "target": "ill"}, "method": {"kind": "averaging"}}
    study = manifest.read({"title": "t", "purpose": "p", "variables": asked, **aim, "held_out": {"column": "part"}})
    fit = outflow.steps(study, sites=3)[1]
    assert {array.name: array.shape for array in fit.arrays}["delta/0/weight"][1] == 64 + 2  # other, and missing


def test_a_size_that_cannot_be_told_is_not_made_up():
    first, *later = outflow.steps(manifest.read(manifest.EXAMPLE), sites=3, found={})
    assert first.nbytes
    assert [(step.numbers, step.sums, step.whole, step.arrays) for step in later] == [(None, None, None, ())] * 2
    assert outflow.added([step.whole for step in (first, *later)]) is None
