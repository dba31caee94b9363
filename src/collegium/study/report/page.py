"""The report as one HTML file: no script, no request, nothing that a stranger's text could turn into markup.

Blocks become tags through `charts.element`, which escapes; the frame around them is a template with autoescape. The style
sheet is named by its hash in the page's own content-security policy, so that the browser runs and fetches nothing else.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from itertools import groupby
from typing import Any

import jinja2
import numpy as np

from collegium.algorithms.compare import Figure
from collegium.charts import Markup, element, figure, written
from collegium.study import manifest
from collegium.study.manifest import Cox, Glm, Statistics, Study, Survival, Trees
from collegium.study.report.cells import HIDDEN
from collegium.study.report.coefficients import coefficients
from collegium.study.report.comparison import comparison, headline
from collegium.study.report.description import description
from collegium.study.report.document import NOT_MEASURED, NOTHING, Block, Drawing, Folded, Grid, Pairs, Points, Record, Say, Section
from collegium.study.report.followed import baseline, followed
from collegium.study.report.happened import happened
from collegium.study.report.importance import what_it_goes_by
from collegium.study.report.method import glossary, limits, method
from collegium.study.report.privacy import cost, privacy
from collegium.study.report.quality import learning, quality
from collegium.study.report.spoken import about, counted, lasting, signed
from collegium.tree import Tree

LOOKED_FOR = (("Patients", "n"), ("Events", "events"))
STATES = {"finished": "ok", "running": "run", "paused": "warn", "stopped": "bad", "failed": "bad"}


def html(
    study: Study,
    results: Mapping[str, Tree],
    *,
    figures: Sequence[Mapping[str, Any]] = (),
    lines: Sequence[tuple[str, Tree]] = (),
    pooled: Mapping[str, Figure] | None = None,
    facts: Mapping[str, Any] = NOTHING,
) -> str:
    """The report of a run, whatever became of it, as one HTML file.

    `results` are the run's by stage; `figures` its progress, one `{"stage", "round", name: value}` for each round; `lines` the
    hospitals' own lines of results, where they are published or simulated; `pooled` what a model of everybody's rows reached
    at each hospital (in a simulation). `facts` is the run's document: it may hold `status`, `says`, `sites` (names or a number),
    `left`, `simulated`, `rounds` (by stage, or the coordinator's list), `seconds`, `sent_bytes`, `received_bytes`, `started` or
    `created`, `ended`, `run`, `first`, `versions` and `source`; of a run without an end also `stage`, `stages`, `round`, `phase`,
    `answered`, `waiting` and `events`.
    """
    record = Record(study, results, figures, lines, pooled, facts)
    return framed(
        study, parts(record), what="Report of a study", status=record.status, state=STATES.get(record.status, "warn"), lead=lead(record),
        headline=headline(record), notices=notices(record), tiles=tiles(record), source="the run's own results",
        link=("privacy", "What left each hospital"),
    )  # fmt: skip


def framed(study: Study, drawn: Sequence[tuple[Section, Markup]], *, link: tuple[str, str] = ("", ""), **said: Any) -> str:
    """Sections as one HTML file that loads nothing, under a headline and tiles; `said` is what the template asks for besides."""
    style = template("report.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return template("report.html").render(
        study=study, sections=drawn, style=Markup(style), policy=policy, link=link,
        digest=manifest.digest(study), version=version("collegium"), **said,
    )  # fmt: skip


@cache
def template(name: str) -> jinja2.Template:
    """A template of this folder."""
    loader = jinja2.PackageLoader("collegium.study.report")
    found = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return found.get_template(name)


def parts(record: Record) -> list[tuple[Section, Markup]]:
    """Each subject of a report, and its tags: for a page that has a frame of its own."""
    return [(one, body(one.blocks)) for one in sections(record)]


def sections(record: Record) -> list[Section]:
    """The report's subjects, in the order in which a reader asks."""
    match record.method:
        case Statistics() as how:
            first = [description(record, how)]
        case Survival() as how:
            first = [followed(record, how)]
        case Cox() as how:
            found = coefficients(record, how)
            first = [found._replace(blocks=[*found.blocks, *baseline(record, how)]), comparison(record), learning(record), quality(record)]
        case Glm() as how:
            first = [comparison(record), coefficients(record, how), learning(record), quality(record)]
        case Trees() as how:
            first = [comparison(record), what_it_goes_by(record, how), learning(record), quality(record)]
        case _:
            first = [comparison(record), learning(record), quality(record)]
    return [*happened(record), *first, privacy(record), cost(record), method(record), limits(record), glossary(record)]


def lead(record: Record) -> str:
    """What happened, in a line."""
    parts = [counted(record.sites, "hospital")] if record.sites else []
    parts += [counted(record.rounds, "round")] if record.rounds else []
    if record.quality:
        parts.append(f"{about(record.quality.get('patients'))} patients held out")
    if "counts" in record.results:
        parts.append(f"{about(record.results['counts']['patients'])} patients")
    took = lasting(record.seconds)
    return " · ".join([*parts, *([] if took == NOT_MEASURED else [f"took {took}"]), *(["simulation"] if record.simulated else [])])


def notices(record: Record) -> list[str]:
    """What must be read before any figure."""
    out = []
    if not record.over:
        why = str(record.facts.get("says") or "").rstrip(".")
        shown = "What it had learned until then is shown" if record.results else "It has no results"
        out.append(f"This run {record.stands}{': ' if why else ''}{why}. {shown}.")
    seen = "Updates are added up at the coordinator, which sees each one while it adds it: this study has secure sums off."
    if record.study.secure:
        seen = "Updates were masked: the coordinator could read their sum, and no single hospital's."
    return [*out, "This is a simulation on one machine: nothing left any hospital." if record.simulated else seen]


def tiles(record: Record) -> list[tuple[str, str, str]]:
    """The few figures that are looked for first: label, figure, remark."""
    out = [("Hospitals", written(record.sites, 0) if record.sites else NOT_MEASURED, "")]
    if not record.trains:
        if isinstance(record.method, Survival):
            found = record.results.get("survival", {})
            return [
                *out,
                *((name, about(np.sum(found[part])) if part in found else NOT_MEASURED, "rounded down") for name, part in LOOKED_FOR),
            ]
        found = record.results.get("counts", {})
        out += [(name.capitalize(), about(found.get(name)), "rounded down") for name in ("patients", "rows")]
        return [*out, ("Variables", written(len(record.study.variables), 0), "")]
    mean = record.sheet[0] if record.sheet else None
    for name, value in (("together", mean and mean.joint), ("alone", mean and mean.alone)):
        out.append((f"{record.metric} {name}", written(value[0], 2) if value else NOT_MEASURED, "mean over hospitals"))
    gain = mean.gain if mean else None
    better = signed(gain[0], 2) if gain else NOT_MEASURED
    return [*out, ("Gain", better, f"95 % interval {signed(gain[1], 2)} to {signed(gain[2], 2)}" if gain else "")]


def body(blocks: Sequence[Block]) -> Markup:
    """The blocks of a section; charts of half a page stand side by side."""
    out: list[Markup] = []
    for half, run in groupby(blocks, key=lambda block: isinstance(block, Drawing) and block.half):
        drawn = [tag for block in run for tag in shown(block)]
        out += [element("div", {"class": "halves"}, drawn)] if half else drawn
    return Markup("".join(out))


def shown(block: Block) -> list[Markup]:
    """A block as tags."""
    match block:
        case Say(text, "heading"):
            return [element("h3", None, [text])]
        case Say(text, kind):
            return [element("p", {} if kind == "plain" else {"class": kind}, [text])]
        case Points(items):
            return [element("ul", None, [element("li", None, [item]) for item in items])]
        case Pairs(items):
            pairs = [[element("dt", None, [name]), element("dd", None, [cell(said)])] for name, said in items]
            return [element("dl", None, [element("div", None, pair) for pair in pairs])]
        case Grid():
            return table(block)
        case Drawing():
            drawn = [element("div", {"class": width}, [svg]) for width, svg in (("wide", block.wide), ("narrow", block.narrow))]
            return [figure(Markup("".join(drawn)), block.title, block.numbers, note=block.note)]
        case Folded(title, text):
            pre = element("pre", {"tabindex": "0"}, [text])
            return [element("details", {"class": "file"}, [element("summary", None, [title]), pre])]


def table(grid: Grid) -> list[Markup]:
    """A table under its title; a wide one scrolls by itself, and its title stays."""
    columns = [{"scope": "col"} if at == 0 or at in grid.words else {"scope": "col", "class": "num"} for at in range(len(grid.head))]
    head = [element("th", attrs, [name]) for attrs, name in zip(columns, grid.head, strict=True)]
    rows = [element("tr", None, [element("th", {"scope": "row"}, row[:1]), *cells(row, grid.words)]) for row in grid.rows]
    inside = [element("caption", None, [grid.title]), element("thead", None, [element("tr", None, head)]), element("tbody", None, rows)]
    scroll = {"class": "scroll small" if len(grid.head) < 3 else "scroll", "tabindex": "0", "role": "region", "aria-label": grid.title}
    note = [element("p", {"class": "note"}, [grid.note])] if grid.note else []
    return [element("h3", None, [grid.title]), element("div", scroll, [element("table", None, inside)]), *note]


def cells(row: Sequence[str], words: Iterable[int]) -> list[Markup]:
    """The cells after the first. An interval may stand on the line after its figure, but is not torn apart."""
    out = []
    for at, text in enumerate(row[1:], 1):
        value, bracket, rest = text.partition(" (")
        if at in words:
            out.append(element("td", {"class": "words"}, [cell(text)]))
        elif bracket:
            out.append(element("td", {"class": "num pair"}, [value, " ", element("span", {"class": "interval"}, [f"({rest}"])]))
        else:
            out.append(element("td", {"class": "num"}, [cell(text)]))
    return out


def cell(text: str) -> str:
    """What is missing or hidden is written smaller, but written."""
    return element("span", {"class": "missing"}, [text]) if text in (NOT_MEASURED, HIDDEN, "–", "Not given") else text
