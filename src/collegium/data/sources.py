"""Every kind of place that holds a hospital's rows, opened alike: the names of its columns, and batches of those asked for.

A source yields a hospital's own columns as Arrow arrays, a batch at a time: `{name: values}`, only names that were asked for,
every batch with the same names. What they mean to a study is not decided here. A source never writes, shows no value in an error,
and gives the same rows in the same order each time they are the same.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from collegium.data import formats
from collegium.data.place import Place, place_of
from collegium.errors import LinkError

log = logging.getLogger("collegium.data")
Found = TypeVar("Found")
WAITS = (1.0, 5.0, 20.0)  # seconds before a database that went away is asked again
READERS = {"postgresql": "sql", "sqlite": "sql", "duckdb": "sql", "cells": "cells"}


def load(where: str | Path | Place, columns: Sequence[str]) -> tuple[tuple[str, ...], Iterator[Mapping[str, Any]]]:
    """The names of all columns of a place, and batches of those among `columns` that it has. Raises `DataError` and `LinkError`."""
    place = place_of(where)
    if place.view:
        reader = import_module("collegium.data.views")
    elif place.kind in READERS:
        reader = import_module(f"collegium.data.{READERS[place.kind]}")
    else:
        return formats.load(Path(place.path), columns)
    header, batches = reader.load(place, columns)
    formats.once(place.label, header, columns)
    return header, batches


def patiently(read: Callable[[], Found], waits: Sequence[float] | None = None) -> Found:
    """What `read()` gives; it is called again, from the beginning, when a database went away. Raises the last `LinkError`."""
    for wait in WAITS if waits is None else waits:
        try:
            return read()
        except LinkError as e:
            log.warning("%s; tried again in %s s", e, wait)
            time.sleep(wait)
    return read()
