"""OMOP databases that lack something, and real ones."""

import gzip
import shutil
import zipfile
from pathlib import Path

import pytest

from collegium.data import omop
from collegium.data.place import Place
from collegium.errors import DataError
from tests import records
from tests.data.test_views import SECRET, rows, world
from tests.datasets import dataset


def test_the_names_of_both_versions_are_known():
    has = {name: frozenset(names) for name, (names, _) in records.omop(world(), "5.3").items()}
    assert "admitting_source_concept_id as bigint) as admitted_from_concept_id" in omop.uniform(
        "visit_occurrence", "v", has["visit_occurrence"]
    )
    assert omop.uniform("death", "", frozenset()).endswith("where false)")


def test_concept_ancestors_tell_what_snomed_codes_do_not(tmp_path: Path):
    tables = records.omop(world())
    names, found = tables["condition_occurrence"]
    tables["condition_occurrence"] = (names, [(*row[:3], 44782718, 0, *row[5:]) for row in found])
    tables["concept"][1].append((44782718, "SNOMED", "703274001"))
    tables["concept_ancestor"] = (("ancestor_concept_id", "descendant_concept_id"), [(316139, 44782718), (134057, 44782718)])
    records.write_duckdb(tmp_path / "hospital.duckdb", tables)
    got = rows(Place(str(tmp_path / "hospital.duckdb"), view="omop/readmission"), "primary_diagnosis")
    assert sorted(str(row["primary_diagnosis"]) for row in got) == ["heart failure", "heart failure", "other"]


@pytest.mark.parametrize(
    ("table", "column", "says"),
    [
        ("visit_occurrence", "", "no table 'visit_occurrence': no OMOP CDM is there"),
        ("person", "year_of_birth", "table 'person' has no column 'year_of_birth'"),
    ],
)
@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "csv"])
def test_what_an_omop_database_lacks_is_named(kind: str, table: str, column: str, says: str, tmp_path: Path):
    tables = records.omop(world())
    if column:
        names, found = tables[table]
        at = names.index(column)
        tables[table] = (names[:at] + names[at + 1 :], [row[:at] + row[at + 1 :] for row in found])
    else:
        del tables[table]
    path = tmp_path / {"duckdb": "x.duckdb", "sqlite": "x.sqlite", "csv": "x"}[kind]
    {"duckdb": records.write_duckdb, "sqlite": records.write_sqlite, "csv": records.write_csv}[kind](path, tables)
    with pytest.raises(DataError, match=says):
        rows(Place(str(path), view="omop/readmission"))


def test_tables_that_may_be_missing_are_empty(tmp_path: Path):
    tables = {
        name: table for name, table in records.omop(world()).items() if name in ("person", "visit_occurrence", "condition_occurrence")
    }
    records.write_duckdb(tmp_path / "x.duckdb", tables)
    got = rows(Place(str(tmp_path / "x.duckdb"), view="omop/readmission"), "medications", "hba1c", "diagnoses")
    assert {row["medications"] for row in got} == {0}
    assert {row["hba1c"] for row in got} == {"not measured"}
    assert 3 in {row["diagnoses"] for row in got}


def test_a_value_that_is_no_date_is_told_without_being_shown(tmp_path: Path):
    tables = records.omop(world())
    names, found = tables["visit_occurrence"]
    tables["visit_occurrence"] = (names, [(*row[:3], SECRET, *row[4:]) for row in found])
    records.write_csv(tmp_path / "x", tables)
    with pytest.raises(DataError, match="cannot be read") as caught:
        rows(Place(str(tmp_path / "x"), view="omop/readmission"))
    assert SECRET not in str(caught.value) + caught.value.hint


@pytest.mark.slow
def test_the_shared_omop_samples_are_read(tmp_path: Path):
    folder = dataset("omop")
    with gzip.open(folder / "eunomia.duckdb.gz") as packed, (tmp_path / "eunomia.duckdb").open("wb") as file:
        shutil.copyfileobj(packed, file)
    got = rows(Place(str(tmp_path / "eunomia.duckdb"), view="omop/readmission"), "age", "readmitted")
    assert len(got) > 500
    assert min(int(row["age"]) for row in got) >= 18
    with zipfile.ZipFile(folder / "Synthea27Nj_5.4.zip") as packed:
        packed.extractall(tmp_path / "synthea")
    got = rows(Place(str(tmp_path / "synthea"), view="omop/readmission"), "age", "lab_tests")
    assert len(got) > 5
