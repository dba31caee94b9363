"""Patients who objected to research: their rows are left out of every table before anything else is done, and counted.

    >>> rows = {"mrn": pa.array(["a", "b", "c", "b"]), "opt_out": pa.array(["", "no", "yes", None]), "age": pa.array([1, 2, 3, 4])}
    >>> count = {}
    >>> load = without(lambda columns: (tuple(rows), iter([{name: rows[name] for name in columns}])), count,
    ...                patient="mrn", listed=frozenset({"a"}), flag="opt_out")
    >>> [batch["age"].to_pylist() for batch in load(["age"])[1]], count
    ([[2, 4]], {'of patients who objected': 2})

They come as a list of patients (a file in the site's folder), as a column of the table, or as both. In doubt a patient counts as
having objected: any text in the column but one that says no. A list or a column that is not there stops the reading.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from collegium.data import files, formats
from collegium.data.files import MISSING, Load
from collegium.data.formats import Batches
from collegium.errors import DataError

REASON = "of patients who objected"
NO = frozenset({"0", "0.0", "false", "f", "no", "n", "nein", "non"})


def without(load: Load, count: dict[str, int], *, patient: str, listed: frozenset[str], flag: str = "") -> Load:
    """The same table without those rows; how many they were is added to `count` while it streams. Raises `DataError`."""

    def loaded(columns: Sequence[str]) -> tuple[tuple[str, ...], Batches]:
        header, _ = load([])
        for name, why in ((flag, "marks patients who objected"), (patient if listed else "", "tells who objected")):
            if name and name not in header:
                raise DataError(
                    f"there is no column {name!r}, which {why}{files.nearest(name, header)}",
                    hint="mend policy.yaml; nothing is read without it",
                )
        if listed and not patient:
            raise DataError(
                "patients objected, and nothing says whose row is whose here", hint="name the column: data add --patient COLUMN"
            )
        keys = [name for name in (patient if listed else "", flag) if name]
        if not columns:
            return header, iter(())
        return header, kept(load([*dict.fromkeys([*columns, *keys])])[1], frozenset(columns), count, patient, listed, flag)

    return loaded


def kept(batches: Batches, wanted: frozenset[str], count: dict[str, int], patient: str, listed: frozenset[str], flag: str) -> Batches:
    """The rows of those who did not object."""
    ids, no = pa.array(sorted(listed), pa.string()), pa.array(sorted(NO | {word.casefold() for word in MISSING}))
    for batch in batches:
        stays: Any = None
        if listed:
            stays = pc.invert(pc.is_in(pc.utf8_trim_whitespace(files.texts(batch[patient])), value_set=ids))
        if flag:
            said_no = pc.is_in(pc.fill_null(pc.utf8_lower(pc.utf8_trim_whitespace(files.texts(batch[flag]))), ""), value_set=no)
            stays = said_no if stays is None else pc.and_(stays, said_no)
        count[REASON] = count.get(REASON, 0) + len(stays) - int(pc.sum(stays).as_py() or 0)
        yield {name: pc.filter(files.plain(values), stays) for name, values in batch.items() if name in wanted}


def read(path: Path) -> frozenset[str]:
    """The patients of a list: one a line in a text file, or the first column of any other file. Raises `DataError`."""
    if path.suffix.lower() == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise DataError(
                f"the list of patients who objected, {path.name}, cannot be read: {getattr(e, 'strerror', None) or 'it is not UTF-8'}",
                hint="mend `objections` in policy.yaml; no table is read without the list",
            ) from None
        return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    header, _ = formats.load(path, [])
    found = set[str]()
    for batch in formats.load(path, header[:1])[1]:
        found |= {word.strip() for word in files.texts(batch[header[0]]).to_pylist() if word and word.strip()}
    return frozenset(found)
