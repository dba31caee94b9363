import base64
import hashlib
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from collegium.study.manifest import read
from collegium.study.report import html
from collegium.study.report.document import Folded, Grid, Pairs, Record
from collegium.study.report.page import body, sections, tiles
from tests.study.report.runs import LEAST, NAMES, RUNS, four, run, walked

VOID = {"meta", "br", "hr", "link", "img", "input", "circle", "line", "path", "rect"}
XSS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</style><script>alert(1)</script>",
    "</title></head><body onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!-- --><svg onload=alert(1)>",
    "&lt;b&gt; &amp; ]]> \u2028 \u202e \x00 \x1b[31m",
]

each = pytest.mark.parametrize("name", RUNS)


def made(record: Record) -> str:
    return html(record.study, record.results, figures=record.figures, lines=record.lines, pooled=record.pooled, facts=record.facts)


class Page(HTMLParser):
    """What a browser would find: a tree that closes properly, its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attrs: list[tuple[str, str, str]] = []
        self.faults: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attrs += [(tag, name, value or "") for name, value in attrs]
        names = [name for name, _ in attrs]
        self.faults += [f"{tag} has {name} twice" for name in names if names.count(name) > 1]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing, after {self.open[-3:]}")

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def values(self, name, tag=""):
        return [value for at, attr, value in self.attrs if attr == name and tag in ("", at)]


@each
def test_a_report_is_well_formed(name):
    page = Page(made(run(name)))
    assert page.faults == []
    assert page.values("lang", "html") == ["en"]
    assert page.tags["h1"] == page.tags["main"] == 1


@each
def test_headings_go_down_one_step_at_a_time(name):
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", made(run(name)))]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


@each
def test_ids_are_unique_and_every_link_leads_somewhere_in_the_page(name):
    page = Page(made(run(name)))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert all(link.startswith("#") and link[1:] in ids for link in page.values("href"))
    assert set(page.values("aria-labelledby")) <= set(ids)


@each
def test_nothing_is_loaded_sent_or_run(name):
    text = made(run(name))
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "form", "object", "base", "use", "image"} & set(page.tags)
    assert [attr for _, attr, _ in page.attrs if attr.startswith("on") or attr in ("src", "style", "srcset", "xlink:href")] == []
    addresses = re.findall(r"[a-z]+://[^\"' <]*", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}  # the name of SVG, which nobody fetches
    assert not re.search(r"@import|url\(|expression\(", text)


@each
def test_the_policy_lets_in_this_style_sheet_and_nothing_else(name):
    text = made(run(name))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(value for value in Page(text).values("content", "meta") if "default-src" in value)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert text.index("Content-Security-Policy") < text.index("<style")


@each
def test_no_number_is_missing_without_a_word(name):
    page = Page(made(run(name)))
    said = " ".join(page.text)
    assert not re.search(r"\b(nan|NaN|inf|None|null|undefined)\b", said)
    assert "array(" not in said
    coordinates = " ".join(value for _, attr, value in page.attrs if attr in ("d", "x", "y", "x1", "cx", "points", "transform", "viewbox"))
    assert not re.search("nan|inf", coordinates, re.IGNORECASE)


@each
def test_no_cell_is_blank(name):
    record = run(name)
    for section in sections(record):
        assert section.blocks, section.name
        for block in section.blocks:
            if isinstance(block, Grid):
                assert block.rows, block.title
                assert {len(row) for row in block.rows} == {len(block.head)}, block.title
                assert all(cell.strip() for row in block.rows for cell in row), block.title
            if isinstance(block, Pairs):
                assert all(name.strip() and said.strip() for name, said in block.items)
            if isinstance(block, Folded):
                assert block.text.strip()


@each
def test_tables_and_charts_can_be_heard(name):
    text = made(run(name))
    page = Page(text)
    assert page.tags["caption"] == page.tags["table"]
    assert page.values("scope", "th").count("col") + page.values("scope", "th").count("row") == page.tags["th"]
    assert page.tags["figcaption"] == page.tags["figure"]
    pictures = re.findall(r"<svg [^>]*role=\"img\"[^>]*>", text)
    assert len(pictures) == page.tags["svg"] - 1  # the sign at the top says nothing
    assert all(re.search(r'aria-label="[^"]+"', one) for one in pictures)


@each
def test_a_report_is_the_same_for_the_same_run_and_small(name):
    text = made(run(name))
    assert text == made(RUNS[name]() if name != "simulated" else run(name))
    assert len(text.encode()) < 300_000


@each
def test_what_must_be_read_comes_before_the_figures(name):
    record = run(name)
    text = made(record)
    warning = "nothing left any hospital" if record.simulated else "could read their sum, and no single hospital"
    assert text.index(warning) < text.index('class="tiles"')
    privacy = next(section for section in sections(record) if section.name == "privacy")
    assert "no noise is added (differential privacy)" in privacy.blocks[0].text


SECTIONS = {
    "averaging": ["comparison", "learning", "quality", "privacy", "cost", "method", "limits", "words"],
    "glm": ["comparison", "coefficients", "learning", "quality", "privacy", "cost", "method", "limits", "words"],
    "cox": ["coefficients", "comparison", "learning", "quality", "privacy", "cost", "method", "limits", "words"],
    "survival": ["survival", "privacy", "cost", "method", "limits", "words"],
    "trees": ["comparison", "importance", "learning", "quality", "privacy", "cost", "method", "limits", "words"],
    "statistics": ["description", "privacy", "cost", "method", "limits", "words"],
}


@each
def test_every_section_is_there_whatever_was_found(name):
    record = run(name)
    first = [] if record.over else ["happened"]
    assert [section.name for section in sections(record)] == first + SECTIONS[record.method.kind]


def marks(page):
    """Which tags with which attributes a page holds."""
    return {(tag, "") for tag in page.tags} | {(tag, name) for tag, name, _ in page.attrs}


@cache
def usual():
    """The marks of reports about harmless runs."""
    return set().union(*(marks(Page(made(run(name)))) for name in RUNS))


@pytest.mark.parametrize("text", XSS)
def test_a_strangers_text_stays_text(text):
    """In every place where a stranger can write, it makes no mark that a harmless report would not have."""
    found = Page(made(written(text)))
    assert found.faults == []
    assert marks(found) <= usual()
    shown = "".join(found.text)
    assert shown.count("alert(1)") >= 10 * text.count("alert(1)")
    assert shown.count(" 7 * 7 }") >= 10 * text.count("7 * 7")


def written(word: str) -> Record:
    """A small run that says a stranger's word in every place that a stranger can write."""
    name = word.replace("/", "∕").replace("\x00", "").strip() or "word"  # no stage takes a slash in a variable's name
    kind = {"kind": "number", "unit": word, "meaning": word}
    variables = {
        "age": kind,
        name: {"kind": "category", "categories": [name, "b"], "meaning": word},
        "y": {"kind": "binary", "meaning": word},
    }
    document = {**LEAST, "title": word[:200], "purpose": word, "lead": word, "patient": word, "variables": variables}
    held = {"salt": word, "test": 3, "validation": 1}
    chosen = read(
        {**document, "held_out": held, "outcome": {"task": "binary", "target": "y"}, "method": {"kind": "glm", "standardise": True}}
    )
    tables = {}
    for site, table in four().items():
        column = ["b" if one == "F" else name for one in table["sex"].tolist()]
        tables[site] = table.with_columns(**{name: np.array(column)})
    found = walked(chosen, tables)
    told = ("says", "run", "started", "ended", "source", "versions")
    facts = dict.fromkeys(told, word) | {"status": "stopped", "sites": [word] * 4}
    return found._replace(lines=[(word, line) for _, line in found.lines], pooled={word: (0.8, 0.7, 0.9)}, facts=facts)


def test_hundreds_of_hospitals_fit():
    found = run("simulated")
    lines = [(f"Hospital {at}", line) for at in range(100) for _, line in found.lines[:3]]
    text = made(found._replace(lines=lines, facts={"sites": 300}, pooled=None))
    assert len(text.encode()) < 300_000
    assert "the 20 hospitals that gain most and the 20 that gain least" in text


def test_a_state_that_nobody_knows_is_shown_as_text():
    assert '<span class="badge warn">&lt;odd&gt;</span>' in made(run("empty")._replace(facts={"status": "<odd>"}))


def test_first_figures():
    labels = [label for label, _, _ in tiles(run("binary"))]
    assert labels == ["Hospitals", "AUROC together", "AUROC alone", "Gain"]
    assert tiles(run("empty"))[1] == ("AUROC together", "Not measured", "mean over hospitals")
    assert [label for label, _, _ in tiles(run("statistics"))] == ["Hospitals", "Patients", "Rows", "Variables"]


def test_an_interval_is_not_torn_apart():
    row = body([Grid("t", ["a", "b", "c"], [["x", "0.8 (0.7 to 0.9)", "1 (one)"]], frozenset({2}))])
    assert '<td class="num pair">0.8 <span class="interval">(0.7 to 0.9)</span></td><td class="words">1 (one)</td>' in row


def test_names_of_hospitals_are_those_that_publish():
    text = made(run("binary"))
    assert [name in text for name in NAMES] == [True, True, False, False]
