"""The empty workbook."""

from pathlib import Path

import openpyxl

from collegium.data import files, template
from collegium.recipes import readmission
from collegium.study import dictionary, manifest


def test_the_workbook_takes_what_is_allowed_and_is_read_back(tmp_path: Path):
    document = readmission.template()
    document["variables"]["age"]["meaning"] = "=1+1"
    study = manifest.read(document)
    template.workbook(study, tmp_path / "study.xlsx")
    book = openpyxl.load_workbook(tmp_path / "study.xlsx")
    data, told, lists = book["data"], book["dictionary"], book["lists"]
    names = [entry.name for entry in dictionary.entries(study)]
    assert [cell.value for cell in data[1]] == names
    assert told.cell(3, 2).data_type == "s"
    assert told.cell(3, 2).value == "=1+1"
    rules = {str(one.sqref).split("2:")[0]: one for one in data.data_validations.dataValidation}
    letter = openpyxl.utils.get_column_letter(names.index("sex") + 1)
    assert rules[letter].formula1 == f"lists!${letter}$1:${letter}$2"
    assert [lists[f"{letter}{row}"].value for row in (1, 2)] == ["F", "M"]
    assert (rules["B"].formula1, rules["B"].formula2, rules["B"].error) == ("0", "120", "wanted 0 to 120 years")
    found = files.scan(tmp_path / "study.xlsx", study)
    assert (len(found.table), found.absent) == (0, ())
