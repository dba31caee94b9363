"""One line of words, one line of marks: forest plots, bars and timelines, for three hospitals or three hundred."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from collegium.charts.axes import Scale, below, limits, marks
from collegium.charts.svg import (
    INK,
    LINE,
    MUTED,
    PAINT,
    PANEL,
    Markup,
    Paint,
    blank,
    dot,
    group,
    key,
    label,
    picture,
    rule,
    shape,
    wide,
)
from collegium.charts.words import ENGLISH, Words


class Estimate(NamedTuple):
    """A figure with its interval; an infinite end is drawn as an arrow."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Row(NamedTuple):
    """One line of a forest plot. Without `note`, the gain, else the difference or the estimate, stands at the right."""

    label: str
    alone: Estimate | None = None
    together: Estimate | None = None
    gain: Estimate | None = None
    note: str = ""
    kind: Literal["hospital", "mine", "summary"] = "hospital"


class Columns(NamedTuple):
    """Words at the left, marks between, words at the right; on a narrow page the words stand above the marks."""

    width: float
    left: float
    right: float
    name: float  # room for the words at the left
    above: float  # pixels a row gains when words stand above marks

    def words(self, name: str, note: str, y: float, *, colour: str = INK, bold: bool = False) -> list[Markup]:
        y = y + 4.5 - self.above * 0.7
        said = [label(0, y, name, colour=colour, bold=bold, room=self.name)]
        return [*said, label(self.width, y, note, anchor="end", colour=colour, bold=bold, room=self.width - self.name)]

    def top(self, heads: tuple[str, str], x_label: str) -> float:
        lines = 1 + any((*heads, x_label)) + (self.above > 0 and any(heads) and bool(x_label))
        return 4 + 20 * lines

    def grid(self, said: list[tuple[float, str]], top: float, bottom: float, heads: tuple[str, str], x_label: str) -> list[Markup]:
        drawn = [rule(round(at) + 0.5, top, round(at) + 0.5, bottom, Paint(LINE)) for at, _ in said]
        over = top - 27 - (20 if self.above and x_label and any(heads) else 0)
        room = self.width / 2 - 8 if self.above else self.left
        drawn += [label(0, over, heads[0], colour=MUTED, room=room)] if heads[0] else []
        drawn += [label(self.width, over, heads[1], anchor="end", colour=MUTED, room=self.width / 2)] if heads[1] else []
        middle = (self.left + self.right) / 2
        drawn += [label(middle, top - 27, x_label, anchor="middle", colour=MUTED, room=self.right - self.left)] if x_label else []
        return drawn + below(said, top - 7, self.width)


def columns(width: float, names: Sequence[str], notes: Sequence[str]) -> Columns:
    """Room for the names (at most a third) and the notes."""
    name, note = (max((wide(text) * 1.03 for text in texts), default=0) + 4 for texts in (names, notes))
    if width >= 480:
        name, note = min(name, width * 0.33), min(note, width * 0.33)
        return Columns(width, name + 12, width - note - 12, name, 0)
    return Columns(width, 12, width - 12, max(min(name, width - note - 8), width * 0.4), 22)


def known(value: float | None) -> bool:
    """Whether there is a number to draw."""
    return value is not None and abs(value) < 1e290


def spoken(one: Estimate | None, places: int, words: Words, *, plus: bool = False) -> str:
    """An estimate in words.

    >>> spoken(Estimate(0.07, 0.05, 0.09), 2, ENGLISH, plus=True)
    '+0.07 (0.05 to 0.09)'
    """
    if one is None or one.value is None or not known(one.value):
        return words.missing
    said = words.number(one.value, places)
    said = f"+{said}" if plus and round(one.value, places) > 0 else said
    ends = [_end(end, places, words) for end in one[1:3] if end is not None and not math.isnan(end)]
    return words.interval.format(said, *ends) if len(ends) == 2 else said


def _end(end: float, places: int, words: Words) -> str:
    return words.number(end, places) if known(end) else ("∞" if end > 0 else "\N{MINUS SIGN}∞")


def at_right(row: Row, places: int, words: Words, *, log: bool) -> str:
    """The note, the gain, the difference, or the estimate itself."""
    if row.note or row.gain:
        return row.note or spoken(row.gain, places, words, plus=True)
    if log or not (row.alone and row.together):
        return spoken(row.together or row.alone, places, words)
    one, two = row.alone.value, row.together.value
    return spoken(Estimate(None if one is None or two is None else two - one), places, words, plus=True)


def forest(
    rows: Sequence[Row],
    *,
    title: str,
    desc: str = "",
    width: float = 640,
    heads: tuple[str, str] = ("", ""),
    x_label: str = "",
    sides: tuple[str, str] = ("", ""),
    reference: float | None = None,
    log: bool = False,
    ends: tuple[float, float] | None = None,
    places: int = 2,
    words: Words = ENGLISH,
) -> Markup:
    """Per hospital: alone (hollow) and together (filled), each with its interval, and the gain at the right.

    With one estimate a row and `log=True, reference=1` it shows hazard or odds ratios; `sides` says what lies left and
    right of the reference; `ends` cuts the axis, and an interval that runs beyond it ends in an arrow.

    >>> row = Row("Fjordside", Estimate(0.62, 0.56, 0.68), Estimate(0.75, 0.70, 0.80))
    >>> "+0.13" in forest([row], title="Does working together help?")
    True
    """
    notes = [at_right(row, places, words, log=log) for row in rows]
    plan = columns(width, [*(row.label for row in rows), heads[0]], [*notes, heads[1]])
    found = [value for row in rows for one in (row.alone, row.together) if one for value in one]
    if not rows:
        return blank(width, words.nothing, title=title)
    pair = any(row.alone and row.together for row in rows)
    tall = (36 if len(rows) <= 15 else 28 if len(rows) <= 40 else 22) - (0 if pair else 4) + plan.above
    top = plan.top(heads, x_label)
    bottom = top + tall * len(rows)
    x = Scale(*(ends or limits([*found, reference], log=log)), plan.left, plan.right, log)
    drawn = plan.grid(marks(x, words), top, bottom, heads, x_label)
    if reference is not None and known(reference):
        drawn += [rule(x.at(reference), top, x.at(reference), bottom, Paint(MUTED, 1.5, "1 4"))]
    for place, (row, note) in enumerate(zip(rows, notes, strict=True)):
        y = top + tall * (place + 0.5)
        drawn += [rule(0, y - tall / 2, width, y - tall / 2, Paint(MUTED if row.kind == "summary" else LINE))]
        drawn += marked(row, note, plan, x, y, tall)
    if len(rows) > 15:
        drawn += below(marks(x, words), bottom + 18, width)
        bottom += 20
    drawn += _sides(sides, x, reference, bottom + 16, width)
    bottom += 24 if any(sides) else 4
    legend = [(sample(MUTED, hollow=True), words.alone), (sample(INK), words.together)] if pair else []
    said, more = key(legend, 0, bottom + 14, width)
    return picture(width, bottom + (more + 4 if pair else 0), [*drawn, *said], title=title, desc=desc)


def sample(colour: str, *, hollow: bool = False) -> Markup:
    """A marker with its interval, for the legend."""
    return group([rule(0, 0, 24, 0, Paint(colour, 2)), dot(12, 0, colour, hollow=hollow)])


def marked(row: Row, note: str, plan: Columns, x: Scale, y: float, tall: float) -> list[Markup]:
    """One hospital: its words, and its estimates one above the other."""
    colour = PAINT["mine"].colour if row.kind == "mine" else INK
    said = plan.words(row.label, note, y, colour=colour, bold=row.kind != "hospital")
    y, gap = y + plan.above / 2, (tall - plan.above) / 5.5 if row.alone and row.together else 0
    alone = estimate(row.alone, x, y - gap, MUTED, hollow=True, diamond=row.kind == "summary")
    return [*said, *alone, *estimate(row.together, x, y + gap, colour, diamond=row.kind == "summary")]


def estimate(one: Estimate | None, x: Scale, y: float, colour: str, *, hollow: bool = False, diamond: bool) -> list[Markup]:
    """A marker on its interval; a summary is a diamond as wide as its interval."""
    if one is None or one.value is None or not known(one.value):
        return []
    low, high = (math.nan if end is None else end for end in (one.low, one.high))
    if math.isnan(low) or math.isnan(high):
        low = high = one.value
    start, at, end = x.at(low), x.at(one.value), x.at(high)
    fill = PANEL if hollow else colour
    if diamond:
        start, end = min(start, at - 5), max(end, at + 5)
        return [shape(f"M{start:.1f} {y:.1f}L{at:.1f} {y - 6:.1f}L{end:.1f} {y:.1f}L{at:.1f} {y + 6:.1f}z", fill, stroke=colour)]
    drawn = [rule(start, y, end, y, Paint(colour, 2))] if end > start else []
    drawn += [shape(f"M{start:.1f} {y:.1f}l7 -4v8z", colour)] if low < x.low else []
    drawn += [shape(f"M{end:.1f} {y:.1f}l-7 -4v8z", colour)] if high > x.high else []
    inside = x.low <= one.value <= x.high
    return [*drawn, dot(at, y, colour, hollow=hollow)] if inside else drawn


def _sides(sides: tuple[str, str], x: Scale, reference: float | None, y: float, width: float) -> list[Markup]:
    if reference is None or not known(reference):
        return []
    at = x.at(reference)
    left = label(at - 10, y, f"← {sides[0]}", anchor="end", colour=MUTED, room=at - 10)
    right = label(at + 10, y, f"{sides[1]} →", colour=MUTED, room=width - at - 10)
    return [mark for mark, side in zip((left, right), sides, strict=True) if side]
