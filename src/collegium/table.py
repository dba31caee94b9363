"""One site's rows as columns, whatever they came from: a CSV file, a database, images, single cells.

    >>> t = Table({"age": np.array([40.0, 71.0, np.nan]), "sex": np.array(["F", "M", ""])}, patient=np.array(["a", "a", "b"]))
    >>> len(t), len(t.where(t["age"] > 50))
    (3, 1)

Numbers are float64 with NaN where missing; categories are text with "" where missing; any column may have more dimensions
(a matrix of features, an image). `patient` names who a row belongs to; without it each row is a patient of its own.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from collegium.errors import DataError


@dataclass(frozen=True)
class Table:
    """Columns of equal length; cheap to slice, never changed in place."""

    columns: Mapping[str, Any]
    patient: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if self.patient is not None:
            lengths["patient"] = len(self.patient)
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns differ in length: {lengths}")

    def __len__(self) -> int:
        return next((len(column) for column in self.columns.values()), 0)

    def __getitem__(self, name: str) -> Any:
        if name not in self.columns:
            raise DataError(f"there is no column {name!r}; the table has {', '.join(sorted(self.columns)) or 'none'}")
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def with_columns(self, **columns: Any) -> "Table":
        """The same rows with columns added or replaced."""
        return replace(self, columns={**self.columns, **columns})

    def where(self, rows: np.ndarray) -> "Table":
        """The rows chosen by a mask or by their indices."""
        return Table({name: column[rows] for name, column in self.columns.items()}, None if self.patient is None else self.patient[rows])

    def batches(self, rows: int, rng: np.random.Generator | None = None) -> Iterator["Table"]:
        """All rows, `rows` at a time, in a random order if `rng` is given."""
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for start in range(0, len(self), rows):
            yield self.where(order[start : start + rows])

    def patients(self) -> int:
        """How many different patients the rows belong to."""
        return len(self) if self.patient is None else len(np.unique(self.patient))

    def tenths(self, salt: str) -> np.ndarray:
        """A digit 0 to 9 for each row, the same for all rows of one patient: hash(salt, patient) mod 10.

        The salt stands in the manifest, so every site holds out the same patients in every run of a study.
        """
        who = np.arange(len(self)) if self.patient is None else self.patient
        names, inverse = np.unique(who, return_inverse=True)
        digits = [hashlib.sha256(f"{salt}|{name}".encode()).digest() for name in names.tolist()]
        return np.array([int.from_bytes(d[:8], "little") % 10 for d in digits], np.int8)[inverse].reshape(-1)
