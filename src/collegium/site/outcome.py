"""What a site keeps of a run that is finished: the results, the study, and its own line of them."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium.canonical import canonical
from collegium.errors import StorageError
from collegium.site.config import settle, write


def keep(folder: Path, source: Path, manifest: Mapping[str, Any], line: Mapping[str, str], *, first: str = "") -> None:
    """Put a copy of the results beside the study they answer, for `collegium model`; again changes nothing. Raises `StorageError`.

    `first` is the digest of the weights that training began from, where those were brought.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / "results.part")
        os.replace(folder / "results.part", folder / "results.safetensors")
        settle(folder)
    except OSError as e:
        raise StorageError(f"{folder} cannot be written: {e.strerror}", hint="make room on the disk") from None
    write(folder / "study.json", canonical(manifest))
    write(folder / "line.json", canonical(line))
    write(folder / "run.json", canonical({"first": first}))
