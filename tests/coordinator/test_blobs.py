"""Frames under their digest: whole or not there, read a block at a time, kept as long as anybody needs them."""

from pathlib import Path

import blake3
import numpy as np
import pytest

from collegium import tree as T
from collegium import wire
from collegium.coordinator.blobs import SMALL, Blobs, File, Frame
from collegium.errors import FrameError, NotFound, StorageError

LARGE = {"w": np.arange(400_000, dtype=np.float64), "b": np.ones(3)}


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_a_small_tree_is_no_file(blobs: Blobs):
    frame = blobs.write({"w": np.arange(3.0)})
    assert frame.body is not None
    assert frame.digest == blake3.blake3(frame.body).hexdigest()
    assert blobs.names() == []
    assert blobs.load(frame)["w"].tolist() == [0, 1, 2]


def test_a_large_tree_is_a_file_named_by_its_digest(blobs: Blobs):
    frame = blobs.write(LARGE)
    assert (frame.body, frame.nbytes > SMALL) == (None, True)
    content = blobs.path(frame.digest).read_bytes()
    assert blake3.blake3(content).hexdigest() == frame.digest
    assert content == b"".join(wire.encode(LARGE))
    leaves = blobs.load(frame)
    assert isinstance(leaves["w"], np.ndarray) is True  # within the budget of memory
    assert np.array_equal(leaves["w"], LARGE["w"])


def test_weights_beyond_the_budget_stay_in_the_file_and_statistics_never_do(blobs: Blobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("collegium.coordinator.blobs.IN_MEMORY", 1000)
    weights = np.arange(400_000, dtype=np.float32)
    leaves = blobs.load(blobs.write({"w": weights, "b": weights[:5], "sums": np.arange(300_000.0)}))
    assert isinstance(leaves["b"], np.ndarray)
    assert isinstance(leaves["sums"], np.ndarray)
    assert isinstance(leaves["w"], wire.Stored)
    assert np.array_equal(T.block(leaves["w"], 399_998, 400_000), [399_998, 399_999])


def test_a_refused_tree_leaves_nothing(blobs: Blobs):
    with pytest.raises(FrameError, match="'w' holds NaN"):
        blobs.write({"a": np.zeros(300_000), "w": np.full(300_000, np.nan)})
    assert blobs.names() == []


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path):
    blobs = Blobs(tmp_path / "blobs", free=lambda folder: 65 << 20)
    blobs.write({"w": np.zeros(10)})
    with pytest.raises(StorageError, match="65 MiB left"):
        blobs.write(LARGE)
    assert blobs.names() == []


def test_a_file_cut_short_is_told(blobs: Blobs):
    frame = blobs.write(LARGE)
    path = blobs.path(frame.digest)
    file = File(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match="damaged"):
        blobs.load(frame)
    with pytest.raises(StorageError, match="ends at byte"):
        file.read(frame.nbytes - 20, 20)
    with pytest.raises(NotFound):
        blobs.load(Frame("ab" * 32, 10, None))


def test_a_sweep_takes_what_nobody_wants_and_nobody_writes(blobs: Blobs):
    kept, gone, fresh = (blobs.write({"w": np.full(200_000, float(k))}) for k in range(3))
    blobs.unpin([kept, gone])
    blobs.sweep(blobs.names(), lambda digest: digest == kept.digest)
    assert sorted(blobs.names()) == sorted([kept.digest, fresh.digest])  # the last is still being committed
    blobs.unpin([fresh])
    blobs.sweep([fresh.digest], lambda digest: False)
    assert blobs.names() == [kept.digest]


def test_an_open_file_outlives_its_name(blobs: Blobs):
    frame = blobs.write(LARGE)
    leaves = blobs.load(frame)
    file = File(blobs.path(frame.digest))
    blobs.unpin([frame])
    blobs.sweep([frame.digest], lambda digest: False)
    assert len(file.read(0, frame.nbytes)) == frame.nbytes
    assert leaves["b"].tolist() == [1, 1, 1]


def full(k: int, size: int = 200_000) -> dict[str, np.ndarray]:
    return {"w": np.full(size, float(k))}


def retired(blobs: Blobs, k: int) -> int:
    """Write a file and let everybody lose interest in it; its inode."""
    frame = blobs.write(full(k))
    inode = blobs.path(frame.digest).stat().st_ino
    blobs.unpin([frame])
    blobs.sweep([frame.digest], lambda digest: False)
    return inode


@pytest.mark.parametrize("size", [150_000, 200_000, 300_000])
def test_the_next_file_is_written_over_the_last_that_nobody_wants(blobs: Blobs, size: int):
    before, inode = retired(blobs, 1), retired(blobs, 2)
    assert before == inode
    frame = blobs.write(full(3, size))
    assert blobs.path(frame.digest).stat().st_ino == inode
    assert blobs.path(frame.digest).read_bytes() == b"".join(wire.encode(full(3, size)))
    assert blobs.names() == [frame.digest]


def test_a_file_that_is_still_read_is_not_written_over(blobs: Blobs):
    frame = blobs.write(full(1))
    file = blobs.open(frame.digest)
    blobs.unpin([frame])
    blobs.sweep([frame.digest], lambda digest: False)
    blobs.write(full(2))
    assert blake3.blake3(file.read(0, frame.nbytes)).hexdigest() == frame.digest
    inode = file.inode
    del file
    assert blobs.path(blobs.write(full(3)).digest).stat().st_ino == inode


def test_a_refused_tree_over_a_former_file_leaves_nothing(blobs: Blobs):
    retired(blobs, 1)
    with pytest.raises(FrameError, match="'w' holds NaN"):
        blobs.write({"w": np.full(200_000, np.nan)})
    assert list(blobs.folder.iterdir()) == []


def test_the_spare_file_goes_where_the_disk_is_short(tmp_path: Path):
    left = [1 << 30]
    blobs = Blobs(tmp_path / "blobs", free=lambda folder: left[0])
    retired(blobs, 1)
    left[0] = 1000
    with pytest.raises(StorageError, match="MiB left"):
        blobs.room_for(1)
    assert list(blobs.folder.iterdir()) == []


def test_a_spare_file_does_not_stay_when_no_run_goes_on(blobs: Blobs):
    retired(blobs, 1)
    blobs.tidy()
    assert list(blobs.folder.iterdir()) == []


def test_half_written_files_are_removed_at_the_start(blobs: Blobs):
    (blobs.folder / "tmp-x").write_bytes(b"half")
    assert blobs.names() == []
