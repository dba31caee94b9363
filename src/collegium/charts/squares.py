"""Square charts with two equal axes: does the model tell patients apart, and does it mean what it says?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collegium.charts.axes import Array, Frame, Scale, beside, limits, marks, reals
from collegium.charts.curves import Series, gathered, last, path, runs, strokes
from collegium.charts.svg import INK, MUTED, PAINT, Markup, Paint, blank, dot, key, picture, rule, shape, wide
from collegium.charts.words import ENGLISH, Words

DIAGONAL = Paint(MUTED, 1.5, "1 4")


class Bin(NamedTuple):
    """Patients of similar estimated risk: what was predicted for them, and what happened."""

    predicted: float | None
    observed: float | None
    low: float | None = None
    high: float | None = None
    patients: int | None = None


def roc(
    curves: Sequence[Series],
    *,
    title: str,
    desc: str = "",
    width: float = 640,
    x_label: str = "False alarms, % (100 \N{MINUS SIGN} specificity)",
    y_label: str = "Cases found, % (sensitivity)",
    chance: str = "Chance",
    words: Words = ENGLISH,
) -> Markup:
    """Cases found against false alarms; say the area with its interval in each label.

    >>> svg = roc([Series("Together 0.78 (0.76 to 0.80)", [0, 0.8, 1], [0, 0.2, 1], "together")], title="ROC")
    >>> "Together 0.78 (0.76 to 0.80)" in svg
    True
    """
    lines = gathered(curves, words)
    if not any(map(last, lines)):
        return blank(width, words.nothing, title=title)
    legend = [(rule(0, 0, 24, 0, PAINT[curve.kind]), curve.label) for curve in reversed(lines)]
    legend += [(rule(0, 0, 24, 0, DIAGONAL), chance)]
    plot = square(width, (0, 1), words, legend)
    drawn = [*plot.drawn(width, x_label, y_label), *strokes(lines, plot)]
    return squared(plot, drawn, legend, width, title=title, desc=desc or ", ".join(curve.label for curve in lines))


def calibration(
    bins: Sequence[Bin],
    *,
    title: str,
    desc: str = "",
    width: float = 640,
    x_label: str = "Estimated risk (%)",
    y_label: str = "Happened (%)",
    ideal: str = "Estimate is right",
    counted: str = "Patients in each group",
    notes: Sequence[str] = (),
    words: Words = ENGLISH,
) -> Markup:
    """When it says 20 %, does it happen in 20 %? Each group with its interval; `notes` for the slope and such.

    >>> bins = [Bin(0.1, 0.12, 0.08, 0.16, 410), Bin(0.3, 0.28, 0.22, 0.34, 200)]
    >>> calibration(bins, title="Does 20 % mean 20 %?").count("<circle")
    2
    """
    predicted, observed, low, high, count = (reals(one[column] for one in bins) for column in range(5))
    if not np.isfinite(predicted + observed).any():
        return blank(width, words.nothing, title=title)
    legend = [(rule(0, 0, 24, 0, DIAGONAL), ideal)]
    legend += [(shape("M6 6v-12h12v12z", MUTED, fill_opacity="0.3"), counted)] if np.isfinite(count).any() else []
    legend += [(Markup(), note) for note in notes]
    plot = square(width, limits([value for one in bins for value in one[:4]]), words, legend)
    x, y = plot.x.many(predicted), plot.y.many(observed)
    order = np.argsort(x, kind="stable")
    drawn = [*plot.drawn(width, x_label, y_label), *heights(x, count, plot)]
    joined = "".join(path(run) for run in runs(x[order], y[order]))
    drawn += [shape(joined, "none", stroke=INK, stroke_opacity="0.4", stroke_width="1.5")] if joined else []
    whiskers = np.column_stack([x, plot.y.many(low), plot.y.many(high), y])
    whiskers = whiskers[np.isfinite(whiskers).all(1)]
    drawn += [rule(at, bottom, at, top, Paint(INK, 1.5)) for at, bottom, top, _ in whiskers.tolist()]
    drawn += [dot(a, b, INK) for run in runs(x, y) for a, b in run.tolist()]
    return squared(plot, drawn, legend, width, title=title, desc=desc or "; ".join(notes))


def heights(x: Array, count: Array, plot: Frame) -> list[Markup]:
    """How many patients stand behind each point, as small bars on the axis."""
    known = np.isfinite(x) & (count > 0)
    most = float(count[known].max()) if known.any() else 1.0
    bars = [
        f"M{at - 4:.1f} {plot.y.start:.1f}v{-36 * n / most:.1f}h8V{plot.y.start:.1f}z" for at, n in zip(x[known], count[known], strict=True)
    ]
    return [shape("".join(bars), MUTED, fill_opacity="0.3")] if bars else []


def square(width: float, ends: tuple[float, float], words: Words, legend: Sequence[tuple[Markup, str]]) -> Frame:
    """Two equal axes in per cent, which leave room for a legend beside them where the page is wide enough."""
    left = beside(marks(Scale(*ends, 300, 0), words, per=100))
    side = width - left - 28 - max(32 + wide(text) for _, text in legend)
    side = max(40.0, min(side if side >= 260 else width - left - 12, 380))
    x, y = Scale(*ends, left, left + side), Scale(*ends, 28 + side, 28)
    return Frame(x, y, marks(x, words, per=100), marks(y, words, per=100))


def squared(plot: Frame, drawn: Sequence[Markup], legend: Sequence[tuple[Markup, str]], width: float, *, title: str, desc: str) -> Markup:
    """The diagonal (chance in one chart, being right in the other), and the legend where there is room for it."""
    drawn = [*drawn, rule(plot.x.start, plot.y.start, plot.x.end, plot.y.end, DIAGONAL)]
    room, bottom = width - plot.x.end - 28, plot.y.start + 48
    if room >= max(32 + wide(text) for _, text in legend):
        said, tall = key(legend, plot.x.end + 28, plot.y.end + 8, room, stacked=True)
        return picture(width, max(bottom, plot.y.end + tall), [*drawn, *said], title=title, desc=desc)
    said, tall = key(legend, plot.x.start, bottom + 12, width - plot.x.start)
    return picture(width, bottom + tall + 4, [*drawn, *said], title=title, desc=desc)
