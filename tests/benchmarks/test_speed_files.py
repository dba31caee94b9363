"""The benchmarks of speed run, and their measures are true; the figures themselves are no test's business."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bare, line, measure
from benchmarks.federation import study, weights
from benchmarks.measure import Relay, Row
from collegium.study import layers, manifest

ROOT = Path(__file__).parents[2]
FIELDS = {"name", "value", "unit", "bare", "ratio", "peak_mb"}


def run(file: str, *options: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "speed" / file), "--json", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(("file", "rows"), [("round.py", 7), ("payload.py", 5), ("log.py", 10), ("secure.py", 6), ("wan.py", 8)])
def test_each_figure_is_one_json_object(file: str, rows: int):
    found = run(file, "--quick")
    assert len(found) == rows
    assert all(row.keys() == FIELDS and (row["value"] > 0 or row["unit"] == "MiB") for row in found)
    assert next((row["value"] for row in found if "bytes as without a limit" in row["name"]), 1) == 1


def test_options_are_explained():
    for path in sorted((ROOT / "benchmarks" / "speed").glob("*.py")):
        done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, check=True)
        assert "--json" in done.stdout


def test_a_row_has_the_ratio_to_the_bare_loop():
    assert Row("x", 3.0, "ms", 1.5, 2.0, "at most 4").document() == {
        "name": "x", "value": 3.0, "unit": "ms", "bare": 1.5, "ratio": 2.0, "peak_mb": 2.0,
    }  # fmt: skip
    assert Row("x", 123456.7, "B").document()["ratio"] is None
    assert Row("x", 123456.7, "B").document()["value"] == 123457


def test_rows_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]):
    measure.show([Row("a", 1.0, "ms"), Row("b", 2.0, "MB", 1.0)], as_json=True)
    assert [json.loads(line)["ratio"] for line in capsys.readouterr().out.splitlines()] == [None, 2.0]
    measure.show([Row("b", 2.0, "MB", 1.0, bar="at most 4")], as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["b", "2", "MB", "1", "2", "at", "most", "4"]


def test_memory_counts_a_process_and_what_it_started():
    child = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE)
    try:
        assert child.stdout
        assert child.stdout.readline()  # it is up
        mine = measure.family(measure.parent_of(child.pid))
        assert child.pid in mine
        assert 1 < measure.pss_mb([child.pid]) < 100
        assert measure.status_mib(child.pid, "VmHWM") >= measure.status_mib(child.pid, "VmRSS") > 1
    finally:
        child.kill()
        child.communicate()
    assert measure.pss_mb([child.pid]) == 0.0


def test_what_is_allocated_is_seen():
    with measure.sampled(lambda: measure.status_mib(0, "VmRSS"), every_s=0.01) as nothing:
        pass
    assert nothing == [0.0]
    me = int(Path("/proc/self").resolve().name)
    with measure.sampled(lambda: measure.status_mib(me, "RssAnon"), every_s=0.01) as seen:
        held = np.ones(8 << 20)  # 64 MiB
        time.sleep(0.1)
    assert held.size
    assert max(seen) - seen[0] > 60


@pytest.mark.network
def test_a_relay_counts_each_direction_and_changes_nothing():
    with socket.create_server(("127.0.0.1", 0)) as far:
        relay = Relay(far.getsockname()[1])
        with socket.create_connection(("127.0.0.1", relay.port)) as near:
            answering, _ = far.accept()
            with answering:
                near.sendall(b"x" * 100_000)
                assert len(answering.recv(100_000, socket.MSG_WAITALL)) == 100_000
                answering.sendall(b"y" * 10)
                assert near.recv(10, socket.MSG_WAITALL) == b"y" * 10
        measure.wait_for("the count", lambda: (relay.up, relay.down) == (100_000, 10), limit_s=5)
        relay.close()


@pytest.mark.network
def test_a_line_has_the_rate_and_the_delay_that_it_says():
    rate, there_and_back = line.measured(40.0, 0.03)
    assert 30 < rate <= 41  # a busy machine may be late, never early
    assert 0.06 <= there_and_back < 0.3


@pytest.mark.network
def test_connections_share_a_line_and_its_bytes_are_counted():
    with socket.create_server(("127.0.0.1", 0)) as far:
        way = line.Line(far.getsockname()[1], mbit=8.0, delay_s=0.0)
        near = [socket.create_connection(("127.0.0.1", way.port)) for _ in range(2)]
        answering = [far.accept()[0] for _ in near]
        began = time.perf_counter()
        for sock in near:
            threading.Thread(target=sock.sendall, args=(bytes(250_000),), daemon=True).start()
        for sock in answering:
            assert len(sock.recv(250_000, socket.MSG_WAITALL)) == 250_000
        assert 0.49 <= time.perf_counter() - began < 2  # half a second for half a megabyte
        assert (way.up.passed, way.down.passed) == (500_000, 0)
        for sock in (*near, *answering):
            sock.close()
        way.close()


@pytest.mark.network
def test_a_line_passes_on_that_an_end_has_gone():
    with socket.create_server(("127.0.0.1", 0)) as far:
        way = line.Line(far.getsockname()[1], mbit=100.0, delay_s=0.01)
        near = socket.create_connection(("127.0.0.1", way.port))
        answering, _ = far.accept()
        answering.sendall(b"last")
        answering.close()
        assert near.recv(10, socket.MSG_WAITALL) == b"last"
        near.close()
        way.close()


@pytest.mark.network
@pytest.mark.parametrize("tls", [True, False])
def test_the_bare_loop_gives_a_time_for_each_round(tls: bool):
    times = bare.rounds(2, 5000, 3_000_000, 3, tls=tls)
    assert len(times) == 3
    assert min(times) > 0


@pytest.mark.parametrize("hidden", [(333,), (1024, 1020), (2048, 2044), (8192, 8188), (8192,) * 5, (8192,) * 9])
def test_the_models_have_the_sizes_that_their_names_say(hidden: tuple[int, ...]):
    shapes = layers.shapes(1, hidden, 1)
    assert weights(hidden) == sum(int(np.prod(shape)) for shape in shapes.values())
    read = manifest.read(study(hidden, 3, 8, moves=True))
    assert read.holding.test == read.holding.validation == 0


def test_waiting_ends_with_the_name_of_what_did_not_come():
    with pytest.raises(TimeoutError, match="the moon did not come"):
        measure.wait_for("the moon", lambda: False, limit_s=0.1)
