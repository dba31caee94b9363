"""Every chart, whatever it is given: well-formed, escaped, without NaN, inside its picture, the same bytes again."""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.charts import (
    Bar,
    Bin,
    Estimate,
    Markup,
    Row,
    Series,
    Span,
    Table,
    Words,
    bars,
    calibration,
    element,
    figure,
    forest,
    histogram,
    line,
    numbers,
    roc,
    standalone,
    survival,
    timeline,
    written,
)
from collegium.charts.axes import Scale, limits, marks, ticks
from collegium.charts.curves import spread
from collegium.charts.svg import PAINT, wide

NS = "{http://www.w3.org/2000/svg}"
HOSTILE = """"><script>alert('x')</script>&amp;\x00\x0b\ud800 ]]>"""
Values = list[float | None]


def drawings(values: Values, name: str, width: float) -> dict[str, Callable[[], Markup]]:
    """Each chart, made of the same numbers and words."""
    n = len(values)
    kinds = list(PAINT)
    back = values[::-1]
    fractions = [None if v is None else v - 1 for v in values]
    series = [Series(name, values, values[i:] + values[:i], kinds[i % len(kinds)], fractions, back) for i in range(min(n, 12))]
    counts = [None if v is None or not abs(v) < 1e6 else int(v) for v in values]
    rows = [Row(name, Estimate(v, w, v), Estimate(w, v, w)) for v, w in zip(values, back, strict=True)]
    rows += [Row(name, kind="mine"), Row(name, Estimate(0.5, 0.4, 0.6), gain=Estimate(0.1), kind="summary")] if n else []
    common = {"title": name, "desc": name, "width": width}
    axis = common | {"x_label": name, "y_label": name}
    return {
        "line": lambda: line(series, reference=0.5, reference_label=name, **axis),
        "forest": lambda: forest(rows, heads=(name, name), x_label=name, sides=(name, name), reference=0.5, **common),
        "ratios": lambda: forest(rows, log=True, reference=1, ends=(0.25, 4), **common),
        "log": lambda: forest(rows, log=True, sides=(name, name), reference=1, **common),
        "calibration": lambda: calibration(
            [Bin(*four) for four in zip(values, back, back, values, counts, strict=True)], notes=[name], **axis
        ),
        "roc": lambda: roc(series, **axis),
        "histogram": lambda: histogram(sorted(v for v in values if v is not None), values, compared=back, names=(name, name), **axis),
        "survival": lambda: survival([one._replace(at_risk=counts) for one in series], **axis),
        "bars": lambda: bars(
            [Bar(name, v, w, v, kind=k) for v, w, k in zip(values, back, kinds, strict=False)], names=[("alone", name)], **common
        ),
        "timeline": lambda: timeline([Span(name, v, w, name, k) for v, w, k in zip(values, back, kinds, strict=False)], **common),
    }


NAMES = sorted(drawings([], "", 0))
ORDINARY: Values = [0.61, 0.64, None, 0.7, math.nan, 0.74, 0.745, 0.76]
CASES: dict[str, Values] = {
    "empty": [],
    "one": [0.7],
    "only gaps": [None, math.nan],
    "gaps": ORDINARY,
    "300": [0.5 + i / 1000 for i in range(300)],
    "huge": [1e-300, 1e300, -1e299, 1e12],
    "tiny": [5e-324, 1e-310, 2e-300],
    "close": [1.0, 1.0 + 1e-15, 1.0 + 1e-8],
    "infinite": [math.inf, -math.inf, 0.0, -0.0],
    "wide": [-4e8, 123456.789, 3e9],
}


def tree(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def boxes(svg: str) -> Iterator[tuple[float, float, float, str]]:
    """Left, right and base line of every text, legends moved to where they stand."""

    def walk(node: ElementTree.Element, dx: float, dy: float) -> Iterator[tuple[float, float, float, str]]:
        if move := re.fullmatch(r"translate\((\S+) (\S+)\)", node.get("transform", "")):
            dx, dy = dx + float(move[1]), dy + float(move[2])
        if node.tag == f"{NS}text" and node.text:
            size, x = wide(node.text) * 0.9, float(node.get("x", 0)) + dx
            left = x - {"middle": size / 2, "end": size}.get(node.get("text-anchor", ""), 0)
            yield left, left + size, float(node.get("y", 0)) + dy, node.text
        for child in node:
            yield from walk(child, dx, dy)

    yield from walk(tree(svg), 0, 0)


def sound(svg: str) -> None:
    """What holds for every chart."""
    root = tree(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root[0].tag == f"{NS}title"
    assert root[0].text
    for node in root.iter():
        assert node.tag.removeprefix(NS) in {"svg", "title", "desc", "rect", "path", "line", "circle", "g", "text"}
        for name, value in node.attrib.items():
            assert name != "style", "a content-security policy without inline styles would drop it"
            assert not name.startswith("on")
            if name not in ("aria-label", "font-family") and not value.startswith("var("):
                assert not re.search(r"nan|inf|\de", value), (name, value)
    for node in root.iter(f"{NS}text"):
        assert not re.search(r"\bnan\b|\binf\b", (node.text or "").lower())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [320, 640, 1120])
def test_a_chart_is_sound_whatever_it_is_given(name: str, case: str, width: float) -> None:
    sound(drawings(CASES[case], "Lindenhof", width)[name]())


@pytest.mark.parametrize("name", NAMES)
def test_text_is_escaped_and_the_same_numbers_give_the_same_bytes(name: str) -> None:
    draw = drawings(ORDINARY, HOSTILE, 640)[name]
    svg = draw()
    sound(svg)
    assert "<script" not in svg
    assert svg == draw()
    assert svg.encode() == str(svg).encode()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [320, 480, 640, 1120])
def test_no_text_is_clipped_and_none_stands_on_another(name: str, width: float) -> None:
    svg = drawings(ORDINARY, "Northfield General", width)[name]()
    height = float(tree(svg).get("height", 0))
    found = list(boxes(svg))
    assert found
    for left, right, y, text in found:
        assert left >= -1, text
        assert right <= width + 1, text
        assert 8 <= y <= height, text
    for i, (left, right, y, text) in enumerate(found):
        for left2, right2, y2, text2 in found[:i]:
            assert abs(y - y2) >= 11 or right <= left2 or right2 <= left, (text, text2)


words = st.text(max_size=40).filter(lambda text: not re.search("nan|inf", text.lower()))
numbers_of_all_sorts = st.none() | st.floats() | st.floats(-2, 2) | st.integers(-5, 5).map(float)


@pytest.mark.parametrize("name", NAMES)
@given(values=st.lists(numbers_of_all_sorts, max_size=14), text=words, width=st.integers(200, 1400))
def test_any_numbers_and_any_words_give_a_sound_chart(name: str, values: Values, text: str, width: int) -> None:
    sound(drawings(values, text, width)[name]())


@given(st.lists(st.floats(-1e6, 1e6), max_size=20), st.floats(5, 30))
def test_spread_keeps_the_distance_and_the_order(wanted: list[float], gap: float) -> None:
    low, high = 10.0, 10 + gap * max(len(wanted), 1)
    places = spread(wanted, gap, low, high)
    assert all(low <= place <= high + 1e-6 for place in places)
    ordered = [places[i] for i in sorted(range(len(wanted)), key=lambda i: wanted[i])]
    assert all(b - a >= gap - 1e-6 for a, b in itertools.pairwise(ordered))


def test_spread_moves_nothing_that_has_room() -> None:
    assert spread([80, 20, 50], 15, 0, 100) == [80, 20, 50]


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.booleans(), st.booleans())
def test_ticks_are_few_round_and_inside(values: list[float], log: bool, whole: bool) -> None:
    low, high = limits(values, log=log)
    whole = whole and not log and high - low > 1
    found = ticks(low, high, log=log, whole=whole)
    room = 1e-6 * (high - low)
    assert len(found) <= 5
    assert all(low - room <= value <= high + room for value, _ in found)
    assert len(found) >= (0 if whole else 2)
    assert len({written(value, places) for value, places in found}) == len(found)


def test_at_most_five_gridlines_and_axes_start_where_the_data_are() -> None:
    assert [text for _, text in marks(Scale(0.61, 0.79, 300, 0), Words())] == ["0.65", "0.70", "0.75"]
    assert limits([0.61, 0.79])[0] > 0.6


def test_a_gap_stays_a_gap_and_a_lone_point_a_dot() -> None:
    svg = line([Series("a", [0.5, 0.6, None, 0.7, math.nan, 0.8, 0.9], kind="together")], title="gaps")
    d = next(node.get("d", "") for node in tree(svg).iter(f"{NS}path"))
    assert d.count("M") == 3
    assert d.count("h0") == 1


def test_three_hundred_hospitals_become_their_median_and_range() -> None:
    many = [Series(f"Hospital {i}", [0.5, 0.6 + i / 1000]) for i in range(300)]
    svg = line([*many, Series("All together", [0.5, 0.9], kind="together")], title="many")
    assert "Typical of 300 0.75" in svg
    assert len(svg) < 5000
    table = numbers(many)
    assert table.rows[1] == ["2", "0.750 (0.600 to 0.899)"]


def test_every_line_is_told_apart_without_colour() -> None:
    looks = [(paint.width, paint.dash) for paint in PAINT.values()]
    assert len(set(looks)) == len(looks)


def test_more_names_than_fit_are_counted_not_stacked() -> None:
    crowd = [Series(f"Study {i}{k}", [0.5, 0.5 + i / 100], kind=k) for i in range(8) for k in ("a", "b", "c", "d")]
    svg = line(crowd, title="crowd", height=200)
    margin = sorted(y for *_, y, text in boxes(svg) if text.startswith(("Study", "+")))
    assert all(b - a > 14 for a, b in itertools.pairwise(margin))
    assert re.search(r">\+ \d+<", svg)


def test_a_forest_shows_alone_hollow_together_filled_and_the_difference() -> None:
    svg = forest([Row("Fjordside", Estimate(0.62, 0.56, 0.68), Estimate(0.75, 0.7, 0.8))], title="t")
    fills = [node.get("fill") for node in tree(svg).iter(f"{NS}circle")][:2]
    assert fills == ["var(--panel,#ffffff)", "var(--ink,#14242e)"]
    assert "+0.13" in svg
    assert "+0.13 (0.06 to 0.19)" in forest([Row("F", gain=Estimate(0.13, 0.06, 0.19))], title="t")
    assert "–" in forest([Row("F", Estimate(math.nan), Estimate(0.7))], title="t")


def test_an_interval_beyond_the_axis_ends_in_an_arrow() -> None:
    def arrows(row: Row) -> int:
        return len(list(tree(forest([row], title="t", log=True, ends=(0.5, 2))).iter(f"{NS}path")))

    assert arrows(Row("a", together=Estimate(1, 0.8, 1.2))) == 0
    assert arrows(Row("b", together=Estimate(1, 0.1, math.inf))) == 2
    assert "1.00 (0.10 to ∞)" in forest([Row("b", together=Estimate(1, 0.1, math.inf))], title="t", log=True)


def test_survival_counts_those_at_risk_and_hides_what_is_hidden() -> None:
    steps = Series("Together", [0.9, 0.8, 0.7], [10, 20, 30], "together", at_risk=[1200, 800, None])
    said = [text for *_, text in boxes(survival([steps], title="t"))]
    assert [text for text in said if text in ("1,200", "800", "–")] == ["1,200", "1,200", "800", "–"]


def test_survival_without_counts_needs_no_table_of_them() -> None:
    assert "At risk" not in survival([Series("Together", [1, 0.9], [0, 10], "together")], title="t")


def test_text_is_measured_in_every_script() -> None:
    assert wide("病院") > wide("ab")
    assert wide("e\N{COMBINING ACUTE ACCENT}") == wide("e")


def test_unequal_bins_are_drawn_by_density_and_open_ones_have_a_width() -> None:
    svg = histogram([0, 10, 30, math.inf], [10, 20, 40], title="t")
    heights = [float(node.get("height", 0)) for node in tree(svg).iter(f"{NS}rect")][1:]
    assert heights[0] == heights[1]
    assert heights[2] == pytest.approx(2 * heights[1], abs=0.2)
    assert "Patients per 10" in svg


def test_bars_start_at_zero() -> None:
    svg = bars([Bar("a", 10), Bar("b", 20), Bar("c", -5)], title="t")
    sizes = [float(node.get("width", 0)) for node in tree(svg).iter(f"{NS}rect")][1:]
    assert sizes == pytest.approx([sizes[0], 2 * sizes[0], sizes[0] / 2], abs=0.2)


def test_a_translation_changes_every_word_and_number() -> None:
    german = Words(
        number=lambda value, places: f"{value:.{places}f}".replace(".", ","),
        interval="{} ({} bis {})",
        alone="Allein",
        together="Gemeinsam",
        as_table="Als Tabelle",
    )
    row = Row("Lindenhof", Estimate(0.67, 0.62, 0.72), Estimate(0.75, 0.72, 0.78), gain=Estimate(0.08, 0.05, 0.11))
    page = figure(forest([row], title="Hilft es?", words=german), "Hilft es?", numbers([row], words=german), words=german)
    assert "+0,08 (0,05 bis 0,11)" in page
    assert ">Allein<" in page
    assert "Als Tabelle" in page
    assert not re.search(r"<(text|td)[^>]*>[^<]*\d\.\d", page)


def test_a_figure_holds_the_same_numbers_as_a_table() -> None:
    bins = [Bin(0.1, 0.12, 0.08, 0.16, 1410), Bin(0.3, None)]
    table = numbers(bins, head={"patients": "Patients here"}, places=2)
    assert table == Table(
        ["Predicted", "Observed", "Low", "High", "Patients here"],
        [["0.10", "0.12", "0.08", "0.16", "1,410"], ["0.30", "–", "–", "–", "–"]],
    )
    page = figure(calibration(bins, title="t"), HOSTILE, table, note=HOSTILE)
    root = tree(page)
    assert root[0].tag == "figcaption"
    assert [th.text for th in root.iter("th") if th.get("scope") == "col"] == list(table.head)
    assert [td.text for td in root.iter("td")] == [cell for row in table.rows for cell in row[1:]]
    assert "<script" not in page


def test_a_figure_takes_no_markup_from_plain_text() -> None:
    assert "<svg" not in figure("<svg/>", "t", Table([], []))  # type: ignore[arg-type]
    assert element("g", None, [Markup("<path/>"), "<path/>"]) == "<g><path/>&lt;path/&gt;</g>"


def test_the_table_of_curves_has_a_row_for_each_round_and_of_nothing_none() -> None:
    curves = [Series("Together", [0.5, 0.7], low=[0.4, 0.6], high=[0.6, 0.8]), Series("Mine", [0.6], [2], "mine", at_risk=[7])]
    assert numbers(curves, head={"x": "Round"}, places=1) == Table(
        ["Round", "Mine", "Together", "Mine: At risk"], [["1", "–", "0.5 (0.4 to 0.6)", "–"], ["2", "0.6", "0.7 (0.6 to 0.8)", "7"]]
    )
    assert numbers([]) == Table([], [])


def test_a_template_and_a_notebook_take_a_chart_as_it_is() -> None:
    svg = line([Series("a", [1, 2])], title="t")
    assert svg.__html__() == svg._repr_html_() == svg
    jinja = pytest.importorskip("jinja2")
    assert jinja.Environment(autoescape=True).from_string("{{ x }}").render(x=svg) == svg


def test_standalone_bakes_colours_in_but_leaves_labels_alone() -> None:
    svg = standalone(line([Series('="var(--ink,#000)"', [1, 2])], title="t"))
    assert 'fill="#ffffff"' in svg
    assert "var(--ink,#000)" in svg
    assert svg.count("var(") == svg.count("var(--ink,#000)")


@pytest.mark.parametrize(
    ("value", "places", "said"), [(1e15, 0, "1e+15"), (2.0000001, 7, "2.0000001"), (0, 9, "0"), (-1234.5, 1, "−1,234.5")]
)
def test_numbers_are_written_as_people_read_them(value: float, places: int, said: str) -> None:
    assert written(value, places) == said
