"""From numbers to pixels: scales, round tick numbers, and the frame of a chart."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collegium.charts.svg import LINE, MUTED, Markup, Paint, label, rule, wide
from collegium.charts.words import Words

Array = NDArray[np.float64]
Reals = Sequence[float | None] | Array
FIRSTS = (1, 2, 2.5, 5)


def reals(values: Iterable[float | None]) -> Array:
    """Numbers with NaN for all that cannot be drawn; beyond 1e290 the length of an axis would overflow."""
    array = np.array([np.nan if v is None else v for v in values], dtype=float)
    return np.where(np.abs(array) < 1e290, array, np.nan)


def limits(values: Iterable[float | None], *, log: bool = False, pad: float = 0.04) -> tuple[float, float]:
    """Where an axis starts and ends: where the data do, and a little room.

    >>> limits([0.5, None, 0.7], pad=0), limits([]), limits([4.0], pad=0)
    ((0.5, 0.7), (0.0, 1.0), (3.8, 4.2))
    """
    found = reals(values)
    found = found[np.isfinite(found)]
    if log:
        low, high = limits(np.clip(np.log10(found[found > 0]), -270, 270), pad=pad) if np.any(found > 0) else (-1, 1)
        return 10.0**low, 10.0**high
    if not len(found):
        return 0.0, 1.0
    low, high = float(found.min()), float(found.max())
    size = max(abs(low), abs(high))
    if high - low <= max(size * 1e-9, 1e-280):
        return low - (size * 0.05 or 0.5), high + (size * 0.05 or 0.5)
    return low - pad * (high - low), high + pad * (high - low)


class Scale(NamedTuple):
    """A stretch of numbers laid over a stretch of pixels; what lies outside is held at the end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def many(self, values: Array) -> Array:
        low, high = self.low, self.high
        if self.log:
            low, high, values = math.log10(low), math.log10(high), np.log10(np.maximum(values, low))
        part = np.clip((values - low) / (high - low), 0, 1)
        return np.asarray(self.start + (self.end - self.start) * part, dtype=float)

    def at(self, value: float) -> float:
        return float(self.many(np.array([value], dtype=float))[0])


def ticks(low: float, high: float, *, most: int = 5, log: bool = False, whole: bool = False) -> list[tuple[float, int]]:
    """At most `most` round numbers between two limits, each with the decimals it needs.

    >>> ticks(0.48, 0.81)
    [(0.5, 1), (0.6, 1), (0.7, 1), (0.8, 1)]
    >>> ticks(0.3, 4, log=True)
    [(0.5, 1), (1.0, 0), (2.0, 0)]
    """
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for firsts, each in ((1, 2, 5), 1), ((1, 3), 1), *(((1,), n) for n in (1, 2, 3, 5, 10, 20, 50, 100, 200)):
            found = [(f * 10.0**p, max(0, -p)) for p in powers if p % each == 0 for f in firsts]
            found = [pair for pair in found if low <= pair[0] <= high]
            if 2 <= len(found) <= most:
                return found
    power = math.floor(math.log10((high - low) / most))
    power = max(power, 0) if whole else power
    for p, first in ((p, f) for p in (power, power + 1) for f in FIRSTS):
        step = first * 10.0**p
        start, stop = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if stop - start < most and not (whole and step != round(step)):
            break
    return [(round(n * step, max(0, 2 - p)), max(0, (first == 2.5) - p)) for n in range(start, stop + 1)]


def marks(scale: Scale, words: Words, *, per: float = 1, whole: bool = False) -> list[tuple[float, str]]:
    """Where the ticks go and what they say; fewer than five where words side by side would touch."""
    said: list[tuple[float, str]] = []
    for most in (5, 4, 3, 2):
        found = ticks(scale.low * per, scale.high * per, most=most, log=scale.log, whole=whole)
        said = [(scale.at(value / per), words.number(value, places)) for value, places in found]
        upright = scale.start > scale.end
        if upright or all(b - a > (wide(one) + wide(two)) / 2 + 10 for (a, one), (b, two) in pairwise(said)):
            break
    return said


def beside(said: Sequence[tuple[float, str]]) -> float:
    """The room that the words of an upright axis take at its left."""
    return math.ceil(max((wide(text) for _, text in said), default=0)) + 12


def below(said: Sequence[tuple[float, str]], y: float, width: float) -> list[Markup]:
    """The words under (or over) an axis, pushed inward where the picture ends."""
    placed = [(min(max(x, wide(text) / 2), width - wide(text) / 2), text) for x, text in said]
    return [label(x, y, text, anchor="middle", colour=MUTED) for x, text in placed]


class Frame(NamedTuple):
    """A plot with two axes: x grows to the right, y upwards."""

    x: Scale
    y: Scale
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]

    def drawn(self, width: float, x_label: str, y_label: str) -> list[Markup]:
        left, right, bottom = self.x.start, self.x.end, self.y.start
        lines = [rule(left, round(y) + 0.5, right, round(y) + 0.5, Paint(LINE)) for y, _ in self.up]
        lines += [rule(x, bottom, x, bottom + 4, Paint(MUTED)) for x, _ in self.across]
        lines += [rule(left, bottom + 0.5, right, bottom + 0.5, Paint(MUTED))]
        said = [label(left - 8, y + 4.5, text, anchor="end", colour=MUTED) for y, text in self.up]
        said += below(self.across, bottom + 19, width)
        middle = min(max((left + right) / 2, wide(x_label) / 2), width - wide(x_label) / 2)
        said += [label(middle, bottom + 39, x_label, anchor="middle", colour=MUTED)] if x_label else []
        return [*lines, *said, *([label(0, 13, y_label, colour=MUTED, room=width)] if y_label else [])]
