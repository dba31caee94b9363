"""The demo as a newcomer runs it: one command, real processes, real patients, exit code 0."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collegium.errors import NotFound
from collegium.simulation import heart

pytestmark = [pytest.mark.slow, pytest.mark.system]


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "collegium.cli", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=cwd)


def test_four_real_hospitals(tmp_path: Path):
    try:
        heart.path()
    except NotFound as e:
        pytest.skip(f"{e}; {e.hint}")
    start = time.monotonic()
    done = run("--folder", tmp_path / "demo", "--json")
    took = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["data"]
    mean, everybody = found["sheet"][:2]
    assert mean["joint"][0] > mean["alone"][0]
    assert everybody["joint"][0] > 0.8
    assert {line["name"] for line in found["sheet"][2:]} == {"cleveland", "hungary", "switzerland", "long-beach"}
    assert all(totals["sums"] > 50 and totals["bytes"] > 0 for totals in found["left"].values())
    assert 0 <= float(found["estimate"]["probability"]) <= 1
    assert "Narrowed coronary arteries" in Path(found["report"]).read_text()
    assert "CC BY 4.0" in found["source"]
    print(f"demo: {took:.0f} s")


def test_an_interrupt_leaves_no_process_behind(tmp_path: Path):
    command = [sys.executable, "-m", "collegium.cli", "demo", "--folder", str(tmp_path / "demo"), *OWN]
    written(tmp_path / "own.csv")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as parent:
        assert parent.stderr
        assert any("started with" in line for line in parent.stderr)
        time.sleep(2)  # by now the workers load
        parent.send_signal(signal.SIGINT)
        parent.stderr.read()
        assert parent.wait(30) == 130
    assert alive(str(tmp_path)) == []


def test_a_demo_that_is_killed_leaves_no_process_behind(tmp_path: Path):
    command = [sys.executable, "-m", "collegium.cli", "demo", "--folder", str(tmp_path / "demo"), *OWN[:-1], "1000"]
    written(tmp_path / "own.csv")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as parent:
        assert parent.stderr
        assert any("fit: round" in line for line in parent.stderr)  # by now the hospitals' workers train
        assert len(alive(str(tmp_path))) > 4
        parent.kill()
    end = time.monotonic() + 20
    while alive(str(tmp_path)) and time.monotonic() < end:
        time.sleep(0.1)
    assert alive(str(tmp_path)) == []


def alive(folder: str) -> list[str]:
    """Processes that were told of this folder, or stand in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            where = str((process / "cwd").readlink())
            state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue  # it ended while we looked
        if (folder in line or where.startswith(folder)) and state != "Z":
            found.append(line)
    return found


OWN = ("--data", "own.csv", "--site-column", "centre", "--target", "ill", "--rounds", "3")


def written(file: Path) -> None:
    rows = [f"{'ABC'[i % 3]},{40 + (i * 7) % 45},{(i * 7) % 45 + (i * 13) % 20 > 32:d}" for i in range(600)]
    file.write_text("\n".join(["centre,age,ill", *rows]) + "\n")


def test_a_file_of_ones_own(tmp_path: Path):
    written(tmp_path / "own.csv")
    done = run("--folder", tmp_path / "demo", *OWN, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "What left each hospital" in done.stdout
