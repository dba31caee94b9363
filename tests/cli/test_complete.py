"""What the shell offers where a name is asked for; nothing, and in silence, where nobody answers."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collegium.cli import complete, settings
from collegium.cli.household import Household
from collegium.coordinator import founding
from collegium.data import registry
from tests.cli.speak import offered


def test_commands_are_offered_without_loading_them():
    code = "import sys; from collegium.cli import main\ntry: main()\nfinally: print(*sorted(sys.modules), file=sys.stderr)"
    told = {**os.environ, "_COLLEGIUM_COMPLETE": "zsh_complete", "COMP_WORDS": "collegium s", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[1::3] == ["site", "study", "simulate"]
    assert "numpy" not in done.stderr.split()
    assert offered("study", "wa") == ["watch"]
    assert offered("study", "watch", "--j") == ["--jsonl", "--json"]


def test_files_are_the_shells_own_affair():
    assert offered("study", "start", "--key", "op") == ["<file>"]
    assert offered("model", "show", "m") == ["<dir>"]
    assert offered("study", "check", "s") == ["<file>"]
    Path("study.yaml").touch()
    Path("notes.txt").touch()
    assert offered("study", "start", "") == ["study.yaml"]
    assert offered("study", "start", "no") == ["<file>"]


def test_tables_and_folders_are_found_on_this_machine(tmp_path: Path):
    for name in ("east", "west"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "site.toml").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "patients.csv").write_text("age\n1\n")
    registry.add(tmp_path / "east", "patients", tmp_path / "patients.csv")
    assert offered("data", "check", "--folder", tmp_path / "east", "p") == ["patients"]
    assert offered("data", "check", "--folder", tmp_path / "east", "x") == ["<file>"]
    assert offered("data", "remove", "--folder", tmp_path / "west", "") == []
    assert offered("site", "serve", "--folder", "") == ["east", "west"]
    assert offered("site", "serve", "--folder", f"{tmp_path}/w") == [f"{tmp_path}/west"]
    assert offered("study", "list", "--folder", "o") == ["<dir>"]
    settings.remember("site", tmp_path / "east")
    assert offered("data", "list", "--folder", "/") == [str(tmp_path / "east")]
    assert offered("data", "remove", "pat") == ["patients"]


def test_where_nobody_answers_nothing_is_offered_soon_and_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert offered("study", "watch", "") == []  # no coordinator is set up
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it takes the connection, and never says a word
        founding.init(tmp_path / "hub", f"https://127.0.0.1:{deaf.getsockname()[1]}", "Trial")
        began = time.monotonic()
        assert offered("study", "watch", "--folder", tmp_path / "hub", "") == []
        assert time.monotonic() - began < complete.WAIT_S + 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.system
def test_the_coordinator_is_asked_for_the_hospitals(house: Household):
    there = ("--folder", house.hub)
    assert "north" in offered("study", "start", *there, "--site", "n")
