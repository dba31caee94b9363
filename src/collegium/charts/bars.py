"""Bars of three sorts: figures side by side, how often each value occurs, and what went on when."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collegium.charts.axes import Array, Frame, Reals, Scale, below, beside, limits, marks, reals
from collegium.charts.curves import runs
from collegium.charts.rows import Estimate, columns, known, spoken
from collegium.charts.svg import (
    INK,
    LINE,
    MUTED,
    PAINT,
    PANEL,
    Attrs,
    Kind,
    Markup,
    Paint,
    blank,
    element,
    group,
    key,
    label,
    picture,
    rule,
    shape,
    stroke,
    wide,
)
from collegium.charts.words import ENGLISH, Words


class Bar(NamedTuple):
    """One bar, from zero. Its value stands at the right, or the note instead."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    kind: Kind = "together"


class Span(NamedTuple):
    """What went on in a lane. Without `end` it goes on still; `end == start` is a moment."""

    lane: str
    start: float | None
    end: float | None
    text: str = ""
    kind: Kind = "other"


def painted(kind: Kind) -> Attrs:
    """How an area of this kind looks: alone is hollow and dashed, other grey, the rest full."""
    paint = PAINT[kind]
    if kind == "alone":
        return {"fill": PANEL, "stroke": paint.colour, "stroke-width": "1.5", "stroke-dasharray": paint.dash}
    return {"fill": paint.colour, **({"fill-opacity": "0.45"} if kind == "other" else {})}


def box(x1: float, x2: float, y: float, tall: float, attrs: Attrs) -> Markup:
    """A rectangle between two ends, whichever is the left one; never so thin that it vanishes."""
    start, size = min(x1, x2), max(abs(x2 - x1), 1.0)
    return element("rect", {"x": start, "y": y - tall / 2, "width": size, "height": tall, **attrs})


def bars(
    items: Sequence[Bar],
    *,
    title: str,
    desc: str = "",
    width: float = 640,
    heads: tuple[str, str] = ("", ""),
    x_label: str = "",
    names: Sequence[tuple[Kind, str]] = (),
    places: int = 2,
    words: Words = ENGLISH,
) -> Markup:
    """Figures side by side, from zero, each with its interval; `names` says in a legend what a kind means.

    >>> "41.0" in bars([Bar("Sent", 41), Bar("Received", 12)], title="What a round costs", x_label="MB", places=1)
    True
    """
    notes = [bar.note or spoken(Estimate(*bar[1:4]), places, words) for bar in items]
    plan = columns(width, [*(bar.label for bar in items), heads[0]], [*notes, heads[1]])
    if not items:
        return blank(width, words.nothing, title=title)
    found = [value for bar in items for value in bar[1:4] if value is not None and known(value)]
    low, high = limits([0, *found])
    low, high = low * (min(found, default=0) < 0), high * (max(found, default=0) > 0)
    x = Scale(low, high if high > low else 1, plan.left, plan.right)
    tall, top = (30 if len(items) <= 15 else 24) + plan.above, plan.top(heads, x_label)
    bottom = top + tall * len(items)
    drawn = plan.grid(marks(x, words), top, bottom, heads, x_label)
    for place, (bar, note) in enumerate(zip(items, notes, strict=True)):
        y = top + tall * (place + 0.5)
        drawn += plan.words(bar.label, note, y)
        y += plan.above / 2
        drawn += [box(x.at(0), x.at(bar.value), y, 14, painted(bar.kind))] if bar.value is not None and known(bar.value) else []
        drawn += whisker(x, bar.low, bar.high, y)
    drawn += [rule(x.at(0), top, x.at(0), bottom, Paint(MUTED))]
    said, more = key([(box(0, 24, 0, 12, painted(kind)), name) for kind, name in names], 0, bottom + 20, width)
    return picture(width, bottom + 6 + (more + 8 if names else 0), [*drawn, *said], title=title, desc=desc)


def whisker(x: Scale, low: float | None, high: float | None, y: float) -> list[Markup]:
    """An interval over a bar: ink on a rim of paper, so that it shows on a dark bar too."""
    if low is None or high is None or not (known(low) and known(high)):
        return []
    start, end = x.at(low), x.at(high)
    d = f"M{start:.1f} {y - 4:.1f}v8m0 -4H{end:.1f}m0 -4v8"
    rim = shape(d, "none", stroke=PANEL, stroke_width="4.5")
    return [rim, shape(d, "none", stroke=INK, stroke_width="1.5")]


def histogram(
    edges: Reals,
    counts: Reals,
    *,
    title: str,
    desc: str = "",
    width: float = 640,
    height: float = 260,
    compared: Reals | None = None,
    names: tuple[str, str] = ("", ""),
    x_label: str = "",
    y_label: str = "Patients",
    kind: Kind = "mine",
    words: Words = ENGLISH,
) -> Markup:
    """How often each value occurs; a hidden count (None) is a gap. `compared` is drawn over it as a stepped outline.

    Bins of unequal width are drawn by density, as only areas can be compared then, and the label says so.

    >>> histogram([0, 10, 20, 30], [40, None, 12], title="How old are they?").count("<rect")
    3
    """
    sides, sizes, others = binned(edges, counts, [] if compared is None else compared)
    if not np.isfinite(sizes).any():
        return blank(width, words.nothing, title=title)
    steps = np.diff(sides)
    if steps.max() > steps.min() * 1.01:
        unit = float(steps.min())
        sizes, others = sizes * (unit / steps), others * (unit / steps)
        y_label = words.per.format(y_label, words.number(unit, 0 if unit == round(unit) else 2))
    highest = limits([0, *sizes.tolist(), *others.tolist()])[1]
    y = Scale(0, max(highest, 1e-280), height - (48 if x_label else 28), 52 if any(names) else 28)
    up = marks(y, words, whole=highest > 5)
    x = Scale(*limits(sides.tolist(), pad=0), beside(up), width - 12)
    drawn = Frame(x, y, marks(x, words), up).drawn(width, x_label, y_label)
    at, tops, outline = x.many(sides), y.many(sizes), y.many(others)
    for i in np.flatnonzero(sizes > 0).tolist():
        drawn += [box(at[i] + 0.5, at[i + 1] - 0.5, (y.start + tops[i]) / 2, y.start - tops[i], painted(kind))]
    for run in runs(at[:-1], at[1:], outline):
        d = "M" + "L".join(f"{a:.1f} {h:.1f}H{b:.1f}" for a, b, h in run.tolist())
        drawn += [shape(d, "none", stroke=PANEL, stroke_width="5"), shape(d, "none", stroke=INK, stroke_width="2")]
    legend = [(box(0, 24, 0, 12, painted(kind)), names[0]), (rule(0, 0, 24, 0, Paint(INK, 2)), names[1])]
    drawn += key([item for item in legend if item[1]], x.start, 34, width - x.start)[0]
    return picture(width, height, drawn, title=title, desc=desc)


def binned(edges: Reals, counts: Reals, compared: Reals) -> tuple[Array, Array, Array]:
    """Edges that can be drawn, with as many counts: an open-ended bin ("80 and older") is as wide as its neighbour."""
    sides = reals(edges)
    if len(sides) > 2:
        sides[0] = sides[0] if np.isfinite(sides[0]) else 2 * sides[1] - sides[2]
        sides[-1] = sides[-1] if np.isfinite(sides[-1]) else 2 * sides[-2] - sides[-3]
    if len(sides) < 2 or not np.all(np.diff(sides) > 0):
        return np.empty(0), np.empty(0), np.empty(0)
    columns = np.full((2, len(sides) - 1), np.nan)
    for row, given in zip(columns, (reals(counts), reals(compared)), strict=True):
        row[: len(given)] = given[: len(row)]
    return sides, columns[0], columns[1]


def timeline(
    spans: Sequence[Span],
    *,
    title: str,
    desc: str = "",
    width: float = 640,
    x_label: str = "Minutes",
    now: float | None = None,
    names: Sequence[tuple[Kind, str]] = (),
    words: Words = ENGLISH,
) -> Markup:
    """Who did what when, a lane for each hospital. Without a start it began before, without an end it goes on still.

    >>> spans = [Span("Lindenhof", 0, 12, "training", "mine"), Span("Lindenhof", 12, None, "sending")]
    >>> "sending" in timeline(spans, title="What is happening now", now=15)
    True
    """
    lanes = list(dict.fromkeys(span.lane for span in spans))
    if not lanes:
        return blank(width, words.nothing, title=title)
    plan = columns(width, lanes, [])
    x = Scale(*limits([now, *(end for span in spans for end in span[1:3])], pad=0), plan.left, plan.right)
    tall, top = (30 if len(lanes) <= 15 else 24) + plan.above, 8.0
    bottom = top + tall * len(lanes)
    said = marks(x, words)
    drawn = [rule(round(at) + 0.5, top, round(at) + 0.5, bottom, Paint(LINE)) for at, _ in said]
    for place, lane in enumerate(lanes):
        y = top + tall * (place + 0.5)
        drawn += [rule(0, y - tall / 2, width, y - tall / 2, Paint(LINE))] if place else []
        drawn += plan.words(lane, "", y)
        here = sorted(((extent(span, x), span) for span in spans if span.lane == lane), key=lambda pair: pair[0])
        until = [*(start for (start, _), _ in here[1:]), math.inf]  # words must not run into what follows
        for (ends, span), next_start in zip(here, until, strict=True):
            drawn += spent(span, *ends, y + plan.above / 2, room=min(ends[1], next_start) - ends[0])
    drawn += [rule(x.at(now), top - 4, x.at(now), bottom, Paint(INK, 1.5))] if now is not None and known(now) else []
    drawn += below(said, bottom + 19, width)
    middle = (plan.left + plan.right) / 2
    drawn += [label(middle, bottom + 39, x_label, anchor="middle", colour=MUTED, room=width)] if x_label else []
    bottom += 48 if x_label else 28
    legend, more = key([(box(0, 24, 0, 12, tinted(kind)), name) for kind, name in names], 0, bottom + 10, width)
    return picture(width, bottom + more, [*drawn, *legend], title=title, desc=desc)


def extent(span: Span, x: Scale) -> tuple[float, float]:
    """From where to where a span is drawn: to the edge of the chart where an end is not known."""
    start, end = (x.at(at) if at is not None and known(at) else edge for at, edge in zip(span[1:3], x[2:4], strict=True))
    return min(start, end), max(start, end)


def spent(span: Span, start: float, end: float, y: float, *, room: float) -> list[Markup]:
    """A span as a box that says what it is, or as a diamond when it is a moment."""
    colour, said = PAINT[span.kind].colour, f"{span.lane}: {span.text}" if span.text else ""
    if span.start == span.end and span.start is not None:
        return [group([shape(f"M{start:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z", colour)], said)]
    drawn = [box(start, end, y, 18, tinted(span.kind))]
    drawn += [shape(f"M{end:.1f} {y - 9:.1f}l6 9l-6 9z", colour)] if span.end is None else []
    drawn += [label(start + 6, y + 4.5, span.text)] if wide(span.text) + 10 <= room else []
    return [group(drawn, said)]


def tinted(kind: Kind) -> Attrs:
    """A light area that words can stand on, with the border of its kind."""
    paint = PAINT[kind]
    tint = "0" if kind == "alone" else "0.14" if kind == "other" else "0.22"
    return {"fill": paint.colour, "fill-opacity": tint, **stroke(paint._replace(width=1.5 if kind != "other" else 1))}
