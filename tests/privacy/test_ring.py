"""Sums as integers: exact, order-free, never out of the ring."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collegium import tree as T
from collegium.engine.fold import fold_bytes
from collegium.engine.task import frame
from collegium.errors import StudyError, UpdateError
from collegium.privacy import ring
from collegium.privacy.rounding import Numbers
from tests.trees import Disk, trees


def total_of(updates, layout=None, short=False, draws=None):
    layout = layout or ring.plain(updates[0], len(updates), short=short)
    if asked := ring.ranging(layout):
        found = [bytes(frame(ring.encode(ring.ranges(u, layout), asked), asked.nbytes)) for u in updates]
        counts = ring.decode(reader(fold_bytes(asked, found)), asked)[0]["ranges"]
        layout = ring.settle(layout, counts)
    draws = draws or [None] * len(updates)
    vectors = [bytes(frame(ring.encode(u, layout, draw), layout.nbytes)) for u, draw in zip(updates, draws, strict=True)]
    return layout, vectors, fold_bytes(layout, vectors)


def reader(data):
    return lambda at, size: data[at : at + size]


@settings(deadline=None)
@given(trees(), st.integers(1, 5), st.randoms(), st.booleans(), st.booleans())
def test_the_sum_is_right_and_the_order_does_not_matter(tree, sites, random, short, at_random):
    updates = [T.map(lambda x, k=k: (x * (k + 1)).astype(x.dtype), tree) for k in range(sites)]
    layout, vectors, total = total_of(updates, short=short, draws=[Numbers(k, 0, 1) for k in range(sites)] if at_random else None)
    random.shuffle(vectors)
    assert fold_bytes(layout, vectors) == total
    decoded, clipped, counted = ring.decode(reader(total), layout)
    assert (clipped, counted) == (0, sites)
    for name, leaf in T.flatten(tree).items():
        want = sum(np.asarray(T.flatten(u)[name], np.float64) for u in updates)
        bits = {"int64": 64, "float64": 40, "float32": 6 if short else 22}[leaf.dtype.name]
        top = np.abs(want).max(initial=0.0)
        np.testing.assert_allclose(
            T.flatten(decoded)[name], want, rtol=0, atol=top * 2.0**-bits + 2.0**-100 if leaf.dtype != "int64" else 0
        )


def test_counts_are_exact_up_to_the_ring():
    big = {"n": np.array([2**61, -(2**61)])}
    layout, _, total = total_of([big, big])
    assert ring.decode(reader(total), layout)[0]["n"].tolist() == [2**62, -(2**62)]


@pytest.mark.parametrize(("dtype", "short"), [("float32", False), ("float32", True), ("float64", False), ("int64", False)])
@pytest.mark.parametrize("sites", [1, 2, 3, 7, 128, 1024])
def test_at_the_bound_the_sum_is_exact_and_beyond_it_is_clipped_and_counted(dtype, short, sites):
    leaf = ring.Leaf("x", dtype, (3,), 0, short)
    layout = ring.Layout((leaf,), sites)
    limit = layout.limit(leaf)
    assert limit * sites < 2 ** (leaf.bits - 1)  # room for the sum, whatever they send
    top = int(np.nextafter(np.float64(limit), 0)) if dtype == "float64" else int(np.nextafter(np.float32(limit), np.float32(0)))
    top = limit if dtype == "int64" or short else top
    update = {"x": np.array([top, -top, 0]).astype(dtype)}
    vectors = [bytes(frame(ring.encode(update, layout), layout.nbytes))] * sites
    decoded, clipped, _ = ring.decode(reader(fold_bytes(layout, vectors)), layout)
    assert clipped == 0
    assert np.array_equal(decoded["x"], np.array([top * sites, -top * sites, 0]).astype(dtype))
    over = {"x": np.array([limit * 2 + 2, -limit * 2 - 2, 0]).astype(dtype)} if limit < 2**61 else {"x": update["x"]}
    if limit < 2**61:
        vectors = [bytes(frame(ring.encode(over, layout), layout.nbytes))] * sites
        decoded, clipped, _ = ring.decode(reader(fold_bytes(layout, vectors)), layout)
        assert clipped == 2 * sites
        assert decoded["x"][0] > 0 > decoded["x"][1]  # it did not wrap round


@pytest.mark.parametrize("short", [False, True])
def test_room_is_left_for_growth(short):
    layout, _, _ = total_of([{"w": np.array([1.0], np.float32)}] * 3, short=short)
    grown = {"w": np.array([3.9], np.float32)}
    vectors = [bytes(frame(ring.encode(grown, layout), layout.nbytes))] * 3
    decoded, clipped, _ = ring.decode(reader(fold_bytes(layout, vectors)), layout)
    assert clipped == 0
    assert decoded["w"][0] == pytest.approx(11.7, abs=0.01 if short else 1e-6)


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e-20, 1e20, 1e23])
def test_any_size_of_number_finds_its_scale(value):
    _, _, total = (found := total_of([{"w": np.array([value])}] * 4))
    decoded = ring.decode(reader(total), found[0])[0]
    assert decoded["w"][0] == pytest.approx(4 * value, rel=1e-9, abs=1e-36)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_refused_in_both_phases(bad, dtype):
    update = {"w": np.array([1.0, bad], dtype)}
    layout = ring.plain(update, 3)
    with pytest.raises(UpdateError, match="'w' holds NaN"):
        ring.ranges(update, layout)
    with pytest.raises(UpdateError, match="'w' holds NaN"):
        list(ring.encode(update, layout))


@pytest.mark.parametrize(
    ("update", "says"),
    [
        ({"w": np.zeros(3)}, r"shape \(3,\), the round asks for \(2,\)"),
        ({"w": np.zeros(2, np.float32)}, "dtype float32, the round asks for float64"),
        ({"v": np.zeros(2)}, "'v' is not asked for"),
    ],
)
def test_an_update_of_another_form_is_refused(update, says):
    with pytest.raises(UpdateError, match=says):
        list(ring.encode(update, ring.plain({"w": np.zeros(2)}, 3)))


def test_a_dtype_that_no_sum_takes_is_refused():
    with pytest.raises(UpdateError, match="'w' has dtype int32"):
        ring.plain({"w": np.zeros(2, np.int32)}, 3)


@pytest.mark.parametrize("short", [False, True])
def test_a_layout_survives_json(short):
    layout, _, _ = total_of([{"a": np.ones((2, 3), np.float32), "b": np.array(1)}], short=short)
    assert ring.layout_of(layout.document()) == layout
    assert layout.entries == 7
    assert [leaf.bits for leaf in layout.leaves] == [64, 16 if short else 32]
    assert layout.document()["leaves"][1] == ["a", "float32", [2, 3], -12 if short else -28, *([16] if short else [])]


def test_only_weights_are_ever_sent_in_sixteen_bits():
    document = {"sites": 2, "leaves": [["n", "int64", [1], 0, 16], ["x", "float64", [1], 0, 16]]}
    assert [leaf.bits for leaf in ring.layout_of(document).leaves] == [64, 64]


def test_more_sites_than_sixteen_bits_have_room_for_are_refused():
    update = {"w": np.ones(2, np.float32)}
    assert ring.plain(update, 1024, short=True).limit(ring.Leaf("w", "float32", (2,), 0, True)) == 31
    with pytest.raises(StudyError, match="a sum in 16 bits has room for 1024 sites, 1025 take part") as error:
        ring.plain(update, 1025, short=True)
    assert "bits: 32" in error.value.hint
    assert ring.plain({"n": np.ones(2, np.int64)}, 1025, short=True).nbytes  # no weights: nothing to refuse


@pytest.mark.parametrize(("short", "width"), [(False, 4), (True, 2)])
def test_a_vector_is_made_and_read_in_blocks_and_costs_four_bytes_a_weight_or_two(short, width):
    disk = Disk(np.linspace(-1, 1, 2 * T.BLOCK + 1, dtype=np.float32))
    layout = ring.plain({"w": disk}, 2, short=short)
    layout = ring.settle(layout, ring.ranges({"w": disk}, layout)["ranges"])
    blocks = list(ring.encode({"w": disk}, layout))
    assert max(b.nbytes for b in blocks) <= width * T.BLOCK
    assert layout.nbytes == sum(b.nbytes for b in blocks) == width * disk.values.size + 8 - width + ring.TRAILER
    data = b"".join(b.tobytes() for b in blocks)
    total, clipped, sites = ring.decode(reader(data), layout)
    assert isinstance(total["w"], ring.Sum)
    assert (clipped, sites) == (0, 1)
    np.testing.assert_allclose(np.asarray(total["w"]), disk.values, atol=2.0**-11 if short else 1e-6)


def test_statistics_are_decoded_at_once_and_weights_only_while_they_are_few():
    many = {f"w{k}": np.ones(40, np.float32) for k in range(4)} | {"big": np.ones(1000), "n": np.arange(300)}
    layout, _, total = total_of([many, many])
    assert all(isinstance(leaf, np.ndarray) for leaf in ring.decode(reader(total), layout, keep=160)[0].values())
    lean = ring.decode(reader(total), layout, keep=159)[0]
    assert {name for name, leaf in lean.items() if isinstance(leaf, ring.Sum)} == {"w0", "w1", "w2", "w3"}
    assert np.array_equal(np.asarray(lean["w3"]), np.full(40, 2, np.float32))


@given(st.integers(0, 40), st.integers(1, 6), st.booleans())
def test_pieces_add_up_to_the_whole(narrow, step, short):
    update = {"a": np.arange(5), "w": np.arange(narrow, dtype=np.float32)}
    layout, vectors, total = total_of([update, update], short=short)
    out = np.zeros(layout.nbytes, np.uint8)
    for vector in vectors:
        for start in range(0, layout.nbytes, 8 * step):
            piece = np.frombuffer(vector, np.uint8)[start : start + 8 * step]
            ring.add(out[start : start + 8 * step], piece, start, layout)
    assert out.tobytes() == total


def test_a_sum_tells_whether_each_site_counted_itself_once():
    layout, _, total = total_of([{"n": np.arange(3)}, {"n": np.arange(3)}])
    assert ring.wellformed(reader(total), layout, 2, "sum")
    assert not ring.wellformed(reader(total), layout, 3, "sum")


@pytest.mark.parametrize(("at", "value"), [(0, 1), (0, -1), (5, 2), (161, 1)])
def test_in_a_ranging_sum_every_site_names_one_power_of_two_a_leaf(at, value):
    plain = ring.plain({"a": np.ones(2), "w": np.ones(3, np.float32)}, 2)
    asked = ring.ranging(plain)
    vector = b"".join(b.tobytes() for b in ring.encode(ring.ranges({"a": np.ones(2), "w": np.zeros(3, np.float32)}, plain), asked))
    total = np.frombuffer(bytearray(vector), np.uint8).copy()
    ring.add(total, np.frombuffer(vector, np.uint8), 0, asked)
    assert ring.wellformed(reader(total.tobytes()), asked, 2, "range")
    counts = total[: 8 * 2 * ring.BUCKETS].view(np.int64)
    counts[at] += value
    assert not ring.wellformed(reader(total.tobytes()), asked, 2, "range")
