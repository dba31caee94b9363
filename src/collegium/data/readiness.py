"""The readiness report as one page: can this table take part in this study, variable by variable, and what to mend first.

    >>> from collegium.data import quality, synthetic
    >>> from collegium.study.manifest import EXAMPLE, read
    >>> study = read(EXAMPLE)
    >>> page = html(quality.check(synthetic.make(study, 200, seed=1), study), study, "stays")
    >>> "This table can take part" in page, "<script" in page
    (True, False)

It is for the hospital alone: it holds exact counts, and no value of any patient.
"""

from collegium.charts import Table, bars
from collegium.charts.bars import Bar
from collegium.data.quality import Line, Report
from collegium.study.manifest import Study
from collegium.study.report.document import NARROW, WIDE, Block, Drawing, Grid, Pairs, Points, Say, Section
from collegium.study.report.page import body, framed

STATES = {"green": ("ready", "ok"), "amber": ("ready, with reservations", "warn"), "red": ("not ready", "bad")}
WORDS = {"green": "in order", "amber": "look at it", "red": "to mend"}


def html(report: Report, study: Study, table: str) -> str:
    """The page, as one file that loads nothing."""
    status, state = STATES[report.light]
    tiles = [("Rows", f"{report.rows:,}", "that can be used"), ("Patients", f"{report.patients:,}", "")]
    tiles += [
        (name, str(sum(line.light == light for line in report.lines)), "findings")
        for name, light in (("To mend", "red"), ("To look at", "amber"))
    ]
    drawn = [(one, body(one.blocks)) for one in sections(report, study)]
    return framed(
        study, drawn, what="Readiness of a table", status=status, state=state, lead=f"Table {table}",
        headline=report.sentence, notices=[said(line) for line in report.lines if line.light == "red"], tiles=tiles,
        source=f"the table {table!r}; nothing was sent",
    )  # fmt: skip


def sections(report: Report, study: Study) -> list[Section]:
    """What to do, then every variable, then what was left out and what is wanted."""
    todo = [line for light in ("red", "amber") for line in report.lines if line.light == light]
    first: list[Block] = (
        [Points([f"{said(line)} {f'Way out: {line.way_out}.' if line.way_out else ''}".strip() for line in todo])]
        if todo
        else [Say("Nothing: all is in order.")]
    )
    left: list[Block] = [Pairs([(reason, f"{count:,} rows") for reason, count in report.left_out.items()])]
    return [
        Section("mend", "What to mend, the worst first", first),
        Section("variables", "Variable by variable", [grid(report, study), *missing(report)]),
        Section("left-out", "Rows that are left out", left if report.left_out else [Say("None.")]),
        Section("wanted", "What the study wants", [wanted(study)]),
    ]


def said(line: Line) -> str:
    """A finding as a sentence."""
    return f"{line.variable}: {line.says}." if line.variable else f"{line.says[:1].upper()}{line.says[1:]}."


def grid(report: Report, study: Study) -> Grid:
    """Each variable with its light and its counts."""
    rank = ("green", "amber", "red")
    out = []
    for name in study.variables:
        worst = max((line.light for line in report.lines if line.variable == name), key=rank.index, default="green")
        counts = report.counts.get(name)
        figures = [f"{counts[what]:,}" for what in ("known", "missing", "unreadable", "impossible", "unlisted")] if counts else ["–"] * 5
        out.append([name, WORDS[worst] if counts else "not in the table", *figures])
    head = ("Variable", "State", "Known", "Missing", "Unreadable", "Impossible", "Not listed")
    note = "Unreadable, impossible and unlisted values count as missing: Missing holds them too."
    return Grid("Variables", head, out, words=frozenset({1}), note=note)


def missing(report: Report) -> list[Block]:
    """The share that each variable lacks, as a picture."""
    shares = sorted(report.missing.items(), key=lambda item: -item[1])[:40]
    if not any(value for _, value in shares):
        return []
    drawn = [bars([Bar(name, 100 * value) for name, value in shares], title="Missing", x_label="per cent of the rows", width=width)
             for width in (WIDE, NARROW)]  # fmt: skip
    numbers = Table(["Variable", "Missing (%)"], [[name, f"{100 * value:.1f}"] for name, value in shares])
    return [Drawing("How much is missing", drawn[0], drawn[1], numbers)]


def wanted(study: Study) -> Grid:
    """The study's variables, as its manifest has them."""
    head = ("Variable", "Meaning", "Kind", "Unit", "Allowed", "Code", "May be absent")
    rows = [(n, v.meaning, v.kind, v.unit, v.allowed, v.code, "no" if v.required else "yes") for n, v in study.variables.items()]
    return Grid("Data dictionary", head, rows, words=frozenset(range(1, len(head))))
