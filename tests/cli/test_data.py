"""`collegium data`: names for tables, and a look at one before anything starts."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from collegium.site.config import Config, save
from collegium.study.manifest import EXAMPLE
from tests.cli.speak import speak


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    rows = [f"p{i},{50 + i},{'FM'[i % 2]},{i % 2}" for i in range(40)]
    (tmp_path / "stays.csv").write_text("\n".join(["mrn,age,sex,readmitted", *rows]) + "\n")
    (tmp_path / "study.yaml").write_text(EXAMPLE)
    return tmp_path / "site"


def test_a_table_is_named_listed_checked_and_forgotten(site: Path):
    there = ("--folder", site)
    assert "No table yet" in speak("data", "list", *there).out
    spoken = speak("data", "add", "stays", "stays.csv", "--patient", "mrn", *there)
    assert spoken.code == 0, spoken.err
    assert "policy.yaml" in spoken.out
    assert speak("data", "list", *there, "--json").document["data"]["tables"][0]["patient"] == "mrn"
    assert "This table can take part" in speak("data", "check", "stays", "study.yaml", *there).out
    assert "patient_id" in speak("data", "check", "stays.csv", "study.yaml").out
    assert speak("data", "check", "stays.csv", "study.yaml", "--patient", "mrn").code == 0
    assert speak("data", "remove", "st", *there).code == 1  # nobody answers the question
    assert speak("data", "remove", "st", *there, "--yes").out == "stays is forgotten; its file stays.\n"
    assert Path("stays.csv").exists()
    assert speak("data", "remove", "stays", *there, "--yes").code == 6


def test_what_the_policy_forbids_cannot_take_part(site: Path):
    there = ("--folder", site)
    speak("data", "add", "stays", "stays.csv", "--patient", "mrn", *there)
    save(Config(site, "https://hub.example", "ab" * 32, "leeds", "Test"))
    allowed = 'level: 1\nrecipes: "*"\nmin_sites: 2\nauto_approve: true\ntables:\n  stays:\n    columns: "*"\n    min_rows: 10\n'
    (site / "policy.yaml").write_text(allowed)
    assert "This table can take part" in speak("data", "check", "stays", "study.yaml", *there).out
    for old, new, words in (
        ('columns: "*"', "columns: [age]", "reads patient_id, readmitted, sex, which this site's policy does not list"),
        ("  stays:", "  labs:", "would read a table that this site's policy does not list"),
        ('recipes: "*"', "recipes: []", "which this site does not allow; see policy.yaml line 2"),
        ("min_rows: 10", "min_rows: 50", "fewer rows at this site than its policy wants (50)"),
    ):
        (site / "policy.yaml").write_text(allowed.replace(old, new))
        spoken = speak("data", "check", "stays", "study.yaml", *there)
        assert (spoken.code, "cannot take part" in spoken.out, words in spoken.out) == (1, True, True), (words, spoken.out)


def test_a_table_that_cannot_take_part_ends_with_one(site: Path):
    Path("short.csv").write_text("patient_id,age\na,61\n")
    spoken = speak("data", "check", "short.csv", "study.yaml", "--json")
    assert spoken.code == 1
    assert spoken.document["data"]["light"] == "red"


OPEN_CODE = EXAMPLE.replace(
    "sex: {kind: category, categories: [F, M]}", "sex: {kind: category, categories: [F, M]}\n  region: {kind: category}"
)


def test_a_column_that_names_patients_stops_a_table_until_it_is_waived(site: Path):
    there = ("--folder", site)
    rows = [f"p{i},{50 + i},{'FM'[i % 2]},{i % 2},{10000 + 37 * i}" for i in range(40)]
    Path("stays.csv").write_text("\n".join(["patient_id,age,sex,readmitted,plz", *rows]) + "\n")
    Path("open.yaml").write_text(OPEN_CODE)
    speak("data", "add", "stays", "stays.csv", *there)
    (site / "mappings").mkdir()
    (site / "mappings" / "stays.yaml").write_text("columns:\n  region: {from: plz}\n")
    (site / "policy.yaml").write_text('level: 1\ntables:\n  stays:\n    columns: "*"\n')
    spoken = speak("data", "check", "stays", "open.yaml", *there)
    assert spoken.code == 1
    assert "seems to hold postcodes of patients, by its name ('plz' here)" in spoken.out
    assert "12345" not in spoken.out
    assert speak("data", "check", "stays", "open.yaml", "--waive", "plz", *there, "--yes").code == 1  # without a reason
    waived = speak("data", "check", "stays", "open.yaml", "--waive", "plz", "--because", "made up", *there, "--yes")
    assert waived.code == 0, waived.out
    assert "made up (20" in (site / "policy.yaml").read_text()
    assert speak("data", "check", "stays", "open.yaml", *there).code == 0


def test_the_report_is_also_a_page(site: Path):
    spoken = speak("data", "check", "stays.csv", "study.yaml", "--patient", "mrn", "--html", "ready.html")
    assert spoken.code == 0, spoken.err
    page = Path("ready.html").read_text()
    assert "Readiness of a table" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_a_file_is_checked_through_a_mapping(site: Path):
    Path("m.yaml").write_text("columns:\n  age: {from: alter, unit: months}\n")
    text = Path("stays.csv").read_text().replace("mrn,age", "patient_id,alter")
    Path("other.csv").write_text(text)
    spoken = speak("data", "check", "other.csv", "study.yaml", "--mapping", "m.yaml", "--json")
    assert spoken.code == 0, spoken.out
    assert spoken.document["data"]["counts"]["age"]["known"] == 40
    assert "are for files" in speak("data", "check", "stays", "study.yaml", "--mapping", "m.yaml", "--folder", site).err


def test_a_database_is_named_by_a_query_in_a_file(site: Path):
    with closing(sqlite3.connect("clinic.sqlite")) as made:
        made.execute("create table t (mrn text, born integer, sex text, back integer)")
        made.executemany("insert into t values (?, ?, ?, ?)", [(f"p{n}", 1930 + n, "FM"[n % 2], n % 2) for n in range(40)])
        made.commit()
    Path("stays.sql").write_text("select mrn as patient_id, 2010 - born as age, sex, back as readmitted from t;\n")
    there = ("--folder", site)
    assert speak("data", "add", "stays", "clinic.sqlite", "--query", "stays.sql", *there).code == 0
    assert speak("data", "list", *there, "--json").document["data"]["tables"][0]["query"].startswith("select mrn")
    assert "This table can take part" in speak("data", "check", "stays", "study.yaml", *there).out
    wrong = speak("data", "add", "other", "clinic.sqlite", "--table", "none", *there)
    assert (wrong.code, "has no such table" in wrong.err) == (1, True)
    secret = speak("data", "add", "other", "postgresql://me:geheim@db.example/clinic", "--table", "t", *there)
    assert (secret.code, "geheim" in secret.out + secret.err) == (1, False)
    assert speak("data", "list", *there).out.count("yes") == 1
