"""Hospitals that drop out of a secure sum, lie in it, or speak out of turn: the sum is that of the survivors, the liar is named."""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from collegium.coordinator import records, recovery
from collegium.coordinator.live import Live
from collegium.engine.messages import Answer, place_of
from tests.coordinator.masked import Hospital, Masked, begun, honest, let_go, stepped
from tests.coordinator.test_driver import Clock
from tests.coordinator.world import Refused, equal, expected, in_loop, plan_of, served

FIVE = ("amber", "birch", "cedar", "dover", "elgin")
TRIO = FIVE[:3]


@pytest.mark.parametrize("uploads", [True, False])
@in_loop
async def test_a_sum_is_that_of_those_who_answered_and_who_dropped_out_comes_back(tmp_path: Path, uploads: bool):
    """Five sites, four of whom open a sum: elgin is gone after its upload, or before it."""
    clock = Clock()
    async with begun(tmp_path, honest(FIVE), clock=clock) as (world, hospitals, run):
        *others, elgin = hospitals
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.round is not None)
        await stepped(run, [elgin], lambda: not uploads or live.round.answered == {"elgin"})
        await stepped(run, others, lambda: live.secure.each[0].phase == "sign" or len(live.round.answered) == 4)
        if not uploads:
            clock.now += 61
            world.app.runs.tick()
        await stepped(run, others, lambda: live.place.stage == 1)
        survivors = FIVE if uploads else FIVE[:4]
        assert (await world.status(run))["rounds"][0]["answered"] == [*survivors]
        await elgin.work(run, wait_s=0)  # it is back, and waited for again
        await served(run, *hospitals)
        found = await world.results(run)
        assert equal(found["count"], expected(survivors)["count"])
        assert equal(found["drift"], expected(FIVE)["drift"])
        assert not [line for line in await world.told(run) if line.startswith(("blamed", "abandoned"))]


class Lying(Hospital):
    """Alters one kind of message on its way out."""

    lies: Mapping[str, Any] = MappingProxyType({})

    def spoilt(self, said: dict[str, Any]) -> dict[str, Any]:
        return said | self.lies.get(said["kind"], {})

    async def step(self, run: str, reply: tuple[dict[str, Any], Any]) -> tuple[dict[str, Any], Any]:
        try:
            return await super().step(run, reply)
        except Refused as refused:
            if refused.code != "identity":
                raise
            return await self.work(run, wait_s=self.wait_s)


LIES = {
    "revealed a wrong share": {"reveal": {"seeds": dict.fromkeys(FIVE, "11" * 33)}},
    "signed another statement": {"signature": {"signature": "11" * 64}},
}


@pytest.mark.parametrize("what", LIES)
@in_loop
async def test_who_sends_a_wrong_share_or_signature_is_named_and_the_sum_opens_without_it(tmp_path: Path, what: str):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = [*await world.hospitals("elgin", kind=Lying), *await world.hospitals(*FIVE[:4])]
        hospitals[0].lies = LIES[what]
        run = await world.begin(*hospitals)
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(FIVE))
        blamed = [line for line in await world.told(run) if line.startswith("blamed")]
        assert blamed
        assert all(line.startswith("blamed: elgin: ") and what in line for line in blamed), blamed
        assert logged(world, run) == ["elgin"] * len(blamed)
    let_go(hospitals)


def logged(world: Masked, run: str) -> list[str]:
    """Whom the log calls at fault."""
    found = [json.loads(text) for text in world.app.means.logbook.entries(0, 1000)]
    return [entry["site"] for entry in found if entry["action"] == "blamed" and entry["run"] == run]


@in_loop
async def test_who_lies_in_the_very_last_message_of_a_run_is_still_named(tmp_path: Path):
    world = Masked(tmp_path / "hub", plan=plan_of(5, 1))
    async with world.app.running():
        hospitals = [*await world.hospitals("elgin", kind=Lying), *await world.hospitals(*FIVE[:4])]
        run = await world.begin(*hospitals)
        elgin, live = hospitals[0], world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.place[0] == 1 and live.place.phase == "sum" and live.secure.each[0].phase == "sign")
        elgin.lies = LIES["revealed a wrong share"]
        await stepped(run, hospitals[1:4], lambda: len(live.secure.each[0].machine.who("signature")) == 3)
        await stepped(run, hospitals[:1], lambda: live.secure.each[0].machine.who("reveal") == ["elgin"])
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(FIVE, 5, 1))
        assert [line for line in await world.told(run) if line.startswith("blamed")] == ["blamed: elgin: revealed a wrong share"]
        assert logged(world, run) == ["elgin"]
    let_go(hospitals)


@in_loop
async def test_where_either_of_two_may_lie_both_are_told_and_the_log_names_nobody(tmp_path: Path):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = [*await world.hospitals("elgin", kind=Lying), *await world.hospitals(*FIVE[:4])]
        hospitals[0].lies = {"ready": {"kind": "complaint", "about": "birch"}}
        run = await world.begin(*hospitals)
        await asyncio.gather(*(asyncio.wait_for(each.serve(run), 20) for each in hospitals), return_exceptions=True)
        says = "blamed: one of birch and elgin lies: elgin says that it cannot open the shares that birch dealt it"
        assert says in await world.told(run)
        assert logged(world, run) == []
    let_go(hospitals)


@in_loop
async def test_what_is_out_of_turn_changes_nothing(tmp_path: Path):
    """Not of the protocol, of another epoch or round, or from a site that has left."""
    async with begun(tmp_path, honest(FIVE)) as (world, hospitals, run):
        *others, elgin = hospitals
        live = world.app.runs.live[run]
        leave = {"kind": "leave", "says": "its table does not fit"}
        for _ in range(2):  # the second time its answer was lost
            found, _ = await elgin.work(run, secure=[leave], wait_s=0)
            assert found["status"] == "stopped"
        assert sum(line.startswith("left: elgin") for line in await world.told(run)) == 1
        await stepped(run, others, lambda: live.place.stage == 1 and live.round is not None)

        def state() -> Any:
            return world.app.means.store.read(lambda c: records.secure_rows(c, run).get(0, {})), live.place, dict(live.reasons)

        before, told = state(), await world.told(run)
        epoch = live.secure.each[0].machine.stand.epoch
        wrong = [
            {"kind": "nothing"}, "text", 7, {"kind": "refuse"}, {"kind": "refuse", "says": 3}, {"kind": "done", "epoch": epoch, "index": 0},
            {"kind": "upload", "epoch": epoch + 1, "index": 0, "digest": "11" * 32}, {"kind": "ready", "epoch": epoch - 1},
            {"kind": "survivors", "epoch": epoch, "index": 0, "survivors": [], "root": ""},
        ]  # fmt: skip
        for said in wrong:
            with pytest.raises(Refused) as caught:
                await others[0].work(run, secure=[said], wait_s=0)
            assert caught.value.status < 500, said
        late = [
            {"kind": "signature", "epoch": epoch, "index": 0, "signature": "11" * 64}, {"kind": "ready", "epoch": epoch},
            {"kind": "upload", "epoch": epoch, "index": 0, "digest": "11" * 32}, {"kind": "complaint", "epoch": epoch, "about": "birch"},
        ]  # fmt: skip
        for said in late:
            await others[0].work(run, secure=[said], wait_s=0)
        for said in (*late, {"kind": "refuse", "says": "no"}):
            with pytest.raises(Refused, match="has left the run"):
                await elgin.work(run, secure=[said], wait_s=0)
        assert state() == before
        assert await world.told(run) == told
        await served(run, *others)
        assert equal((await world.results(run))["count"], expected(FIVE[:4])["count"])


@in_loop
async def test_who_leaves_in_the_middle_of_a_round_is_not_waited_for(tmp_path: Path):
    async with begun(tmp_path, honest(FIVE)) as (world, hospitals, run):
        *others, elgin = hospitals
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.round is not None)
        await elgin.work(run, secure=[{"kind": "leave", "says": "its policy has changed"}], wait_s=0)
        await asyncio.wait_for(stepped(run, others, lambda: live.place.stage == 1), 10)
        assert (await world.status(run))["rounds"][0]["answered"] == [*FIVE[:4]]
        assert sum(line.startswith("left: elgin") for line in await world.told(run)) == 1


@in_loop
async def test_who_leaves_for_good_instead_of_an_answer_is_left_out_of_the_next_rounds(tmp_path: Path):
    async with begun(tmp_path, honest(FIVE)) as (world, hospitals, run):
        *others, elgin = hospitals
        live = world.app.runs.live[run]
        await stepped(run, hospitals, lambda: live.round is not None)
        found, _ = await elgin.work(run, wait_s=0)
        no = Answer(run, place_of(found["task"]["place"]), failure="data", says="no such column", final=True)
        await elgin.work(run, no, wait_s=0)
        await served(run, *others)
        assert (await world.status(run))["left"] == {"elgin": "no such column"}
        assert np.array_equal((await world.results(run))["count"]["rows"], expected(FIVE[:4])["count"]["rows"])


@in_loop
async def test_of_several_starts_of_a_study_at_one_moment_one_counts(tmp_path: Path):
    async with begun(tmp_path, honest(TRIO)) as (world, hospitals, run):
        await world.operator.call("POST", f"/v1/runs/{run}/stop")
        found = await asyncio.gather(*(world.again(*hospitals) for _ in range(6)), return_exceptions=True)
        refused = [each for each in found if isinstance(each, Refused)]
        (run,) = [each for each in found if isinstance(each, str)]
        assert len(refused) == 5
        assert f"collegium study stop {run}" in str(refused[0])
        await served(run, *hospitals)
        assert equal(await world.results(run), expected(TRIO))


def stands(live: Live, phase: str) -> bool:
    return live.secure is not None and live.secure.each[0].phase == phase


def said(live: Live, kind: str, names: set[str]) -> bool:
    return live.secure is not None and set(live.secure.each[0].machine.who(kind)) == names


@in_loop
async def test_the_runs_document_says_whose_part_in_the_keys_or_the_opening_is_missing(tmp_path: Path):
    async with begun(tmp_path, honest(TRIO)) as (world, hospitals, run):
        amber, birch, _ = hospitals
        live = world.app.runs.live[run]
        assert (await world.status(run))["waiting"] == [*TRIO]  # nobody has called
        await amber.work(run, wait_s=0)
        found = await world.until(run, "running", lambda found: found["waiting"] == ["birch", "cedar"])
        for phase, kind in {"adverts": "advert", "bundles": "dealt", "ready": "ready", "sign": "signature"}.items():
            await stepped(run, hospitals, partial(stands, live, phase))
            await stepped(run, [amber, birch], partial(said, live, kind, {"amber", "birch"}))
            assert (await world.status(run))["waiting"] == ["cedar"]
        await world.operator.call("POST", f"/v1/runs/{run}/pause")
        assert (await world.status(run))["waiting"] == []
        await world.operator.call("POST", f"/v1/runs/{run}/resume")
        await served(run, *hospitals)
        found = await world.status(run)
        assert found["status"] == "finished"


@in_loop
async def test_a_run_that_could_not_be_taken_up_does_not_go_on_beside_another_of_its_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = Masked(tmp_path / "hub")
    async with world.app.running():
        hospitals = await world.hospitals(*TRIO)
        first = await world.begin(*hospitals)
    again = Masked(world.folder, found=False)
    again.study = world.study
    monkeypatch.setattr(recovery, "take_up", lambda means, run: Path("/nowhere/page").read_text())
    async with again.app.running():
        monkeypatch.undo()
        hospitals = again.moved(hospitals)
        run = await again.again(*hospitals)
        with pytest.raises(Refused, match=f"run {run} of this very study is under way"):
            await again.operator.call("POST", f"/v1/runs/{first}/resume")
        await served(run, *hospitals)
        await again.operator.call("POST", f"/v1/runs/{first}/resume")
        await served(first, *hospitals)
        assert equal(await again.results(first), expected(TRIO))
    let_go(hospitals)
