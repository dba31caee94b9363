"""Results as people read them at a terminal: the headline, the comparison sheet, coefficients."""

import shutil
from typing import Any

from collegium.cli.shell import Screen
from collegium.client.results import Results, said
from collegium.study.manifest import Statistics, Survival

REFERENCE = "reference"  # what the other levels of a category are compared with


def text(results: Results, screen: Screen) -> str:
    """The headline, whatever it is, and the tables behind it."""
    if isinstance(results.study.method, Statistics | Survival):
        return results.text(width=shutil.get_terminal_size().columns)
    parts = [screen.filled(results.sentence)]
    if results.sheet:
        parts.append(f"{results.metric}, 95 % intervals\n{screen.table(*lines(results))}")
    if results.fitted:
        parts.append(screen.table(*coefficients(results)))
    return "\n\n".join(parts)


def lines(results: Results) -> tuple[list[list[Any]], list[str]]:
    """The comparison sheet as rows and heads; the pooled column only where there is one."""
    pooled = bool(results.pooled)
    heads = ["hospital", "alone", "together", "gain", *(["pooled"] if pooled else []), "note"]
    rows = [
        [row.name, said(row.alone), said(row.joint), said(row.gain, sign=True), *([said(row.pooled)] if pooled else []), row.note]
        for row in results.sheet
    ]
    return rows, heads


def coefficients(results: Results) -> tuple[list[list[Any]], list[str]]:
    """A fit's coefficients as rows and heads, with the ratio where there is one."""
    found = results.coefficients
    kind = getattr(results.study.method, "family", results.study.method.kind)
    ratio = {"binomial": "odds ratio", "poisson": "rate ratio", "cox": "hazard ratio"}.get(kind, "")
    heads = ["term", "coefficient", "se", "95 % interval", "p", *([ratio] if ratio else [])]
    rows = []
    for row in found:
        odds = "" if row.ratio is None else f"{row.ratio:.3g}"
        if row.se is None or row.p is None:
            rows.append([row.name, f"{row.coef:.4g}", "", REFERENCE, "", *([odds] if ratio else [])])
            continue
        p = "<0.0001" if row.p < 1e-4 else f"{row.p:.4f}"
        cells: list[Any] = [row.name, f"{row.coef:.4g}", f"{row.se:.3g}", f"{row.low:.4g} to {row.high:.4g}", p]
        rows.append([*cells, *([odds and f"{odds} ({row.ratio_low:.3g} to {row.ratio_high:.3g})"] if ratio else [])])
    return rows, heads
