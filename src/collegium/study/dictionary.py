"""A study's variables as documents for hospitals: a data dictionary, an empty table to fill, a REDCap project.

>>> from collegium.study.manifest import EXAMPLE, read
>>> study = read(EXAMPLE)
>>> print(template(study), end="")
patient_id,age,sex,readmitted
>>> print(table(study).splitlines()[1])
patient_id,the same for all rows of one patient; stays at the hospital,text,,any text,,yes,tells patients apart
>>> [entry.name for entry in entries(study)]
['patient_id', 'age', 'sex', 'readmitted']
"""

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from collegium.study.manifest import Study
from collegium.study.schema import Variable

HEAD = ("variable", "meaning", "kind", "unit", "allowed", "code", "required", "use")
REDCAP = (
    "Variable / Field Name", "Form Name", "Section Header", "Field Type", "Field Label", "Choices, Calculations, OR Slider Labels",
    "Field Note", "Text Validation Type OR Show Slider Number", "Text Validation Min", "Text Validation Max", "Identifier?",
    "Branching Logic (Show field only if...)", "Required Field?", "Custom Alignment", "Question Number (surveys only)",
    "Matrix Group Name", "Matrix Ranking?", "Field Annotation",
)  # fmt: skip
PATIENT = Variable(kind="category", meaning="the same for all rows of one patient; stays at the hospital")
HELD = Variable(kind="category", meaning="which rows are kept out of training", categories=("train", "validation", "test"))


class Entry(NamedTuple):
    """One column of a study's table."""

    name: str
    variable: Variable
    use: str

    def row(self) -> tuple[str, ...]:
        """As a row of the dictionary."""
        v = self.variable
        kind = "text" if v is PATIENT else v.kind
        return self.name, v.meaning, kind, v.unit, v.allowed, v.code, "yes" if v.required else "no", self.use


def entries(study: Study) -> list[Entry]:
    """Every column that a hospital's table has for a study: the patient first, then inputs, then what is to be estimated."""
    aims = study.outcome.columns if study.outcome else ()
    out = [Entry(study.patient, PATIENT, "tells patients apart")] if study.patient else []
    out += [Entry(name, v, "input") for name, v in study.variables.items() if name not in aims]
    out += [Entry(name, study.variables[name], "outcome") for name in aims]
    held = study.holding.column
    return [*out, *([Entry(held, HELD, "says who is held out")] if held and held not in study.variables else [])]


def markdown(study: Study) -> str:
    """The dictionary as a page to read or to print."""
    lines = [f"# {bare(study.title)}", "", bare(study.purpose), "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in map(bare, entry.row())) + " |" for entry in entries(study)]
    return "\n".join(lines) + "\n"


def table(study: Study) -> str:
    """The dictionary as CSV."""
    return written([HEAD, *(entry.row() for entry in entries(study))])


def template(study: Study) -> str:
    """An empty table: its header."""
    return written([[entry.name for entry in entries(study)]])


def redcap(study: Study) -> str:
    """The dictionary of a REDCap project that collects these variables. Its choices are coded by their own words."""
    names = fields([entry.name for entry in entries(study)])
    rows = [[""] * len(REDCAP) for _ in names]
    for row, name, entry in zip(rows, names, entries(study), strict=True):
        v, at = entry.variable, REDCAP.index
        row[at("Variable / Field Name")], row[at("Form Name")] = name, "study"
        row[at("Field Type")], row[at("Choices, Calculations, OR Slider Labels")] = asked(v)
        row[at("Field Label")] = v.meaning or entry.name
        row[at("Field Note")] = "; ".join(part for part in (v.unit, v.code, "" if v.kind != "number" else v.allowed) if part)
        row[at("Required Field?")] = "y" if v.required else ""
        row[at("Identifier?")] = "y" if v is PATIENT else ""
        if v.kind == "number":
            row[at("Text Validation Type OR Show Slider Number")] = "number"
            row[at("Text Validation Min")] = "" if v.low is None else str(v.low)
            row[at("Text Validation Max")] = "" if v.high is None else str(v.high)
    return written([REDCAP, *rows])


def asked(v: Variable) -> tuple[str, str]:
    """How REDCap asks for a variable: the type of its field, and its choices."""
    if v.kind == "binary" and not v.categories:
        return "yesno", ""
    if not v.categories:
        return "text", ""
    return "radio" if len(v.categories) < 6 else "dropdown", " | ".join(f"{word}, {label}" for word, label in choices(v.categories))


def choices(categories: Sequence[str]) -> list[tuple[str, str]]:
    """Categories with codes that REDCap takes: letters, digits and underscores, no two alike."""
    return list(
        zip(distinct([re.sub(r"\W+", "_", one, flags=re.ASCII).strip("_") or "other" for one in categories]), categories, strict=True)
    )


def fields(names: Sequence[str]) -> list[str]:
    """Names of variables as REDCap takes them: small letters, digits and underscores, a letter first, no two alike."""
    plain = [re.sub(r"\W+", "_", name.casefold(), flags=re.ASCII).strip("_") for name in names]
    return distinct([name if re.match("[a-z]", name) else f"v_{name}".rstrip("_") for name in plain])


def distinct(names: Sequence[str]) -> list[str]:
    """The same names, a number behind those that stood before."""
    met: dict[str, int] = {}
    out = []
    for name in names:
        met[name] = met.get(name, 0) + 1
        out.append(name if met[name] == 1 else f"{name}_{met[name]}")
    return out


def written(rows: Sequence[Sequence[str]]) -> str:
    """Rows as CSV that a spreadsheet may open: no text from a manifest becomes a formula there."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([[safe(bare(cell)) for cell in row] for row in rows])
    return out.getvalue()


def safe(cell: str) -> str:
    """A cell that no spreadsheet computes."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") and not re.fullmatch(r"[+-]?\d+(\.\d+)?", cell) else cell


def bare(text: str) -> str:
    """One line of text that cannot move a cursor."""
    return "".join(char if char.isprintable() else " " for char in text)
