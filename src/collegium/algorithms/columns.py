"""Reading a table's columns for statistics, and sums of raw values that no rounding can spoil.

A sum of floats travels as a fixed-point number, whose range suits standardised values: the squares of platelet counts would
overflow it, and those of a mutation rate would vanish in it. `limbs` therefore sends a sum as four whole numbers, each of
which is added exactly; so raw columns need no declared bounds, and k sites give the bits that one site would.

    >>> total = limbs(np.array([[263358.03], [0.1]])) + limbs(np.array([[2.5e10]]))
    >>> joined(total)
    array([2.50002634e+10])
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from collegium.errors import DataError
from collegium.table import Table

BITS, POWERS = 36, (1, 0, -1, -2)  # digits in base 2**36, from 2**72 down to 2**-72
LARGEST = 2.0**BITS  # of a raw value: its square must fit the top digit, and 2**27 rows of it an int64


def training(table: Table) -> Table:
    """The rows to learn from: those with part 0 where the table has a column `part` (0 training, 1 validation, 2 test)."""
    return table.where(np.asarray(table["part"]) == 0) if "part" in table else table


def limbs(values: np.ndarray) -> np.ndarray:
    """The sum over the first axis as digits in base 2**36, int64 (4, ...): exact to 2**-72, and summed as integers."""
    sign, rest = np.sign(values), np.abs(values)
    digits = np.empty((len(POWERS), *values.shape[1:]), np.int64)
    for at, power in enumerate(POWERS):
        unit = 2.0 ** (BITS * power)
        digit = np.rint(rest / unit) if power == POWERS[-1] else np.floor(rest / unit)
        rest = rest - digit * unit  # exact: both have the same leading bits
        digits[at] = (sign * digit).astype(np.int64).sum(0)
    return digits


def joined(total: Any) -> np.ndarray:
    """The number that limbs stand for, in double precision."""
    digits = np.asarray(total, np.int64)
    return np.asarray(sum(digits[at] * 2.0 ** (BITS * power) for at, power in reversed(list(enumerate(POWERS)))), np.float64)


def numbers(table: Table, names: Sequence[str]) -> np.ndarray:
    """Columns as one float64 matrix (rows, columns), NaN where missing. Raises `DataError` by the column's name."""
    out = np.empty((len(table), len(names)))
    for at, name in enumerate(names):
        column = np.asarray(table[name])
        if column.ndim != 1 or column.dtype.kind not in "fiub":
            raise DataError(
                f"column {name!r} is {column.dtype} of shape {column.shape}; wanted one number a row",
                hint="declare it as a category, or convert it in the site's mapping",
            )
        out[:, at] = column
        if (beyond := np.abs(out[:, at]) > LARGEST).any():
            raise DataError(
                f"column {name!r} holds {out[beyond, at][0]:g} in {beyond.sum()} rows; values go to {LARGEST:.2g} in size",
                hint="mark codes such as 999e9 or infinity as missing in the site's mapping, or choose a larger unit",
            )
    return out


def texts(table: Table, name: str) -> np.ndarray:
    """A category column as text, "" where missing; codes kept as numbers read as `1`, not `1.0`."""
    column = np.asarray(table[name])
    if column.ndim != 1:
        raise DataError(f"column {name!r} has shape {column.shape}; wanted one category a row")
    if column.dtype.kind in "fiub":
        values, at = np.unique(column.astype(np.float64), return_inverse=True)
        return np.array(["" if np.isnan(v) else f"{v:.15g}" for v in values.tolist()] or [""])[at.reshape(-1)]
    if column.dtype.kind == "O":
        return np.array(["" if v is None or v != v else str(v) for v in column.tolist()] or [""])[: len(column)]
    return column.astype(np.str_)


def places(values: np.ndarray, levels: Sequence[str]) -> np.ndarray:
    """The place of each text in `levels`; `len(levels)` for another text, `len(levels) + 1` for a missing one."""
    found, at = np.unique(values, return_inverse=True)
    known = {level: place for place, level in enumerate(levels)} | {"": len(levels) + 1}
    return np.array([known.get(text, len(levels)) for text in found.tolist()], np.int64)[at.reshape(-1)]
