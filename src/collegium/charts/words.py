"""What a translation of a chart changes: how a number is written, and the few words that the caller does not pass."""

import math
from collections.abc import Callable
from typing import NamedTuple


def written(value: float, places: int) -> str:
    """A number as a reader of English expects it.

    >>> written(15110, 0), written(-0.0312, 2), written(-0.001, 2), written(1.5e-9, 10)
    ('15,110', '−0.03', '0.00', '1.5e−09')
    """
    if places <= 6 and abs(value) < 1e9:
        text = f"{value:,.{places}f}"
        return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "\N{MINUS SIGN}")
    digits = places + math.floor(math.log10(abs(value) or 1)) + 1
    return f"{value:.{min(max(digits, 3), 12)}g}".replace("-", "\N{MINUS SIGN}")


class Words(NamedTuple):
    """Pass one per language: `forest(rows, title=..., words=Words(alone="Allein", together="Gemeinsam"))`."""

    number: Callable[[float, int], str] = written
    interval: str = "{} ({} to {})"
    alone: str = "Alone"
    together: str = "Together"
    typical: str = "Typical of {}"
    at_risk: str = "At risk"
    per: str = "{} per {}"
    missing: str = "–"
    nothing: str = "Nothing to show yet"
    as_table: str = "Show as table"


ENGLISH = Words()
