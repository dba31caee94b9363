"""`collegium data map`: a draft, and a try."""

from pathlib import Path

import pytest

from collegium.data import registry
from collegium.study.manifest import EXAMPLE
from tests.cli.speak import speak


@pytest.fixture
def site(tmp_path: Path) -> Path:
    rows = [f"p{k};{k % 28 + 1:02}.01.{1930 + k % 60};05.06.2020;{'WM'[k % 2]};{'ja' if k % 3 else 'nein'}" for k in range(60)]
    (tmp_path / "stays.csv").write_text("\n".join(["mrn;geboren;aufnahme;geschlecht;wiederaufnahme", *rows]) + "\n")
    (tmp_path / "study.yaml").write_text(EXAMPLE)
    (tmp_path / "site").mkdir()
    registry.add(tmp_path / "site", "stays", tmp_path / "stays.csv", patient="mrn")
    return tmp_path / "site"


def test_a_draft_is_written_tried_and_used(site: Path):
    there = ("--folder", site)
    before = speak("data", "map", "stays", "study.yaml", *there)
    assert (before.code, "not in the table" in before.out) == (1, True)
    out = site / "mappings" / "stays.yaml"
    assert speak("data", "map", "stays", "study.yaml", "--suggest", "--out", out, *there).code == 0
    assert "exists" in speak("data", "map", "stays", "study.yaml", "--suggest", "--out", out, *there).err
    assert "values: {ja: 1, nein: 0}" in out.read_text()
    tried = speak("data", "map", "stays", "study.yaml", "--check", *there)
    assert tried.code == 0, tried.err
    assert "from geboren until aufnahme" in tried.out
    document = speak("data", "map", "stays", "study.yaml", *there, "--json").document["data"]
    assert [(row["variable"], row["known"]) for row in document["variables"]] == [("age", 60), ("sex", 60), ("readmitted", 60)]
    assert speak("data", "check", "stays", "study.yaml", *there).code == 0


def test_a_file_and_rules_that_a_study_does_not_ask_for(site: Path):
    Path("m.yaml").write_text(
        "dates: DD.MM.YYYY\ncolumns:\n  age: {from: geboren, until: aufnahme}\n  bmi: {from: mrn}\n  weight: {sql: 1 + 1}\n"
    )
    spoken = speak("data", "map", "stays.csv", "study.yaml", "--mapping", "m.yaml", "--patient", "mrn")
    assert spoken.code == 1
    assert "this study does not ask for: bmi, weight" in spoken.out
    assert speak("data", "map", "stays.csv", "study.yaml", "--suggest").out.startswith("# A draft for 'stays.csv'")
