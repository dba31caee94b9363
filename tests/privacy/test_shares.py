"""Shares: any t rebuild the secret, fewer say nothing, and who lies is found."""

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collegium.privacy import shares

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "shares.json").read_text())
SECRET = bytes(range(32))


def dealt(n, t, secret=SECRET, entropy=b"e" * 32):
    return {x + 1: of_one[0] for x, of_one in enumerate(shares.split([secret], n, t, entropy))}


def fits(secret):
    return secret == SECRET


def spoilt(found, liars):
    return found | {x: bytes([0, x]) + bytes(31) for x in liars}


def test_the_field_is_a_field():
    """2^256 + 297 is prime: Miller and Rabin find no witness against it."""
    d, twos = shares.PRIME - 1, 0
    while d % 2 == 0:
        d, twos = d // 2, twos + 1
    for base in range(2, 60):
        x = pow(base, d, shares.PRIME)
        seen = {x} | {x := x * x % shares.PRIME for _ in range(twos)}
        assert pow(base, shares.PRIME - 1, shares.PRIME) == 1
        assert pow(base, d, shares.PRIME) == 1 or shares.PRIME - 1 in seen


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4), st.integers(1, 9), st.data())
def test_any_t_of_n_rebuild_every_secret(secrets, n, data):
    t = data.draw(st.integers(1, n))
    found = shares.split(secrets, n, t, b"e" * 32)
    chosen = data.draw(st.permutations(range(n)))[:t]
    for k, secret in enumerate(secrets):
        given_ = {x + 1: found[x][k] for x in chosen}
        assert shares.recover(given_, t, lambda s, want=secret: s == want) == (secret, frozenset())
        assert shares.recover(dict(list(given_.items())[1:]), t, lambda s: True).secret is None


def test_one_share_less_fits_any_secret():
    """For t - 1 shares there is a polynomial through every possible secret, so they exclude none."""
    found = dealt(5, 4)
    three = {x: int.from_bytes(found[x], "big") for x in (1, 2, 3)}
    for secret in (0, 1, shares.PRIME - 1):
        curve = [secret, *three.values()]
        through = shares.at(4, (0, 1, 2, 3), dict(enumerate(curve)))
        assert shares.at(0, (1, 2, 3, 4), three | {4: through}) == secret


def test_a_hundred_and_twenty_eight_holders_of_the_largest_secret():
    found = dealt(128, 86, secret=b"\xff" * 32)
    assert shares.recover(dict(list(found.items())[42:]), 86, lambda s: True).secret == b"\xff" * 32


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 10])
def test_g20_as_many_liars_as_can_be_are_named(n):
    t = 2 * n // 3 + 1
    for count in range(1, n - t + 1):
        for liars in list(combinations(range(1, n + 1), count))[:40]:
            assert shares.recover(spoilt(dealt(n, t), liars), t, fits) == (SECRET, frozenset(liars))


@pytest.mark.parametrize("n", [4, 7, 13, 20, 64])
def test_g20_too_many_liars_are_a_clean_end(n):
    t = 2 * n // 3 + 1
    assert shares.recover(spoilt(dealt(n, t), range(1, n - t + 2)), t, fits).secret is None


@pytest.mark.parametrize("liars", [range(1, 11), range(20, 30), range(55, 65)])
def test_g20_in_a_large_cohort_half_of_the_spare_shares_may_be_wrong(liars):
    assert shares.recover(spoilt(dealt(64, 43), liars), 43, fits) == (SECRET, frozenset(liars))


def test_a_liar_among_the_spare_shares_is_named_too():
    assert shares.recover(spoilt(dealt(7, 4), [6]), 4, fits) == (SECRET, frozenset({6}))


def test_known_liars_are_asked_last():
    found = spoilt(dealt(7, 5), [1, 2])
    assert shares.recover(found, 5, fits, work=0).secret is None
    assert shares.recover(found, 5, fits, suspects=frozenset({1, 2}), work=0) == (SECRET, frozenset({1, 2}))


def test_a_share_outside_the_field_is_a_lie():
    found = dealt(5, 4) | {2: b"\xff" * 33}
    assert shares.recover(found, 4, fits) == (SECRET, frozenset({2}))
    assert shares.recover(found | {3: b"\xff" * 33}, 4, fits) == (None, frozenset({2, 3}))


def test_a_secret_that_does_not_fit_in_its_bytes_is_none():
    found = {x: shares.PRIME.__sub__(1).to_bytes(33, "big") for x in (1, 2, 3)}
    assert shares.recover(found, 2, lambda s: True).secret is None


def test_known_answers():
    for known in VECTORS:
        found = shares.split(
            [bytes.fromhex(s) for s in known["secrets"]], known["holders"], known["threshold"], bytes.fromhex(known["entropy"])
        )
        assert [[share.hex() for share in of_one] for of_one in found] == known["shares"]


@given(
    st.lists(st.integers(0, shares.PRIME - 1), min_size=1, max_size=6), st.lists(st.integers(0, shares.PRIME - 1), min_size=1, max_size=4)
)
def test_polynomials_divide(a, b):
    b = shares.trimmed(b) or [1]
    quotient, rest = shares.divide(a, b)
    back = shares.minus(a, shares.product(quotient, b))
    assert shares.trimmed(back) == rest
    assert len(rest) < len(b) or b == [1]
