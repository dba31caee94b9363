import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from collegium.data import registry
from collegium.data.place import Place
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


def test_a_place_is_kept_with_its_options_and_without_a_password(tmp_path: Path, stays: Path, monkeypatch: pytest.MonkeyPatch):
    with closing(sqlite3.connect(tmp_path / "clinic.sqlite")) as made:
        made.execute("create table t (mrn text, age integer, sex text, readmitted integer)")
        made.execute("insert into t values ('7', 70, 'F', 1)")
        made.commit()
    monkeypatch.chdir(tmp_path)
    registry.add(tmp_path, "stays", Place("clinic.sqlite", query="select * from t"), patient="mrn")
    kept = json.loads((tmp_path / registry.FILE).read_text())["tables"]["stays"]
    assert kept == {"path": str(tmp_path / "clinic.sqlite"), "query": "select * from t", "patient": "mrn"}
    source = registry.find(tmp_path, "stays")
    assert source.place == Place(str(tmp_path / "clinic.sqlite"), query="select * from t")
    assert source.read(manifest.read(manifest.EXAMPLE))["age"].tolist() == [70]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"table": "t"}, "stays.csv is no database, so --table says nothing of it"),
        ({"password_file": "/x"}, "so --password-file says nothing of it"),
        ({"panel": "/x"}, "is no .h5ad file, so --panel says nothing of it"),
        ({"view": "omop/none"}, "there is no view 'omop/none'"),
    ],
)
def test_options_that_say_nothing_of_a_place_are_refused(tmp_path: Path, stays: Path, options: dict[str, str], says: str):
    with pytest.raises(DataError, match=says):
        registry.add(tmp_path, "stays", Place(str(stays), **options))
    assert registry.listed(tmp_path) == []
