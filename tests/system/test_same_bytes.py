"""Real processes over HTTPS against the same study in one process, and against the same study killed on the way."""

import json
import random
import time

import numpy as np
import pytest

from collegium import tree as T
from collegium.client.simulate import simulate
from tests.system.federation import STUDY, Federation, hospital, in_process

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.network]

SITES = {"leeds": hospital(1, 220), "porto": hospital(2, 90), "turku": hospital(3, 150)}
GLM = STUDY.format(method="{kind: glm, family: binomial}", more="held_out: {test: 2}")
NETWORK = STUDY.format(method="{kind: averaging, hidden: [4], rounds: 6, patience: 3}", more="")
LARGE = STUDY.format(method="{kind: averaging, hidden: [600, 600], rounds: 3}", more="")  # its updates travel in chunks and files
SHORT = STUDY.format(method="{kind: averaging, hidden: [600, 600], rounds: 3, bits: 16}", more="")  # and in half the bytes
STATISTICS = STUDY.format(method="{kind: statistics, correlations: true}", more="")
PLAIN = "privacy: {secure_aggregation: off, because: what holds under masks holds without}"
SUMS = pytest.mark.parametrize("sums", ["", PLAIN], ids=["masked", "plain"])


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for path, leaf in wanted.items():
        assert (found[path].dtype, found[path].shape) == (leaf.dtype, leaf.shape), path
        assert found[path].tobytes() == leaf.tobytes(), path


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The results in one process, by study; computed where a federation has put the files."""
    return {}


def expected(wanted, federation, study):
    if study not in wanted:
        wanted[study] = in_process(federation.folder, SITES, study)
    return wanted[study]


@pytest.mark.parametrize("study", [GLM, STATISTICS, NETWORK, LARGE, SHORT], ids=["glm", "statistics", "network", "large", "short"])
@SUMS
def test_a_run_over_https_gives_the_bytes_of_a_run_in_one_process(tmp_path, study, sums, wanted):
    with Federation(tmp_path, SITES) as federation:
        federation.start_sites()
        run = federation.network.start(federation.network.submit(f"{study}\n{sums}"))
        same(federation.finish(run), expected(wanted, federation, study))
        for site in SITES:
            assert all(entry["masked"] is not bool(sums) for entry in left(federation, site))
            assert not list((federation.folder / site / "state" / "runs").rglob("masked*"))


def left(federation, site):
    """What a site has written into its ledger of vectors that left."""
    entries = map(json.loads, (federation.folder / site / "state" / "ledger.jsonl").read_text().splitlines())
    return [entry for entry in entries if entry["what"] == "sum"]


@pytest.mark.parametrize("moment", ["", "applied:1:2"])
def test_a_run_that_begins_from_a_model_does_so_everywhere_alike(tmp_path, moment):
    """Weights of one study begin another: by upload and in one process the same bytes, whatever dies on the way."""
    with Federation(tmp_path, SITES, moment) as federation:
        federation.start_sites()
        files = {name: tmp_path / f"{name}.csv" for name in SITES}
        simulate(NETWORK.replace("rounds: 6", "rounds: 9"), {"leeds": files["leeds"]}).save(tmp_path / "model")
        run = federation.network.start(NETWORK, first=tmp_path / "model")
        if moment:
            assert federation.died("hub")
            federation.start_coordinator()
            federation.ready()
        found, here = federation.finish(run), simulate(NETWORK, files, pooled=False, first=tmp_path / "model")
        same(found, {path: np.asarray(leaf) for path, leaf in T.flatten(here.trees).items()})
        without = simulate(NETWORK, files, pooled=False)
        assert (found["fit/params/0/weight"] != np.asarray(without.params["0"]["weight"])).any()
        assert list((federation.hub / "first").iterdir()) == []


@pytest.mark.parametrize("state", ["asked", "spooled", "committed", "folded", "applied"])
@pytest.mark.parametrize("where", ["0:1", "1:3"])
@SUMS
def test_the_coordinator_may_die_in_any_state(tmp_path, state, where, sums, wanted):
    with Federation(tmp_path, SITES, f"{state}:{where}") as federation:
        federation.start_sites()
        run = federation.begin(f"{GLM}\n{sums}")
        assert federation.died("hub"), f"the coordinator never reached {state} at {where}"
        federation.start_coordinator()
        federation.ready()
        same(federation.finish(run or federation.network.run()), expected(wanted, federation, GLM))


@pytest.mark.parametrize("doing", ["computing", "waiting"])
@pytest.mark.parametrize("where", ["0:1", "1:3"])
@SUMS
def test_a_site_may_die_in_any_state(tmp_path, doing, where, sums, wanted):
    with Federation(tmp_path, SITES) as federation:
        federation.start_site("leeds", f"{doing}:{where}")
        federation.start_site("porto")
        federation.start_site("turku")
        run = federation.network.start(federation.network.submit(f"{GLM}\n{sums}"))
        assert federation.died("leeds"), f"the site was never {doing} at {where}"
        federation.start_site("leeds")
        same(federation.finish(run), expected(wanted, federation, GLM))


@pytest.mark.parametrize(("hub", "site"), [("spooled:1:2", ""), ("folded:1:2", ""), ("", "sending:1:2")])
@SUMS
def test_large_updates_survive_too(tmp_path, hub, site, sums, wanted):
    with Federation(tmp_path, SITES, hub) as federation:
        federation.start_sites()
        if site:
            federation.kill("leeds")
            federation.start_site("leeds", site)
        run = federation.network.start(federation.network.submit(f"{LARGE}\n{sums}"))
        name = "leeds" if site else "hub"
        assert federation.died(name, 120)
        federation.start_site(name) if site else federation.start_coordinator()
        same(federation.finish(run), expected(wanted, federation, LARGE))


def test_anybody_may_die_at_any_moment(tmp_path, wanted):
    """Ten times, the coordinator or a site is killed at a random moment of one run."""
    chance = random.Random(20)
    with Federation(tmp_path, SITES) as federation:
        federation.start_sites()
        run = federation.network.start(federation.network.submit(NETWORK))
        for _ in range(10):
            time.sleep(chance.uniform(0.05, 1.5))
            name = chance.choice(["hub", "hub", *SITES])
            federation.kill(name)
            federation.start_coordinator() if name == "hub" else federation.start_site(name)
        found = federation.finish(run)
        same(found, expected(wanted, federation, NETWORK))
        assert np.isfinite(found["compare/joint/value"])
