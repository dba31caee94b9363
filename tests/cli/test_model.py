"""`collegium model`: a model saved by a simulation is found, read and used."""

from pathlib import Path

import numpy as np
import pytest

from collegium.client.simulate import simulate
from tests.cli.speak import speak

RNG = np.random.default_rng(8)
STUDY = {
    "title": "Age",
    "purpose": "A test.",
    "variables": {"age": {"kind": "number", "low": 0, "high": 120}, "ill": {"kind": "binary"}},
    "outcome": {"task": "binary", "target": "ill"},
    "method": {"kind": "glm"},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    age = RNG.normal(60, 10, 300)
    rows = {"age": age, "ill": (RNG.random(300) < 1 / (1 + np.exp(-(age - 60) / 6))).astype(float)}
    simulate(STUDY, {"a": rows, "b": rows}).save(tmp_path / "models" / "age")
    return tmp_path / "models" / "age"


def test_a_model_is_listed_read_and_used(model: Path):
    assert speak("model", "list", "models", "--json").document["data"]["models"] == [{"folder": "models/age", "title": "Age"}]
    assert "Research use only" in speak("model", "show", model).out
    Path("new.csv").write_text("age\n30\n60\n90\n430\n")
    spoken = speak("model", "use", model, "--data", "new.csv", "--json")
    assert spoken.code == 0, spoken.err
    rows = spoken.document["data"]["rows"]
    chances = [float(row["probability"]) for row in rows[:3]]
    assert chances == sorted(chances)
    assert "out of range" in rows[3]["note"]
    assert speak("model", "use", model, "--data", "new.csv", "--out", "scored.csv").code == 0
    assert len(Path("scored.csv").read_text().splitlines()) == 5


def test_a_folder_without_a_model_is_said(tmp_path: Path):
    assert "no model" in speak("model", "list", tmp_path).out
    assert speak("model", "show", tmp_path).code == 6
