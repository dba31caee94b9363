"""The report in a terminal: the headline, the comparison sheet and the tables, without the charts."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from collegium.algorithms.compare import Figure
from collegium.study.manifest import Study
from collegium.study.report.comparison import headline
from collegium.study.report.document import NOTHING, Block, Grid, Pairs, Points, Record, Say, Section
from collegium.study.report.page import notices, sections
from collegium.tree import Tree

NARROWEST = 20  # columns in which words are still readable
SHOWN = ("happened", "comparison", "coefficients", "description", "survival", "quality")


def text(
    study: Study,
    results: Mapping[str, Tree],
    *,
    figures: Sequence[Mapping[str, Any]] = (),
    lines: Sequence[tuple[str, Tree]] = (),
    pooled: Mapping[str, Figure] | None = None,
    facts: Mapping[str, Any] = NOTHING,
    width: int = 100,
    only: Sequence[str] = SHOWN,
) -> str:
    """The same report as lines of text; `only` names the sections, none of them means all."""
    record = Record(study, results, figures, lines, pooled, facts)
    chosen = [one for one in sections(record) if not only or one.name in only]
    first = [clean(study.title), "", filled(headline(record), width), "", *(filled(one, width) for one in notices(record))]
    return "\n".join([*first, *(line for one in chosen for line in section(one, width))]) + "\n"


def section(one: Section, width: int) -> list[str]:
    """A section under its title; charts are left out, their figures stand in tables."""
    out = ["", "", one.title, "─" * len(one.title)]
    for block in one.blocks:
        if lines := lines_of(block, width):
            out += ["", *lines]
    return out


def lines_of(block: Block, width: int) -> list[str]:
    """A block as lines; none for a chart or a file."""
    match block:
        case Say(said, _):
            return [filled(said, width)]
        case Points(items):
            return [filled(f"- {item}", width, "  ") for item in items]
        case Pairs(items):
            return [filled(f"{name}: {said}", width, "    ") for name, said in items]
        case Grid():
            return [clean(block.title), *aligned(block, width), *([filled(block.note, width)] if block.note else [])]
    return []


def aligned(grid: Grid, width: int) -> list[str]:
    """A table in columns: words to the left, figures to the right; a last column of words wraps, or stands below its row."""
    table = [[clean(cell) for cell in row] for row in (grid.head, *grid.rows)]
    sizes = [max(map(len, column)) for column in zip(*table, strict=True)]
    left, room = {0, *grid.words}, width - sum(sizes[:-1]) - 2 * len(sizes[:-1])
    out: list[str] = []
    for row in table:
        cells = [cell.ljust(size) if at in left else cell.rjust(size) for at, (cell, size) in enumerate(zip(row, sizes, strict=True))]
        if len(row) - 1 not in left or sizes[-1] <= room:
            out.append("  ".join(cells))
            continue
        before, below = "  ".join([*cells[:-1], ""]), room < NARROWEST
        parts = textwrap.wrap(row[-1], width - 4 if below else room) or [""]
        first = [before, *(f"    {part}" for part in parts)] if below else [before + parts[0]]
        out += first if below else [*first, *(" " * len(before) + part for part in parts[1:])]
    return [line.rstrip() for line in out]


def filled(said: str, width: int, indent: str = "") -> str:
    """A paragraph of at most `width` columns."""
    return textwrap.fill(clean(said), width, subsequent_indent=indent, break_on_hyphens=False)


def clean(said: str) -> str:
    """Text that cannot move the cursor or colour the screen: a title is written by strangers."""
    return "".join(char if char.isprintable() or char == "\N{NO-BREAK SPACE}" else " " for char in said)
