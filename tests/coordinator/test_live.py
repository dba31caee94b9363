"""One run in memory: who is told what, and when they are woken."""

import asyncio
from pathlib import Path

import numpy as np

from collegium.canonical import unpack
from collegium.coordinator import states
from collegium.coordinator.blobs import Blobs, Frame
from collegium.coordinator.live import Live, Member, Signal, figures, roster_of, roster_text
from collegium.engine import run as course
from collegium.engine.messages import Place
from collegium.engine.round import Answered
from collegium.study import manifest
from tests.coordinator.world import in_loop, plan_of, study_of


@in_loop
async def test_a_signal_wakes_those_who_wait_now():
    signal = Signal()
    waiting = [asyncio.ensure_future(signal.wait(5)) for _ in range(3)]
    late = asyncio.ensure_future(signal.wait(0.01))
    await asyncio.sleep(0.05)
    assert await late is False
    signal.send()
    assert await asyncio.gather(*waiting) == [True] * 3
    cut = asyncio.ensure_future(signal.wait(5))
    await asyncio.sleep(0)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    assert signal.waiting == set()


def test_a_roster_comes_back_from_its_text():
    roster = {"a": Member(), "b": Member(Place(1, 2, 3, "sum"), "it left")}
    assert roster_of(roster_text(roster)) == roster


def live(folder: Path, size: int = 5) -> Live:
    study = manifest.read(study_of(quorum=2))
    stages, given = plan_of(size)(study)
    kept = states.keep(course.begin(stages, 3, given), stages, None, Blobs(folder / "blobs"))
    return Live("r1", "s1", study, stages, given, kept, {name: Member() for name in "abc"})


@in_loop
async def test_each_site_is_told_what_concerns_it(tmp_path: Path):
    run = live(tmp_path)
    assert run.reply("a") is None  # not open yet
    run.ask(0.0)
    first = run.reply("a")
    assert first is run.reply("b")  # packed and digested once
    found, frame = unpack(first.body)
    assert (found["task"]["place"], len(frame)) == ([0, 1, 1, "sum"], found["task"]["state_bytes"])
    run.roster["b"] = Member(Place(0, 0, 1, "sum"))
    assert run.reply("b") is not run.reply("a")
    run.feed(Answered("a", 1.0))
    assert run.reply("a") is None
    run.roster["c"] = Member(left="the policy said no")
    assert unpack(run.reply("c").body)[0]["status"] == "stopped"
    run.status, run.results = "finished", Frame("ab", 3, None)
    last = {"status": "finished", "says": "", "task": None, "results": "ab", "results_bytes": 3, "first": ""}
    assert unpack(run.reply("a").body)[0] == last


@in_loop
async def test_the_driver_is_woken_when_there_is_something_to_do(tmp_path: Path):
    run = live(tmp_path)
    run.ask(0.0)
    seen = []
    for site in "abc":
        run.nudge.clear()
        run.feed(Answered(site, 1.0))
        seen.append(run.nudge.is_set())
    assert seen == [False, True, True]  # the quorum sets the grace going, the last closes the round


def test_a_large_state_is_not_in_the_message(tmp_path: Path):
    run = live(tmp_path, 300_000)
    run.kept = states.keep(course.enter(run.stages, 1, {}, 3, False), run.stages, None, Blobs(tmp_path / "blobs"))
    run.ask(0.0)
    found, frame = unpack(run.reply("a").body)
    assert (len(frame), found["task"]["state_bytes"] > 1 << 20) == (0, True)


def test_only_scalars_are_figures():
    state = {"progress": {"loss": np.array(0.5), "deep": {"rows": np.array(3)}, "curve": np.zeros(4), "none": {}}}
    assert figures(state) == {"loss": 0.5, "deep/rows": 3.0}
    assert figures({}) == figures(None) == {}
