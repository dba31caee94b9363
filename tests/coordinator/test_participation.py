"""Who takes part is what the lead signed: the coordinator keeps it, and takes nothing else for it."""

from pathlib import Path

import pytest

from collegium import identity
from collegium.coordinator import store as s
from collegium.study import participants
from tests.coordinator.world import Refused, Site, Speaker, World, in_loop, study_of


def pairs(study: str, lead: identity.Key, *sites: Site, after: list[participants.Entry] | None = None) -> list[list[str]]:
    known = after or []
    return participants.as_document(participants.appended(known, study, lead, {x.name: x.key.public for x in sites})[len(known) :])


async def refused(who: Speaker, path: str, document: dict) -> tuple[str, str]:
    with pytest.raises(Refused) as e:
        await who.call("POST", path, document)
    return e.value.code, e.value.document["says"]


@in_loop
async def test_a_list_comes_with_the_study_or_later_and_every_site_of_a_run_is_told_the_same(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch, cedar = await world.join("amber", "birch", "cedar")
        lead = world.operator.key
        study = (await world.operator.call("POST", "/v1/studies", {"manifest": study_of()}))["study"]
        assert (await world.operator.call("GET", f"/v1/studies/{study}"))["participants"] == []
        first = pairs(study, lead, amber, birch)
        for _ in range(2):  # the same again changes nothing
            await world.operator.call("POST", "/v1/studies", {"manifest": study_of(), "participants": first})
        told = await world.operator.call("GET", f"/v1/studies/{study}")
        assert (told["lead"], told["participants"]) == (lead.public, first)
        run = (await world.operator.call("POST", f"/v1/studies/{study}/start", {}))["run"]
        more = pairs(study, lead, cedar, after=participants.entries_of(first))
        assert (await world.operator.call("POST", f"/v1/studies/{study}/participants", {"participants": more}))[
            "participants"
        ] == first + more
        offer, _ = await amber.work("", wait_s=0)
        assert (offer["run"], offer["lead"], offer["participants"]) == (run, lead.public, first)
        assert (await cedar.work("", wait_s=0))[0] == {}
        assert (await world.operator.call("GET", "/v1/sites"))["sites"][0]["key"] == amber.key.public


@in_loop
async def test_a_list_that_does_not_hold_is_refused_and_nothing_of_it_stays(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch = await world.join("amber", "birch")
        lead, other = world.operator.key, identity.key(b"o" * 32)
        study, path = await world.submit(), "/v1/studies"
        entries, body = f"{path}/{study}/participants", pairs(study, lead, amber, birch)
        stranger = Site(world.app, "cedar")
        swapped = Site(world.app, "birch")
        swapped.key = stranger.key
        lies = [
            (pairs(study, other, amber), "identity", "not signed by the study's lead"),
            (pairs("cd" * 32, lead, amber), "identity", "is of another study"),
            (body[1:], "identity", "says it is number 2"),
            (pairs(study, lead, stranger), "not_found", "no site 'cedar' has joined"),
            (pairs(study, lead, swapped), "identity", "another key than the one it joined with"),
        ]
        for document, code, says in lies:
            found = await refused(world.operator, entries, {"participants": document})
            assert found[0] == code, found
            assert says in found[1]
        document = {"manifest": study_of(title="Other"), "participants": pairs(study, lead, amber)}
        assert "another study" in (await refused(world.operator, path, document))[1]
        assert len((await world.operator.call("GET", path))["studies"]) == 1
        assert (await world.operator.call("GET", f"{path}/{study}"))["participants"] == []
        assert (await refused(world.operator, f"{path}/nope/participants", {"participants": []}))[0] == "not_found"
        assert (await refused(world.operator, entries, {"participants": "x"}))[0] == "frame"


@in_loop
async def test_only_the_lead_adds_sites_and_only_listed_sites_are_asked(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        amber, birch, cedar = await world.join("amber", "birch", "cedar")
        study = await world.submit()
        await world.enlist(study, amber, birch)
        other = Speaker(world.app, identity.key(b"r" * 32))
        person = {"key": other.key.public, "name": "r", "role": "researcher", "joined": 0}
        await world.app.means.store.commit(lambda c: c.execute(s.person.insert().values(**person)))
        world.app.members.store.read(world.app.members.learn)
        code, says = await refused(other, f"/v1/studies/{study}/participants", {"participants": pairs(study, other.key, cedar)})
        assert code == "not_allowed"
        assert "signed the list with another key" in says
        code, says = await refused(other, f"/v1/studies/{study}/start", {"sites": ["amber", "cedar"]})
        assert code == "conflict"
        assert "'cedar' is not on the study's participant list" in says
        invited = identity.read_code((await world.operator.call("POST", "/v1/invites", {"name": "birch"}))["code"])
        birch.key = identity.key(b"b" * 32)
        await birch.call("POST", "/v1/join", {"secret": invited.secret.hex(), "name": "birch", "version": "1"})
        code, says = await refused(other, f"/v1/studies/{study}/start", {})
        assert code == "conflict"
        assert "'birch' has joined again with another key" in says
