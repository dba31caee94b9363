"""A folder is founded whole, once, and with private keys."""

from pathlib import Path

import pytest

from collegium import identity
from collegium.coordinator import certificate, founding, home
from collegium.coordinator.app import build
from collegium.errors import ConflictError, StorageError, StudyError
from collegium.study.plan import planned

URL = "https://hub.example:8443"


def test_a_folder_is_founded_with_private_files(tmp_path: Path):
    made = founding.init(tmp_path / "hub", URL, "North", hosts=["10.0.0.5"])
    folder = tmp_path / "hub"
    assert home.key(folder).public == made.public
    assert home.settings(folder) == {"title": "North", "url": URL}
    private = {"identity.key", "operator.key", "coordinator.json", "collegium.db", "tls.pem", "tls.key", "tls-root.pem"}
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(private, 0o600)
    root = certificate.x509.load_pem_x509_certificate((folder / "tls-root.pem").read_bytes())
    assert identity.fingerprint(made.public) in root.subject.rfc4514_string()
    app = build(folder, plan=planned)
    operator = home.read_key(folder / home.OPERATOR)
    assert app.members.who(operator.public).role == "operator"
    app.means.store.close()


def test_nothing_is_ever_overwritten(tmp_path: Path):
    founding.init(tmp_path / "hub", URL, "North")
    before = home.key(tmp_path / "hub").public
    with pytest.raises(ConflictError, match="not empty"):
        founding.init(tmp_path / "hub", URL, "South")
    assert home.key(tmp_path / "hub").public == before
    (tmp_path / "empty").mkdir()
    founding.init(tmp_path / "empty", URL, "South")


@pytest.mark.parametrize("url", ["http://hub.example", "hub.example", "https://", "https://hub.example/path", "https://hub.example?x=1"])
def test_the_address_is_one_that_sites_can_reach(tmp_path: Path, url: str):
    with pytest.raises(StudyError, match="not the address"):
        founding.init(tmp_path / "hub", url, "North")
    assert list(tmp_path.iterdir()) == []


def test_a_founding_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(certificate, "write", full)
    with pytest.raises(StorageError, match="No space left"):
        founding.init(tmp_path / "hub", URL, "North")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(StorageError, match="not a coordinator's folder"):
        build(tmp_path, plan=planned)
    founding.init(tmp_path / "hub", URL, "North")
    (tmp_path / "hub" / "collegium.db").unlink()
    with pytest.raises(StorageError, match="no database"):
        build(tmp_path / "hub", plan=planned)
    assert not (tmp_path / "hub" / "collegium.db").exists()
    (tmp_path / "hub" / "identity.key").write_text("not a key")
    with pytest.raises(StorageError, match=r"identity\.key cannot be read"):
        home.key(tmp_path / "hub")


def test_one_coordinator_at_a_time_has_the_folder(tmp_path: Path):
    founding.init(tmp_path / "hub", URL, "North")
    with home.only_one(tmp_path / "hub"):
        with pytest.raises(ConflictError, match="already serves") as caught, home.only_one(tmp_path / "hub"):
            pass
        assert "stop that one first" in caught.value.hint
    with home.only_one(tmp_path / "hub"):
        pass
    with pytest.raises(StorageError, match="is not a coordinator's folder"), home.only_one(tmp_path):
        pass
    (tmp_path / "hub" / home.LOCK).unlink()
    (tmp_path / "hub" / home.LOCK).mkdir()
    with pytest.raises(StorageError, match="cannot be opened"), home.only_one(tmp_path / "hub"):
        pass
