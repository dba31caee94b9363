"""Secure sums between real processes over HTTPS: the bytes of a plain sum, whoever is killed, and nothing readable on the way."""

import json

import pytest

from tests.system.federation import STUDY, Federation, hospital, in_process
from tests.system.test_same_bytes import same

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.network]

SITES = {"leeds": hospital(1, 220), "porto": hospital(2, 90), "turku": hospital(3, 150)}
ON = "privacy: {secure_aggregation: on}\n"
GLM = STUDY.format(method="{kind: glm, family: binomial}", more="held_out: {test: 2}\n" + ON)
NETWORK = STUDY.format(method="{kind: averaging, hidden: [4], rounds: 4}", more=ON)
LARGE = STUDY.format(method="{kind: averaging, hidden: [600, 600], rounds: 2}", more=ON)


def sums_of(federation, site):
    """What a site has written into its ledger of vectors that left."""
    path = federation.folder / site / "state" / "ledger.jsonl"
    return [entry for line in path.read_text().splitlines() if (entry := json.loads(line))["what"] == "sum"]


@pytest.mark.parametrize("study", [GLM, NETWORK, LARGE], ids=["glm", "network", "large"])
def test_masks_vanish_to_the_last_byte(tmp_path, study):
    with Federation(tmp_path, SITES) as federation:
        federation.start_sites()
        run = federation.network.start(federation.network.submit(study))
        same(federation.finish(run), in_process(federation.folder, SITES, study))
        for site in SITES:
            assert all(entry["masked"] for entry in sums_of(federation, site))
            assert not list((federation.folder / site / "state" / "runs").rglob("masked*"))


@pytest.mark.parametrize("state", ["asked", "spooled", "committed", "folded", "applied"])
def test_the_coordinator_may_die_in_any_state(tmp_path, state):
    with Federation(tmp_path, SITES, f"{state}:1:2") as federation:
        federation.start_sites()
        run = federation.begin(GLM)
        assert federation.died("hub"), f"the coordinator never reached {state}"
        federation.start_coordinator()
        federation.ready()
        same(federation.finish(run or federation.network.run()), in_process(federation.folder, SITES, GLM))


@pytest.mark.parametrize("doing", ["computing", "waiting"])
def test_a_site_may_die_in_any_state(tmp_path, doing):
    with Federation(tmp_path, SITES) as federation:
        federation.start_site("leeds", f"{doing}:1:2")
        federation.start_site("porto")
        federation.start_site("turku")
        run = federation.network.start(federation.network.submit(GLM))
        assert federation.died("leeds"), f"the site was never {doing}"
        federation.start_site("leeds")
        same(federation.finish(run), in_process(federation.folder, SITES, GLM))
