"""The tables that a hospital has named for studies: `data add`, `data list`, `data remove`. Only names and places are kept.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     file = Path(folder, "stays.csv")
...     _ = file.write_text("mrn,age\\n1,70\\n")
...     _ = add(Path(folder), "stays", file, patient="mrn")
...     [source.patient for source in listed(Path(folder))]
['mrn']
"""

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from collegium.data import atomic
from collegium.data.files import nearest, read
from collegium.data.place import Place, place_of, resolved
from collegium.data.sources import load
from collegium.errors import ConflictError, DataError, NotFound, StorageError
from collegium.study.manifest import Study
from collegium.table import Table

VERSION = 1
FILE = "data.json"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Source(NamedTuple):
    """A named place, and what its patient column is called where that differs from the study's name for it."""

    name: str
    place: Place
    patient: str = ""

    def read(self, study: Study) -> Table:
        """The study's columns of it. Raises `DataError` and `LinkError`."""
        return read(self.place, study, patient=self.patient)

    def document(self) -> dict[str, str]:
        """As it is kept and shown: without what is not set, but for the patient."""
        return {**{key: value for key, value in self.place._asdict().items() if value}, "patient": self.patient}


def add(folder: Path, name: str, where: str | Path | Place, *, patient: str = "") -> Source:
    """Name a place for studies, after a look at its header. Raises `DataError`, `LinkError`, and `ConflictError` if the name is taken."""
    if not NAME.fullmatch(name):
        raise DataError(f"{name!r} cannot name a table; wanted small letters, digits and . _ -, starting with a letter or digit")
    place = place_of(where)
    files = {
        key: str(Path(value).expanduser().resolve())
        for key, value in (("panel", place.panel), ("password_file", place.password_file))
        if value
    }
    known, place = sources(folder), place._replace(path=resolved(place.path), **files)
    if name in known and known[name].place.path != place.path:
        raise ConflictError(f"{name!r} names another place here", hint=f"choose another name, or remove it first: data remove {name}")
    look(place, patient)
    source = Source(name, place, patient)
    keep(folder, {**known, name: source})
    return source


def look(place: Place, patient: str) -> None:
    """Open a place and read no row. Raises `DataError`, also for options that do not go together."""
    options = {"query": place.query, "table": place.table, "schema": place.schema, "password-file": place.password_file}
    given = [option for option, value in options.items() if value]
    if given and place.kind not in ("postgresql", "sqlite", "duckdb"):
        raise DataError(f"{place.label} is no database, so --{given[0]} says nothing of it", hint="leave it out")
    if place.panel and place.kind != "cells":
        raise DataError(f"{place.label} is no .h5ad file, so --panel says nothing of it", hint="leave it out")
    header, _ = load(place, [])
    if patient and patient not in header:
        near = nearest(patient, header)
        raise DataError(f"{place.label}: there is no column {patient!r} for the patient{near}", hint="check --patient")


def listed(folder: Path) -> list[Source]:
    """All named tables, by name."""
    return [source for _, source in sorted(sources(folder).items())]


def find(folder: Path, name: str) -> Source:
    """The table of that name. Raises `NotFound` naming those there are."""
    known = sources(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise NotFound(
            f"no table is called {name!r} here{guess}", hint=f"there are: {', '.join(sorted(known)) or 'none; data add NAME PLACE'}"
        )
    return known[name]


def remove(folder: Path, name: str) -> None:
    """Forget a name; the file itself stays as it is. Raises `NotFound`."""
    gone = find(folder, name).name
    keep(folder, {name: source for name, source in sources(folder).items() if name != gone})


def sources(folder: Path) -> dict[str, Source]:
    """All named tables by name. Raises `StorageError` if the list is damaged."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf8"))
        if document["version"] != VERSION:
            raise StorageError(
                f"{FILE} has version {document['version']!r}, this program reads {VERSION}", hint="install the newer version"
            )
        return {name: kept(name, one) for name, one in document["tables"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise StorageError(
            f"{FILE} in {str(folder)!r} is damaged ({type(e).__name__})", hint="remove it and add the tables again"
        ) from None


def kept(name: str, one: Mapping[str, Any]) -> Source:
    """One named place as the list has it."""
    fields = {key: str(one[key]) for key in Place._fields if key in one}
    return Source(name, Place(**{"path": one["path"], **fields}), str(one["patient"]))


def keep(folder: Path, known: Mapping[str, Source]) -> None:
    """Write the list."""
    tables: dict[str, Any] = {name: source.document() for name, source in sorted(known.items())}
    atomic.write(folder / FILE, [json.dumps({"version": VERSION, "tables": tables}, indent=1, ensure_ascii=False).encode()])
