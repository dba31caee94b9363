"""`collegium model`: a model saved by a simulation is found, read and used."""

import json
from pathlib import Path

import numpy as np
import pytest

from collegium.cli.model import shortened
from collegium.client.simulate import simulate
from tests.cli.speak import at_terminal, speak

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


def test_boosted_trees_are_written_for_xgboost(model: Path):
    age, sex = RNG.normal(60, 10, 300), np.where(np.arange(300) % 3 == 0, "F", "M")
    rows = {"age": age, "sex": sex, "ill": (RNG.random(300) < 1 / (1 + np.exp(-(age - 60) / 6))).astype(float)}
    variables = {**STUDY["variables"], "sex": {"kind": "category", "categories": ["F", "M"]}}
    simulate({**STUDY, "variables": variables, "method": {"kind": "trees", "trees": 5}}, {"a": rows, "b": rows}).save(
        model.parent / "trees"
    )
    spoken = speak("model", "export", model.parent / "trees", "--out", "trees.json", "--json")
    assert spoken.code == 0, spoken.err
    assert spoken.document["data"] == {"file": "trees.json", "categories": {"sex": ["F", "M", "other"]}}
    assert json.loads(Path("trees.json").read_text())["learner"]["feature_names"] == ["age", "sex"]
    assert "What it goes by" in speak("model", "show", model.parent / "trees").out
    Path("new.csv").write_text("age,sex\n30,F\n90,M\n")
    first, second = speak("model", "use", model.parent / "trees", "--data", "new.csv", "--json").document["data"]["rows"]
    assert float(first["probability"]) < float(second["probability"])
    refused = speak("model", "export", model)
    assert refused.code == 2
    assert "no boosted trees" in refused.err


def test_a_headline_is_shortened_by_whole_words(model: Path):
    assert shortened("word " * 12 + "end") == "word " * 11 + "..."
    assert shortened("Nobody was held out.") == "Nobody was held out."


def test_on_a_narrow_terminal_a_path_is_whole_and_no_word_is_cut(model: Path):
    seen = at_terminal("model", "list", model.parent, columns=60)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in seen.splitlines() if line.startswith("│")]
    columns = list(zip(*rows, strict=True))
    assert "".join(columns[0]) == str(model)
    headline = json.loads((model / "card.json").read_text())["quality"]["headline"]
    assert " ".join(columns[3]).strip() == shortened(headline)
    assert {len(line) for line in seen.splitlines() if line.startswith("│")} == {60}


def test_a_folder_without_a_model_is_said(tmp_path: Path):
    assert "no model" in speak("model", "list", tmp_path).out
    assert speak("model", "show", tmp_path).code == 6
