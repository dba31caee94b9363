import json
from pathlib import Path

import pytest

from collegium.data import registry
from collegium.errors import ConflictError, DataError, NotFound, StorageError
from collegium.study import manifest


@pytest.fixture
def stays(tmp_path: Path) -> Path:
    path = tmp_path / "stays.csv"
    path.write_text("mrn,age,sex,readmitted\n1,70,F,1\n")
    return path


def test_a_table_is_named_found_read_and_forgotten(tmp_path: Path, stays: Path):
    home = tmp_path / "site"
    assert registry.listed(home) == []
    registry.add(home, "stays", stays, patient="mrn")
    registry.add(home, "stays", stays, patient="mrn")  # again: the same table
    registry.add(home, "a.second-1", stays)
    assert [source.name for source in registry.listed(home)] == ["a.second-1", "stays"]
    assert registry.find(home, "stays").read(manifest.read(manifest.EXAMPLE)).patient.tolist() == ["1"]
    registry.remove(home, "stays")
    assert [source.name for source in registry.listed(home)] == ["a.second-1"]
    assert stays.exists()


def test_what_cannot_be_added(tmp_path: Path, stays: Path):
    with pytest.raises(DataError, match="'My stays' cannot name a table"):
        registry.add(tmp_path, "My stays", stays)
    with pytest.raises(DataError, match=r"no file 'none\.csv'"):
        registry.add(tmp_path, "stays", tmp_path / "none.csv")
    with pytest.raises(DataError, match="no column 'mnr' for the patient; did you mean 'mrn'"):
        registry.add(tmp_path, "stays", stays, patient="mnr")
    registry.add(tmp_path, "stays", stays)
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    with pytest.raises(ConflictError, match="'stays' names another place"):
        registry.add(tmp_path, "stays", other)


def test_a_name_that_is_not_there_names_the_nearest(tmp_path: Path, stays: Path):
    with pytest.raises(NotFound) as caught:
        registry.find(tmp_path, "stays")
    assert "data add" in caught.value.hint
    registry.add(tmp_path, "stays", stays)
    with pytest.raises(NotFound, match="no table is called 'stay' here; did you mean 'stays'"):
        registry.remove(tmp_path, "stay")


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}', '{"version": 1, "tables": {"a": 3}}', '{"version": 2, "tables": {}}'])
def test_a_damaged_list_is_told(tmp_path: Path, text: str):
    (tmp_path / registry.FILE).write_text(text)
    with pytest.raises(StorageError, match=r"damaged|version 2"):
        registry.listed(tmp_path)


def test_the_list_holds_no_data(tmp_path: Path, stays: Path):
    registry.add(tmp_path, "stays", stays, patient="mrn")
    document = json.loads((tmp_path / registry.FILE).read_text())
    assert document == {"version": 1, "tables": {"stays": {"path": str(stays), "patient": "mrn"}}}
