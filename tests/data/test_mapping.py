"""The mapping file: what may stand in it, and where an error points."""

from pathlib import Path

import pytest

from collegium.data import mapping
from collegium.errors import DataError

WHOLE = """\
mapping: 1
about: Discharge letters of the ward system
missing: ["-9", unbekannt]
decimal: ","
dates: [DD.MM.YYYY, YYYY/MM/DD hh:mm]
columns:
  age: {from: geboren, until: aufnahme}
  creatinine: {from: krea, unit: mg/dL}
  sex:
    from: geschlecht
    values: {W: F, M: M, 9: ""}
    others: ""
  smoker: {from: raucher, values: {no: no, yes: yes}}
  diagnosis: {from: icd, values: {I50*: heart failure, I20..I25: ischaemic, 390..459: circulatory}, others: other}
"""


def test_a_whole_file_is_read_and_codes_stay_the_text_that_was_written():
    found = mapping.read(WHOLE, "ward.yaml")
    assert found.columns["smoker"].values == {"no": "no", "yes": "yes"}
    assert found.columns["sex"].values == {"W": "F", "M": "M", "9": ""}
    assert (found.decimal, found.missing, found.dates[0]) == (",", ("-9", "unbekannt"), "DD.MM.YYYY")
    assert found.at("creatinine", "unit") == "ward.yaml line 8: creatinine"
    assert found.at("sex") == "ward.yaml line 9: sex"


@pytest.mark.parametrize(
    ("old", "new", "says", "way"),
    [
        ("from: krea", "form: krea", "line 8: columns.creatinine.form is not known", "did you mean 'from'"),
        ("decimal: \",\"", "decimal: komma", "line 4: decimal: `decimal` is 'komma'; wanted '.' or ','", "page on mappings"),
        ("{from: krea, unit: mg/dL}", "{unit: mg/dL}", "line 8: columns.creatinine: wanted either `from`", "page"),
        ("{from: krea, unit: mg/dL}", "{from: krea, sql: krea}", "line 8: columns.creatinine: wanted either `from`", "page"),
        ("unit: mg/dL", "unit: mg/zL", "line 8: columns.creatinine.unit: 'mg/zL' is not a unit", "page"),
        ("until: aufnahme", "until: aufnahme, unit: d", "line 7: columns.age: `until` makes the time", "page"),
        ("DD.MM.YYYY", "TT.MM.JJJJ", "line 5: dates: 'TT.MM.JJJJ' is not a style of dates", "page"),
        ("YYYY/MM/DD hh:mm", "MM.DD.YYYY", "03/04 would be two dates", "page"),
        ("I20..I25", "I25..I20", "holds no code", "page"),
        ("I20..I25", "heart..lung", "not a range of codes", "page"),
        ("mapping: 1", "mapping: 2", "version 2", "page"),
        ("  smoker:", "  sex:", "line 13: columns.sex stands twice", "leave one"),
        ("columns:", "colums:", "colums is not known", "did you mean 'columns'"),
        ("krea, unit", "krea: unit", "line 8: not YAML", "quotes"),
        (WHOLE, "- a\n", "found list", "columns:"),
        (WHOLE, "", "found NoneType", "columns:"),
        (WHOLE, "mapping: 1\n", "columns", "page"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_field_and_the_way_out(old: str, new: str, says: str, way: str):
    with pytest.raises(DataError) as caught:
        mapping.read(WHOLE.replace(old, new), "ward.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("ward.yaml")
    assert way in caught.value.hint


def test_the_mapping_of_a_table_lies_in_the_sites_folder(tmp_path: Path):
    assert mapping.of(tmp_path, "ward") is None
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "ward.yaml").write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())
    found = mapping.of(tmp_path, "ward")
    assert found is not None
    assert found.about == "Discharge letters of the ward system"
    (tmp_path / "mappings" / "latin.yaml").write_bytes("about: Köln\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.yaml cannot be read: it is not UTF-8"):
        mapping.of(tmp_path, "latin")
