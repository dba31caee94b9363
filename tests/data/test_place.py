"""Addresses of tables: what is kept of them, and what is refused."""

from pathlib import Path

import pytest

from collegium.data.place import Place, place_of, resolved
from collegium.errors import DataError


@pytest.mark.parametrize(
    ("path", "kind", "label"),
    [
        ("/a/t.csv.gz", "file", "t.csv.gz"),
        ("/a/t.SQLITE", "sqlite", "t.SQLITE"),
        ("/a/t.db", "sqlite", "t.db"),
        ("/a/t.duckdb", "duckdb", "t.duckdb"),
        ("/a/t.h5ad", "cells", "t.h5ad"),
        ("/a/folder", "file", "folder"),
        ("postgresql://me@db.example:5433/my%20clinic?sslmode=require", "postgresql", "database 'my clinic' at db.example"),
        ("postgres:///clinic", "postgresql", "database 'clinic' at this machine"),
    ],
)
def test_the_kind_and_the_name_of_a_place(path: str, kind: str, label: str):
    assert (Place(path).kind, Place(path).label) == (kind, label)
    assert place_of(Path(path)) == place_of(Place(path)) == Place(path) or "://" in path


def test_paths_are_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert resolved("t.csv") == str(tmp_path / "t.csv")
    assert resolved(f"sqlite://{tmp_path}/my%20file.sqlite") == str(tmp_path / "my file.sqlite")
    assert resolved("postgresql://me@db.example/clinic?sslmode=require") == "postgresql://me@db.example/clinic?sslmode=require"


@pytest.mark.parametrize("address", ["postgresql://me:geheim@db.example/c", "postgres://db.example/c?user=me&password=geheim"])
def test_a_password_in_an_address_is_refused_and_not_shown(address: str):
    with pytest.raises(DataError, match="holds a password, which would be kept and shown") as caught:
        resolved(address)
    assert "geheim" not in str(caught.value) + caught.value.hint
    assert "--password-file" in caught.value.hint


def test_an_unknown_scheme_names_those_that_are_read():
    with pytest.raises(DataError, match=r"addresses mysql:// are not read; wanted postgresql://, postgres://, sqlite://, duckdb://"):
        resolved("mysql://db/c")
