"""Sums of any size in bounded memory, under masks or without."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.engine import fold, task
from collegium.privacy import masks, ring
from collegium.privacy.masks import CHUNK, STEP, Mask

LAYOUTS = {
    "wide": ring.Layout((ring.Leaf("n", "int64", (37,)),), 5),
    "narrow": ring.Layout((ring.Leaf("w", "float32", (51,), -8),), 5),  # of odd length: padded
    "short": ring.Layout((ring.Leaf("w", "float32", (53,), -8, True),), 5),
    "all": ring.Layout(
        (ring.Leaf("n", "int64", (3,)), ring.Leaf("w", "float32", (7,), -8), ring.Leaf("v", "float32", (70_005,), -8, True)), 5
    ),
    "mixed": ring.Layout((ring.Leaf("n", "int64", (3,)), ring.Leaf("x", "float64", (2, 5), -20), ring.Leaf("w", "float32", (4, 9), -8)), 5),
    "empty": ring.Layout((), 5),
    "large": ring.Layout((ring.Leaf("n", "int64", (40_001,)), ring.Leaf("w", "float32", (70_003,), -8)), 5),  # more than two CHUNKs
}


def vectors(layout, sites):
    """A vector of each site; its numbers wrap around, as masked ones do."""
    rng = np.random.default_rng(sites)
    return [rng.integers(0, 256, layout.nbytes, np.uint8) for _ in range(sites)]


def covered(layout, plain, dropped):
    """The vectors under pairwise and own masks, but for the first few, who drop out; and what opens the sum of the others."""
    names = [f"s{k}" for k in range(len(plain) + dropped)]
    own = {name: hashlib.sha256(name.encode()).digest() for name in names}
    pair = {(a, b): hashlib.sha256(f"{a}|{b}".encode()).digest() for a in names for b in names if a < b}
    out = []
    for name, vector in zip(names[dropped:], plain, strict=True):
        laid = [Mask(own[name], 1)]
        laid += [Mask(pair[min(name, peer), max(name, peer)], masks.sign(name, peer)) for peer in names if peer != name]
        y = vector.copy()
        masks.apply(y, layout, laid)
        out.append(y)
    left = [Mask(own[name], -1) for name in names[dropped:]]
    left += [Mask(pair[gone, live], -masks.sign(live, gone)) for gone in names[:dropped] for live in names[dropped:]]
    return out, left


def reader(vector):
    return lambda at, size: vector.tobytes()[at : at + size]


@pytest.mark.parametrize("dropped", [0, 1, 2])
@pytest.mark.parametrize("sites", [1, 2, 5])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_masks_of_all_sites_and_those_that_are_left_give_the_plain_sum(layout, sites, dropped):
    plain = vectors(layout, sites)
    masked, left = covered(layout, plain, dropped)
    whole = fold.fold_bytes(layout, [v.tobytes() for v in plain])
    assert fold.fold_bytes(layout, [v.tobytes() for v in masked]) != whole
    assert fold.fold_bytes(layout, [v.tobytes() for v in masked], left) == whole
    assert fold.folded(layout, [reader(v) for v in masked], left)(0, layout.nbytes) == whole


@given(st.data())
@pytest.mark.parametrize("name", ["wide", "narrow", "short", "mixed", "empty"])
def test_pieces_read_anywhere_and_in_any_order_are_pieces_of_the_whole(name, data):
    layout = LAYOUTS[name]
    masked, left = covered(layout, vectors(layout, 3), 1)
    whole = fold.fold_bytes(layout, [v.tobytes() for v in masked], left)
    read = fold.folded(layout, [reader(v) for v in masked], left)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, layout.nbytes))
        count = data.draw(st.integers(0, layout.nbytes - at))
        assert read(at, count) == whole[at : at + count]


@pytest.mark.parametrize("step", [1000, CHUNK - 4, CHUNK, CHUNK + STEP, 3 * CHUNK])
def test_a_large_sum_read_on_and_on_is_the_whole(step):
    layout = LAYOUTS["large"]
    masked, left = covered(layout, vectors(layout, 3), 1)
    read = fold.folded(layout, [reader(v) for v in masked], left)
    pieces = [read(at, min(step, layout.nbytes - at)) for at in range(0, layout.nbytes, step)]
    assert b"".join(pieces) == fold.fold_bytes(layout, [v.tobytes() for v in masked], left)


def test_one_mask_too_few_leaves_noise():
    layout = LAYOUTS["large"]
    plain = vectors(layout, 3)
    masked, left = covered(layout, plain, 1)
    whole = np.frombuffer(fold.fold_bytes(layout, [v.tobytes() for v in plain]), np.uint8)
    for missing in range(len(left)):
        wrong = np.frombuffer(fold.fold_bytes(layout, [v.tobytes() for v in masked], left[:missing] + left[missing + 1 :]), np.uint8)
        assert 0.99 < np.mean(wrong != whole) < 0.999  # one byte in 256 is right by chance


def test_nobody_sums_to_nothing_and_nothing_is_read_for_nothing():
    layout = LAYOUTS["mixed"]
    assert fold.fold_bytes(layout, []) == fold.folded(layout, [])(0, layout.nbytes) == bytes(layout.nbytes)
    asked = []
    read = fold.folded(layout, [lambda at, size: asked.append((at, size)) or bytes(size)], [Mask(bytes(32), 1)])
    assert [read(at, 0) for at in (0, 4, 16, layout.nbytes)] == [b""] * 4
    assert asked == []
    read(20, 3)
    assert asked == [(16, 8)]  # masks are entered at a multiple of sixteen bytes, words end at one of eight


def test_a_sum_by_pieces_is_the_sum_in_memory():
    updates = [{"n": np.arange(5) * k, "w": np.linspace(-k, k, 700_001, dtype=np.float32)} for k in (1, 2, 3)]
    layout = ring.plain(updates[0], 3)
    layout = ring.settle(layout, sum(ring.ranges(u, layout)["ranges"] for u in updates))
    vectors = [bytes(task.frame(ring.encode(u, layout), layout.nbytes)) for u in updates]
    asked = []

    def reader(vector):
        def read(at, size):
            asked.append(size)
            return vector[at : at + size]

        return read

    whole, read = fold.fold_bytes(layout, vectors), fold.folded(layout, [reader(v) for v in vectors])
    assert b"".join(read(at, min(1000, layout.nbytes - at)) for at in range(0, layout.nbytes, 1000)) == whole
    assert max(asked) <= 1008
    assert [read(4, 0), read(44, 3)] == [b"", whole[44:47]]
    total, clipped, sites = ring.decode(read, layout)
    assert (clipped, sites, total["n"].tolist()) == (0, 3, [0, 6, 12, 18, 24])
    np.testing.assert_allclose(np.asarray(total["w"]), 6 * np.linspace(-1, 1, 700_001), atol=1e-6)
