"""Frames: round trips, the real safetensors library, and hostile bytes."""

import contextlib
import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from collegium import tree as T
from collegium import wire
from collegium.errors import FrameError
from tests.trees import Disk, same, trees


def frame(tree, metadata=None):
    return b"".join(wire.encode(tree, metadata))


def forged(entries, buffers=b"", length=None):
    text = json.dumps(entries).encode() if isinstance(entries, dict) else entries
    return struct.pack("<Q", len(text) if length is None else length) + text + buffers


def one(**change):
    return {"w": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]} | change}


@given(trees())
def test_a_tree_comes_back_as_it_was(tree):
    flat, again = T.flatten(tree), T.flatten(wire.decode(frame(tree)))
    assert flat.keys() == again.keys()
    assert all(same(flat[name], again[name]) for name in flat)


def test_the_safetensors_library_reads_our_frames_and_we_its():
    tree = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": {"c": np.array([1, 2], np.int64)}}
    theirs = safetensors.numpy.load(frame(tree, {"study": "x"}))
    assert same(theirs["a"], tree["a"])
    assert same(theirs["b/c"], tree["b"]["c"])
    assert same(wire.decode(safetensors.numpy.save({"q": tree["a"]}))["q"], tree["a"])


def test_the_length_is_known_before_the_frame_is_made():
    tree = {"w": np.zeros((3, 5), np.float32), "n": np.array(1)}
    assert wire.header(tree)[1] == len(frame(tree))


def test_metadata_comes_back():
    data = frame({"w": np.zeros(1)}, {"b": "2", "a": "1"})
    assert wire.layout(lambda at, n: data[at : at + n], len(data))[2] == {"a": "1", "b": "2"}


def test_a_stored_frame_is_read_where_it_lies():
    values = np.arange(1000, dtype=np.float32)
    data, asked = frame({"w": values}), []

    def read(at, size):
        asked.append(size)
        return data[at : at + size]

    leaf = wire.load(read, len(data))["w"]
    assert np.array_equal(T.block(leaf, 10, 20), values[10:20])
    assert max(asked[2:]) == 40
    assert same(np.asarray(leaf), values)


def test_leaves_larger_than_memory_are_written_in_blocks():
    disk = Disk(np.ones(4 * T.BLOCK, np.float32))
    pieces = list(wire.encode(T.scale({"w": disk}, 2.0)))
    assert max(map(len, pieces)) <= 4 * T.BLOCK
    assert disk.most == T.BLOCK


@given(st.data())
def test_a_frame_cut_short_is_refused(data):
    whole = frame({"a": np.arange(4.0), "b": {"c": np.arange(3)}})
    with pytest.raises(FrameError):
        wire.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.data())
def test_an_altered_frame_never_crashes(data):
    whole = bytearray(frame({"a": np.arange(4.0), "b": {"c": np.arange(3)}}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FrameError):
        T.flatten(wire.decode(bytes(whole)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends before its header length"),
        (forged(b"{", length=2**40), "claims 1099511627776 bytes"),
        (forged(b"{not json"), "not JSON"),
        (forged(b"[" * 100_000), "not JSON"),
        (forged(b"[]"), "must be an object"),
        (forged(b'{"w": 1, "w": 2}'), "stands twice"),
        (forged({"w": {"dtype": "F64"}}), "'w' is described as"),
        (forged(one(dtype="PICKLE"), bytes(16)), "'w' has dtype 'PICKLE'"),
        (forged(one(shape=[-2]), bytes(16)), "'w' has shape"),
        (forged(one(shape=[2.0]), bytes(16)), "'w' has shape"),
        (forged(one(shape=[2**40, 2**40]), bytes(16)), "'w' holds 16 bytes"),
        (forged(one(data_offsets=[8, 24]), bytes(24)), "'w' starts at byte 8"),
        (forged(one(data_offsets=[-16, 0]), bytes(16)), "'w' holds 16 bytes"),
        (forged(one() | {"x": one()["w"]}, bytes(16)), "'x' starts at byte 0, the leaf before it ends at 16"),
        (forged(one(), bytes(15)), "cut short or padded"),
        (forged(one(), bytes(17)), "cut short or padded"),
        (forged({"__metadata__": {"a": 1}}), "metadata must be text"),
    ],
)
def test_hostile_frames_are_refused_by_name(data, says):
    with pytest.raises(FrameError, match=says):
        wire.decode(data)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_neither_leaves_nor_enters(bad):
    with pytest.raises(FrameError, match="'w' holds NaN or infinity"):
        frame({"w": np.array([0.0, bad])})
    data = forged(one(), np.array([0.0, bad]).tobytes())
    with pytest.raises(FrameError, match="'w' holds NaN or infinity"):
        wire.decode(data)


def test_a_dtype_that_no_frame_carries_is_refused():
    with pytest.raises(FrameError, match="'w' has dtype complex128"):
        frame({"w": np.zeros(1, complex)})
