"""A passphrase comes from a file, the environment or a person, and is never asked of nobody."""

import click
import pytest
from click.testing import CliRunner

from collegium.cli.secret import passphrase
from collegium.errors import IdentityError, NotFound


def test_a_file_stands_above_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("COLLEGIUM_STEWARD_PASSPHRASE", "from the environment")
    (tmp_path / "words").write_text("from the file \r\nsecond line\n")
    assert passphrase(str(tmp_path / "words"), "Passphrase") == "from the file "
    assert passphrase(None, "Passphrase") == "from the environment"
    with pytest.raises(NotFound, match="cannot be read"):
        passphrase(str(tmp_path / "none"), "Passphrase")


def test_where_nobody_sits_it_is_said(monkeypatch):
    monkeypatch.delenv("COLLEGIUM_STEWARD_PASSPHRASE", raising=False)
    with pytest.raises(IdentityError, match="nobody is here to type it") as told:
        passphrase(None, "Passphrase")
    assert "COLLEGIUM_STEWARD_PASSPHRASE" in told.value.hint
    with pytest.raises(IdentityError) as told:
        passphrase(None, "Passphrase", variable="")
    assert told.value.hint == "give it in a file: --passphrase-file FILE"


def test_a_person_types_it_twice(monkeypatch):
    monkeypatch.delenv("COLLEGIUM_STEWARD_PASSPHRASE", raising=False)
    monkeypatch.setattr("collegium.cli.secret.sitting", lambda: True)

    @click.command()
    def ask() -> None:
        click.echo(f"got {passphrase(None, 'Passphrase', confirm=True)}")

    found = CliRunner().invoke(ask, input="four made up words\nfour made up wards\nfour made up words\nfour made up words\n")
    assert found.output.endswith("got four made up words\n")
    assert found.output.count("four made up") == 1  # what is typed is not shown
