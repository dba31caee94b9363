import os
import threading

import blake3
import pytest

from collegium import identity
from collegium.errors import ConflictError, LinkError, NotFound
from collegium.site import link as links
from collegium.site import transfer
from collegium.site.dial import Dialler, target
from collegium.site.link import Link
from collegium.site.transfer import CHUNK, Cache, abreast, operation, upload
from tests.site.standin import Standin, serving
from tests.system.network.harness import Faults, Relay, relaying

KEY = identity.key(b"k" * 32)
WHOLE = os.urandom(2 * CHUNK + 12345)
DIGESTS = [identity.digest(WHOLE[at : at + CHUNK]) for at in range(0, len(WHOLE), CHUNK)]


@pytest.fixture
def there(tmp_path):
    with serving(Standin(tmp_path)) as coordinator:
        coordinator.sites[KEY.public] = "leeds"
        yield coordinator


@pytest.fixture
def way(there, monkeypatch):
    """A link through a relay that can be told to misbehave."""
    monkeypatch.setattr(links, "PAUSES_S", (0.01, 0.02))
    with relaying(Relay(there.port)) as relay:
        url = there.url.replace(str(there.port), str(relay.port))
        link = Link(Dialler(target(url), root=there.root.pem), KEY, there.key.public)
        yield link, relay
        link.close()


def test_only_missing_chunks_are_sent_and_a_second_upload_sends_nothing(there, way, tmp_path):
    link, _ = way
    file = tmp_path / "vector"
    file.write_bytes(WHOLE)
    op = operation("r1", [0, 1, 1, "sum"], "leeds")
    there.uploads[op] = {1: WHOLE[CHUNK : 2 * CHUNK]}
    assert upload(link, op, "r1", file, DIGESTS) == 2
    assert b"".join(there.uploads[op][k] for k in range(3)) == WHOLE
    assert upload(link, op, "r1", file, DIGESTS) == 0


def test_two_chunks_are_on_their_way_at_once_and_after_an_error_none_is_begun():
    both, begun = threading.Barrier(2, timeout=20), []

    def do(number):
        begun.append(number)
        if number < 4:
            both.wait()  # nobody gets through alone
        else:
            raise ConflictError("the round is over")

    abreast(do, [0, 1, 2, 3])
    assert sorted(begun) == [0, 1, 2, 3]
    begun.clear()
    with pytest.raises(ConflictError):
        abreast(do, [0, 1, *range(4, 99)])
    assert len(begun) <= 4
    abreast(do, [])


@pytest.mark.parametrize("cut", [100, 5000, CHUNK // 2, CHUNK + 9000, 2 * CHUNK + 20000])
def test_an_upload_that_is_cut_sends_at_most_one_chunk_again(there, way, tmp_path, cut):
    link, relay = way
    file = tmp_path / "vector"
    file.write_bytes(WHOLE)
    relay.faults = Faults(cut_up=cut)
    upload(link, "op", "r1", file, DIGESTS)
    assert b"".join(there.uploads["op"][k] for k in range(3)) == WHOLE
    assert relay.up <= len(WHOLE) + CHUNK + 0.05 * len(WHOLE)


@pytest.mark.parametrize("cut", [10, 3000, 1_000_000, len(WHOLE) - 5])
def test_a_download_goes_on_where_it_was_cut(there, way, tmp_path, cut):
    link, relay = way
    name = blake3.blake3(WHOLE).hexdigest()
    there.blobs[name] = WHOLE
    relay.faults = Faults(cut_down=cut)
    path = Cache(tmp_path / "cache").fetch(link, name, len(WHOLE))
    assert path.read_bytes() == WHOLE
    assert relay.down <= 1.05 * len(WHOLE) + 20_000


def test_a_blob_is_fetched_once_and_a_damaged_file_is_fetched_again(there, way, tmp_path):
    link, relay = way
    name = blake3.blake3(WHOLE).hexdigest()
    there.blobs[name] = WHOLE
    cache = Cache(tmp_path / "cache")
    path = cache.fetch(link, name, len(WHOLE))
    before = relay.down
    cache.fetch(link, name, len(WHOLE))
    Cache(tmp_path / "cache").fetch(link, name, len(WHOLE))
    assert relay.down == before
    path.write_bytes(WHOLE[:-1] + b"x")
    assert Cache(tmp_path / "cache").fetch(link, name, len(WHOLE)).read_bytes() == WHOLE


def named(there, whole):
    name = blake3.blake3(whole).hexdigest()
    there.blobs[name] = whole
    return name


@pytest.mark.parametrize("size", [len(WHOLE), CHUNK, len(WHOLE) + CHUNK])
def test_the_next_blob_is_written_over_the_last_one(there, way, tmp_path, size):
    link, _ = way
    cache, after = Cache(tmp_path / "cache"), os.urandom(size)
    inode = cache.fetch(link, named(there, WHOLE), len(WHOLE)).stat().st_ino
    path = cache.fetch(link, named(there, after), size)
    assert path.read_bytes() == after
    assert path.stat().st_ino == inode
    assert [*cache.folder.iterdir()] == [path]


@pytest.mark.parametrize("cut", [10, 3000, 1_000_000, len(WHOLE) - 5])
def test_a_download_over_a_former_file_goes_on_where_it_was_cut(there, way, tmp_path, cut):
    link, relay = way
    cache, after = Cache(tmp_path / "cache"), os.urandom(len(WHOLE))
    cache.fetch(link, named(there, WHOLE), len(WHOLE))
    before, relay.faults = relay.down, Faults(cut_down=cut)
    assert cache.fetch(link, named(there, after), len(after)).read_bytes() == after
    assert relay.down - before <= 1.05 * len(after) + 20_000


def test_what_was_being_written_over_when_the_site_was_killed_is_not_taken_for_a_part(there, way, tmp_path):
    link, _ = way
    cache = Cache(tmp_path / "cache")
    cache.folder.mkdir()
    name = named(there, WHOLE)
    (cache.folder / f"{name}.over").write_bytes(WHOLE[:CHUNK] + os.urandom(3 * CHUNK))  # as long as the file before it
    (cache.folder / f"{'ab' * 32}.part").write_bytes(b"of a state that nobody wants now")
    path = cache.fetch(link, name, len(WHOLE))
    assert path.read_bytes() == WHOLE
    assert [*cache.folder.iterdir()] == [path]


def test_other_bytes_under_a_digest_are_refused(there, way, tmp_path):
    link, _ = way
    name = blake3.blake3(WHOLE).hexdigest()
    there.blobs[name] = b"x" + WHOLE[1:]
    with pytest.raises(LinkError, match="altered on the way"):
        transfer.download(link, name, len(WHOLE), tmp_path / name)
    assert not any(tmp_path.glob("*.part"))


def test_a_blob_that_is_not_there_is_the_coordinators_own_word(there, way, tmp_path):
    link, _ = way
    with pytest.raises(LinkError, match="cut at 0"):
        transfer.download(link, "ab" * 32, 10, tmp_path / "a")  # learns the boot
    with pytest.raises(NotFound):
        transfer.download(link, "ab" * 32, 10, tmp_path / "a")


def test_a_full_disk_is_told(there, way, tmp_path, monkeypatch):
    from collegium.errors import StorageError

    link, _ = way
    there.blobs["ab" * 32] = b"0123456789"

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(StorageError, match="No space left"):
        transfer.download(link, "ab" * 32, 10, tmp_path / "a")
