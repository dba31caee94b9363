"""A manifest from a file's columns can be read, mended and run; a hospital's view of a manifest."""

from pathlib import Path

import pytest

from collegium.study import manifest
from tests.cli.speak import speak

ROWS = ["patient_id,age,ward,note,ill"] + [f"p{i},{50 + i % 30},{'AB'[i % 2]},text {i},{i % 3 == 0:d}" for i in range(60)]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(ROWS) + "\n")
    return file


def test_a_file_becomes_a_draft_that_can_be_run(rows: Path, tmp_path: Path):
    out = tmp_path / "mine.yaml"
    spoken = speak("study", "new", "--data", rows, "--out", out)
    assert spoken.code == 0, spoken.err
    study = manifest.read(out.read_text())
    assert study.features == ("age", "ward")
    assert study.patient == "patient_id"
    assert study.variables["ward"].categories == ("A", "B")
    assert "left out: seems to be free text" in out.read_text()
    assert speak("study", "new", "--data", rows, "--out", out).code == 7
    assert speak("study", "new", "--data", rows, "--target", "age", "--out", out, "--yes").code == 0
    assert manifest.read(out.read_text()).outcome.task == "regression"
    assert "note" in speak("study", "new", "--data", rows, "--target", "note", "--out", out, "--yes").err


def test_a_draft_may_grow_trees(rows: Path, tmp_path: Path):
    out = tmp_path / "trees.yaml"
    assert speak("study", "new", "--data", rows, "--kind", "trees", "--out", out).code == 0
    assert manifest.read(out.read_text()).method.kind == "trees"
    assert speak("study", "new", "--template", "readmission", "--kind", "trees", "--out", out, "--yes").code == 0
    method = manifest.read(out.read_text()).method
    assert (method.kind, method.recipe) == ("trees", "readmission")
    spoken = speak("study", "check", out, "--json").document["data"]
    assert [(one["name"], one["rounds"]) for one in spoken["stages"]] == [("features", 2), ("bins", 3), ("fit", 401), ("compare", 2)]


@pytest.mark.parametrize("template", ["tabular", "readmission"])
def test_templates_can_be_checked(template: str, tmp_path: Path):
    out = tmp_path / "study.yaml"
    assert speak("study", "new", "--template", template, "--out", out).code == 0
    spoken = speak("study", "check", out, "--json")
    assert spoken.code == 0
    assert spoken.document["data"]["study"] == manifest.digest(manifest.read(out.read_text()))
    assert [one["name"] for one in spoken.document["data"]["stages"]] == ["features", "fit", "compare"]


def test_a_slip_of_the_pen_is_named(tmp_path: Path):
    file = tmp_path / "study.yaml"
    variables = "variables: {a: {kind: number}, b: {kind: binary}}\noutcome: {task: binary, target: b}\n"
    file.write_text(f"title: x\npurpose: y\n{variables}method: {{kind: glm, rigde: 1}}\n")
    spoken = speak("study", "check", file)
    assert spoken.code == 2
    assert "did you mean 'ridge'" in spoken.err


@pytest.mark.parametrize("kind", ["cox", "survival"])
def test_a_study_of_survival_can_be_drafted(kind: str, rows: Path, tmp_path: Path):
    out = tmp_path / "study.yaml"
    assert speak("study", "new", "--kind", kind, "--out", out).code == 0
    study = manifest.read(out.read_text())
    assert (study.method.kind, study.outcome.time) == (kind, "days")
    assert speak("study", "check", out).code == 0
    spoken = speak("study", "new", "--kind", kind, "--data", rows, "--time", "age", "--target", "ill", "--out", out, "--yes")
    assert spoken.code == 0, spoken.err
    study = manifest.read(out.read_text())
    assert study.outcome.columns == ("age", "ill")
    assert study.variables["age"].high == 80  # beyond all, and nobody's own
    assert study.parted == ("ward" if kind == "survival" else "")
    assert "--time COLUMN" in speak("study", "new", "--kind", kind, "--data", rows, "--out", out, "--yes").err
    assert (
        "yes or no" in speak("study", "new", "--kind", kind, "--data", rows, "--time", "age", "--target", "note", "--out", out, "--yes").err
    )


def test_a_regression_can_be_drafted(rows: Path, tmp_path: Path):
    out = tmp_path / "study.yaml"
    for more in (("--data", rows), ()):
        assert speak("study", "new", "--kind", "glm", *more, "--out", out, "--yes").code == 0
        assert manifest.read(out.read_text()).method.kind == "glm"
