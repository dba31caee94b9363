"""An agent that is killed without warning, again and again: the next one goes on, and the study ends with the same bytes."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from collegium import tree as T
from collegium.site import ledger
from tests.site.federation import PATIENT, federated
from tests.site.test_agent import results, simulated, submit

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.system]
AGENT = (
    "import os, sys; from pathlib import Path; from collegium.site import agent; agent.serve(Path(sys.argv[1]), environ={}, version='1')"
)


def started(site):
    return subprocess.Popen([sys.executable, "-c", AGENT, str(site)], stderr=subprocess.DEVNULL)


def test_ten_kills_at_random_moments_change_no_byte(tmp_path):
    draw = random.Random(7)
    with federated(tmp_path) as hub:
        sites = [hub.site(tmp_path, name) for name in ("leeds", "york", "hull")]
        run = submit(hub, PATIENT, sites)
        agents = {site: started(site) for site in sites}
        try:
            for _ in range(10):
                time.sleep(draw.uniform(0.1, 1.5))
                site = draw.choice(sites)
                agents[site].kill()
                assert agents[site].wait() == -signal.SIGKILL
                agents[site] = started(site)
            assert hub.end(run, 120)["status"] == "finished"
            begun = time.monotonic()
            for one in agents.values():
                one.terminate()
            # one that was killed last may still be starting: it holds nothing yet, and the signal simply ends it
            assert {one.wait(10) for one in agents.values()} <= {0, -signal.SIGTERM}
            assert time.monotonic() - begun < 10
        finally:
            for one in agents.values():
                one.kill()
                one.wait()
    held = [site for site in sites if (site / "models" / run / "results.safetensors").exists()]
    assert held
    want, got = simulated(PATIENT, sites), T.flatten(results(held[0], run))
    assert all(np.array_equal(got[name], np.asarray(leaf)) for name, leaf in want.items())
    for site in sites:
        assert ledger.verify(site / "state" / "ledger.jsonl") >= 0
