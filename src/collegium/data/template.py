"""An empty Excel workbook for a study: a sheet to fill, in which only allowed values can be typed, and the data dictionary."""

from pathlib import Path
from typing import Any

from collegium.data import atomic
from collegium.study import dictionary
from collegium.study.manifest import Study
from collegium.study.schema import Variable

ROWS = 10_000  # that are watched while somebody types


def workbook(study: Study, path: Path) -> None:
    """Write it. Raises `StorageError`."""
    import io

    from openpyxl import Workbook
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book, entries = Workbook(), dictionary.entries(study)
    sheet, told, lists = book.active, book.create_sheet("dictionary"), book.create_sheet("lists")
    assert sheet is not None
    sheet.title, lists.sheet_state, sheet.freeze_panes = "data", "hidden", "A2"
    for at, entry in enumerate(entries, 1):
        text(sheet, 1, at, entry.name).font = Font(bold=True)
        letter = get_column_letter(at)
        sheet.column_dimensions[letter].width = max(12, len(entry.name) + 2)
        for row, word in enumerate(entry.variable.categories, 1):
            text(lists, row, at, word)
        if rule := watched(entry.variable, letter):
            rule.add(f"{letter}2:{letter}{ROWS}")
            sheet.add_data_validation(rule)
    for row, cells in enumerate([dictionary.HEAD, *(entry.row() for entry in entries)], 1):
        for at, word in enumerate(cells, 1):
            text(told, row, at, word)
    out = io.BytesIO()
    book.save(out)
    atomic.write(path, [out.getvalue()], mode=0o644)


def text(sheet: Any, row: int, column: int, value: str) -> Any:
    """A cell that is text whatever it looks like: a meaning that begins with = is not computed."""
    cell = sheet.cell(row, column, dictionary.bare(value))
    cell.data_type = "s"
    return cell


def watched(variable: Variable, letter: str) -> Any:
    """What may be typed into a variable's column."""
    from openpyxl.worksheet.datavalidation import DataValidation

    if variable.categories:
        return DataValidation("list", formula1=f"lists!${letter}$1:${letter}${len(variable.categories)}", showErrorMessage=True)
    if variable.kind == "binary":
        return DataValidation("list", formula1='"0,1"', showErrorMessage=True)
    if variable.kind != "number":
        return None
    low, high = (str(-1e15 if variable.low is None else variable.low), str(1e15 if variable.high is None else variable.high))
    rule = DataValidation("decimal", operator="between", formula1=low, formula2=high, showErrorMessage=True)
    rule.error = f"wanted {variable.allowed}{f' {variable.unit}' if variable.unit else ''}"
    return rule
