"""Files brought to the disk while they are written. A pipe stands for a broken disk: the system refuses to sync it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.coordinator.blobs import Blobs
from collegium.coordinator.spool import Upload
from collegium.coordinator.writeback import STEP, Writeback
from collegium.errors import StorageError, UpdateError
from collegium.identity import digest, vector_digest


@pytest.fixture
def broken() -> Iterator[int]:
    ends = os.pipe()
    yield ends[1]
    for end in ends:
        os.close(end)


def test_the_disk_is_set_to_work_before_the_end(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        disk = Writeback(file.fileno())
        disk.wrote(STEP - 1)
        assert disk.working is None
        disk.wrote(1)
        assert disk.working is not None
        assert disk.behind == 0
    disk.finish()  # the file is its own: whoever wrote it may close it
    disk.finish()


def test_what_the_disk_refused_on_the_way_is_told_at_the_end(broken: int) -> None:
    disk = Writeback(broken)
    disk.wrote(STEP)
    assert disk.working is not None
    assert isinstance(disk.working.exception(10), OSError)
    disk.handle = os.open("/dev/null", os.O_WRONLY)  # as the system does, which tells of a lost page once
    disk.wrote(STEP)
    with pytest.raises(OSError, match="Invalid argument"):
        disk.finish()


def test_an_upload_that_the_disk_lost_comes_again(tmp_path: Path, broken: int) -> None:
    upload, body = Upload(tmp_path / "vector", 8), bytes(8)
    upload.receive(0).finish(digest(body), [body])
    sound, upload.disk = upload.disk, Writeback(broken)
    with pytest.raises(StorageError, match="refused to write"):
        upload.seal()
    with pytest.raises(UpdateError, match="chunk 0 of 1 is not here"):
        upload.seal()
    assert not Upload(tmp_path / "vector", 8).chunks, "a restart believes what was noted"
    upload.disk = sound
    upload.receive(0).finish(digest(body), [body])
    assert upload.seal() == vector_digest([digest(body)])


def test_a_large_frame_is_whole(tmp_path: Path) -> None:
    pieces = [bytes([k]) * STEP for k in range(3)]
    frame = Blobs(tmp_path / "blobs").put(pieces, 3 * STEP)
    assert Blobs(tmp_path / "blobs").open(frame.digest).read(0, 3 * STEP) == b"".join(pieces)
