"""Every test of the command line has a configuration folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from collegium.cli.household import Household

STUDY = """
title: Age and outcome
purpose: A test.
variables: {age: {kind: number}, ill: {kind: binary}}
outcome: {task: binary, target: ill}
method: {kind: glm}
held_out: {test: 3, validation: 0}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """A coordinator and three hospitals as processes, a study file beside them; the agents end after one run."""
    rng = np.random.default_rng(6)
    with Household(tmp_path_factory.mktemp("house"), "Trial") as found:
        (found.folder / "study.yaml").write_text(STUDY)
        found.open()
        for name, patients in (("east", 160), ("north", 140), ("west", 120)):
            age = rng.normal(60, 10, patients)
            ill = rng.random(patients) < 1 / (1 + np.exp(-(age - 60) / 6))
            rows = [f"{a:.1f},{y:d}" for a, y in zip(age, ill, strict=True)]
            (found.folder / f"{name}.csv").write_text("\n".join(["age,ill", *rows]) + "\n")
            found.settle(name, "patients", found.folder / f"{name}.csv", 3)
            found.begin(name)
        yield found
