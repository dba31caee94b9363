"""Sites of one machine that share their code in memory."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.site.federation import STUDY, federated, until
from tests.site.test_agent import submit

pytestmark = [pytest.mark.network, pytest.mark.slow]
NURSERY = """
import sys
from pathlib import Path
from collegium.site.nursery import serve_all
sys.exit(serve_all([Path(each) for each in sys.argv[2:]], environ={}, version="1", runs=int(sys.argv[1])))
"""


def started(runs, sites):
    return subprocess.Popen([sys.executable, "-c", NURSERY, str(runs), *map(str, sites)], stderr=subprocess.PIPE, text=True)


def private_kib(pid):
    """What a process alone has in memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))


def test_a_study_with_shared_agents_and_workers(tmp_path):
    with federated(tmp_path) as hub:
        sites = [hub.site(tmp_path, name) for name in ("leeds", "york", "hull")]
        run = submit(hub, STUDY, sites)
        with started(1, sites) as mother:
            assert hub.end(run)["status"] == "finished"
            assert mother.wait(20) == 0, mother.stderr.read()
            said = mother.stderr.read()
    assert all((site / "models" / run / "results.safetensors").exists() for site in sites)
    assert said.count("is finished") == 3


def test_the_word_to_stop_reaches_all_and_an_agent_costs_little(tmp_path):
    with federated(tmp_path) as hub:
        sites = [hub.site(tmp_path, name) for name in ("leeds", "york")]
        with started(0, sites) as mother:
            children = Path(f"/proc/{mother.pid}/task/{mother.pid}/children")
            until(lambda: len(children.read_text().split()) == 2)
            until(lambda: all((site / "state" / "agent.json").exists() for site in sites))
            assert all(private_kib(pid) < 20_000 for pid in children.read_text().split())
            begun = time.monotonic()
            mother.send_signal(signal.SIGTERM)
            assert mother.wait(10) == 0
            assert time.monotonic() - begun < 5
            mother.stderr.read()


def test_an_agent_that_fails_is_counted(tmp_path):
    with started(1, [tmp_path / "nowhere"]) as mother:
        assert mother.wait(20) == 1
        assert "not a site's folder" in mother.stderr.read()
