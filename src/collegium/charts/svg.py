"""Tags, text and strokes: the only file that writes markup, and it escapes everything that is not markup already.

Colours are presentation attributes that read the page's tokens (`--ink --muted --accent --line --panel --c0 ... --c5`)
with the light colour as fallback: a content-security policy without inline styles lets them through, dark mode and
print follow the page, and a file by itself is readable.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import accumulate
from typing import Literal, NamedTuple

Kind = Literal["together", "mine", "alone", "other", "a", "b", "c", "d", "e", "f"]
Attrs = dict[str, str | float]


class Markup(str):
    """Text that is markup already: `element`, Jinja and notebooks take it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self

    _repr_html_ = __html__


class Paint(NamedTuple):
    """How a line is drawn. The dash (or the width) tells apart what two colours may not."""

    colour: str
    width: float = 1
    dash: str = ""


INK, MUTED, LINE, PANEL = (
    f"var(--{name},{light})" for name, light in (("ink", "#14242e"), ("muted", "#566873"), ("line", "#dde4e8"), ("panel", "#ffffff"))
)
PAINT: Mapping[Kind, Paint] = {  # in drawing order: the emphasised last, on top
    "other": Paint(MUTED, 1),
    "alone": Paint(MUTED, 1.5, "5 4"),
    "a": Paint("var(--c0,#0067a5)", 2),
    "b": Paint("var(--c1,#c44e00)", 2, "7 4"),
    "c": Paint("var(--c2,#00805d)", 2, "2 4"),
    "d": Paint("var(--c3,#b3507f)", 2, "10 4 2 4"),
    "e": Paint("var(--c4,#8a6a00)", 2, "4 3"),
    "f": Paint("var(--c5,#5b5bd6)", 2, "14 4"),
    "mine": Paint("var(--accent,#0b6e75)", 2.25),
    "together": Paint(INK, 3),
}
FONT = 'system-ui,"Segoe UI",Inter,Roboto,"Helvetica Neue",Arial,sans-serif'
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 cannot hold these at all
VOID = frozenset(("line", "path", "circle", "rect"))


def clean(text: str) -> str:
    """Text that is safe between tags and inside a quoted attribute."""
    return escape(FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))


def element(tag: str, attrs: Mapping[str, str | float] | None = None, children: Iterable[str] = ()) -> Markup:
    """One tag; children that are not `Markup` are escaped, attributes always.

    >>> element("text", {"x": 1.5, "class": '"><script>'}, ["a < b", element("title", {}, ["T&T"])])
    '<text x="1.5" class="&quot;&gt;&lt;script&gt;">a &lt; b<title>T&amp;T</title></text>'
    """
    named = [f' {k}="{clean(v) if isinstance(v, str) else short(v)}"' for k, v in (attrs or {}).items()]
    inside = "".join(c if isinstance(c, Markup) else clean(c) for c in children)
    start = f"<{tag}{''.join(named)}"
    return Markup(f"{start}/>" if tag in VOID and not inside else f"{start}>{inside}</{tag}>")


def short(pixels: float) -> str:
    """A tenth of a pixel is finer than any screen."""
    return f"{pixels:.1f}".removesuffix(".0")


def standalone(svg: str) -> Markup:
    """The same picture with the light colours baked in, for programs that know no CSS variables (Word, Inkscape).

    >>> standalone(element("path", {"stroke": INK}))
    '<path stroke="#14242e"/>'
    """
    return Markup(re.sub(r'="var\(--\w+,(#\w+)\)"', r'="\1"', svg))  # the quotes of a label are escaped: no match there


def wide(text: str, size: float = 13) -> float:
    """About how many pixels a text takes, rather too many than too few: a server has no font to ask."""
    return size * sum(map(_em, text))


def _em(char: str) -> float:
    if char in "iljtfrI.,:;|!' ()[]":
        return 0.41
    if char in "mwMW%@—…":
        return 1.0
    if char.isascii():
        return 0.75 if char.isupper() else 0.64
    if unicodedata.combining(char):
        return 0
    return 1.1 if unicodedata.east_asian_width(char) in "WF" else 0.75


def fit(text: str, room: float) -> str:
    """The text, or as much of it as there is room for.

    >>> fit("Eastgate University Hospital", 120)
    'Eastgate Univ…'
    """
    if wide(text) <= room:
        return text
    ends = accumulate(13 * _em(char) for char in text)
    return text[: sum(end <= room - 13 for end in ends)].rstrip() + "…"


def label(
    x: float,
    y: float,
    text: str,
    *,
    anchor: Literal["start", "middle", "end"] = "start",
    colour: str = INK,
    bold: bool = False,
    room: float = math.inf,
) -> Markup:
    """Text on its base line; what does not fit is cut, and the whole stands in a tooltip."""
    shown = fit(text, room)
    attrs: Attrs = {"x": x, "y": y, "fill": colour}
    if anchor != "start":
        attrs["text-anchor"] = anchor
    if bold:
        attrs["font-weight"] = "600"
    return element("text", attrs, [shown] if shown == text else [shown, element("title", None, [text])])


def stroke(paint: Paint) -> Attrs:
    """A paint as attributes."""
    attrs: Attrs = {"stroke": paint.colour, "stroke-width": str(paint.width)}
    return {**attrs, "stroke-dasharray": paint.dash} if paint.dash else attrs


def rule(x1: float, y1: float, x2: float, y2: float, paint: Paint) -> Markup:
    """A straight line."""
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, **stroke(paint)})


def shape(d: str, fill: str, **attrs: str) -> Markup:
    """A filled path."""
    return element("path", {"d": d, "fill": fill, **{key.replace("_", "-"): value for key, value in attrs.items()}})


def dot(x: float, y: float, colour: str, *, hollow: bool = False, r: float = 4) -> Markup:
    """A marker: hollow for what a hospital reaches alone, filled for all together."""
    ring: Attrs = {"fill": PANEL, "stroke": colour, "stroke-width": "2"} if hollow else {"fill": colour}
    return element("circle", {"cx": x, "cy": y, "r": r, **ring})


def group(children: Iterable[str], said: str = "") -> Markup:
    """Marks that belong together, with a sentence that a pointer or a screen reader finds on them."""
    return element("g", None, [element("title", None, [said]), *children] if said else children)


def key(items: Sequence[tuple[Markup, str]], x: float, y: float, room: float, *, stacked: bool = False) -> tuple[list[Markup], float]:
    """A legend that wraps (or stands one under another), and how tall it is: samples are 24 pixels wide, or empty."""
    drawn, across, down = [], 0.0, 0.0
    for sample, text in items:
        text = fit(text, room - 32)
        if across and (stacked or across + 32 + wide(text) > room):
            across, down = 0, down + 22
        before = 32 if sample else 0
        place = f"translate({short(x + across)} {short(y + down)})"
        drawn += [element("g", {"transform": place}, [sample, label(before, 4.5, text, colour=MUTED)])]
        across += before + wide(text) + 20
    return drawn, (down + 22 if items else 0)


def picture(width: float, height: float, children: Iterable[str], *, title: str, desc: str) -> Markup:
    """The whole SVG, in CSS pixels; its text runs left to right on a right-to-left page too."""
    title = title.strip() or "Chart"
    attrs: Attrs = {"xmlns": "http://www.w3.org/2000/svg", "class": "chart", "role": "img", "aria-label": title}
    attrs |= {"width": width, "height": height, "viewBox": f"0 0 {short(width)} {short(height)}"}
    attrs |= {"font-family": FONT, "font-size": "13", "direction": "ltr", "fill": "none"}
    said = [element("title", None, [title]), *([element("desc", None, [desc])] if desc.strip() else [])]
    return element("svg", attrs, [*said, element("rect", {"width": width, "height": height, "fill": PANEL}), *children])


def blank(width: float, said: str, *, title: str) -> Markup:
    """What stands where a chart will be."""
    return picture(width, 80, [label(width / 2, 44, said, anchor="middle", colour=MUTED, room=width)], title=title, desc=said)
