"""The readmission table, made from OMOP databases of every kind and from FHIR exports: the same for the same records."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collegium.data import sources, views
from collegium.data.place import Place
from collegium.errors import DataError
from tests import records, servers
from tests.records import World

SECRET = "Mustermann"
Row = dict[str, object]


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.postgresql() as running:
        yield running


def rows(place: Place, *columns: str) -> list[Row]:
    header, batches = sources.load(place, columns or sources.load(place, [])[0])
    assert header == sources.load(place, [])[0]
    out: list[Row] = []
    for batch in batches:
        names = list(batch)
        out += [dict(zip(names, values, strict=True)) for values in zip(*(batch[name].to_pylist() for name in names), strict=True)]
    return out


def made(kind: str, folder: Path, world: World, ask: Callable[[], servers.Server]) -> Place:
    """A hospital of some kind with these records."""
    tables = records.omop(world, "5.3" if kind == "duckdb" else "5.4")
    if kind == "duckdb":
        records.write_duckdb(folder / "hospital.duckdb", tables, "cdm")
        return Place(str(folder / "hospital.duckdb"), schema="cdm", view="omop/readmission")
    if kind == "sqlite":
        records.write_sqlite(folder / "cdm.sqlite", tables)
        return Place(str(folder / "cdm.sqlite"), view="omop/readmission")
    if kind in ("csv", "parquet"):
        {"csv": records.write_csv, "parquet": records.write_parquet}[kind](folder / "cdm", tables)
        return Place(str(folder / "cdm"), view="omop/readmission")
    if kind == "fhir":
        records.write_fhir(folder / "bulk", records.fhir(world))
        return Place(str(folder / "bulk"), view="fhir/readmission")
    name = f"w{abs(hash(str(folder)))}"
    records.write_postgresql(ask(), tables, name, "cdm")
    secret = folder / "secret"
    secret.write_text(servers.PASSWORD)
    secret.chmod(0o600)
    return Place(ask().address(name), schema="cdm", view="omop/readmission", password_file=str(secret))


KINDS = ("duckdb", "sqlite", "csv", "parquet", "postgresql", "fhir")
BEGINNING = [(90, 9, "outpatient", "2019-01-01", "2019-01-01", "", ""), (91, 9, "outpatient", "2021-12-31", "2021-12-31", "", "")]
NOBODY = [(9, "1950-01-01", "F", "")]  # whose visits only say from when to when records go


def world() -> World:
    """Patient 1 comes back after 12 days, planned for nothing; 2 does not come back within 30; each detail has its reason below."""
    return World(
        people=[*NOBODY, (1, "1950-06-15", "F", ""), (2, "1960-01-31", "M", "2021-08-01")],
        visits=[
            *BEGINNING,
            (1, 1, "emergency", "2020-03-01", "2020-03-01", "", ""),  # the way in; not of the year before
            (2, 1, "inpatient", "2020-03-01", "2020-03-05", "", "other hospital"),
            (3, 1, "inpatient", "2020-03-05", "2020-03-10", "transfer", "nursing facility"),  # one admission with visit 2
            (4, 1, "emergency", "2019-06-01", "2019-06-01", "", ""),
            (5, 1, "outpatient", "2019-03-01", "2019-03-01", "", ""),  # 366 days before: too early (2020 is a leap year)
            (6, 1, "outpatient", "2019-03-02", "2019-03-02", "", ""),  # 365 days before: counts
            (7, 1, "inpatient", "2020-03-22", "2020-03-24", "", "home"),  # 12 days after
            (8, 2, "inpatient", "2020-05-01", "2020-05-04", "referral", ""),
            (10, 2, "inpatient", "2020-06-04", "2020-06-05", "", "died"),  # 31 days after; ends in death
        ],
        conditions=[
            (1, 3, "2020-03-06", "I50.9", True), (1, 2, "2020-03-02", "E11.9", False), (1, 3, "2020-03-11", "C50.1", True),  # after
            (1, 2, "2020-03-02", "E11.9", False), (1, 3, "2015-01-01", "N18.3", False),  # old, and of this stay by its visit
            (2, 8, "2020-05-01", "J18.9", False),
        ],
        drugs=[(1, 2, "2020-03-02", 11), (1, 2, "2020-03-03", 11), (1, 3, "2020-03-10", 12), (1, 0, "2020-03-11", 13)],
        procedures=[(1, 2, "2020-03-02"), (1, 3, "2020-03-06"), (1, 3, "2020-03-11")],
        labs=[(1, 2, "2020-03-01", "4548-4", 6.5), (1, 3, "2020-03-09", "4548-4", 8.4), (1, 3, "2020-03-11", "4548-4", 5.0),
              (2, 8, "2020-05-02", "59261-8", 55.0), (2, 8, "2020-05-02", "2345-7", 101.0)],
    )  # fmt: skip


WANTED: list[Row] = [
    {"age": 69, "sex": "F", "admission_type": "emergency", "admitted_from": "emergency room", "primary_diagnosis": "heart failure",
     "length_of_stay": 9, "procedures": 2, "lab_tests": 2, "medications": 2, "diagnoses": 3, "admissions_last_year": 0,
     "emergencies_last_year": 1, "outpatient_last_year": 1, "hba1c": "high", "discharged_to": "nursing facility",
     "heart_failure": "yes", "readmitted": "yes"},
    {"age": 69, "sex": "F", "admission_type": "other", "admitted_from": "other", "primary_diagnosis": "other",
     "length_of_stay": 2, "procedures": 0, "lab_tests": 0, "medications": 0, "diagnoses": 0, "admissions_last_year": 1,
     "emergencies_last_year": 2, "outpatient_last_year": 0, "hba1c": "not measured", "discharged_to": "home",
     "heart_failure": "no", "readmitted": "no"},
    {"age": 60, "sex": "M", "admission_type": "other", "admitted_from": "referral", "primary_diagnosis": "respiratory",
     "length_of_stay": 3, "procedures": 0, "lab_tests": 2, "medications": 0, "diagnoses": 1, "admissions_last_year": 0,
     "emergencies_last_year": 0, "outpatient_last_year": 0, "hba1c": "raised", "discharged_to": "other",
     "heart_failure": "no", "readmitted": "no"},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_is_the_same_from_every_kind_of_hospital(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    place = made(kind, tmp_path, world(), lambda: request.getfixturevalue("server"))
    got = sorted(rows(place), key=lambda row: (str(row["patient_id"]), -int(row["length_of_stay"])))
    assert [str(row.pop("patient_id")).strip("p") for row in got] == ["1", "1", "2"]
    assert got == WANTED
    failing = rows(place._replace(view=place.view + "_heart_failure"), "heart_failure", "age")
    assert failing == [{"age": 69, "heart_failure": "yes"}]


def stay(n: int, who: int, began: str, ended: str, kind: str = "inpatient", source: str = "", to: str = "home") -> tuple[int, ...]:
    return (n, who, kind, began, ended, source, to)  # type: ignore[return-value]


CASES = {  # the visits of a woman of 1950, her death, and for each index admission whether she came back
    "the thirtieth day counts": ([stay(1, 1, "2020-01-01", "2020-01-02"), stay(2, 1, "2020-02-01", "2020-02-02")], "", ["yes", "no"]),
    "the thirty-first does not": ([stay(1, 1, "2020-01-01", "2020-01-02"), stay(2, 1, "2020-02-02", "2020-02-03")], "", ["no", "no"]),
    "an emergency visit is no admission": (
        [stay(1, 1, "2020-01-01", "2020-01-02"), stay(2, 1, "2020-01-04", "2020-01-04", "emergency")], "", ["no"]),
    "the same day is the same admission": ([stay(1, 1, "2020-01-01", "2020-01-02"), stay(2, 1, "2020-01-02", "2020-01-04")], "", ["no"]),
    "the day after is another": ([stay(1, 1, "2020-01-01", "2020-01-02"), stay(2, 1, "2020-01-03", "2020-01-04")], "", ["yes", "no"]),
    "a stay inside another is no other": (
        [stay(1, 1, "2020-01-01", "2020-01-20"), stay(2, 1, "2020-01-03", "2020-01-04"), stay(3, 1, "2020-01-10", "2020-01-11")],
        "", ["no"]),
    "a stay that ends in death is none": ([stay(1, 1, "2020-01-01", "2020-01-05", to="died")], "2020-01-05", []),
    "nor one whose patient died that day": ([stay(1, 1, "2020-01-01", "2020-01-05")], "2020-01-05", []),
    "death at home later is no return": ([stay(1, 1, "2020-01-01", "2020-01-05")], "2020-01-15", ["no"]),
    "hospice care is none": ([stay(1, 1, "2020-01-01", "2020-01-05", to="hospice")], "", []),
    "a stay that has not ended is none, and is a return": (
        [stay(1, 1, "2020-01-01", "2020-01-05"), stay(2, 1, "2020-01-20", "")], "", ["no"]),
    "thirty days must lie within the records": ([stay(1, 1, "2021-12-01", "2021-12-02"), stay(2, 1, "2021-11-30", "2021-12-01")], "", []),
    "and may just do": ([stay(1, 1, "2021-11-30", "2021-12-01")], "", ["no"]),
    "a visit that ends before it begins is none": ([stay(1, 1, "2020-01-05", "2020-01-01")], "", []),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["duckdb", "fhir"])
@pytest.mark.parametrize("case", CASES)
def test_who_is_in_the_cohort_and_who_came_back(kind: str, case: str, tmp_path: Path):
    visits, died, wanted = CASES[case]
    all_of_it = World([*NOBODY, (1, "1950-06-15", "F", died)], [*BEGINNING, *visits])
    got = rows(made(kind, tmp_path, all_of_it, servers.postgresql), "readmitted", "length_of_stay")
    assert sorted(str(row["readmitted"]) for row in got) == sorted(wanted)


def test_children_are_not_in_the_cohort(tmp_path: Path):
    young = World([*NOBODY, (1, "2002-01-03", "F", ""), (2, "2002-01-01", "M", "")],
                  [*BEGINNING, stay(1, 1, "2020-01-02", "2020-01-03"), stay(2, 2, "2020-01-02", "2020-01-03")])  # fmt: skip
    assert rows(made("duckdb", tmp_path, young, servers.postgresql), "age", "sex") == [{"age": 18, "sex": "M"}]


ORGANS = {
    "I50.22": "heart failure", "I11.0": "heart failure", "I13.2": "heart failure", "I09.81": "heart failure", "I11.9": "other circulatory",
    "I42.0": "other circulatory", "E10": "diabetes", "E15": "other", "J44.1": "respiratory", "K35": "digestive", "N17.9": "genitourinary",
    "M17": "musculoskeletal", "S72.0": "injury", "T81": "injury", "C34.9": "neoplasm", "D12": "neoplasm", "D50.0": "other", "F32": "other",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["duckdb", "fhir"])
def test_diagnoses_are_grouped_by_organ(kind: str, tmp_path: Path):
    people = [(100 + at, "1950-01-01", "F", "") for at in range(len(ORGANS))]
    visits = [stay(200 + at, 100 + at, "2020-01-01", "2020-01-02") for at in range(len(ORGANS))]
    conditions = [(100 + at, 200 + at, "2020-01-01", code, True) for at, code in enumerate(ORGANS)]
    place = made(kind, tmp_path, World([*NOBODY, *people], [*BEGINNING, *visits], conditions), servers.postgresql)
    got = {str(row["patient_id"]).strip("p"): row["primary_diagnosis"] for row in rows(place, "patient_id", "primary_diagnosis")}
    assert {code: got[str(100 + at)] for at, code in enumerate(ORGANS)} == ORGANS


def test_nothing_after_the_day_of_discharge_changes_a_feature(tmp_path: Path):
    before, after = world(), world()
    after.conditions += [(1, 3, "2020-03-12", "J44", True), (2, 8, "2020-05-05", "I50", True)]
    after.labs += [(1, 3, "2020-03-11", "4548-4", 4.0), (2, 8, "2020-05-06", "4548-4", 4.0)]
    after.drugs += [(1, 3, "2020-03-11", 99), (2, 0, "2020-05-05", 98)]
    after.procedures += [(1, 3, "2020-03-15"), (2, 8, "2020-05-05")]
    after.visits += [(77, 2, "emergency", "2020-05-05", "2020-05-05", "", ""), (78, 2, "outpatient", "2020-05-09", "2020-05-09", "", "")]
    got = []
    for name, records_ in (("a", before), ("b", after)):
        (tmp_path / name).mkdir()
        got.append(rows(made("duckdb", tmp_path / name, records_, servers.postgresql)))
    assert got[0] == got[1]


@pytest.mark.parametrize(
    ("view", "says"),
    [
        ("omop/readmision", "no view 'omop/readmision'; wanted one of omop/readmission"),
        ("epic/readmission", "no view"),
        ("omop", "no view"),
    ],
)
def test_a_view_that_is_not_there(view: str, says: str, tmp_path: Path):
    with pytest.raises(DataError, match=says):
        sources.load(Place(str(tmp_path), view=view), [])
    assert list(views.views()) == ["readmission", "readmission_heart_failure"]


def test_options_that_do_not_go_together(tmp_path: Path):
    file = tmp_path / "t.csv"
    file.write_text("a\n1\n")
    for place, says in (
        (Place(str(tmp_path), view="omop/readmission", table="t"), "neither a table nor a query"),
        (Place(str(file), view="omop/readmission"), "wanted a folder, a DuckDB or SQLite file"),
        (Place(str(file), view="fhir/readmission"), "is no folder"),
        (Place(str(tmp_path), view="fhir/readmission"), "no file of Patient resources"),
        (Place(str(tmp_path), view="omop/readmission"), "no table 'person'"),
    ):
        with pytest.raises(DataError, match=says):
            sources.load(place, [])
