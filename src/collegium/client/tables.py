"""Rows as researchers hold them - a dict of arrays, a data frame, a file - as one `Table`; no data-frame library is needed.

>>> t = table({"age": [61, None, 47], "sex": ["F", "M", None], "smoker": [True, False, None]})
>>> t["age"], t["sex"], t["smoker"]
(array([61., nan, 47.]), array(['F', 'M', ''], dtype='<U1'), array([ 1.,  0., nan]))
"""

import inspect
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from collegium.errors import DataError
from collegium.table import Table

YES_NO = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


def table(source: Any, *, patient: str = "", name: str = "the data") -> Table:
    """The rows of a `Table`, a mapping of columns, a data frame (pandas, polars, pyarrow, ...) or the path of a file.

    `patient` names the column that says whom a row belongs to; it does not stay among the columns.
    """
    if isinstance(source, str | os.PathLike):
        source = raw(Path(source))
    if isinstance(source, Table):
        found = source
    else:
        found = Table({str(key): column(values, str(key), name) for key, values in columns_of(source, name).items()})
    if not patient or found.patient is not None:
        return found
    if patient not in found:
        raise DataError(f"{name}: there is no column {patient!r} to tell the patients apart", hint="mend `patient`, or leave it out")
    rest = {key: values for key, values in found.columns.items() if key != patient}
    return Table(rest, np.asarray(found[patient]).astype(np.str_))


def raw(path: Path) -> Table:
    """A file's columns as they look, without a study that says what they are: numbers where every value is one, else text."""
    from collegium.data import files, formats  # local: only who reads files needs the connectors

    header, _ = formats.load(path, [])
    called = [name for name in header if name]
    found = {name: files.reader("category", ()) for name in called}
    for batch in formats.load(path, called)[1]:
        for name, values in batch.items():
            found[name].add(values)
    rows = max((one.rows for one in found.values()), default=0)
    return Table({name: guessed(one.whole(rows)) for name, one in found.items()})


def guessed(values: np.ndarray) -> np.ndarray:
    """Text as numbers if that is what it is, or as 1 and 0 for yes and no."""
    known, at = np.unique(values, return_inverse=True)
    words = [word for word in known.tolist() if word]
    if words and {word.casefold() for word in words} <= YES_NO.keys():
        return np.array([YES_NO.get(word.casefold(), np.nan) for word in known.tolist()])[at]
    try:
        return np.array([float(word) if word else np.nan for word in known.tolist()])[at] if words else values
    except ValueError:
        return values


def columns_of(source: Any, name: str) -> Mapping[str, Any]:
    """The columns by name; found by what the object can do, not by whose it is."""
    if isinstance(source, Mapping):
        return source
    for listed in ("columns", "column_names"):  # pandas, polars and their kin; pyarrow
        named = getattr(source, listed, None)
        if named is not None and not callable(named) and all(isinstance(n, str) for n in named):
            return {str(n): source[n] for n in named}
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__dataframe__"):
        return through_arrow(source)
    raise DataError(
        f"{name}: {type(source).__name__} is not a table; wanted a dict of columns, a data frame, a Table or a path",
        hint="give the columns names: {'age': ..., 'sex': ...}",
    )


def through_arrow(source: Any) -> Mapping[str, Any]:
    """A table of a library met for the first time, by one of the two exchange protocols."""
    try:
        import pyarrow
        from pyarrow import interchange
    except ModuleNotFoundError:
        raise DataError(f"reading a {type(source).__name__} needs pyarrow", hint="pip install 'collegium[site]'") from None
    met = pyarrow.table(source) if hasattr(source, "__arrow_c_stream__") else interchange.from_dataframe(source)
    return {name: met[name] for name in met.column_names}


def column(values: Any, name: str, where: str) -> np.ndarray:
    """One column: float64 with NaN where missing, or text with "" where missing. Yes and no become 1 and 0."""
    raw = getattr(values, "to_numpy", lambda: values)()
    if not isinstance(raw, np.ndarray):
        listed = list(raw) if isinstance(raw, Iterable) else [raw]
        raw = np.asarray(listed, dtype=object) if any(v is None or isinstance(v, str) for v in listed) else np.asarray(listed)
    if raw.ndim != 1:
        if raw.dtype.kind in "fiub":
            return np.asarray(raw, np.float64)
        raise DataError(f"{where}: column {name!r} has shape {raw.shape}; wanted one value a row")
    if raw.dtype.kind in "fiub":
        return np.asarray(raw, np.float64)
    if raw.dtype.kind == "U":
        return np.asarray(raw)
    if raw.dtype.kind == "M":
        return np.where(np.isnat(raw), "", np.datetime_as_string(raw, unit="s"))
    return mixed(raw.tolist())


def mixed(values: list[Any]) -> np.ndarray:
    """A column of objects: numbers if every value that is there is one, else text."""
    known = [v for v in values if not missing(v)]
    if all(isinstance(v, int | float | np.number | np.bool_) for v in known):
        return np.array([np.nan if missing(v) else float(v) for v in values], np.float64)
    return np.array(["" if missing(v) else str(v) for v in values] or [""], np.str_)[: len(values)]


def missing(value: Any) -> bool:
    """None, NaN, NaT and pandas' NA, which is equal to nothing and has no truth of its own."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and value != value


def together(tables: Iterable[Table]) -> Table:
    """All rows under each other, with the columns that every table has; a patient keeps a name of its own at each site."""
    listed = list(tables)
    shared = [name for name in listed[0].columns if all(name in t for t in listed)]
    kinds = {name: {np.asarray(t[name]).dtype.kind in "fiub" for t in listed if len(t)} for name in shared}
    if torn := [name for name in shared if len(kinds[name]) > 1]:
        raise DataError(f"column {torn[0]!r} holds numbers at some sites and text at others", hint="convert it at the site")
    rows = {name: np.concatenate([np.asarray(t[name]) for t in listed]) for name in shared}
    who = [names_of(t, at) for at, t in enumerate(listed)]
    return Table(rows, np.concatenate(who))


def names_of(t: Table, site: int) -> np.ndarray:
    """Who each row belongs to, told apart between sites."""
    who = np.arange(len(t)) if t.patient is None else t.patient
    return np.array([f"{site}:{name}" for name in who.tolist()], dtype=np.str_)


def beyond() -> int:
    """How many calls up the caller's own code is: a warning points there, not into this package."""
    frame, depth = inspect.currentframe(), 0
    while frame and frame.f_globals.get("__name__", "").startswith("collegium."):
        frame, depth = frame.f_back, depth + 1
    return depth
