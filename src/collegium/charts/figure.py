"""A chart with its title and the same numbers as a table: for those who cannot see it, and those who want to be exact."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from collegium.charts.bars import Bar, Span
from collegium.charts.curves import Series, arrays, gathered
from collegium.charts.rows import Estimate, Row, spoken
from collegium.charts.squares import Bin
from collegium.charts.svg import Markup, element
from collegium.charts.words import ENGLISH, Words

NUMBER = {"class": "num"}
NO_NAMES: Mapping[str, str] = MappingProxyType({})


class Table(NamedTuple):
    """Words in columns. The first cell of a row names it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def numbers(
    items: Sequence[Series] | Sequence[Row] | Sequence[Bin] | Sequence[Bar] | Sequence[Span],
    *,
    head: Mapping[str, str] = NO_NAMES,
    places: int = 3,
    words: Words = ENGLISH,
) -> Table:
    """What a chart shows, as a table: give it what you gave the chart. `head` gives its columns better names.

    >>> numbers([Bar("Sent", 41.25), Bar("Received", None)], head={"label": "Direction", "value": "MB"}, places=2)
    Table(head=['Direction', 'MB'], rows=[['Sent', '41.25'], ['Received', '–']])
    """
    series = [one for one in items if isinstance(one, Series)]
    found = _of_series(series, places, words) if series else _of_rows(items, places, words)
    shown = {name: cells for name, cells in found.items() if any(cell not in ("", words.missing) for cell in cells)}
    named = [head.get(name, name.capitalize() if name.islower() else name) for name in shown]
    return Table(named, [list(row) for row in zip(*shown.values(), strict=True)])


def _of_series(series: Sequence[Series], places: int, words: Words) -> dict[str, list[str]]:
    curves = gathered(series, words)[::-1]
    xs = sorted({x for curve in curves for x in curve.x.tolist() if math.isfinite(x)})
    digits = 0 if all(x == round(x) for x in xs) else places
    found = {"x": [words.number(x, digits) for x in xs]}
    for curve in curves:
        cells = {x: Estimate(*rest) for x, *rest in zip(*(column.tolist() for column in curve[2:]), strict=True)}
        found[curve.label] = [spoken(cells.get(x), places, words) for x in xs]
    for one in series:
        counts = dict(zip(arrays(one).x.tolist(), one.at_risk or (), strict=False))
        if one.at_risk and one.label in found:
            found[f"{one.label}: {words.at_risk}"] = [cell(counts.get(x), places, words) for x in xs]
    return found


def _of_rows(items: Sequence[tuple[object, ...]], places: int, words: Words) -> dict[str, list[str]]:
    names = getattr(items[0], "_fields", ()) if items else ()
    return {name: [cell(one[at], places, words) for one in items] for at, name in enumerate(names) if name != "kind"}


def cell(value: object, places: int, words: Words) -> str:
    """One entry of a table: counts without decimals, estimates with their interval, a dash for what is missing."""
    match value:
        case str():
            return value
        case Estimate():
            return spoken(value, places, words)
        case int():
            return words.number(value, 0)
        case float():
            return spoken(Estimate(value), places, words)
    return words.missing


def figure(svg: Markup, title: str, table: Table, *, note: str = "", words: Words = ENGLISH) -> Markup:
    """A figure: the title (a sentence or a question), the chart, a note, and the table folded away.

    >>> figure(Markup("<svg/>"), "Is it better?", Table(["Hospital", "Gain"], [["Lindenhof", "+0.08"]])).count("<th")
    4
    """
    heads = [element("th", {"scope": "col"}, [name]) for name in table.head]
    rows = [
        element("tr", None, [element("th", {"scope": "row"}, row[:1]), *(element("td", NUMBER, [x]) for x in row[1:])])
        for row in table.rows
    ]
    body = [element("thead", None, [element("tr", None, heads)]), element("tbody", None, rows)]
    scroll = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": title or words.as_table}
    inside = element("div", scroll, [element("table", None, [element("caption", None, [title]), *body])])
    folded = element("details", None, [element("summary", None, [words.as_table]), inside])
    said = [element("p", {"class": "note"}, [note])] if note else []
    return element("figure", {"class": "figure"}, [element("figcaption", None, [title]), svg, *said, folded])
