import os

import pytest

from collegium import identity
from collegium.errors import ConflictError, IdentityError, LinkError
from collegium.site import config
from collegium.site.enrol import join
from tests.site.standin import Standin, authority, serving
from tests.system.network.harness import Faults, Relay, relaying


@pytest.fixture
def there(tmp_path):
    with serving(Standin(tmp_path)) as coordinator:
        yield coordinator


def enter(folder, code, **options):
    return join(folder, code, version="0", environ={}, **options)


def test_a_site_joins_and_knows_its_coordinator(there, tmp_path):
    home = tmp_path / "leeds"
    joined = enter(home, there.code(), name="leeds")
    assert joined == ("leeds", "Test", there.url, "")
    settings = config.load(home)
    assert (settings.site, settings.coordinator, settings.root()) == ("leeds", there.key.public, there.root.pem)
    assert config.key_of(home).public in there.sites
    assert (home / "key").stat().st_mode & 0o777 == 0o600
    assert "tables" in (home / "policy.yaml").read_text()


def test_joining_again_changes_nothing(there, tmp_path):
    home = tmp_path / "leeds"
    enter(home, there.code())
    key = config.key_of(home).public
    (home / "policy.yaml").write_text("level: 0\n")
    assert enter(home, there.code()).site == "leeds"
    assert config.key_of(home).public == key
    assert (home / "policy.yaml").read_text() == "level: 0\n"


def test_a_lost_answer_costs_nothing(there, tmp_path):
    with relaying(Relay(there.port)) as relay:
        relay.faults = Faults(cut_down=2500, times=2)  # in the middle of an answer
        assert enter(tmp_path / "leeds", there.code(port=relay.port)).site == "leeds"
    assert len(there.sites) == 1


def test_a_code_works_for_one_site(there, tmp_path):
    enter(tmp_path / "leeds", there.code())
    with pytest.raises(ConflictError, match="used by another machine") as caught:
        enter(tmp_path / "york", there.code())
    assert "new code" in caught.value.hint
    assert not (tmp_path / "york").exists()
    (tmp_path / "bath").mkdir()
    with pytest.raises(ConflictError, match="used by another machine"):
        enter(tmp_path / "bath", there.code())
    assert list((tmp_path / "bath").iterdir()) == []


def test_an_unknown_or_expired_code_is_refused(there, tmp_path):
    there.secrets.clear()
    with pytest.raises(IdentityError, match="did not take the join code"):
        enter(tmp_path / "leeds", there.code())
    assert not (tmp_path / "leeds").exists()


@pytest.mark.parametrize(
    "slip", [lambda c: c[:-3], lambda c: c[5:], lambda c: c[:20] + ("a" if c[20] != "a" else "b") + c[21:], lambda c: ""]
)
def test_a_damaged_code_is_told_from_a_wrong_one(there, tmp_path, slip):
    with pytest.raises(IdentityError) as caught:
        enter(tmp_path / "leeds", slip(there.code()))
    assert caught.value.hint
    assert not (tmp_path / "leeds").exists()


def test_another_coordinator_at_the_address_is_not_joined(there, tmp_path):
    code = there.code()
    there.key = identity.key(b"e" * 32)
    with pytest.raises(IdentityError, match="another coordinator answers"):
        enter(tmp_path / "leeds", code)
    assert not (tmp_path / "leeds" / "key").exists()


def test_a_folder_belongs_to_one_federation(there, tmp_path):
    enter(tmp_path / "leeds", there.code())
    other = identity.mint(identity.Code(there.url, "ab" * 16, os.urandom(16)))
    with pytest.raises(ConflictError, match="already belongs to Test"):
        enter(tmp_path / "leeds", other)


def test_joining_through_a_proxy_that_opens_tls_needs_its_ca(tmp_path):
    hospital, own = authority("Hospital CA"), Standin(tmp_path)
    with serving(own, context=hospital.issue(tmp_path)):
        with pytest.raises(LinkError, match="Hospital CA"):
            enter(tmp_path / "leeds", own.code())
        (tmp_path / "ca.pem").write_text(hospital.pem)
        joined = enter(tmp_path / "leeds", own.code(), ca_file=str(tmp_path / "ca.pem"))
        assert joined.opened_by == "Hospital CA"
        assert config.load(tmp_path / "leeds").ca_file == str(tmp_path / "ca.pem")


def test_nobody_answers(tmp_path):
    code = identity.mint(identity.Code("https://127.0.0.1:1", "ab" * 16, b"s" * 16))
    with pytest.raises(LinkError, match="refuses connections"):
        enter(tmp_path / "leeds", code)
