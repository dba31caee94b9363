"""A table on its way in: mapped, objections out, identifiers stopped."""

from pathlib import Path

import pytest

from collegium.data import intake, quality, registry
from collegium.study.manifest import EXAMPLE
from collegium.study.manifest import read as study_of

STUDY = study_of(EXAMPLE)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    rows = [
        f"p{k};{k % 28 + 1:02}.01.{1930 + k % 60};05.06.2020;{'WM'[k % 2]};{k % 3 == 0:d};{'x' if k in (3, 4) else ''}" for k in range(60)
    ]
    (tmp_path / "stays.csv").write_text("\n".join(["mrn;geboren;aufnahme;geschlecht;wieder;nein_gesagt", *rows]) + "\n")
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "stays.yaml").write_text(
        "dates: DD.MM.YYYY\ncolumns:\n"
        "  age: {from: geboren, until: aufnahme}\n"
        "  sex: {from: geschlecht, values: {W: F}}\n"
        "  readmitted: {from: wieder}\n"
    )  # fmt: skip
    registry.add(tmp_path, "stays", tmp_path / "stays.csv", patient="mrn")
    return tmp_path


def test_a_named_table_comes_through_the_mapping_of_its_name(site: Path):
    found = intake.named(site, "stays", STUDY)
    clean, report = quality.passed(found, STUDY)
    assert report.light == "green", report.lines
    assert (len(clean), clean["age"][0], clean["sex"][:2].tolist()) == (60, 90.0, ["F", "M"])
    assert clean.patient is not None
    assert clean.patient[0] == "p0"


def test_a_spoilt_record_is_counted_and_the_rest_goes_on(site: Path):
    path = site / "stays.csv"
    path.write_text(path.read_text().replace("01.01.1930", "1930/01/01", 1).replace("02.01.1931;05.06.2020", "02.01.2021;05.06.2020", 1))
    clean, report = quality.passed(intake.named(site, "stays", STUDY), STUDY)
    says = next(line.says for line in report.lines if line.variable == "age")
    assert says == "is made of dates: two dates give no time in 1 rows, first in row 1; these count as missing" or "1 rows" in says
    assert (len(clean), report.light) == (60, "amber")


def test_who_objected_is_left_out_and_counted(site: Path):
    (site / "no.txt").write_text("p7\np8\nstranger\n")
    terms = intake.Terms(site / "no.txt", "nein_gesagt")
    clean, report = quality.passed(intake.named(site, "stays", STUDY, terms), STUDY)
    assert report.left_out == {"of patients who objected": 4}
    assert clean.patient is not None
    assert not {"p3", "p4", "p7", "p8"} & set(clean.patient.tolist())
    assert any(line.says == "4 rows of patients who objected are left out" for line in report.lines)
