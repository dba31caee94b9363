"""The vault: rows that last, changes that are whole, and secrets that are in no file once they are destroyed."""

import os
import secrets
import signal
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collegium.errors import StorageError
from collegium.site.vault import Vault


@pytest.fixture
def vault(tmp_path):
    one = Vault(tmp_path / "secure" / "study.db")
    yield one
    one.close()


def on_disk(vault):
    """The bytes of every file of a vault: the database, its log, its index."""
    return b"".join(path.read_bytes() for path in vault.path.parent.iterdir())


def in_child(path, code):
    """Run some lines on a vault in a process of its own; what became of it."""
    imports = "import os, resource, signal", "from pathlib import Path", "from collegium.site.vault import Vault"
    lines = "\n".join([*imports, f"vault = Vault(Path({str(path)!r}))", code])
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=False)


def test_an_empty_vault_has_no_rows(vault):
    assert vault.rows() == {}


def test_rows_survive_a_reopen(vault):
    vault.change({"a": "1", "b": "2", "täglich": "ü" * 10_000})
    vault.change({"b": "3"}, ["a", "never there"])
    vault.close()
    again = Vault(vault.path)
    assert again.rows() == {"b": "3", "täglich": "ü" * 10_000}
    again.close()


def test_a_row_that_is_forgotten_and_written_at_once_is_written(vault):
    vault.change({"a": "1"})
    vault.change({"a": "2"}, ["a"])
    assert vault.rows() == {"a": "2"}


def test_whoever_opens_a_vault_has_it_alone(vault):
    vault.change({"a": "1"})
    for _ in range(2):  # to be refused takes nothing from the one who has it
        with pytest.raises(StorageError, match="locked") as caught:
            Vault(vault.path)
        assert caught.value.hint == "another run of the study has it: this one goes on when that one is over"
    assert "locked" in in_child(vault.path, "").stderr
    vault.change({"b": "2"})
    vault.close()
    again = Vault(vault.path)
    assert again.rows() == {"a": "1", "b": "2"}
    again.close()


def test_rows_survive_a_kill(tmp_path):
    path = tmp_path / "study.db"
    child = in_child(path, "vault.change({'a': '1'})\nos.kill(os.getpid(), signal.SIGKILL)")
    assert child.returncode == -signal.SIGKILL
    vault = Vault(path)
    assert vault.rows() == {"a": "1"}
    vault.close()


names = st.sampled_from([f"key/{k}" for k in range(12)])
texts = st.builds(lambda size: secrets.token_hex(size), st.sampled_from([16, 64, 500, 2000, 9000]))  # some fill several pages


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.lists(st.tuples(st.dictionaries(names, texts, max_size=6), st.sets(names)), max_size=8))
def test_a_vault_is_a_dictionary_and_what_was_destroyed_is_in_no_file(tmp_path, changes):
    folder = tmp_path / secrets.token_hex(8)
    vault, model, ever = Vault(folder / "study.db"), {}, set()
    for rows, forget in changes:
        vault.change(rows, forget)
        model = {name: text for name, text in model.items() if name not in forget} | rows
        ever |= set(rows.values())
        assert vault.rows() == model
        whole = on_disk(vault)
        assert not [text for text in ever - set(model.values()) if any(text[at : at + 16].encode() in whole for at in (0, len(text) - 16))]
    vault.close()
    whole = on_disk(vault)
    assert not [text for text in ever - set(model.values()) if any(text[at : at + 16].encode() in whole for at in (0, len(text) - 16))]


def test_what_was_destroyed_just_before_a_kill_is_gone_after_the_next_start(tmp_path):
    path, secret = tmp_path / "study.db", secrets.token_hex(32)
    code = f"vault.wipe = lambda: None\nvault.change({{'a': {secret!r}}})\nvault.change({{}}, ['a'])\nos.kill(os.getpid(), signal.SIGKILL)"
    assert in_child(path, code).returncode == -signal.SIGKILL
    assert secret.encode() in (tmp_path / "study.db-wal").read_bytes()
    vault = Vault(path)
    assert secret.encode() not in on_disk(vault)
    vault.close()


def test_a_full_disk_leaves_all_as_it_was(vault):
    vault.change({"a": "1", "b": "2"})
    vault.connection.execute("PRAGMA max_page_count = 4")
    with pytest.raises(StorageError, match="full") as caught:
        vault.change({"a": "3", "c": "x" * 50_000}, ["b"])
    assert "make room" in caught.value.hint
    assert vault.rows() == {"a": "1", "b": "2"}
    vault.connection.execute("PRAGMA max_page_count = 1000")
    vault.change({"a": "3", "c": "x" * 50_000}, ["b"])
    assert vault.rows() == {"a": "3", "c": "x" * 50_000}


@pytest.mark.parametrize("room", [0, 1000, 5000, 13_000, 30_000, 80_000, 200_000])
def test_wherever_the_disk_is_full_a_change_is_whole_or_nothing(tmp_path, room):
    path = tmp_path / "study.db"
    code = f"""
from collegium.errors import StorageError
vault.change({{"a": "1", "b": "2"}})
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, -1))
try:
    vault.change({{"a": "3", "c": "x" * 60_000}}, ["b"])
    print("whole")
except StorageError:
    print("nothing")
shown = vault.rows()
assert shown == ({{"a": "1", "b": "2"}} if "b" in shown else {{"a": "3", "c": "x" * 60_000}})
print("nothing" if "b" in shown else "whole")
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
vault.change({{"d": "4"}})
"""
    child = in_child(path, code)
    assert child.returncode == 0, child.stderr
    said, shown = child.stdout.split()
    assert said == shown
    assert said == {0: "nothing", 200_000: "whole"}.get(room, said)
    vault = Vault(path)
    assert vault.rows() == ({"a": "3", "c": "x" * 60_000} if said == "whole" else {"a": "1", "b": "2"}) | {"d": "4"}
    vault.close()


def test_a_change_that_is_interrupted_is_nothing(vault):
    vault.change({"a": "1"})

    class Stop(BaseException):
        pass

    def names():
        yield "a"
        raise Stop

    with pytest.raises(Stop):
        vault.change({"b": "2"}, names())
    with pytest.raises(StorageError, match="bind"):
        vault.change({"b": "2", "c": object()}, ["a"])
    assert vault.rows() == {"a": "1"}
    vault.change({"b": "2"})
    assert vault.rows() == {"a": "1", "b": "2"}


def test_only_the_agents_user_reads_it(tmp_path):
    before = os.umask(0)
    try:
        vault = Vault(tmp_path / "secure" / "study.db")
        vault.change({"a": "1"})
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in vault.path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(vault.path.parent.stat().st_mode) == 0o700
    vault.close()


def test_a_file_that_is_no_database_is_told_with_the_way_out(tmp_path):
    path = tmp_path / "study.db"
    path.write_bytes(os.urandom(9000))
    with pytest.raises(StorageError, match=r"study\.db cannot be read or written: file is not a database") as caught:
        Vault(path)
    assert caught.value.hint == "move the file away: this site then takes part again from the next epoch of keys"


def test_torn_pages_are_told(vault):
    vault.change({f"key/{k}": secrets.token_hex(2000) for k in range(50)})
    vault.close()
    whole = bytearray(vault.path.read_bytes())
    whole[8192:-8192] = os.urandom(len(whole) - 16_384)
    vault.path.write_bytes(whole)
    again = Vault(vault.path)
    with pytest.raises(StorageError, match="malformed") as caught:
        again.rows()
    assert "move the file away" in caught.value.hint
    with pytest.raises(StorageError, match="malformed"):
        again.change({"key/0": "1"}, [f"key/{k}" for k in range(50)])
    again.close()


def test_a_folder_in_its_place_or_a_file_in_its_parents_is_told(tmp_path):
    (tmp_path / "study.db").mkdir()
    (tmp_path / "secure").touch()
    for path in (tmp_path / "study.db", tmp_path / "secure" / "study.db"):
        with pytest.raises(StorageError, match="cannot be read or written") as caught:
            Vault(path)
        assert "give the agent's user the right" in caught.value.hint


def test_a_vault_that_was_let_go_is_not_used(vault):
    vault.close()
    with pytest.raises(StorageError, match="closed"):
        vault.rows()
    with pytest.raises(StorageError, match="closed"):
        vault.change({"a": "1"})
