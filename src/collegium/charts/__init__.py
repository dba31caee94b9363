"""Every chart is drawn here, once: the page, the printed report and the notebook show the same SVG.

A chart is a function from plain numbers to text: no file, no clock, no style sheet, and the same bytes for the same
numbers. A number that is missing (None, NaN) leaves a gap. Emphasis, not rainbow: *together* is thick ink, *mine* the
accent, *alone* dashed, *other* thin and grey, and many others become their median and range, so that three hospitals
and three hundred both fit. `a` to `f` are for series that have no such rank, as treatment arms or age groups.

Invariant: only `svg.element` writes a tag, and it escapes; no colour stands without a dash, a marker or a label.
"""

from collegium.charts.bars import Bar, Span, bars, histogram, timeline
from collegium.charts.curves import Series, line, survival
from collegium.charts.figure import Table, figure, numbers
from collegium.charts.rows import Estimate, Row, forest
from collegium.charts.squares import Bin, calibration, roc
from collegium.charts.svg import Kind, Markup, element, standalone
from collegium.charts.words import ENGLISH, Words, written

__all__ = [
    "ENGLISH",
    "Bar",
    "Bin",
    "Estimate",
    "Kind",
    "Markup",
    "Row",
    "Series",
    "Span",
    "Table",
    "Words",
    "bars",
    "calibration",
    "element",
    "figure",
    "forest",
    "histogram",
    "line",
    "numbers",
    "roc",
    "standalone",
    "survival",
    "timeline",
    "written",
]
