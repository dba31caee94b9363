"""Masks: they cancel exactly, start anywhere, look like noise, and each key is for one purpose."""

import hmac
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from collegium.engine.fold import fold_bytes
from collegium.privacy import masks, ring
from collegium.privacy.masks import Mask

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "masks.json").read_text())
KEYS = [bytes([k]) * 32 for k in range(1, 4)]


def layout(wide, narrow, short=0):
    leaves = ring.Leaf("n", "int64", (wide,)), ring.Leaf("w", "float32", (narrow,)), ring.Leaf("v", "float32", (short,), 0, True)
    return ring.Layout(leaves, 3)


def vector(made, seed=0):
    return np.random.default_rng(seed).integers(0, 256, made.nbytes, np.uint8)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.lists(st.sampled_from([1, -1]), min_size=1, max_size=3))
def test_what_is_added_is_taken_away(wide, narrow, short, signs):
    made = layout(wide, narrow, short)
    before = vector(made)
    found = [Mask(key, sign) for key, sign in zip(KEYS, signs, strict=False)]
    after = before.copy()
    masks.apply(after, made, found)
    assert not np.array_equal(after, before)
    masks.apply(after, made, [mask._replace(sign=-mask.sign) for mask in found])
    assert np.array_equal(after, before)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_masked_vectors_fold_like_plain_ones(wide, narrow, short):
    made = layout(wide, narrow, short)
    plain = [vector(made, k) for k in range(3)]
    masked = [x.copy() for x in plain]
    for (a, b), key in zip([(0, 1), (0, 2), (1, 2)], KEYS, strict=True):
        masks.apply(masked[a], made, [Mask(key, 1)])
        masks.apply(masked[b], made, [Mask(key, -1)])
    assert fold_bytes(made, [x.tobytes() for x in masked]) == fold_bytes(made, [x.tobytes() for x in plain])


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.data())
def test_pieces_in_any_order_are_the_whole(wide, narrow, short, data):
    made = layout(wide, narrow, short)
    whole = vector(made)
    pieces = whole.copy()
    masks.apply(whole, made, [Mask(KEYS[0], 1), Mask(KEYS[1], -1)])
    cuts = sorted({0, made.nbytes, *(16 * cut for cut in data.draw(st.lists(st.integers(0, made.nbytes // 16), max_size=4)))})
    order = data.draw(st.permutations(list(itertools.pairwise(cuts))))
    streams = masks.Streams([Mask(KEYS[0], 1), Mask(KEYS[1], -1)])
    for low, high in order:
        streams.apply(pieces[low:high], low, made)
    assert np.array_equal(pieces, whole)


def test_a_vector_larger_than_a_chunk_has_one_stream():
    made = layout(masks.CHUNK // 8 + 3, 7)
    whole = np.zeros(made.nbytes, np.uint8)
    masks.apply(whole, made, [Mask(KEYS[0], 1)])
    assert whole.tobytes() == masks.keystream(KEYS[0], made.nbytes)


def test_words_are_added_with_their_own_carry():
    made = layout(1, 2)
    ones = np.full(made.nbytes, 255, np.uint8)
    masks.apply(ones, made, [Mask(KEYS[0], 1)])
    stream = np.frombuffer(masks.keystream(KEYS[0], made.nbytes), np.uint8)
    for low, high, kind in [(0, 8, "<u8"), (8, 16, "<u4"), (16, 32, "<u8")]:
        np.testing.assert_array_equal(ones[low:high].view(kind), stream[low:high].view(kind) - np.array(1, kind))


def test_a_stream_is_entered_at_whole_blocks():
    with pytest.raises(ValueError, match="multiple of 16 bytes, not at 8"):
        masks.Streams([]).enter(8)


def keys(study=b"s", epoch=1, index=2, task="aa" * 32, roster=("a", "b"), pair=("a", "b")):
    transcript = masks.transcript([f"{study}{epoch}"])
    bound = masks.context(task, roster)
    return (
        masks.self_key(bytes(32), bytes.fromhex(transcript.hex()), index, bound),
        masks.pair_key(bytes(32), transcript, index, pair, bound),
        masks.share_key(bytes(32), transcript, *pair),
    )


def test_g22_a_key_changes_with_everything_it_is_bound_to():
    base = keys()
    for change in (
        {"study": b"t"}, {"epoch": 2}, {"index": 3}, {"task": "ab" * 32}, {"roster": ("a", "b", "c")}, {"pair": ("a", "c")},
    ):  # fmt: skip
        other = keys(**change)
        same = [a == b for a, b in zip(base, other, strict=True)]
        assert same == [list(change) == ["pair"], False, next(iter(change)) in ("index", "task", "roster")]
    assert len({*base}) == 3
    one, two = (masks.share_key(bytes(32), bytes(32), *pair) for pair in (("a", "b"), ("b", "a")))
    assert one != two
    assert keys(pair=("b", "a"))[1] == base[1]
    assert masks.context("aa" * 32, ["b", "a"]) == masks.context("aa" * 32, ["a", "b"])


def test_g22_a_hundred_thousand_keys_are_distinct():
    bound, epoch = masks.context("aa" * 32, ["a", "b"]), bytes(32)
    found = {masks.self_key(bytes(32), epoch, k, bound) for k in range(50_000)}
    found |= {masks.pair_key(bytes(32), epoch, k, ("a", "b"), bound) for k in range(50_000)}
    assert len(found) == 100_000


def test_names_cannot_run_into_each_other():
    assert masks.derive(bytes(32), "ab", "c") != masks.derive(bytes(32), "a", "bc")
    assert masks.context("aa" * 32, ["ab", "c"]) != masks.context("aa" * 32, ["a", "bc"])


def test_the_derivation_is_hkdf_and_the_stream_is_aes_in_counter_mode():
    """Both from first principles: RFC 5869 by HMAC, NIST SP 800-38A by enciphering the counter."""
    info = masks.DOMAIN + masks.joined([b"pair", (7).to_bytes(8, "big"), b"a"])
    extracted = hmac.digest(bytes(32), KEYS[0], "sha256")
    assert masks.derive(KEYS[0], "pair", 7, b"a") == hmac.digest(extracted, info + b"\x01", "sha256")
    cipher = Cipher(algorithms.AES(KEYS[0]), modes.ECB()).encryptor()
    assert masks.keystream(KEYS[0], 64) == b"".join(cipher.update(k.to_bytes(16, "big")) for k in range(4))


def test_known_answers():
    for known in VECTORS["keys"]:
        assert masks.derive(bytes.fromhex(known["secret"]), *known["parts"]).hex() == known["key"]
    assert masks.context(VECTORS["context"]["task"], VECTORS["context"]["roster"]).hex() == VECTORS["context"]["digest"]
    assert masks.transcript(VECTORS["transcript"]["texts"]).hex() == VECTORS["transcript"]["digest"]
    for known in VECTORS["vectors"]:
        made = ring.layout_of(known["layout"])
        found = np.frombuffer(bytearray.fromhex(known["plain"]), np.uint8)
        masks.apply(found, made, [Mask(bytes.fromhex(key), sign) for key, sign in known["masks"]])
        assert found.tobytes().hex() == known["masked"]


@pytest.mark.slow
def test_g21_a_masked_vector_looks_like_noise():
    made = layout(0, 10_000_000)
    plain = np.zeros(made.nbytes, np.uint8)
    plain[: -ring.TRAILER].view("<u4")[:] = np.arange(10_000_000) // 1000  # as far from noise as data can be
    masked = plain.copy()
    masks.apply(masked, made, [Mask(KEYS[0], 1), Mask(KEYS[1], -1), Mask(KEYS[2], 1)])
    counts = np.bincount(masked, minlength=256)
    chi = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
    assert 150 < chi < 380  # 255 degrees of freedom: five standard deviations
    ones = int(np.unpackbits(masked).sum())
    assert abs(ones - 4 * made.nbytes) < 5 * np.sqrt(2 * made.nbytes)
    r = np.corrcoef(plain[: -ring.TRAILER].view("<u4"), masked[: -ring.TRAILER].view("<u4"))[0, 1]
    assert abs(r) < 1e-3


def test_a_mask_does_not_show_its_key():
    assert repr(Mask(KEYS[0], -1)) == "Mask(-1)"
