"""What came out of a run is kept whole, and again changes nothing."""

import json

import pytest

from collegium.errors import StorageError
from collegium.site import outcome


def test_results_study_and_line_lie_side_by_side_and_again_changes_nothing(tmp_path):
    source = tmp_path / "blob"
    source.write_bytes(b"results")
    for _ in range(2):
        outcome.keep(tmp_path / "models" / "r", source, {"title": "T"}, {"gain": "0.1"})
        found = {path.name: path.read_bytes() for path in (tmp_path / "models" / "r").iterdir()}
        assert found.keys() == {"results.safetensors", "study.json", "line.json"}
        assert found["results.safetensors"] == b"results"
        assert json.loads(found["study.json"]) == {"title": "T"}
        assert json.loads(found["line.json"]) == {"gain": "0.1"}


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "models").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="cannot be written") as caught:
        outcome.keep(tmp_path / "models" / "r", tmp_path / "blob", {}, {})
    assert "room" in caught.value.hint
