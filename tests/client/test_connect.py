"""Folders and keys that are none; calls that succeed stand in test_network."""

from pathlib import Path

import pytest

from collegium.client.connect import connect, key_of
from collegium.errors import IdentityError, NotFound


def test_a_folder_that_is_none_is_said(tmp_path: Path):
    with pytest.raises(NotFound, match="not a coordinator's folder"):
        connect(tmp_path)


def test_a_key_that_is_none_is_said(tmp_path: Path):
    with pytest.raises(IdentityError, match="cannot be read"):
        key_of(tmp_path / "none.key")
    (tmp_path / "bad.key").write_text("not hex")
    with pytest.raises(IdentityError, match="32 bytes"):
        key_of(tmp_path / "bad.key")
