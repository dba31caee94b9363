"""The neighbours' benchmarks, as far as they need no neighbour: what is read, asked for, started and ended, and what a row says."""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import measure, peers
from benchmarks.measure import Row
from benchmarks.peers import PEERS, Peer, Started, Work

ROOT = Path(__file__).parents[2]
NOTES = """
import sys, time
for number in range(int(sys.argv[2])):
    with open(sys.argv[1], "a") as file:
        file.write(f"{time.time()}\\n")
    time.sleep(0.3)
"""


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.title)
def test_a_peer_is_pinned_and_brings_no_training_library(peer: Peer):
    pins = dict(line.split("==") for line in peer.requirements.split())
    assert pins.keys() == {peer.package, "numpy"}
    assert peer.name == f"{peer.title} {pins[peer.package]}"


@pytest.mark.parametrize("path", sorted(peers.APPS.glob("*.py")), ids=lambda path: path.name)
def test_an_app_can_be_read_by_any_python_that_we_support(path: Path):
    ast.parse(path.read_text(), feature_version=(3, 11))


def test_moments_that_are_still_being_written_do_not_count():
    assert peers.noted("1.5\n2.5\n3.") == [1.5, 2.5]
    assert peers.noted("") == []


def test_moments_are_found_in_a_log():
    at = time.mktime((2026, 11, 25, 1, 47, 11, 0, 0, -1))
    log = "2026-11-25 01:47:11,696 - FedAvg - INFO - it ends.\nBanner\n2026-11-25 01:47:12,000 - FedAvg - INFO - it begins.\n"
    assert peers.logged(log, "it ends.") == [pytest.approx(at + 0.696)]


def test_an_environment_is_outside_the_repository_and_another_one_for_each_pin(tmp_path: Path):
    assert not peers.CACHE.resolve().is_relative_to(ROOT)
    places = {peers.place(peer, tmp_path) for peer in PEERS}
    assert len(places) == len(PEERS)
    assert all(place.parent == tmp_path for place in places)


def test_a_peers_process_gets_nothing_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "FLWR_HOME"):
        monkeypatch.setenv(name, "/ours")
    monkeypatch.setenv("NO_PROXY", "example.org")
    found = peers.environ(Path("/theirs/bin"), tmp_path, FLWR_HOME="/theirs")
    assert "/ours" not in found.values()
    assert found["FLWR_HOME"] == "/theirs"
    assert found["PATH"].split(os.pathsep)[0] == "/theirs/bin"
    assert found["HOME"] == str(tmp_path)
    assert found["NO_PROXY"] == "example.org,127.0.0.1,localhost"


def test_sites_are_provisioned_for_the_port_that_they_are_to_call():
    found = peers.project(3, 1000, 2000, 3000)
    server, *sites, admin = found["participants"]
    assert (server["fed_learn_port"], server["admin_port"], admin["type"]) == (1000, 3000, "admin")
    assert [site["connect_to"]["port"] for site in sites] == [2000] * 3
    assert len({site["name"] for site in sites}) == 3


def test_processes_are_ended_with_all_that_they_started(tmp_path: Path):
    with peers.ended() as processes:
        processes.append(peers.spawned(["sh", "-c", "sleep 60 & sleep 60"], tmp_path / "log", dict(os.environ)))
        measure.wait_for("its children", lambda: len(measure.family(processes[0].popen.pid)) == 3, limit_s=10)
        found = measure.family(processes[0].popen.pid)
    measure.wait_for("the end", lambda: not any(measure.status_mib(pid, "VmRSS") for pid in found), limit_s=10)


def test_a_process_that_failed_is_named_with_its_last_words(tmp_path: Path):
    process = peers.spawned(["sh", "-c", "echo first; echo no port; echo; exit 3"], tmp_path / "superlink.log", dict(os.environ))
    process.popen.wait()
    with pytest.raises(RuntimeError, match="superlink ended with exit code 3: no port"):
        process.alive()


def test_a_peer_that_fails_is_named_and_leaves_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for peer in PEERS:
        peers.place(peer, tmp_path).mkdir(parents=True)
        (peers.place(peer, tmp_path) / "installed").touch()

    def rows(peer: Peer, programs: Path) -> Iterator[Row]:
        if peer is PEERS[0]:
            raise RuntimeError("no luck")
        yield Row(f"{peer.name}: round", 2.0, "ms", 1.0)

    found = list(peers.each(tmp_path, rows))
    assert [row.document()["ratio"] for row in found] == [2.0] * (len(PEERS) - 1)
    assert f"no figure of {PEERS[0].name}: no luck" in capsys.readouterr().err


@pytest.mark.slow
def test_an_environment_that_pip_cannot_fill_leaves_the_benchmark_of_ours_as_it_was(tmp_path: Path):
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "speed" / "round.py"),
        "--quick",
        "--in-process",
        "--json",
        "--peers",
        str(tmp_path),
    ]
    nothing = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(command, cwd=ROOT, env=nothing, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    for peer in PEERS:
        assert f"no figure of {peer.name}: pip could not install it" in done.stderr


@contextmanager
def stand_in(programs: Path, folder: Path, work: Work, port: int, dialled: int) -> Iterator[Started]:
    """A peer of one process, which waits while the work's moments are written by another."""
    with peers.ended() as processes:
        processes.append(peers.spawned(["sleep", "60"], folder / "server.log", dict(os.environ)))
        submit = [sys.executable, "-c", NOTES, str(folder / "moments"), str(work.kept + 2)]
        yield Started(processes, submit, dict(os.environ), lambda: peers.noted(peers.read(folder / "moments")))


@pytest.mark.network
@pytest.mark.parametrize("counted", [True, False])
def test_rounds_are_timed_without_the_first_and_memory_is_seen(tmp_path: Path, counted: bool):
    peer = Peer("Stand-in", "none", "flower.txt", stand_in)
    seen = peers.run(peer, tmp_path, Work(1, 1, False, 2), peers.coordinator_mib, every_s=0.05, counted=counted)
    assert seen.rounds_s == [pytest.approx(0.3, abs=0.2)] * 2
    assert seen.peak >= seen.idle > 0
    assert seen.passed == 0
