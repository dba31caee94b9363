"""Where real health data lie, for the tests that want them: never in this repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def dataset(name: str) -> Path:
    """The folder of one data set, below COLLEGIUM_DATASETS or `../shared/data`; the test skips where there is none."""
    base = Path(os.environ.get("COLLEGIUM_DATASETS", ROOT.parent / "shared" / "data"))
    if not (base / name).is_dir():
        pytest.skip(f"data set {name!r} is not here: set COLLEGIUM_DATASETS to the folder that holds it")
    return base / name
