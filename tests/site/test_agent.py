"""Whole studies over HTTPS: real coordinator, real agents in threads, real workers."""

import json
import os
import re
import signal
import threading
import time

import numpy as np
import pytest

from collegium import tree as T
from collegium import wire
from collegium.client.network import Network
from collegium.data import quality, registry
from collegium.errors import ConflictError, IdentityError
from collegium.recipes import learner
from collegium.simulation.local import walk
from collegium.site import agent, ledger, state
from collegium.study import manifest, plan
from tests.site.federation import PATIENT, POLICY, STUDY, at_work, federated, until

pytestmark = [pytest.mark.network, pytest.mark.slow]
TRAINED = PATIENT.replace("{kind: glm}", "{kind: averaging, hidden: [HIDDEN], rounds: 2, local: {steps: 2}}")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with federated(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture
def names(request):
    """Sites of a test have names of their own: they share one coordinator."""
    mark = re.sub(r"\W", "", request.node.name)[-8:]
    return [f"{name}{mark}" for name in ("leeds", "york", "hull")]


def results(site, run):
    return wire.decode((site / "models" / run / "results.safetensors").read_bytes())


def simulated(text, sites):
    """The same study in one process."""
    study = manifest.read(text)
    train = learner(study) if study.method.kind == "averaging" else None
    tables = {
        site.name: plan.rows(study, quality.ready(registry.find(site, "stays").read(study), study)) for site in sites
    }  # fmt: skip
    end, _ = walk(plan.stages(study, train), tables, seed=study.seed)
    return T.flatten(end.results)


def submit(hub, text, sites):
    """A run over these sites only."""
    return Network(hub.operator).start(manifest.read(text), [site.name for site in sites]).name


@pytest.mark.parametrize(
    "text", [PATIENT, TRAINED.replace("HIDDEN", ""), TRAINED.replace("HIDDEN", "1200, 300")], ids=["glm", "small", "large"]
)
def test_a_study_gives_the_same_bytes_as_in_one_process(hub, tmp_path, names, text):
    sites = [hub.site(tmp_path, name, rows=40 + 10 * n) for n, name in enumerate(names)]
    run = submit(hub, text, sites)
    with at_work(*sites):
        end = hub.end(run)
        until(lambda: all((site / "models" / run / "line.json").exists() for site in sites))
    assert end["status"] == "finished"
    want = simulated(text, sites)
    got = T.flatten(results(sites[0], run))
    assert want.keys() == got.keys()
    for name, leaf in want.items():
        np.testing.assert_array_equal(got[name], np.asarray(leaf), err_msg=name)
    for site in sites:
        assert results(site, run).keys() == results(sites[0], run).keys()
        left = list(ledger.entries(site / "state" / "ledger.jsonl"))
        assert {"form", "sum"} <= {entry["what"] for entry in left}
        assert not list((site / "state" / "runs" / run).glob("spool/*"))
    if "averaging" in text:
        lines = end["lines"]
        assert set(lines) == {site.name for site in sites}
        assert json.loads((sites[0] / "models" / run / "line.json").read_text()) == lines[sites[0].name]


def test_a_policy_that_says_no_leaves_the_others_at_work(hub, tmp_path, names):
    sites = [hub.site(tmp_path, name) for name in names]
    (sites[0] / "policy.yaml").write_text(POLICY.replace('columns: "*"', "columns: [age, readmitted, patient_id]"))
    run, told = submit(hub, STUDY, sites), []
    with at_work(*sites, show=lambda run, facts, known: told.append(facts)):
        end = hub.end(run)
    assert end["status"] == "finished"
    left = hub.ask("GET", f"/v1/runs/{run}")
    assert "reads sex, which this site's policy does not list; see policy.yaml line 7" in json.dumps(left)
    assert any(facts.get("status") == "left" for facts in told)
    (entry,) = ledger.entries(sites[0] / "state" / "ledger.jsonl")
    assert (entry["what"], entry["code"], entry["final"]) == ("failure", "refused", True)


def test_a_slip_in_the_policy_is_told_when_the_agent_starts(hub, tmp_path, names):
    site, told = hub.site(tmp_path, names[0]), []
    (site / "policy.yaml").write_text(POLICY.replace("min_sites", "min_site"))
    with at_work(site, show=lambda run, facts, known: told.append(facts)):
        until(lambda: told)
    assert "rule 'min_site' is not known; did you mean 'min_sites'?" in told[0]["trouble"]


def test_a_table_that_does_not_fit_is_told_without_its_values(hub, tmp_path, names):
    sites = [hub.site(tmp_path, name) for name in names]
    file = tmp_path / f"{names[0]}.csv"
    file.write_text(file.read_text().replace("patient_id,age", "patient_id,agee"))
    other = tmp_path / f"{names[1]}.csv"
    other.write_text(re.sub(r",\d+\.\d,", ",SECRET7,", other.read_text(), count=20))
    run, told = submit(hub, STUDY.replace("minimum: 2, quorum: 2", "minimum: 1, quorum: 1"), sites), []
    with at_work(*sites, show=lambda run, facts, known: told.append(facts)):
        end = hub.end(run)
        until(lambda: sum(facts.get("status") == "left" for facts in told) == 2)
    assert end["status"] == "finished"
    said = json.dumps(hub.ask("GET", f"/v1/runs/{run}")) + json.dumps(hub.ask("GET", f"/v1/runs/{run}/events", query="after=0&wait_s=0"))
    assert "the site's table does not fit the study at 'age'; its log has the details" in said
    assert "SECRET7" not in said
    assert "agee" not in said
    assert any("agee" in str(facts.get("detail")) for facts in told)


def test_a_worker_that_is_killed_is_replaced_and_changes_nothing(hub, tmp_path, names):
    sites = [hub.site(tmp_path, name) for name in names[:2]]
    run, kills = submit(hub, STUDY, sites), [1, 2, 3]
    agents: list[agent.Agent] = []

    def kill(run, facts, known):
        if facts.get("doing") == "computing" and facts["round"] in kills:
            kills.remove(facts["round"])
            for one in agents:
                one.parts[run].worker.kill()

    with at_work(*sites, show=kill) as started:
        agents += started
        assert hub.end(run)["status"] == "finished"
        until(lambda: (sites[0] / "models" / run / "line.json").exists())
    want = simulated(STUDY, sites)
    got = T.flatten(results(sites[0], run))
    assert all(np.array_equal(got[name], np.asarray(leaf)) for name, leaf in want.items())


def test_pausing_holds_a_site_within_a_second_and_resuming_lets_it_go_on(hub, tmp_path, names):
    sites = [hub.site(tmp_path, name) for name in names[:2]]
    state.pause(sites[0])
    with at_work(*sites):
        run = submit(hub, STUDY, sites)
        until(lambda: state.last(sites[0]).get("paused"), 1)
        time.sleep(2)
        assert hub.ask("GET", f"/v1/runs/{run}")["status"] == "running"
        state.resume(sites[0])
        assert hub.end(run)["status"] == "finished"


def test_an_agent_ends_within_moments_while_it_waits(hub, tmp_path, names):
    site = hub.site(tmp_path, names[0])
    with at_work(site) as (one,):
        until(lambda: one.link.contact)
        started = time.monotonic()
        one.stop.set()
        until(lambda: not one.threads[0].is_alive())
    assert time.monotonic() - started < 1.5


def test_serve_ends_after_its_runs_and_by_a_signal(hub, tmp_path, names):
    site = hub.site(tmp_path, names[0])
    run = submit(hub, STUDY.replace("minimum: 2, quorum: 2", "minimum: 1, quorum: 1"), [site])
    agent.serve(site, environ={}, version="1", runs=1)
    assert (site / "models" / run).exists()
    with pytest.raises(ConflictError), at_work(site):
        agent.serve(site, environ={}, version="1")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    started = time.monotonic()
    agent.serve(site, environ={}, version="1")
    assert time.monotonic() - started < 3


def test_a_site_that_the_coordinator_does_not_know_ends_with_the_reason(hub, tmp_path, names, monkeypatch):
    site = hub.site(tmp_path, names[0])
    (site / "key").write_text("ab" * 32)
    monkeypatch.setattr("collegium.site.link.PAUSES_S", (0.01, 0.02))
    with pytest.raises(IdentityError, match="not known here"):
        agent.serve(site, environ={}, version="1")


def test_one_runs_failure_is_not_the_agents(hub, tmp_path, names, monkeypatch):
    site, told = hub.site(tmp_path, names[0]), []
    text = STUDY.replace("minimum: 2, quorum: 2", "minimum: 1, quorum: 1")
    run, real = submit(hub, text, [site]), agent.Part.follow
    monkeypatch.setattr(agent, "AGAIN_S", 0.1)

    def once(self):
        monkeypatch.setattr(agent.Part, "follow", real)
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(agent.Part, "follow", once)
    with at_work(site, show=lambda run, facts, known: told.append(facts)):
        assert hub.end(run)["status"] == "finished"
    assert any("a fault of ours" in str(facts.get("detail")) for facts in told)


def test_a_full_disk_is_told_and_waited_for(hub, tmp_path, names, monkeypatch):
    from collegium.errors import StorageError
    from collegium.site import part
    from collegium.site.ledger import Ledger

    sites, told, real, full = [hub.site(tmp_path, name) for name in names[:2]], [], Ledger.append, [3]
    monkeypatch.setattr(part, "STORAGE_PAUSE_S", 0.05)

    def append(self, what, **facts):
        if sites[0] in self.path.parents and full[0]:
            full[0] -= 1
            raise StorageError("ledger.jsonl cannot be written: no space left on device", hint="make room")
        real(self, what, **facts)

    monkeypatch.setattr(Ledger, "append", append)
    run = submit(hub, STUDY, sites)
    with at_work(*sites, show=lambda run, facts, known: told.append(facts)):
        assert hub.end(run)["status"] == "finished"
    assert any("no space left" in str(facts.get("trouble")) for facts in told)
    assert ledger.verify(sites[0] / "state" / "ledger.jsonl")
