import numpy as np
import pytest

from collegium.engine import run as course
from collegium.study.outflow import SENT, STEPS
from collegium.study.plan import stages
from collegium.study.report.document import Grid, Pairs, Points, Say
from collegium.study.report.privacy import cost, messages, privacy
from tests.study.report.runs import RUNS, run


def costs(record):
    return dict(next(block for block in cost(record).blocks if isinstance(block, Pairs)).items)


@pytest.mark.parametrize("name", ["binary", "logistic", "statistics", "regression"])
def test_sizes_are_those_that_the_engine_would_ask_for(name):
    record = run(name)
    plan = stages(record.study)
    for at, message in enumerate(messages(record)):
        target = course.enter(plan, at, record.results, 4, False).target
        assert (message.numbers, message.nbytes) == (target.entries, target.nbytes)


@pytest.mark.parametrize("name", RUNS)
def test_every_step_of_every_study_is_explained(name):
    for message in messages(run(name)):
        assert message.held in SENT.values()
        assert message.stage in STEPS.values() or message.stage.startswith("Cross table: ")


def test_the_largest_message_of_training_is_the_model():
    fit = next(message for message in messages(run("binary")) if message.stage == "Fit the model")
    model = sum(np.size(leaf) for layer in run("binary").results["fit"]["params"].values() for leaf in layer.values())
    assert fit.numbers == model + 4  # rows, steps, and the loss with its rows
    assert fit.rounds == int(run("binary").results["fit"]["rounds"])


def test_sizes_of_steps_that_never_began_are_not_measured():
    numbers = [message.numbers for message in messages(run("stopped"))]
    assert numbers[0]
    assert numbers[2] is None
    assert costs(run("stopped"))["Sent by one hospital"] == "Not measured"


def plain(record, because=""):
    off = record.study.privacy.model_copy(update={"secure_aggregation": "off", "because": because})
    return record._replace(study=record.study.model_copy(update={"privacy": off}))


def test_what_was_off_is_said_first():
    first, second = privacy(plain(run("simulated"), "a benchmark")).blocks[:2]
    assert first.kind == second.kind == "warning"
    assert "this study has secure sums off, for the reason \u201ca benchmark\u201d" in first.text
    assert "nothing left any hospital" in second.text


@pytest.mark.parametrize("sites", [3, 10, 300])
def test_who_could_see_what_follows_from_the_study(sites):
    record = run("binary")._replace(facts={**run("binary").facts, "sites": sites})
    for made, sees in ((record, "No single update."), (plain(record), "Each hospital's update, and the sum of all.")):
        blocks = privacy(made).blocks
        (row,) = [row for block in blocks if isinstance(block, Grid) for row in block.rows if row[0] == "The coordinator"]
        assert sees in row[1]
        said = " ".join(text for block in blocks if isinstance(block, Points) for text in block.items)
        assert ("Each is masked before it leaves" in said) is made.study.secure
        assert ("protects against the coordinator, even if it lies" in said) is made.study.secure


def test_cohorts_and_checked_sums_are_told():
    record = run("binary")._replace(facts={**run("binary").facts, "sites": 300})
    chosen = record.study.privacy.model_copy(update={"verified": True})
    record = record._replace(study=record.study.model_copy(update={"privacy": chosen}))
    blocks = privacy(record).blocks
    (row,) = [row for block in blocks if isinstance(block, Grid) for row in block.rows if row[0] == "The coordinator"]
    assert row[1] == "The sums of cohorts of hospitals, which are too many for one sum, and who took part. No single update."
    said = next(block.items for block in blocks if isinstance(block, Points))
    assert "the coordinator sees the sums of 5 cohorts, this one of 60 sites and never of fewer than 41" in said[0]
    assert said[1] == "The hospitals of each sum check that it is that of their updates: the coordinator cannot return another."


def test_who_publishes_a_line_is_named():
    assert privacy(run("binary")).blocks[-1] == Say(
        "These hospitals publish their own line of results: Northfield General and Eastgate Hospital."
    )
    assert privacy(run("stopped")).blocks[-1] == Say("No hospital publishes its own line of results.")


def test_rounds_that_were_told_are_believed():
    record = run("statistics")
    found = record._replace(facts={**record.facts, "rounds": {"quantiles": 31}})
    assert "Quantiles 31" in costs(found)["Rounds"]
    assert "Quantiles at most 200" in costs(record)["Rounds"]
    assert costs(record)["Sent by one hospital"].startswith("at most ")
    assert costs(found)["Sent by one hospital"].startswith("about ")


def test_measured_costs():
    assert costs(run("binary"))["Time"] == "1 h 52 min"
    assert costs(run("binary"))["Sent by all hospitals"] == "1.9 MB"
    grid = next(block for block in privacy(run("binary")).blocks if isinstance(block, Grid))
    assert [row[0] for row in grid.rows] == ["Prepare the variables", "Fit the model", "Compare and test"]


def test_rounds_are_counted_in_the_coordinators_list():
    each = {"stage": "fit", "phase": "sum", "status": "applied"}
    rounds = [each, each, {**each, "phase": "range"}, {**each, "status": "abandoned"}, {**each, "stage": "compare"}]
    found = run("binary")._replace(facts={"rounds": rounds})
    assert costs(found)["Rounds"] == "Prepare the variables 0; Fit the model 2; Compare and test 1"
