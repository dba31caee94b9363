"""Read a table in a process of its own that ends when the rows are there: its readers are worth 45 MB, the rows seldom that.

The rows come over in memory, never by a file: a hospital's table is not written down a second time.
"""

import json
import logging
import os
from collections.abc import Callable
from typing import IO, Any, NoReturn

import numpy as np

from collegium import errors
from collegium.errors import CollegiumError, RunError
from collegium.table import Table

log = logging.getLogger("collegium.site.reading")


def apart(read: Callable[[], Table]) -> Table:
    """What `read()` gives, computed by a fork of this process; an error there is raised here. For a process without threads."""
    held = os.memfd_create("table")
    child = os.fork()
    if child == 0:
        fill(held, read)
    _, status = os.waitpid(child, 0)
    with os.fdopen(held, "rb") as file:
        file.seek(0)
        if status == 0:
            return unpacked(file)
        try:
            told = json.loads(file.read())
        except ValueError:
            raise RunError("the reader of the table ended unexpectedly", hint="too little memory is the usual cause") from None
    raise errors.by_code(told["code"])(told["says"], hint=told["hint"])


def fill(held: int, read: Callable[[], Table]) -> NoReturn:
    """In the child: the table, or the error in its place; then the end, without what a parent would tidy up."""
    code = 1
    try:
        with open(held, "wb", closefd=False) as file:
            try:
                pack(file, read())
                code = 0
            except Exception as e:
                log.exception("the table cannot be read")
                kind, hint = (e.code, e.hint) if isinstance(e, CollegiumError) else ("failed", "")
                told = {"code": kind, "says": str(e), "hint": hint}
                file.seek(0)
                file.truncate()
                file.write(json.dumps(told).encode())
    finally:
        os._exit(code)


def pack(file: IO[bytes], table: Table) -> None:
    """Names, patients and columns, one array after the other."""
    names = sorted(table.columns)
    who = [] if table.patient is None else [table.patient]
    for array in [np.array(names, np.str_), np.array(len(who)), *who, *(table.columns[name] for name in names)]:
        np.save(file, np.asarray(array), allow_pickle=False)


def unpacked(file: IO[bytes]) -> Table:
    """The inverse of `pack`."""
    names, known = taken(file), taken(file)
    patient = taken(file) if known else None
    return Table({name: taken(file) for name in names.tolist()}, patient)


def taken(file: IO[bytes]) -> Any:
    """The next array."""
    return np.load(file, allow_pickle=False)
