import pytest

from collegium.errors import IdentityError, NotFound, StorageError
from collegium.site.config import Config, ConfigError, key_of, load, make_key, save, tables, write


def test_what_is_saved_is_loaded(tmp_path):
    made = Config(tmp_path, "https://hub.example", "ab" * 32, 'Sankt "Jürgen"', "Test", "http://a:b@p:1", "/ca.pem", 2, 4)
    save(made)
    assert load(tmp_path) == made
    assert (tmp_path / "site.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ("[network]\nproxi = 'x'", "[network] setting 'proxi' is not known", "did you mean 'proxy'?"),
        ("[netwerk]\n", "section 'netwerk' is not known", "did you mean 'network'?"),
        ("[resources]\nthreads = 'two'", "threads is a str; wanted a whole number", ""),
        ("[resources]\nthreads = true", "threads is a bool", ""),
        ("colour = 'red'", "setting 'colour' is not known", "known: "),
        ("site = ", "site.toml", ""),
    ],
)
def test_a_slip_in_the_settings_is_named(tmp_path, line, words, hint):
    head, body = (line, "") if not line.startswith("[") else ("", line)
    (tmp_path / "site.toml").write_text(f"{head}\n[coordinator]\nurl = 'https://h'\nkey = 'ab'\n{body}")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert words in str(caught.value)
    assert hint in caught.value.hint


def test_a_folder_without_settings_or_address(tmp_path):
    with pytest.raises(NotFound, match="not a site's folder"):
        load(tmp_path)
    (tmp_path / "site.toml").write_text("[coordinator]\nurl = 'https://h'\n")
    with pytest.raises(ConfigError, match="has no 'key'"):
        load(tmp_path)


def test_a_key_is_made_once_and_must_be_secret(tmp_path):
    with pytest.raises(IdentityError, match="missing"):
        key_of(tmp_path)
    assert make_key(tmp_path).public == make_key(tmp_path).public == key_of(tmp_path).public
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(IdentityError, match="read by other users"):
        key_of(tmp_path)
    (tmp_path / "key").write_text("zz")
    with pytest.raises(IdentityError, match="does not hold a key"):
        key_of(tmp_path)


def test_table_names_are_read_without_the_table_readers(tmp_path):
    assert tables(tmp_path) == []
    (tmp_path / "data.json").write_text('{"version": 1, "tables": {"stays": {"path": "x"}, "labs": {}}}')
    assert tables(tmp_path) == ["labs", "stays"]
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        tables(tmp_path)


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write(tmp_path / "none" / "file", b"x")
