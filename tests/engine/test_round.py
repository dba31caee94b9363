"""One round: every dropout, straggler and repeated answer without a clock or a socket."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from collegium.engine.round import Abandon, Answered, Close, Failed, Tick, open_round, step

SITES = frozenset("abcd")


def opened(quorum=3):
    return open_round(5, SITES, quorum=quorum, now=100.0, deadline_s=60.0, grace_s=10.0)


def play(r, *events):
    orders = []
    for event in events:
        r, more = step(r, event)
        orders += more
    return r, orders


def test_it_closes_when_all_have_answered():
    r, orders = play(opened(), *(Answered(s, 101.0) for s in "abcd"))
    assert orders == [Close(SITES)]
    assert r.over


def test_a_repeated_answer_counts_once():
    r, orders = play(opened(), Answered("a", 101.0), Answered("a", 102.0), Answered("stranger", 102.0))
    assert orders == []
    assert r.answered == {"a"}


def test_stragglers_are_waited_for_only_so_long_once_the_quorum_is_there():
    r, orders = play(opened(), Answered("a", 101.0), Answered("b", 102.0), Answered("c", 103.0), Tick(112.9))
    assert orders == []
    assert r.wake == 113.0
    r, orders = play(r, Tick(113.0))
    assert orders == [Close(frozenset("abc"))]


def test_nobody_waits_for_a_silent_site_but_its_answer_counts():
    r = replace(opened(), silent=frozenset("d"))
    _, orders = play(r, *(Answered(s, 101.0) for s in "abc"))
    assert orders == [Close(frozenset("abc"))]
    _, orders = play(r, *(Answered(s, 101.0) for s in "dabc"))
    assert orders == [Close(frozenset("abd"))] or orders == [Close(SITES)]
    _, orders = play(replace(r, silent=frozenset("cd")), *(Answered(s, 101.0) for s in "ab"))
    assert orders == []  # the quorum is not there yet


def test_an_answer_after_the_end_changes_nothing():
    r, _ = play(opened(), *(Answered(s, 101.0) for s in "abc"), Tick(200.0))
    assert play(r, Answered("d", 201.0)) == (r, [])


def test_a_failure_that_leaves_the_quorum_possible_does_not_stop_the_others():
    r, orders = play(opened(), Failed("d", "disk full"), *(Answered(s, 101.0) for s in "abc"))
    assert orders == [Close(frozenset("abc"))]
    assert r.left == frozenset()


def test_a_final_failure_is_remembered():
    r, _ = play(opened(), Failed("d", "policy", final=True))
    assert r.left == {"d"}


def test_it_is_abandoned_as_soon_as_the_quorum_is_out_of_reach():
    _, orders = play(opened(), Failed("a", "x"), Failed("b", "y"))
    assert orders == [Abandon("round 5: 0 of 4 sites answered, 3 must")]


def test_it_is_abandoned_at_the_deadline_without_a_quorum():
    _, orders = play(opened(), Answered("a", 101.0), Tick(159.9), Tick(160.0))
    assert orders == [Abandon("round 5: 1 of 4 sites answered, 3 must; 3 did not answer in time")]


def test_the_deadline_comes_before_the_grace_ends():
    _, orders = play(opened(), *(Answered(s, 155.0) for s in "abc"), Tick(160.0))
    assert orders == [Close(frozenset("abc"))]


events = st.one_of(
    st.builds(Answered, st.sampled_from("abcdx"), st.just(101.0)),
    st.builds(Failed, st.sampled_from("abcdx"), st.just("why"), st.booleans()),
    st.builds(Tick, st.floats(90, 170)),
)


@given(st.lists(events, max_size=30), st.integers(1, 4))
def test_whatever_happens_it_ends_at_most_once_and_only_with_a_quorum(story, quorum):
    r, orders = play(opened(quorum), *story)
    assert len(orders) <= 1
    assert r.over == bool(orders)
    assert not r.answered & r.failed
    assert r.answered | r.failed | r.waiting == SITES
    for order in orders:
        if isinstance(order, Close):
            assert order.sites == r.answered
            assert len(order.sites) >= quorum
    if not r.over:
        _, orders = play(r, Tick(1000.0))
        assert len(orders) == 1
