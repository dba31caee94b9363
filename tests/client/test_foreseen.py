"""What is foreseen is the most that a real run of the same study sends."""

import pytest

from collegium.client.foreseen import foreseen, whole
from collegium.study import manifest
from collegium.study.report.privacy import messages
from tests.study.report.runs import run

RUNS = ("binary", "regression", "multiclass", "logistic", "linear", "poisson", "statistics", "nobody_held_out")


@pytest.mark.parametrize("name", RUNS)
def test_no_update_is_larger_than_was_foreseen(name: str):
    record = run(name)
    steps, sent = foreseen(record.study, record.sites or 0), messages(record)
    assert [step.name for step in steps] == [one.stage for one in sent]
    for step, one in zip(steps, sent, strict=True):
        assert step.numbers is not None
        assert step.nbytes is not None
        assert step.numbers >= (one.numbers or 0) > 0
        assert step.nbytes >= (one.nbytes or 0) > 0
        assert step.rounds >= (one.rounds or 0)
    assert steps[0].nbytes == sent[0].nbytes  # which depends on nothing that is found
    assert (whole(steps) or 0) >= sum((one.nbytes or 0) * (one.rounds or 0) for one in sent)


def test_an_open_vocabulary_is_taken_to_be_full():
    asked = {"code": {"kind": "category"}, "ill": {"kind": "binary"}}
    aim = {"outcome": {"task": "binary", "target": "ill"}, "method": {"kind": "averaging"}}
    study = manifest.read({"title": "t", "purpose": "p", "variables": asked, **aim, "held_out": {"column": "part"}})
    fit = foreseen(study, 3)[1]
    assert fit.numbers is not None
    assert fit.numbers > 64


def test_a_size_that_cannot_be_told_is_not_made_up():
    step = foreseen(manifest.read(manifest.EXAMPLE), 3)[0]
    assert whole([step, step._replace(nbytes=None)]) is None
    assert whole([step, step]) == 4 * (step.nbytes or 0)
