"""A file is the old one or the whole new one, also when the power fails while it is written."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from collegium.errors import StorageError


def write(path: Path, pieces: Iterable[Any], *, mode: int = 0o600) -> None:
    """Write bytes to a file beside it, onto the disk, and put it in place. Raises `StorageError`; then nothing has changed."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as e:
        raise StorageError(
            f"{path.name} cannot be written in {str(path.parent)!r}: {e.strerror or type(e).__name__}",
            hint="make room on the disk, or check who may write there; the old file is untouched",
        ) from None
    finally:
        new.unlink(missing_ok=True)
