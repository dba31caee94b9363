"""Tables as hospitals really export them: each comes through, or says column and row and the way out, and never a value."""

from pathlib import Path

import pytest

from collegium.data import intake, quality
from collegium.data.mapping import Mapping
from collegium.data.mapping import read as rules_of
from collegium.errors import DataError
from collegium.study.manifest import EXAMPLE, Study
from collegium.study.manifest import read as study_of

STUDY = study_of(EXAMPLE)
SECRET = "Zaphod"


def check(path: Path, study: Study = STUDY, rules: Mapping | None = None) -> quality.Report:
    """The report, which shows no value whatever it says."""
    report = quality.check(intake.file(path, study, rules=rules, terms=intake.OPEN), study)
    assert SECRET not in str(report.document())
    return report


def written(folder: Path, lines: list[str], encoding: str = "utf8") -> Path:
    path = folder / "stays.csv"
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return path


def rows(age: str = "61", n: int = 40, separator: str = ",") -> list[str]:
    return [separator.join((f"p{k}", age, "FM"[k % 2], str(k % 2))) for k in range(n)]


HEAD = "patient_id,age,sex,readmitted"


@pytest.mark.parametrize("encoding", ["utf8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_byte_order_marks_and_western_encodings_come_through(tmp_path: Path, encoding: str):
    lines = [HEAD.replace("sex", "Geschlécht"), *[line.replace(",F,", ",weiblich é,") for line in rows()]]
    report = check(written(tmp_path, lines, encoding), rules=rules_of("{columns: {sex: {from: Geschlécht, values: {weiblich é: F}}}}"))
    assert [line.light for line in report.lines if line.variable == "sex"] == ["green"]


def test_ragged_rows_are_named_by_their_row(tmp_path: Path):
    with pytest.raises(DataError, match=r"stays\.csv: row \d+ has 5 fields, the header has 4 \(1 such rows\)") as caught:
        check(written(tmp_path, [HEAD, *rows(), f"p1,{SECRET},M,1,more"]))
    assert SECRET not in str(caught.value)
    assert "double quotes" in caught.value.hint


def test_decimal_commas_stop_a_table_until_its_mapping_says_so(tmp_path: Path):
    path = written(tmp_path, [HEAD.replace(",", ";"), *rows("61,5", separator=";")])
    line = next(line for line in check(path).lines if line.variable == "age")
    assert (line.light, line.says) == ("red", "holds numbers with a decimal comma in 40 rows, first in row 1; wanted a number of years")
    assert "decimal: ','" in line.way_out
    assert check(path, rules=rules_of("{decimal: ',', columns: {age: {from: age}}}")).counts["age"]["known"] == 40


def test_three_styles_of_dates_in_one_column(tmp_path: Path):
    born = ["1950-02-03", "03.02.1950", "3/2/50", SECRET] * 10
    lines = [f"p{k},{day},2020-03-01,{'FM'[k % 2]},{k % 2}" for k, day in enumerate(born)]
    path = written(tmp_path, ["patient_id,born,came,sex,readmitted", *lines])
    columns = "columns: {age: {from: born, until: came}}"
    some = next(line for line in check(path, rules=rules_of(f"{{dates: DD.MM.YYYY, {columns}}}")).lines if line.variable == "age")
    assert (some.light, some.says) == ("red", "is made of dates: two dates give no time in 20 rows, first in row 3")
    assert "every style" in some.way_out
    all_of_them = check(path, rules=rules_of(f"{{dates: [DD.MM.YYYY, DD/MM/YY], {columns}}}"))
    assert all_of_them.counts["age"] == {"known": 30, "missing": 10, "unreadable": 10, "impossible": 0, "unlisted": 0}


def test_a_hundred_thousand_columns(tmp_path: Path):
    more = 100_000
    path = written(tmp_path, [HEAD + "," + ",".join(f"g{k}" for k in range(more)), *[row + ",1" * more for row in rows(n=12)]])
    assert check(path).counts["age"]["known"] == 12
    with pytest.raises(DataError) as caught:
        check(path, rules=rules_of("{columns: {age: {from: gg1}}}"))
    assert len(str(caught.value) + caught.value.hint) < 1000


def test_a_unit_that_contradicts_the_range(tmp_path: Path):
    study = study_of(
        EXAMPLE.replace("age: {kind: number, unit: years, low: 0, high: 120}", "haemoglobin: {kind: number, unit: g/dL, low: 3, high: 25}")
    )
    path = written(tmp_path, [HEAD.replace("age", "haemoglobin"), *rows("134")])
    line = next(line for line in check(path, study).lines if line.variable == "haemoglobin")
    assert (line.light, line.says) == ("red", "40 values lie outside 3 to 25 g/dL and count as missing; they would fit as g/L")
    assert check(path, study, rules_of("{columns: {haemoglobin: {from: haemoglobin, unit: g/L}}}")).counts["haemoglobin"]["known"] == 40


def test_codes_that_the_study_does_not_know(tmp_path: Path):
    lines = [line.replace(",F,", f",{SECRET},") for line in rows()]
    line = next(line for line in check(written(tmp_path, [HEAD, *lines])).lines if line.variable == "sex")
    assert line.says == "20 values are not among the listed categories and count as missing"
    assert "map them" in line.way_out


def test_unicode_quotes_and_right_to_left_in_names(tmp_path: Path):
    odd = 'גיל "x" 🙂'
    study_path = written(tmp_path, ['patient_id,"גיל ""x"" 🙂",sex,readmitted', *rows()])
    assert check(study_path, rules=rules_of(f"columns:\n  age: {{from: '{odd}'}}\n")).counts["age"]["known"] == 40


def test_an_empty_table_and_one_patient(tmp_path: Path):
    assert check(written(tmp_path, [HEAD, ""])).light == "red"
    one = check(written(tmp_path, [HEAD, *rows(n=1)]))
    assert any("fewer than 10" in line.says for line in one.lines)
