"""A child that ends with whoever holds the other end of its standard input."""

import signal
import subprocess
import sys
from pathlib import Path

from collegium.cli.household import LOOPBACK, free_port
from collegium.coordinator import founding

TETHERED = [sys.executable, "-m", "collegium.cli.tethered"]


def test_it_is_the_command_line():
    with subprocess.Popen([*TETHERED, "version"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert "collegium" in child.stdout.read()
        assert child.wait(10) == 0  # though the tether still holds


def test_a_server_ends_as_when_it_is_told_to_when_the_other_end_is_gone(tmp_path: Path):
    port = free_port()
    founding.init(tmp_path / "hub", f"https://{LOOPBACK}:{port}", "Trial")
    command = [*TETHERED, "coordinator", "serve", "--folder", str(tmp_path / "hub"), "--host", LOOPBACK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stderr
        assert child.stderr.readline()  # it speaks: it serves
        child.stdin.close()
        assert child.wait(8) in (0, -signal.SIGTERM), child.stderr.read()  # not the hard end, which comes later
