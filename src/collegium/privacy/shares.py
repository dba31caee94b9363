"""Shares of a secret: any t of n holders can rebuild it, t - 1 of them know nothing (Shamir 1979).

A secret of 32 bytes is the value at 0 of a random polynomial of degree t - 1 over GF(2^256 + 297); holder x (from 1) keeps the
value at x. Plain Python integers are enough. Polynomials are drawn in Newton's form, the sum of d_k * C(x, k): uniform d_k are
uniform polynomials, for the C(x, k) are a basis, and the binomials are so small that many secrets go side by side into one long
integer. Lagrange coefficients are made once for many recoveries, with a single modular inversion (Montgomery's trick).

Holders may lie. A rebuilt secret is held against a commitment, and where it does not fit the liars are looked for: up to
(m - t) / 2 of m shares by decoding the Reed-Solomon code that the shares are (Gao 2003), and more of them by trying other
sets of t, as many as a bound on the work allows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, combinations, islice
from math import comb, prod
from operator import mul
from typing import NamedTuple

import numpy as np

from collegium.privacy.masks import derive, keystream

PRIME = (1 << 256) + 297
SECRET, WIDTH = 32, 33  # bytes of a secret and of a share
DRAWN = 48  # bytes a coefficient is reduced from: the bias is below 2^-127
SLOT = 64  # bytes a secret has in the long integer: the binomials of x add up to 2^x, so x may be 128
WORK = 2_500_000  # products spent on trying sets of shares: about a second
Polynomial = list[int]  # the lowest coefficient first, no zero at the end


class Recovered(NamedTuple):
    """A secret, if enough shares were right, and the holders whose shares were wrong."""

    secret: bytes | None
    liars: frozenset[int] = frozenset()


def split(secrets: Sequence[bytes], holders: int, threshold: int, entropy: bytes) -> list[list[bytes]]:
    """For each holder 1, 2, ... its share of every secret, in the order of the secrets.

    >>> of_one, of_two, of_three = split([b"s" * 32], 3, 2, bytes(32))
    >>> recover({1: of_one[0], 3: of_three[0]}, 2, lambda secret: True).secret == b"s" * 32
    True
    """
    drawn = np.zeros((threshold, len(secrets), SLOT), np.uint8)  # one row a degree, one slot a secret
    drawn[0, :, SLOT - SECRET :] = np.frombuffer(b"".join(secrets), np.uint8).reshape(-1, SECRET)
    stream = keystream(derive(entropy, "polynomials"), (threshold - 1) * len(secrets) * DRAWN)
    drawn[1:, :, SLOT - DRAWN :] = np.frombuffer(stream, np.uint8).reshape(threshold - 1, len(secrets), DRAWN)
    rows = [int.from_bytes(row.tobytes(), "big") for row in drawn]
    out = []
    for x in range(1, holders + 1):
        packed = sum(comb(x, k) * row for k, row in enumerate(rows[: x + 1])).to_bytes(len(secrets) * SLOT, "big")
        values = (int.from_bytes(packed[low : low + SLOT], "big") % PRIME for low in range(0, len(packed), SLOT))
        out.append([value.to_bytes(WIDTH, "big") for value in values])
    return out


def recover(
    shares: Mapping[int, bytes],
    threshold: int,
    fits: Callable[[bytes], bool],
    *,
    suspects: frozenset[int] = frozenset(),
    work: int = WORK,
) -> Recovered:
    """The secret that `fits` its commitment, and who gave a wrong share of it.

    `suspects` are used last: who lied about one secret is likely to lie about the next. None if too few shares are right, or
    if no set of `threshold` right ones was found within `work` products.
    """
    values = {x: int.from_bytes(share, "big") for x, share in shares.items()}
    absurd = frozenset(x for x, value in values.items() if value >= PRIME)
    order = sorted(values.keys() - absurd, key=lambda x: (x in suspects, x))
    if len(order) < threshold:
        return Recovered(None, absurd)
    for chosen in candidates(values, order, threshold, work):
        secret = at(0, chosen, values)
        if secret < 1 << 8 * SECRET and fits(whole := secret.to_bytes(SECRET, "big")):
            others = (x for x in order if x not in chosen)
            return Recovered(whole, absurd | {x for x in others if at(x, chosen, values) != values[x]})
    return Recovered(None, absurd)


def candidates(values: Mapping[int, int], order: Sequence[int], threshold: int, work: int) -> Iterator[tuple[int, ...]]:
    """Sets of holders whose shares may all be right, the likeliest first."""
    yield tuple(order[:threshold])
    if len(order) > threshold + 1 and (right := decode({x: values[x] for x in order}, threshold)):
        yield right[:threshold]
    tries = work // (threshold * (threshold + 8))  # a set costs t * t products and one inversion
    yield from islice(combinations(order, threshold), 1, 1 + tries)


def at(point: int, chosen: tuple[int, ...], values: Mapping[int, int]) -> int:
    """The value at `point` of the polynomial through the shares of `chosen`."""
    return sum(weight * values[x] for weight, x in zip(weights(point, chosen), chosen, strict=True)) % PRIME


@lru_cache(maxsize=512)
def weights(point: int, chosen: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's coefficients: how the value at `point` is made of the values at `chosen`."""
    whole = prod(point - x for x in chosen)
    under = [(point - x) * prod(x - other for other in chosen if other != x) % PRIME for x in chosen]
    return tuple(whole * inverse % PRIME for inverse in inverses(under))


def inverses(numbers: Sequence[int]) -> list[int]:
    """1 / x of each number, for the price of one inversion and three products each."""
    products = [1, *accumulate(numbers, lambda a, b: a * b % PRIME)]
    rest, out = pow(products[-1], -1, PRIME), []
    for number, before in zip(reversed(numbers), reversed(products[:-1]), strict=True):
        out.append(rest * before % PRIME)
        rest = rest * number % PRIME
    return out[::-1]


def decode(values: Mapping[int, int], threshold: int) -> tuple[int, ...]:
    """The holders whose shares lie on one polynomial of degree below `threshold`, if at most (m - t) / 2 of m do not (Gao 2003)."""
    points = list(values)
    whole: Polynomial = [1]
    for x in points:
        whole = product(whole, [-x % PRIME, 1])
    before, now, factor_before, factor = whole, interpolate(points, [values[x] for x in points], whole), [], [1]
    while 2 * (len(now) - 1) >= len(points) + threshold:
        quotient, rest = divide(before, now)
        before, now = now, rest
        factor_before, factor = factor, trimmed(minus(factor_before, product(quotient, factor)))
    curve, rest = divide(now, factor)
    if rest or len(curve) > threshold:
        return ()
    return tuple(x for x in points if evaluate(curve, x) == values[x])


def interpolate(points: Sequence[int], values: Sequence[int], whole: Polynomial) -> Polynomial:
    """The polynomial through all the points; `whole` is the product of all (X - x)."""
    parts = [divide(whole, [-x % PRIME, 1])[0] for x in points]
    scales = inverses([evaluate(part, x) for part, x in zip(parts, points, strict=True)])
    factors = [value * scale % PRIME for value, scale in zip(values, scales, strict=True)]
    return trimmed([sum(map(mul, column, factors)) % PRIME for column in zip(*parts, strict=True)])


def evaluate(curve: Polynomial, x: int) -> int:
    """The value of a polynomial at x (Horner)."""
    value = 0
    for coefficient in reversed(curve):
        value = (value * x + coefficient) % PRIME
    return value


def product(a: Polynomial, b: Polynomial) -> Polynomial:
    """a * b."""
    out = [0] * (len(a) + len(b) - 1) if a and b else []
    for i, x in enumerate(a):
        for k, y in enumerate(b):
            out[i + k] = (out[i + k] + x * y) % PRIME
    return out


def minus(a: Polynomial, b: Polynomial) -> Polynomial:
    """a - b."""
    size = max(len(a), len(b))
    return [(x - y) % PRIME for x, y in zip(a + [0] * (size - len(a)), b + [0] * (size - len(b)), strict=True)]


def trimmed(curve: Polynomial) -> Polynomial:
    """The same polynomial without zeros at its high end."""
    while curve and not curve[-1]:
        curve = curve[:-1]
    return curve


def divide(a: Polynomial, b: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Quotient and rest of a / b."""
    rest, lead, steps = list(a), pow(b[-1], -1, PRIME), len(a) - len(b) + 1
    quotient = [0] * max(steps, 0)
    for k in reversed(range(steps)):
        quotient[k] = factor = rest[k + len(b) - 1] * lead % PRIME
        for i, y in enumerate(b):
            rest[k + i] = (rest[k + i] - factor * y) % PRIME
    return quotient, trimmed(rest)
