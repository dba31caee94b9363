"""What every quality benchmark prints, and where it looks for data."""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    """One figure: of the joint model, of hospitals on their own, of the same study on pooled rows, and what was published."""

    task: str
    method: str
    metric: str
    value: float | None
    alone: float | None = None
    pooled: float | None = None
    published: float | None = None
    seed: int | str | None = None  # none: the mean of all seeds, or nothing is random
    seconds: float | None = None
    low: float | None = None  # 95 % interval of `value`, where there is one
    high: float | None = None
    note: str = ""


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all quality benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="only what the project promises, for the tests")
    parser.add_argument("--data", type=Path, default=None, help="folder of the data sets (default: $COLLEGIUM_DATASETS or ../shared/data)")
    return parser


def folder(asked: Path | None, *needed: str) -> Path:
    """The folder that holds the data sets needed; ends the program in words where one is missing."""
    base = asked or Path(os.environ.get("COLLEGIUM_DATASETS", ROOT.parent / "shared" / "data"))
    if missing := [name for name in needed if not (base / name).is_dir()]:
        sys.exit(f"data set {missing[0]!r} is not in {base}: give its folder with --data or COLLEGIUM_DATASETS")
    return base


def show(rows: Iterable[Row], as_json: bool) -> None:
    """Print each row as soon as it is known; as a table, only what is not one seed's."""
    if not as_json:
        print(f"{'method':<38} {'metric':<38} {'value':>8} {'95 % interval':>15} {'alone':>7} {'pooled':>7} {'publ.':>7}")
    for row in rows if as_json else (row for row in rows if row.seed is None):
        print(json.dumps(asdict(row)) if as_json else line(row), flush=True)


def line(row: Row) -> str:
    """A row as people read it."""
    span = "" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f}"
    figures = " ".join(f"{text(x):>7}" for x in (row.alone, row.pooled, row.published))
    return f"{row.method:<38} {row.metric:<38} {text(row.value):>8} {span:>15} {figures}  {row.note}".rstrip()


def text(value: float | None) -> str:
    """Four decimals, or nothing."""
    return "" if value is None else f"{value:.4f}"
