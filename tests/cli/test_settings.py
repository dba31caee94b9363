"""Folders remembered between commands."""

from pathlib import Path

import pytest

from collegium.cli import settings
from collegium.errors import NotFound


def test_a_folder_is_remembered_until_it_is_gone(tmp_path: Path):
    with pytest.raises(NotFound, match="no site is set up") as found:
        settings.folder("site", None)
    assert "collegium site join" in found.value.hint
    place = tmp_path / "hospital"
    place.mkdir()
    settings.remember("site", place)
    assert settings.folder("site", None) == place
    assert settings.folder("site", "elsewhere") == Path("elsewhere")
    place.rmdir()
    assert settings.known() == {}
    settings.file().write_text("not json")
    assert settings.known() == {}
