"""`collegium study dictionary`."""

from pathlib import Path

from collegium.study.manifest import EXAMPLE
from tests.cli.speak import speak


def test_the_form_follows_the_file_or_the_word(tmp_path: Path):
    (tmp_path / "study.yaml").write_text(EXAMPLE)
    assert "| age |  | number | years | 0 to 120 |" in speak("study", "dictionary", "study.yaml").out
    assert speak("study", "dictionary", "study.yaml", "--as", "template").out == "patient_id,age,sex,readmitted\n"
    assert speak("study", "dictionary", "study.yaml", "--out", "a.xlsx").out == "excel written to a.xlsx\n"
    assert Path("a.xlsx").stat().st_size > 1000
    assert speak("study", "dictionary", "study.yaml", "--as", "redcap", "--out", "a.csv", "--json").document["data"]["form"] == "redcap"
    assert Path("a.csv").read_text().startswith("Variable / Field Name,")
    assert "wanted .md, .csv, .xlsx" in speak("study", "dictionary", "study.yaml", "--out", "a.doc").err
    assert "--out study.xlsx" in speak("study", "dictionary", "study.yaml", "--as", "excel").err
