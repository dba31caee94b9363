"""Approval first, over HTTPS: real coordinator, real agents; nothing is computed that the hospital's own steward has not signed."""

import json
import time

import pytest

from collegium.client.network import Network
from collegium.coordinator import participation
from collegium.errors import IdentityError
from collegium.site import approving, config, invites, ledger, policy, state, steward
from collegium.study import manifest
from collegium.study.participants import Entry
from tests.site.federation import POLICY, STUDY, at_work, federated, until

pytestmark = [pytest.mark.network, pytest.mark.slow]
GUARDED, PASSPHRASE = POLICY.replace("auto_approve: true\n", ""), "four made up words"
ALL = STUDY.replace("minimum: 2, quorum: 2", "minimum: 3, quorum: 3")


@pytest.fixture
def hub(tmp_path):
    with federated(tmp_path) as made:
        yield made


@pytest.fixture
def sites(hub, tmp_path):
    """Three hospitals, each with a steward."""
    found = [hub.site(tmp_path, name, policy=GUARDED) for name in ("hull", "leeds", "york")]
    for site in found:
        steward.init(site, PASSPHRASE, cost=1 << 10)
    return found


def start(hub, text, names=()):
    run = Network(hub.operator).start(manifest.read(text), names)
    return run.name, manifest.digest(manifest.read(text))


def says(site, run):
    return state.last(site).get("runs", {}).get(run, {})


def waits(site, run):
    return says(site, run).get("status") == "waiting"


def approve(site, study, verified=None):
    found, rules = config.load(site), policy.load(site / "policy.yaml")
    made = approving.approval(found, rules, invites.load(site, study), table="", verified=verified, at="2026-11-21T10:00:00Z")
    invites.approve(site, study, made, steward.key(site, PASSPHRASE))


def sums(site):
    return [entry for entry in ledger.entries(site / "state" / "ledger.jsonl") if entry["what"] == "sum"]


def test_a_study_waits_for_every_steward_and_runs_within_a_second_of_the_last(hub, sites):
    run, study = start(hub, ALL)
    with at_work(*sites) as agents:
        until(lambda: all(waits(site, run) for site in sites))
        until(lambda: hub.ask("GET", f"/v1/runs/{run}")["stewards"] == ["hull", "leeds", "york"])
        assert says(sites[0], run)["says"] == f"collegium invite show {study[:8]}"
        assert [one["state"] for one in state.status(sites[0])["invitations"]] == ["waiting"]
        asked = agents[0].link.counter
        time.sleep(1)
        assert agents[0].link.counter - asked <= 1  # it waits with the coordinator, it does not ask without end
        for site in sites[:2]:
            approve(site, study)
        until(lambda: all(says(site, run).get("status") == "running" for site in sites[:2]))
        time.sleep(0.5)
        assert hub.ask("GET", f"/v1/runs/{run}")["status"] == "running"
        assert not sums(sites[2])
        approve(sites[2], study)
        signed = time.monotonic()
        until(lambda: not waits(sites[2], run), step_s=0.01)
        assert time.monotonic() - signed < 1
        assert hub.end(run)["status"] == "finished"
        until(lambda: says(sites[2], run).get("status") == "finished")
    kinds = {(e["kind"], e["site"]) for e in hub.ask("GET", f"/v1/runs/{run}/events")["events"]}
    assert {("steward", site.name) for site in sites} <= kinds
    assert all(sums(site) for site in sites)


def test_a_steward_who_declines_takes_no_part_and_the_lead_reads_why(hub, sites):
    run, study = start(hub, STUDY)
    with at_work(*sites):
        until(lambda: all(waits(site, run) for site in sites))
        invites.decline(sites[0], study, "the ethics board has not voted", "2026-11-21T10:00:00Z")
        until(lambda: says(sites[0], run).get("status") == "left")
        for site in sites[1:]:
            approve(site, study)
        assert hub.end(run)["status"] == "finished"
    left = hub.ask("GET", f"/v1/runs/{run}")["left"]
    assert left == {"hull": "this hospital's data steward declined the study: the ethics board has not voted"}
    assert not sums(sites[0])


def test_other_studies_run_while_one_waits_and_a_run_that_ended_waits_no_longer(hub, sites):
    other = ALL.replace("title: Readmission", "title: Second")
    first, _ = start(hub, ALL)
    with at_work(*sites):
        until(lambda: all(waits(site, first) for site in sites))
        second, study = start(hub, other)
        until(lambda: all(waits(site, second) for site in sites))
        for site in sites:
            approve(site, study)
        assert hub.end(second)["status"] == "finished"
        hub.ask("POST", f"/v1/runs/{first}/stop", {})
        start(hub, ALL.replace("title: Readmission", "title: Third"))  # wakes the poll
        until(lambda: all(says(site, first).get("status") == "over" for site in sites))
    assert [v.state for _, v in invites.listed(config.load(sites[0]), policy.load(sites[0] / "policy.yaml"))] == [
        "waiting",
        "approved",
        "waiting",
    ]


def test_a_site_that_joins_later_is_believed_only_by_the_leads_signature(hub, sites, tmp_path):
    run, study = start(hub, STUDY)
    with at_work(*sites):
        until(lambda: all(waits(site, run) for site in sites))
        for site in sites:
            approve(site, study)
        assert hub.end(run)["status"] == "finished"
        bath = hub.site(tmp_path, "bath", policy=GUARDED)
        run, _ = start(hub, STUDY)
        assert hub.end(run)["status"] == "finished"  # two of three partners are verified, which is what four sites need
        assert invites.load(sites[0], study).sites()["bath"] == config.key_of(bath).public
        for name in ("cork", "deal"):
            hub.site(tmp_path, name, policy=GUARDED)
        run, _ = start(hub, STUDY)  # six sites need four verified partners: a new signature
        until(lambda: all(waits(site, run) for site in sites))
        assert "4 partners must be verified" in says(sites[0], run)["says"]
        for site in sites:
            approve(site, study, verified=["bath", "cork"])  # those of the first time stay verified
        assert hub.end(run)["status"] == "finished"


LIES = {
    "a swapped key": lambda told: told._replace(entries=[swapped(told.entries[0]), *told.entries[1:]]),
    "a site taken out": lambda told: told._replace(entries=told.entries[1:]),
    "another lead": lambda told: told._replace(lead="ab" * 32),
    "no list": lambda told: told._replace(entries=[]),
}


def swapped(entry):
    said = json.loads(entry.text)
    return Entry(entry.text.replace(said["key"], "07" * 32), entry.signature)


@pytest.mark.parametrize("lie", LIES)
def test_a_coordinator_that_changes_the_list_gets_nothing(hub, sites, monkeypatch, lie):
    real = participation.offered
    monkeypatch.setattr(participation, "offered", lambda c, study, roster: LIES[lie](real(c, study, roster)))
    run, _ = start(hub, STUDY)
    with at_work(*sites):
        until(lambda: all(says(site, run).get("status") == "left" for site in sites))
    assert not any(sums(site) for site in sites)
    assert not any((site / "invites").exists() for site in sites)
    assert all("ask the study's lead" in says(site, run)["detail"] for site in sites)


def test_a_coordinator_that_claims_approval_is_not_believed(hub, sites, monkeypatch):
    real = participation.Participation.document
    claims = {"approved": True, "state": "approved", "auto_approve": True, "approval": {"signature": "00" * 64}}
    monkeypatch.setattr(participation.Participation, "document", lambda self: {**real(self), **claims})
    run, study = start(hub, STUDY)
    with at_work(*sites):
        until(lambda: all(waits(site, run) for site in sites))
        time.sleep(0.5)
    assert not any(sums(site) for site in sites)
    assert not invites.decision(sites[0], study).exists()


def test_an_approval_taken_back_ends_this_sites_part(hub, sites):
    long = STUDY.replace("{kind: glm}", "{kind: averaging, rounds: 4000, local: {steps: 1}}")
    run, study = start(hub, long)
    with at_work(*sites):
        until(lambda: all(waits(site, run) for site in sites))
        for site in sites:
            approve(site, study)
        until(lambda: len(sums(sites[0])) > 3)
        invites.decline(sites[0], study, "a patient objected", "2026-11-21T11:00:00Z")
        until(lambda: hub.ask("GET", f"/v1/runs/{run}")["left"])
        hub.ask("POST", f"/v1/runs/{run}/stop", {})
        hub.end(run)
    assert "a patient objected" in hub.ask("GET", f"/v1/runs/{run}")["left"]["hull"]


def test_a_list_that_was_altered_at_the_coordinator_is_not_added_to(hub, sites):
    _, study = start(hub, STUDY)
    network = Network(hub.operator)
    found = hub.ask("GET", f"/v1/studies/{study}")
    entry = swapped(Entry(*found["participants"][0]))
    network.ask = lambda path, query="": {**found, "participants": [list(entry)]}
    with pytest.raises(IdentityError, match="not signed by the study's lead"):
        network.enlist(study)
