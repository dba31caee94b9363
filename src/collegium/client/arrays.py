"""The door for arrays: `fit(X, y)` and `predict(X)` as scikit-learn calls them, one site, every column a number or a category.

A hospital's table is checked by the study's data check, which says what to mend at that site. Arrays have no names and no site;
what is wrong with them is said here, as a `ValueError` too, which is what scikit-learn's tools expect to catch.
"""

import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from collegium.client import tables
from collegium.errors import CollegiumError, DataError, NotFound
from collegium.table import Table

HERE = "here"  # what the one site is called when arrays are fitted
FEWEST = 2  # rows that a fit needs


class InputError(DataError, ValueError):
    """An array that cannot be fitted or predicted from."""


def federation(sites: Any, y: Any, *, of_class: bool) -> tuple[Mapping[str, Any], str]:
    """The sites' tables and the outcome's name, also from `X` and `y` as scikit-learn gives them."""
    if isinstance(y, str):
        whole = not isinstance(sites, Mapping) or not all(tabular(v) for v in sites.values())
        return ({HERE: sites} if whole else sites), y
    if y is None:
        raise InputError(
            "which column is the outcome? A fit requires y to be passed, but the target y is None",
            hint="fit(sites, y='name of the column'), or fit(X, y) with one value a row",
        )
    x = columns(sites, [])
    if len(x) < FEWEST:
        raise InputError(f"X has {len(x)} sample{'s' * (len(x) != 1)}; a fit needs {FEWEST} or more", hint="give more rows")
    target = next(name for name in ("y", "outcome", "_y") if name not in x)
    return {HERE: x.with_columns(**{target: outcome(y, len(x), of_class=of_class)})}, target


def tabular(source: Any) -> bool:
    """Whether something is a table of its own rather than one column."""
    return isinstance(source, Table | Mapping | str) or any(hasattr(source, name) for name in ("__fspath__", "columns", "column_names"))


def columns(x: Any, names: list[str], kind: str = "") -> Table:
    """A table, or a matrix whose columns are called `names`; x0, x1, ... without any. Raises `InputError`."""
    if hasattr(x, "tocsr"):  # asked first: one kind of sparse matrix is a mapping too
        raise InputError("X is a sparse matrix, which is not supported", hint="X.toarray() makes it dense")
    if isinstance(x, Table | Mapping | str) or hasattr(x, "columns") or hasattr(x, "column_names"):
        return tables.table(x)
    values = matrix(x)
    if names and values.shape[1] != len(names):
        says = f"X has {values.shape[1]} features, but {kind} is expecting {len(names)} features as input"
        raise InputError(says, hint=f"give the columns that it was fitted to: {', '.join(names[:8])}")
    called = names or [f"x{at}" for at in range(values.shape[1])]
    return Table(dict(zip(called, values.T, strict=True)))


def matrix(x: Any) -> np.ndarray:
    """Rows of numbers, NaN where one is missing. Raises `InputError`."""
    values = np.asarray(x)
    if values.dtype.kind == "c":
        raise InputError("Complex data not supported: X holds complex numbers", hint="give their real and imaginary parts as columns")
    values = values.astype(np.float64)
    if values.ndim != 2:
        says = f"X is {values.ndim}-dimensional; wanted one row for each patient and one column for each feature. Reshape your data"
        raise InputError(says, hint="X.reshape(-1, 1) if it is one feature, X.reshape(1, -1) if it is one patient")
    if not values.shape[1]:
        raise InputError(f"X has 0 feature(s) (shape={values.shape}) while a minimum of 1 is required.")
    if np.isinf(values).any():
        raise InputError("X contains infinity", hint="NaN stands for a missing value")
    return values


def outcome(y: Any, rows: int, *, of_class: bool) -> np.ndarray:
    """The outcome, one value a row. Raises `InputError`."""
    values = np.asarray(getattr(y, "to_numpy", lambda: y)())
    if values.dtype.kind == "c":
        raise InputError("Complex data not supported: y holds complex numbers")
    if values.ndim == 2 and values.shape[1] == 1:
        told = known("sklearn.exceptions", "DataConversionWarning") or UserWarning
        warnings.warn("A column-vector y was passed when a 1d array was expected: y.ravel() is used", told, stacklevel=tables.beyond())
        values = values[:, 0]
    if values.ndim != 1 or len(values) != rows:
        raise InputError(f"y has the shape {values.shape}, X has {rows} rows; y should be a 1d array with one value for each row")
    found = tables.column(values, "y", HERE)
    if found.dtype.kind != "f":
        return found
    if np.isinf(found).any() or np.isnan(found).all():
        raise InputError(f"y contains {'infinity' if np.isinf(found).any() else 'NaN alone'}", hint="leave rows without an outcome out")
    if of_class and (found[~np.isnan(found)] % 1).any():
        raise InputError(
            "y holds fractions: a continuous outcome has no classes", hint="fit a regressor, or cut it into classes and name them"
        )
    return found


def unfitted(kind: str) -> CollegiumError:
    """The error of a model that is not fitted; scikit-learn's own as well, where scikit-learn is in use."""
    says, hint = f"this {kind} is not fitted yet", "call fit(sites, y='...') first"
    if theirs := known("sklearn.exceptions", "NotFittedError"):
        both: type[CollegiumError] = type("NotFitted", (NotFound, theirs), {})
        return both(says, hint=hint)
    return NotFound(says, hint=hint)


def known(module: str, name: str) -> Any:
    """Something of a library if the caller's program has loaded that library; None if not: nobody waits for it here."""
    return getattr(import_module(module), name) if module.partition(".")[0] in sys.modules else None
