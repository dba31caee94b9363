"""Lines: learning curves over rounds, survival curves, and what ROC curves share with them."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from collegium.charts.axes import Array, Frame, Reals, Scale, beside, limits, marks, reals
from collegium.charts.svg import (
    INK,
    MUTED,
    PAINT,
    Attrs,
    Kind,
    Markup,
    Paint,
    blank,
    dot,
    element,
    label,
    picture,
    rule,
    shape,
    stroke,
    wide,
)
from collegium.charts.words import ENGLISH, Words

MANY = 8  # more lines of one kind than this are drawn as their median and their range
ORDER = {kind: place for place, kind in enumerate(PAINT)}


class Series(NamedTuple):
    """One line: a learning curve, a ROC curve or a survival curve. Without `x`, rounds 1, 2, 3 and so on."""

    label: str
    y: Reals
    x: Reals | None = None
    kind: Kind = "other"
    low: Reals | None = None
    high: Reals | None = None
    at_risk: Sequence[int | None] | None = None  # patients still followed just before each x (survival only)


class Curve(NamedTuple):
    """A series as arrays of one length."""

    label: str
    kind: Kind
    x: Array
    y: Array
    low: Array
    high: Array


def arrays(series: Series) -> Curve:
    """A series as arrays; where a band has no low or no high, it has a gap."""
    y = reals(series.y)
    x = np.arange(1.0, len(y) + 1) if series.x is None else reals(series.x)
    low, high = (np.full(len(y), np.nan) if band is None else reals(band) for band in (series.low, series.high))
    size = min(len(x), len(y), len(low), len(high))
    return Curve(series.label, series.kind, x[:size], y[:size], low[:size], high[:size])


def gathered(series: Sequence[Series], words: Words = ENGLISH) -> list[Curve]:
    """The lines that are drawn: more than eight of one kind become one, their median between lowest and highest.

    >>> [curve.label for curve in gathered([Series("ours", [0.7], kind="mine")] + [Series("x", [0.6])] * 300)]
    ['Typical of 300', 'ours']
    """
    drawn: list[Curve] = []
    for kind in PAINT:
        alike = [arrays(one) for one in series if one.kind == kind]
        if len(alike) > MANY:
            x = np.unique(np.concatenate([curve.x[np.isfinite(curve.x + curve.y)] for curve in alike]))
            each = np.full((len(alike), len(x)), np.nan)
            for row, curve in zip(each, alike, strict=True):
                known = np.isfinite(curve.x + curve.y)
                row[np.searchsorted(x, curve.x[known])] = curve.y[known]
            name = words.typical.format(words.number(len(alike), 0))
            alike = [Curve(name, kind, x, np.nanmedian(each, 0), np.nanmin(each, 0), np.nanmax(each, 0))]
        drawn += alike
    return drawn


def runs(*columns: Array) -> list[Array]:
    """The stretches without a gap, each as rows of columns."""
    table = np.column_stack(columns)
    known = np.flatnonzero(np.isfinite(table).all(1))
    return [table[part] for part in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if len(part)]


def path(points: Array) -> str:
    """One stretch of points; a lone point is a line of no length, which a round cap shows as a dot."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points.tolist()) + ("h0" if len(points) == 1 else "")


def stairs(points: Array) -> Array:
    """The corners of a step function: each value holds until the next."""
    corners = np.repeat(points, 2, axis=0)
    return np.column_stack([corners[1:, 0], corners[:-1, 1:]])


def strokes(curves: Iterable[Curve], frame: Frame, *, steps: bool = False) -> list[Markup]:
    """Bands first, then lines, so that no band hides a line."""
    bands, lines = [], []
    for curve in curves:
        paint = PAINT[curve.kind]
        x, y, low, high = frame.x.many(curve.x), *(frame.y.many(column) for column in (curve.y, curve.low, curve.high))
        hems = [stairs(run) if steps else run for run in runs(x, low, high)]
        d = "".join(f"{path(np.vstack([hem[:, [0, 1]], hem[::-1, [0, 2]]]))}z" for hem in hems)
        bands += [shape(d, paint.colour, fill_opacity="0.1" if curve.kind == "other" else "0.17")] if d else []
        parts = [path(stairs(run) if steps else run) for run in runs(x, y)]
        ends: Attrs = {"stroke-linecap": "round", "stroke-linejoin": "round"}
        lines += [element("path", {"d": "".join(parts), **stroke(paint), **ends})] if parts else []
    return bands + lines


def last(curve: Curve) -> tuple[float, float] | None:
    """Where a line ends."""
    known = np.flatnonzero(np.isfinite(curve.x + curve.y))
    return (float(curve.x[known[-1]]), float(curve.y[known[-1]])) if len(known) else None


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places at least `gap` apart, each as near as it can be to where it was wanted (pooled neighbours).

    >>> spread([50, 52, 99], 15, 0, 90)
    [43.5, 58.5, 90]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    pools: list[tuple[float, int]] = []
    for place, i in enumerate(order):
        mean, size = wanted[i] - place * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, size = (before * many + mean * size) / (many + size), many + size
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    top = max(low, high - (len(wanted) - 1) * gap)
    found = dict(zip(order, (min(max(y, low), top) + place * gap for place, y in enumerate(flat)), strict=True))
    return [found[i] for i in range(len(wanted))]


def names_at_ends(curves: Sequence[Curve], said: Sequence[str], frame: Frame, room: float) -> list[Markup]:
    """Each line's name where it ends, none over another; the emphasised first when there is no room for all."""
    ends = [(curve, text, end) for curve, text in zip(curves, said, strict=True) if (end := last(curve))]
    fitting = max(1, int((frame.y.start - frame.y.end) / 16) + 1)
    shown = ends if len(ends) <= fitting else ends[-fitting + 1 :]
    floor = frame.y.start - (16 if len(shown) < len(ends) else 0)
    places = spread([frame.y.at(end[1]) for *_, end in shown], 16, frame.y.end, floor)
    edge, final = frame.x.end, max((end[0] for *_, end in ends), default=0)
    drawn: list[Markup] = []
    for (curve, text, end), y in zip(shown, places, strict=True):
        paint, at = PAINT[curve.kind], (frame.x.at(end[0]), frame.y.at(end[1]))
        early = end[0] < final  # a hollow end: this line stopped before the others
        drawn += [rule(*at, edge + 12, y, Paint(paint.colour, 1, "1 3"))] if abs(y - at[1]) > 3 or at[0] < edge - 1 else []
        drawn += [dot(*at, paint.colour, r=1.5 + paint.width / 2, hollow=early)]
        drawn += [label(edge + 16, y + 4.5, text, colour=paint.colour, bold=curve.kind == "together", room=room)]
    if len(shown) < len(ends):
        drawn.append(label(edge + 16, frame.y.start + 4.5, f"+ {len(ends) - len(shown)}", colour=MUTED))
    return drawn


def line(
    series: Sequence[Series],
    *,
    title: str,
    desc: str = "",
    width: float = 640,
    height: float = 300,
    x_label: str = "Round",
    y_label: str = "",
    reference: float | None = None,
    reference_label: str = "",
    places: int = 2,
    words: Words = ENGLISH,
) -> Markup:
    """How something grew over the rounds, each line named (with its last value) where it ends.

    >>> svg = line([Series("All together", [0.5, 0.7, 0.78], kind="together")], title="How quality grew", reference=0.5)
    >>> "All together 0.78" in svg
    True
    """
    curves = gathered(series, words)
    if not any(map(last, curves)):
        return blank(width, words.nothing, title=title)
    said = [f"{curve.label} {words.number(end[1], places)}" if (end := last(curve)) else "" for curve in curves]
    room = min(max((wide(text) + 8 for text in said), default=0), 0.38 * width)
    said = [_keeping_value(curve.label, text, room) for curve, text in zip(curves, said, strict=True)]
    everything = [value for curve in curves for column in curve[3:] for value in column.tolist()]
    floor, ceiling = limits([*everything, reference])
    y = Scale(floor, ceiling, height - (48 if x_label else 28), 28 if y_label else 10)
    up = marks(y, words)
    xs = np.concatenate([np.empty(0), *(curve.x[np.isfinite(curve.x)] for curve in curves)])
    x = Scale(*limits(xs, pad=0), beside(up), max(width - room - 20, beside(up) + 20))
    frame = Frame(x, y, marks(x, words, whole=bool(np.all(xs == np.round(xs)))), up)
    drawn = frame.drawn(width, x_label, y_label)
    if reference is not None and math.isfinite(reference):
        at = y.at(reference)
        drawn += [rule(x.start, at, x.end, at, Paint(MUTED, 1.5, "1 4"))]
        drawn += [label(x.end - 4, at - 6, reference_label, anchor="end", colour=MUTED, room=x.end - x.start)]
    drawn += [*strokes(curves, frame), *names_at_ends(curves, said, frame, room)]
    return picture(width, height, drawn, title=title, desc=desc or ", ".join(filter(None, said)))


def _keeping_value(name: str, text: str, room: float) -> str:
    if not text or wide(text) <= room:
        return text
    value = text[len(name) :]
    return name[: max(1, int((room - wide(value)) / 9))].rstrip() + "…" + value


def survival(
    curves: Sequence[Series],
    *,
    title: str,
    desc: str = "",
    width: float = 640,
    height: float = 360,
    x_label: str = "Months",
    y_label: str = "Without the event (%)",
    words: Words = ENGLISH,
) -> Markup:
    """Kaplan-Meier steps with their bands, and the numbers at risk below (hidden ones as a dash).

    >>> steps = Series("Together", [0.9, 0.7], [6, 12], "together", at_risk=[120, 80])
    >>> "At risk" in survival([steps], title="Who stays free of the event?")
    True
    """
    drawn_curves = [_from_one(curve) for curve in gathered(curves, words)]
    if not any(map(last, drawn_curves)):
        return blank(width, words.nothing, title=title)
    counted = [one for one in sorted(curves, key=lambda one: -ORDER[one.kind]) if one.at_risk is not None][:MANY]
    floor, _ = limits([v for c in drawn_curves for column in c[3:] for v in column.tolist()], pad=0.06)
    foot = 50 + (24 + 18 * len(counted) if counted else 0)
    y = Scale(min(max(floor, 0), 0.95), 1, height - foot, 28)
    up = marks(y, words, per=100)
    room = min(max((wide(curve.label) + 8 for curve in drawn_curves), default=0), 0.34 * width)
    left = max(beside(up), min(max((wide(one.label) + 36 for one in counted), default=0), 0.22 * width))
    xs = [0.0, *(v for curve in drawn_curves for v in curve.x.tolist())]
    x = Scale(*limits(xs, pad=0), left, max(width - room - 20, left + 20))
    frame = Frame(x, y, marks(x, words), up)
    drawn = [*frame.drawn(width, x_label, y_label), *strokes(drawn_curves, frame, steps=True)]
    drawn += names_at_ends(drawn_curves, [curve.label for curve in drawn_curves], frame, room)
    if counted:
        drawn += [label(0, height - foot + 62, words.at_risk, bold=True, room=left + room)]
    for place, one in enumerate(counted):
        drawn += _risk_row(one, frame, height - foot + 80 + 18 * place, words)
    return picture(width, height, drawn, title=title, desc=desc or ", ".join(c.label for c in drawn_curves))


def _from_one(curve: Curve) -> Curve:
    """Everyone is well at time zero, whether or not the steps say so."""
    if not len(curve.x) or not curve.x[0] > 0:
        return curve
    start = (0.0, 1.0, 1.0 if np.isfinite(curve.low[0]) else np.nan, 1.0 if np.isfinite(curve.high[0]) else np.nan)
    return Curve(curve.label, curve.kind, *(np.r_[one, col] for one, col in zip(start, curve[2:], strict=True)))


def _risk_row(one: Series, frame: Frame, y: float, words: Words) -> list[Markup]:
    times, counts = arrays(one).x, list(one.at_risk or ())
    drawn = [label(0, y, one.label, colour=PAINT[one.kind].colour, room=frame.x.start - 28)]
    for at, _ in frame.across:
        when = frame.x.low + (at - frame.x.start) / (frame.x.end - frame.x.start) * (frame.x.high - frame.x.low)
        later = np.flatnonzero(times >= when - 1e-9 * (frame.x.high - frame.x.low))
        count = counts[later[0]] if len(later) and later[0] < len(counts) else None
        text = words.missing if count is None else words.number(count, 0)
        drawn += [label(at, y, text, anchor="middle", colour=INK)]
    return drawn
