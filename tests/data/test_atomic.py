import os
from pathlib import Path

import pytest

from collegium.data import atomic
from collegium.errors import StorageError


def test_a_new_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "new" / "file"
    atomic.write(path, [b"one"])
    atomic.write(path, [b"tw", b"o"])
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    atomic.write(path, [b"old"])

    def cut():
        yield b"ne"
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"file cannot be written.*No space left") as caught:
        atomic.write(path, cut())
    assert "old file is untouched" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
