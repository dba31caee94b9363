"""Charts in the two widths that a report needs: one for a desk and paper, one for a telephone."""

from collections.abc import Callable
from typing import Any

from collegium.charts import Markup, Table
from collegium.study.report.document import HALF, NARROW, WIDE, Drawing


def drawing(
    draw: Callable[..., Markup], *given: Any, title: str, numbers: Table, note: str = "", half: bool = False, **options: Any
) -> Drawing:
    """A chart of `given`, drawn twice: scaling one picture would make its words too small on one of the screens."""
    wide, narrow = (draw(*given, title=title, width=width, **options) for width in ((HALF if half else WIDE), NARROW))
    return Drawing(title, wide, narrow, numbers, note, half)
