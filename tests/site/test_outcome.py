"""What came out of a run is kept whole, and again changes nothing."""

import json

import pytest

from collegium.errors import StorageError
from collegium.site import outcome


def test_results_study_and_line_lie_side_by_side_and_again_changes_nothing(tmp_path):
    source = tmp_path / "blob"
    source.write_bytes(b"results")
    for _ in range(2):
        outcome.keep(tmp_path / "models" / "r", source, {"title": "T"}, {"gain": "0.1"}, first="5f0c")
        found = {path.name: path.read_bytes() for path in (tmp_path / "models" / "r").iterdir()}
        assert found.keys() == {"results.safetensors", "study.json", "line.json", "run.json"}
        assert found["results.safetensors"] == b"results"
        assert json.loads(found["study.json"]) == {"title": "T"}
        assert json.loads(found["line.json"]) == {"gain": "0.1"}
        assert json.loads(found["run.json"]) == {"first": "5f0c"}


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "models").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="cannot be written") as caught:
        outcome.keep(tmp_path / "models" / "r", tmp_path / "blob", {}, {})
    assert "room" in caught.value.hint


def test_what_was_kept_before_stays_whole_where_the_new_cannot_be_written(tmp_path):
    source, folder = tmp_path / "blob", tmp_path / "models" / "r"
    source.write_bytes(b"results")
    outcome.keep(folder, source, {"title": "T"}, {})
    (folder / "study.json.part").mkdir()
    with pytest.raises(StorageError, match=r"study\.json cannot be written"):
        outcome.keep(folder, source, {"title": "another"}, {})
    (folder / "results.part").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        outcome.keep(folder, source, {"title": "T"}, {})
    assert (folder / "results.safetensors").read_bytes() == b"results"
    assert json.loads((folder / "study.json").read_text()) == {"title": "T"}


def test_results_that_are_not_there_are_said(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        outcome.keep(tmp_path / "models" / "r", tmp_path / "blob", {}, {})
    assert not (tmp_path / "models" / "r" / "results.safetensors").exists()
