"""DuckDB shut in: it reads the files it was given, has no network and no extension, and nothing asked of it can change that.

    >>> with shut_in() as link:
    ...     [batch.to_pylist() for batch in batches(link, "select 1 as a", ())]
    [[{'a': 1}]]

What a sort or a join cannot hold within `MEMORY` goes to a folder of this process alone, which is gone when it ends.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MEMORY, ROWS = "512MB", 1 << 16
CLOSED: dict[str, Any] = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": 1}


@contextmanager
def shut_in(*files: Path, attach: Path | None = None) -> Iterator[Any]:
    """A connection that reads these files alone; `attach` is a DuckDB database, opened for reading and used by default."""
    import duckdb

    with TemporaryDirectory(prefix="collegium-") as spill, duckdb.connect(":memory:", config={**CLOSED}) as link:
        if attach is not None:
            link.execute(f"attach {quoted(attach)} as collegium_site (read_only); use collegium_site")
        paths = ", ".join(quoted(file) for file in files)
        link.execute(f"set allowed_paths=[{paths}]; set temp_directory={quoted(spill)}; set memory_limit='{MEMORY}'")
        link.execute("set enable_external_access=false; set lock_configuration=true")
        yield link


def batches(link: Any, question: str, parameters: Sequence[Any]) -> Iterator[Any]:
    """The answer in Arrow batches, as it is computed."""
    yield from link.sql(question, params=[*parameters]).to_arrow_reader(ROWS)


def quoted(text: object) -> str:
    """A text as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def name(text: str) -> str:
    """A name as SQL writes it, whatever stands in it."""
    return '"' + text.replace('"', '""') + '"'
