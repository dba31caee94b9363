"""Processes that end with their household."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collegium.cli.household import Household
from collegium.errors import RunError

CODE = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests under nohup ignores it, and so would this process
from collegium.cli.household import Household
with Household(Path(sys.argv[1]), "Trial") as house:
    house.open()
    print(house.processes["coordinator"].pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_outlives_its_parent(number: signal.Signals, tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", CODE, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        assert parent.wait(15) != 0
    end = time.monotonic() + 12
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_process_that_fails_is_told_with_its_last_words(tmp_path: Path):
    with Household(tmp_path, "Trial") as house:
        house.start("broken", "stduy")
        house.processes["broken"].wait(10)
        with pytest.raises(RunError, match="the process of broken ended: hint"):
            house.alive()
