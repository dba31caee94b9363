"""From a table to the first draft of a study: what each column seems to be, what to ask the data manager about.

A draft is meant to be read and mended. It says what was seen, in whole per cents and rounded ranges: a manifest is read by
every hospital, so it carries no single patient's value and no category with fewer than ten rows.

    >>> rows = Table({"age": np.array([61.0, 47.5] * 20), "sex": np.array(["F", "M"] * 20), "ill": np.array([0.0, 1.0] * 20)})
    >>> for name, seen in look(rows, target="ill").items():
    ...     print(name, seen.variable.kind, *seen.variable.categories, "-", seen.note)
    age number - from about 50 to 60
    sex category F M - 2 categories
    ill binary - the outcome; 50 % are 1
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from collegium.data import identifiers
from collegium.errors import StudyError
from collegium.study import manifest
from collegium.study.manifest import Study
from collegium.study.schema import Variable
from collegium.table import Table

FEWEST = 10  # rows behind a category that a manifest may name
MANY = 50  # categories beyond which a text column is a name or free text rather than a category
LOOKED_AT = 50_000  # rows that are looked at for names of patients
CODES = 12  # whole numbers with at most so many different values may be codes
DATE = re.compile(r"^\d{4}-\d{1,2}-\d{1,2}([T ].*)?$|^\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})([T ].*)?$|^\d{4}/\d{1,2}/\d{1,2}([T ].*)?$")
PATIENT = re.compile(r"(?i)^(patient|person|subject|encounter)([ _.-]?(id|nr|nbr|no|number|key))?$|^case[ _.-]?(id|nr|no)$|^(id|mrn)$")


class Seen(NamedTuple):
    """What a column seems to be, and a remark for whoever mends the draft; no variable where it had better stay out."""

    variable: Variable | None
    note: str


def look(table: Table, *, target: str = "") -> dict[str, Seen]:
    """What each column of a table seems to be; `target` is the outcome."""
    if target and target not in table:
        raise StudyError(f"there is no column {target!r} for the outcome; the table has {', '.join(table.columns)}")
    return {name: seen(np.asarray(values), name, name == target) for name, values in table.columns.items()}


def seen(values: np.ndarray, name: str, outcome: bool) -> Seen:
    """What one column seems to be."""
    if PATIENT.search(name) and not outcome:
        return Seen(None, "seems to name the patients: kept out")
    found = numeric(values, outcome) if values.dtype.kind in "fiub" else worded(values, outcome)
    if found.variable and not outcome and values.ndim == 1 and (met := identifiers.look(name, values[:LOOKED_AT].tolist())):
        return Seen(None, f"seems to hold {met.kind} of patients, {met.why}: kept out")
    return found


def numeric(values: np.ndarray, outcome: bool) -> Seen:
    """A column of numbers."""
    if values.ndim > 1:
        return Seen(None, "several numbers a row: not for a study of tables")
    values = values.astype(np.float64)
    known = values[np.isfinite(values)]
    absent = share(len(values) - len(known), len(values))
    if not len(known):
        return Seen(None, "empty in this table")
    found = np.unique(known)
    if len(found) == 1:
        return Seen(None, f"the same value in every row{absent}")
    if set(found.tolist()) == {0.0, 1.0}:
        said = f"{round(100 * float(known.mean()))} % are 1{absent}"
        return Seen(Variable(kind="binary", required=not absent), f"the outcome; {said}" if outcome else said)
    note = f"from about {rounded(np.quantile(known, 0.05))} to {rounded(np.quantile(known, 0.95))}{absent}"
    if len(found) <= CODES and (found == np.rint(found)).all():
        note += f"; only {len(found)} different values: if they are codes, make it a category"
    return Seen(Variable(kind="number", required=not absent), f"the outcome; {note}" if outcome else note)


def worded(values: np.ndarray, outcome: bool) -> Seen:
    """A column of text."""
    found, counts = np.unique(values[values != ""], return_counts=True)
    absent = share(int((values == "").sum()), len(values))
    if not len(found):
        return Seen(None, "empty in this table")
    if 2 * sum(counts[at] for at, level in enumerate(found.tolist()) if DATE.match(level)) > counts.sum():
        return Seen(None, "seems to hold dates; give a number of days or years in its place")
    if len(found) > max(MANY, 0.5 * counts.sum()):
        return Seen(None, "seems to be free text, or to name each row: kept out")
    if outcome and len(found) == 2:
        said = f"the outcome; {str(found[1])!r} counts as 1: swap them if not{absent}"
        return Seen(Variable(kind="binary", categories=tuple(found.tolist())), said)
    frequent = tuple(str(level) for level, n in zip(found.tolist(), counts.tolist(), strict=True) if n >= FEWEST)
    if len(found) == 1 or not frequent:
        return Seen(None, f"the same value in every row{absent}" if len(found) == 1 else "only rare values")
    if len(frequent) == 1:
        return Seen(None, f"one category with {FEWEST} rows or more, {len(found) - 1} rarer: say which may be named{absent}")
    rare = f", {len(found) - len(frequent)} rarer ones left out" if len(frequent) < len(found) else ""
    return Seen(Variable(kind="category", categories=frequent, required=not absent), f"{len(frequent)} categories{rare}{absent}")


def share(count: int, of: int) -> str:
    """How much is missing, as words to add to a remark."""
    return f"; {max(round(100 * count / of), 1)} % missing" if count else ""


def rounded(value: float) -> str:
    """A number to one significant digit: a range to think about, not a patient's value."""
    if not value:
        return "0"
    step = 10.0 ** math.floor(math.log10(abs(value)))
    return f"{round(value / step) * step:.10g}"


def beyond(time: np.ndarray) -> float:
    """A round number that no time is above, and that tells no patient's.

    >>> beyond(np.array([12.0, 1022.0])), beyond(np.array([0.5]))
    (2000.0, 0.6)
    """
    longest = float(np.nanmax(time, initial=0.0))
    step = 10.0 ** math.floor(math.log10(longest)) if longest > 0 else 1.0
    return round((math.floor(longest / step) + 1) * step, 12)


def patient_column(table: Table) -> str:
    """The column that seems to name the patients; none if no name looks like it."""
    return next((name for name in table.columns if PATIENT.search(name)), "")


def outcome_of(variable: Variable, target: str) -> dict[str, str]:
    """The outcome's part of a manifest."""
    task = {"binary": "binary", "number": "regression", "category": "multiclass"}[variable.kind]
    return {"task": task, "target": target}


def study(table: Table, *, target: str, method: Mapping[str, Any], outcome: Variable | None = None, **fields: Any) -> Study:
    """A study of all columns that can be used, ready to run; `outcome` says what the target is where its look may deceive.

    Raises `StudyError` that says why the target cannot be an outcome.
    """
    found = look(table, target=target)
    aim = outcome or found[target].variable
    if aim is None:
        raise StudyError(f"column {target!r} cannot be the outcome: {found[target].note}")
    variables = {name: one.variable for name, one in found.items() if one.variable and name != target} | {target: aim}
    document = {
        "title": f"A model of {target}",
        "purpose": f"Try whether {target!r} can be told from the other columns.",
        "variables": {name: short(variable) for name, variable in variables.items()},
        "outcome": outcome_of(aim, target),
        "method": dict(method),
        **fields,
    }
    return manifest.read(document)


def short(variable: Variable) -> dict[str, Any]:
    """A variable as a manifest writes it, defaults left out."""
    return variable.model_dump(mode="json", exclude_defaults=True)
