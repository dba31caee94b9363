import os
import subprocess
import sys

import pytest

from collegium.errors import ConflictError, NotFound
from collegium.site import state
from collegium.site.config import Config, save
from collegium.site.ledger import Ledger


@pytest.fixture
def home(tmp_path):
    save(Config(tmp_path, "https://hub.example", "ab" * 32, "leeds", "Test"))
    return tmp_path


def test_one_agent_a_folder(home):
    assert not state.running(home)
    held = state.only_one(home)
    assert state.running(home)
    with pytest.raises(ConflictError, match="an agent already runs"):
        state.only_one(home)
    os.close(held)
    assert not state.running(home)


def test_pausing_is_a_word_that_stays(home):
    state.pause(home)
    assert state.paused(home)
    state.resume(home)
    state.resume(home)
    assert not state.paused(home)


def test_status_tells_who_what_and_what_has_left(home):
    ledger = Ledger(home / "state" / "ledger.jsonl")
    ledger.append("sum", run="r", bytes=100)
    ledger.append("sum", run="r", bytes=20)
    ledger.close()
    state.publish(home, {"pid": 1, "contact": "2026-11-21T10:00:00Z", "runs": {"r": {"round": 2}}})
    found = state.status(home)
    assert (found["site"], found["running"], found["paused"]) == ("leeds", False, False)
    assert (found["left"]["sums"], found["left"]["bytes"]) == (2, 120)
    assert found["runs"] == {"r": {"round": 2}}


def test_status_tells_why_a_run_was_left(home):
    (home / "state").mkdir()
    refused = {"title": "Stays", "status": "left", "says": "study 'Stays' reads smoker", "detail": ""}
    state.publish(home, {"pid": 1, "runs": {"r": refused, "s": {"status": "finished", "says": "finished"}}})
    assert state.status(home)["trouble"] == "no part in 'Stays': study 'Stays' reads smoker"


def test_stop_ends_the_process_that_holds_the_folder(home):
    code = (
        "import sys, time; from pathlib import Path; from collegium.site import state; import os\n"
        "folder = Path(sys.argv[1]); held = state.only_one(folder); state.publish(folder, {'pid': os.getpid()})\n"
        "print(flush=True); time.sleep(30)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        state.stop(home)
        assert other.wait() == -15
    with pytest.raises(NotFound, match="no agent runs"):
        state.stop(home)


def test_a_folder_that_is_no_site(tmp_path):
    with pytest.raises(NotFound):
        state.pause(tmp_path)
    assert state.last(tmp_path) == {}
