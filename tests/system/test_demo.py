"""The demo as a newcomer runs it: one command, real processes, real patients, exit code 0."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collegium.errors import NotFound
from collegium.simulation import heart

pytestmark = [pytest.mark.slow, pytest.mark.system]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "collegium.cli", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


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


def test_a_file_of_ones_own(tmp_path: Path):
    rows = [f"{'ABC'[i % 3]},{40 + (i * 7) % 45},{(i * 7) % 45 + (i * 13) % 20 > 32:d}" for i in range(600)]
    (tmp_path / "own.csv").write_text("\n".join(["centre,age,ill", *rows]) + "\n")
    done = run("--folder", tmp_path / "demo", "--data", tmp_path / "own.csv", "--site-column", "centre", "--target", "ill", "--rounds", 3)
    assert done.returncode == 0, done.stderr
    assert "What left each hospital" in done.stdout
