"""A run without an end is told as it went."""

from collegium.study.report.document import Grid, Say
from collegium.study.report.happened import happened
from tests.study.report.runs import NAMES, run


def said(name: str) -> list[str]:
    [section] = happened(run(name))
    return [block.text for block in section.blocks if isinstance(block, Say)]


def test_a_run_that_was_stopped_before_its_first_sum_says_where_and_why():
    assert said("never_begun") == [
        "The run was stopped: stopped on request.",
        "It stood at step 1 of 3, “Prepare the variables”, in round 1, "
        "where hospitals say how large their numbers are before the first sum.",
        f"1 hospital left before its end: {NAMES[3]} (its policy says no).",
        "No step came to its end, so there are no results: what follows says what the study would have measured and sent.",
        "A stopped run is not taken up again. To try once more, mend the cause and start the study anew: collegium study start.",
    ]


def test_what_was_noted_is_listed_and_of_closed_rounds_only_the_newest():
    record = run("never_begun")
    rounds = [{"id": at, "at": "2026-03-02T09:15:00Z", "kind": "round", "says": f"round {at}"} for at in range(9)]
    facts = {**record.facts, "events": [*record.facts["events"][:1], *rounds, {"kind": "odd"}, *record.facts["events"][-1:]]}
    [section] = happened(record._replace(facts=facts))
    [grid] = [block for block in section.blocks if isinstance(block, Grid)]
    assert [row[1] for row in grid.rows] == ["started with 4 sites", "round 6", "round 7", "round 8", "stopped on request"]
    assert grid.rows[0][0] == "2026-03-02 09:14:00"
    assert "last three" in grid.note


def test_a_paused_run_says_who_is_waited_for_and_how_to_go_on():
    told = said("resting")
    assert told[0] == "The run is paused: paused on request."
    assert told[2] == f"Of this round's answers 2 are there, from {NAMES[0]} and {NAMES[1]}; asked and waited for: {NAMES[2]}."
    assert told[-1].endswith("the run goes on where it stood: collegium study resume r9.")


def test_what_it_learned_is_named_and_a_finished_run_needs_no_such_section():
    assert "There are results of: Prepare the variables." in said("stopped")
    assert said("empty")[0] == "The run failed; no reason was given."
    assert happened(run("binary")) == []
