"""The steward's key: sealed with a passphrase, and pinned so that another one is noticed."""

import json
import os

import pytest

from collegium import identity
from collegium.errors import ConflictError, IdentityError, NotFound
from collegium.site import steward

PASSPHRASE, CHEAP = "four made up words", 1 << 10


def test_a_key_is_made_sealed_and_opened_again(tmp_path):
    public = steward.init(tmp_path, PASSPHRASE, cost=CHEAP)
    assert steward.public(tmp_path) == public
    assert steward.key(tmp_path, PASSPHRASE).public == public
    assert identity.verify(public, steward.key(tmp_path, PASSPHRASE).sign(b"yes"), b"yes")
    assert (tmp_path / "steward.key").stat().st_mode & 0o777 == 0o600
    assert steward.key(tmp_path, PASSPHRASE).private.private_bytes_raw().hex() not in (tmp_path / "steward.key").read_text()


def test_without_the_passphrase_nothing_can_be_signed(tmp_path):
    steward.init(tmp_path, PASSPHRASE, cost=CHEAP)
    with pytest.raises(IdentityError, match="the passphrase is not the one"):
        steward.key(tmp_path, PASSPHRASE + " ")
    with pytest.raises(IdentityError, match="has 9 characters, at least 10"):
        steward.init(tmp_path, "too short", replace=True, cost=CHEAP)
    assert steward.key(tmp_path, PASSPHRASE)  # nothing was replaced


def test_a_key_is_not_replaced_by_chance(tmp_path):
    first = steward.init(tmp_path, PASSPHRASE, cost=CHEAP)
    with pytest.raises(ConflictError, match="has a steward's key already"):
        steward.init(tmp_path, "another passphrase", cost=CHEAP)
    assert steward.init(tmp_path, "another passphrase", replace=True, cost=CHEAP) != first


def test_another_passphrase_keeps_the_key(tmp_path):
    public = steward.init(tmp_path, PASSPHRASE, cost=CHEAP)
    steward.change(tmp_path, PASSPHRASE, "another passphrase", cost=CHEAP)
    assert steward.key(tmp_path, "another passphrase").public == public
    with pytest.raises(IdentityError, match="passphrase"):
        steward.key(tmp_path, PASSPHRASE)
    with pytest.raises(IdentityError, match="passphrase"):
        steward.change(tmp_path, PASSPHRASE, "whatever it is", cost=CHEAP)


def test_no_key_and_a_damaged_one_are_told(tmp_path):
    assert steward.public(tmp_path) == ""
    with pytest.raises(NotFound, match="has no steward's key") as told:
        steward.key(tmp_path, PASSPHRASE)
    assert "collegium site steward init" in told.value.hint
    steward.init(tmp_path, PASSPHRASE, cost=CHEAP)
    path = tmp_path / "steward.key"
    whole = json.loads(path.read_text())
    for damage, words in [
        ("{", "damaged"), ('{"salt": "zz"}', "damaged"), ("[]", "damaged"),
        (json.dumps(whole | {"cost": 1 << 30}), "strange amount of work"), (json.dumps(whole | {"cost": 3000}), "strange amount"),
        (json.dumps(whole | {"public": "00" * 32}), "the passphrase is not the one"),
    ]:  # fmt: skip
        path.write_text(damage)
        with pytest.raises(IdentityError, match=words):
            steward.key(tmp_path, PASSPHRASE)
    path.write_text(json.dumps(whole))
    path.chmod(0o644)
    with pytest.raises(IdentityError, match="can be read by other users"):
        steward.key(tmp_path, PASSPHRASE)


def test_another_pinned_key_is_noticed(tmp_path):
    steward.init(tmp_path, PASSPHRASE, cost=CHEAP)
    (tmp_path / "steward.pub").write_text(identity.key(os.urandom(32)).public)
    with pytest.raises(IdentityError, match="somebody put another key in its place"):
        steward.key(tmp_path, PASSPHRASE)
    (tmp_path / "steward.pub").write_text("no key")
    with pytest.raises(IdentityError, match="does not hold a public key"):
        steward.public(tmp_path)
