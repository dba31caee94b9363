"""Chunks in any order, cut, repeated, altered or met by a crash: the whole is the whole, or it is asked for again."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collegium.coordinator.blobs import Blobs
from collegium.coordinator.spool import CHUNK, Spool, Upload, operation
from collegium.engine.messages import Place
from collegium.errors import ConflictError, FrameError, StorageError, UpdateError
from collegium.identity import digest, vector_digest

SIZE = 2 * CHUNK + 1000
BODY = os.urandom(1 << 16) * (SIZE >> 16) + os.urandom(SIZE % (1 << 16))
WHOLE = vector_digest(digest(BODY[at : at + CHUNK]) for at in range(0, SIZE, CHUNK))
OP = operation("r1", Place(0, 1, 1, "sum"), "leeds")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", Blobs(tmp_path / "blobs"))


def part(k: int) -> bytes:
    return BODY[k * CHUNK : (k + 1) * CHUNK]


def put(upload: Upload, k: int, body: bytes | None = None, pieces: int = 3) -> None:
    body = part(k) if body is None else body
    chunk = upload.receive(k)
    for at in range(0, len(body), -(-len(body) // pieces)):
        chunk.write([body[at : at + -(-len(body) // pieces)], b""])
    chunk.finish(digest(part(k)))


def test_the_name_of_an_upload_follows_from_what_it_is():
    assert operation("r1", Place(0, 1, 1, "sum"), "leeds") == OP
    assert len({OP, operation("r1", Place(0, 1, 2, "sum"), "leeds"), operation("r1", Place(0, 1, 1, "sum"), "york")}) == 3


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [0, 1, 0, 2, 1], [2, 1, 0]])
def test_chunks_in_any_order_make_the_whole(spool: Spool, order: list[int]):
    upload = spool.upload(OP, SIZE)
    for k in order:
        put(upload, k)
    assert upload.seal() == WHOLE
    assert spool.file(OP).read(0, SIZE) == BODY
    assert upload.tail(16) == BODY[-16:]


def test_a_missing_chunk_is_named(spool: Spool):
    upload = spool.upload(OP, SIZE)
    put(upload, 0)
    put(upload, 2)
    with pytest.raises(UpdateError, match="chunk 1 of 3"):
        upload.seal()


def test_a_chunk_cut_short_too_long_or_altered_does_not_count(spool: Spool):
    upload = spool.upload(OP, SIZE)
    put(upload, 0)
    with pytest.raises(FrameError, match="ended after"):
        put(upload, 1, part(1)[:-1])
    with pytest.raises(FrameError, match="longer"):
        put(upload, 2, part(2) + b"x")
    with pytest.raises(FrameError, match="altered"):
        put(upload, 1, part(1)[:-1] + bytes([part(1)[-1] ^ 1]))
    with pytest.raises(UpdateError, match="does not exist"):
        upload.receive(3)
    assert sorted(upload.chunks) == [0]
    put(upload, 1)
    put(upload, 2)
    assert upload.seal() == WHOLE


def test_a_spoiled_repetition_is_noticed(spool: Spool):
    upload = spool.upload(OP, SIZE)
    for k in range(3):
        put(upload, k)
    with pytest.raises(FrameError):
        put(upload, 0, b"x" * CHUNK)
    assert sorted(upload.chunks) == [1, 2]
    put(upload, 0)
    assert upload.seal() == WHOLE


def test_after_a_crash_only_whole_chunks_count(spool: Spool):
    upload = spool.upload(OP, SIZE)
    put(upload, 0)
    put(upload, 2)
    upload.receive(1).write([part(1)[:5000]])
    os.pwrite(upload.handle, b"!", CHUNK * 2 + 17)  # the power cut lost a page of chunk 2
    with upload.notes.open("a") as notes:
        notes.write("1 abc\nnonsense\n99 ff\n")
    again = Spool(spool.folder, spool.blobs).upload(OP, SIZE)
    assert sorted(again.chunks) == [0]
    put(again, 2)
    put(again, 1)
    assert again.seal() == WHOLE


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=8))
def test_whatever_came_before_the_seal_tells_the_truth(tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, bool]]):
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder / "spool", Blobs(folder / "blobs"))
    upload = spool.upload(OP, SIZE)
    for k, whole in events:
        if whole:
            put(upload, k)
        else:
            upload.receive(k).write([b"\0" * 100])
    for k in set(range(3)) - upload.chunks.keys():
        put(upload, k)
    assert upload.seal() == WHOLE


def test_only_uploads_of_open_rounds_are_kept(spool: Spool):
    other = operation("r1", Place(0, 1, 1, "sum"), "york")
    for op in (OP, other):
        put(spool.upload(op, SIZE), 0)
    (spool.folder / "stray").write_bytes(b"of an older version")
    spool.keep_only([OP])
    assert sorted(path.name for path in spool.folder.iterdir()) == [OP, f"{OP}.have"]
    spool.drop([OP, other])
    assert list(spool.folder.iterdir()) == []


def test_a_chunk_that_comes_after_the_end_leaves_no_trace(spool: Spool):
    chunk = spool.upload(OP, SIZE).receive(0)
    chunk.write([part(0)])
    spool.drop([OP])
    with pytest.raises(ConflictError, match="is over"):
        chunk.finish(digest(part(0)))
    assert list(spool.folder.iterdir()) == []


def test_the_file_of_a_round_that_is_over_is_written_over_by_the_next(spool: Spool):
    upload = spool.upload(OP, SIZE)
    for k in range(3):
        put(upload, k)
    upload.sealed = upload.seal()
    number = os.stat(spool.folder / OP).st_ino
    spool.drop([OP], spare=True)
    other = spool.upload("b" * 64, SIZE)
    assert (os.stat(spool.folder / ("b" * 64)).st_ino, other.chunks) == (number, {})
    for k in range(3):
        put(other, k)
    assert other.seal() == WHOLE
    spool.drop(["b" * 64])
    assert list(spool.folder.iterdir()) == []


def test_a_half_done_upload_leaves_nothing_to_the_next_round(spool: Spool):
    put(spool.upload(OP, SIZE), 0)
    spool.drop([OP], spare=True)
    assert list(spool.folder.iterdir()) == []


def test_a_full_disk_is_told_before_the_first_chunk(tmp_path: Path):
    spool = Spool(tmp_path / "spool", Blobs(tmp_path / "blobs", free=lambda folder: 1 << 20))
    with pytest.raises(StorageError, match="1 MiB left"):
        spool.upload(OP, SIZE)
    assert list(spool.folder.iterdir()) == []
