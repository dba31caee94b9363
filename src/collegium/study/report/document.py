"""A report before it is shown: sections made of a few kinds of blocks, which a page and a terminal both understand."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from collegium.algorithms.compare import Figure, Line, sheet
from collegium.algorithms.metrics import METRICS, TASKS
from collegium.charts import Markup, Table
from collegium.study.manifest import Averaging, Cox, Glm, Statistics, Study, Survival, Trees
from collegium.tree import Tree

WIDE, HALF, NARROW = 936, 452, 340  # pixels of a chart: alone in its row, two in a row, on a telephone
NOT_MEASURED = "Not measured"
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Say(NamedTuple):
    """A paragraph; a heading over what follows, a remark, or something that must not be overlooked."""

    text: str
    kind: Literal["plain", "heading", "note", "warning", "headline"] = "plain"


class Points(NamedTuple):
    """Sentences one under another."""

    items: Sequence[str]


class Pairs(NamedTuple):
    """Names and what they stand for: settings, costs, words."""

    items: Sequence[tuple[str, str]]


class Grid(NamedTuple):
    """A table. The first cell of a row names it; the columns in `words` hold text, the others figures."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset()
    note: str = ""


class Drawing(NamedTuple):
    """A chart in the width of a page and in that of a telephone, with its numbers. Two halves in a row share a line."""

    title: str
    wide: Markup
    narrow: Markup
    numbers: Table
    note: str = ""
    half: bool = False


class Folded(NamedTuple):
    """Text as it stands in a file, folded away."""

    title: str
    text: str


Block: TypeAlias = Say | Points | Pairs | Grid | Drawing | Folded


class Section(NamedTuple):
    """One subject of a report; `name` is where a link leads."""

    name: str
    title: str
    blocks: Sequence[Block]


class Record(NamedTuple):
    """What a report is about, as `html` was given it."""

    study: Study
    results: Mapping[str, Tree]  # stage -> what it found
    figures: Sequence[Mapping[str, Any]] = ()  # {"stage", "round", name: value, ...}, round by round
    lines: Sequence[tuple[str, Tree]] = ()  # (hospital, its own line), where it is published or simulated
    pooled: Mapping[str, Figure] | None = None  # hospital -> the model of all rows in one place; in a simulation only
    facts: Mapping[str, Any] = NOTHING

    @property
    def status(self) -> str:
        """finished, stopped, failed, paused or running."""
        return str(self.facts.get("status") or "finished")

    @property
    def stands(self) -> str:
        """How the run stands, as the end of a sentence."""
        return {"stopped": "was stopped", "failed": "failed"}.get(self.status, f"is {self.status}")

    @property
    def seconds(self) -> float | None:
        """How long the run took, as told or by its first and last moment."""
        told = real(self.facts.get("seconds"))
        if told is None and self.started and self.facts.get("ended"):
            try:
                ends = [datetime.fromisoformat(str(moment)) for moment in (self.started, self.facts["ended"])]
                return (ends[1] - ends[0]).total_seconds()
            except (ValueError, TypeError):  # no moments that can be subtracted: the report shows them as they were told
                return None
        return told

    @property
    def started(self) -> str:
        """When the run began."""
        return str(self.facts.get("started") or self.facts.get("created") or "")

    @property
    def left(self) -> Mapping[str, str]:
        """Hospitals that left the run, and why."""
        found = self.facts.get("left")
        return {str(name): str(why) for name, why in found.items()} if isinstance(found, Mapping) else {}

    @property
    def over(self) -> bool:
        """Whether the run came to its end."""
        return self.status == "finished"

    @property
    def simulated(self) -> bool:
        """Whether all hospitals stood on one machine."""
        return bool(self.facts.get("simulated"))

    @property
    def trains(self) -> bool:
        """Whether the study makes a model."""
        return not isinstance(self.study.method, Statistics | Survival)

    @property
    def task(self) -> str:
        """What the model estimates; nothing for statistics."""
        return self.study.outcome.task if self.study.outcome and self.trains else ""

    @property
    def metric(self) -> str:
        """The figure by which models are compared."""
        return METRICS[TASKS.index(self.task)] if self.task else ""

    @property
    def sites(self) -> int | None:
        """How many hospitals took part, if anybody said so."""
        named = self.facts.get("sites")
        if isinstance(named, int):
            return named
        return len(named) if isinstance(named, Sequence | Mapping) and not isinstance(named, str) and named else None

    @property
    def quality(self) -> Tree:
        """The joint model's figures on everybody's held-out patients; empty if there are none."""
        found: Tree = self.results.get("compare", {}).get("pooled", {})
        return found if "rows" in found else {}

    @property
    def sheet(self) -> list[Line]:
        """The comparison sheet; empty without a comparison."""
        return sheet(self.results["compare"], self.lines) if "compare" in self.results else []

    @property
    def rounds(self) -> int | None:
        """How many rounds the model was trained or fitted for."""
        found = real(self.results.get("fit", {}).get("rounds"))
        if found is None:
            closed = [number for number, _ in self.course("fit")]
            found = max(closed, default=None)
        return None if found is None else int(found)

    @property
    def method(self) -> Averaging | Glm | Trees | Cox | Survival | Statistics:
        """How the study computes."""
        return self.study.method

    def course(self, stage: str) -> list[tuple[int, dict[str, float]]]:
        """The figures of a stage's rounds, in order; those of a round that never closed are left out."""
        found: dict[int, dict[str, float]] = {}
        for one in self.figures:
            number = real(one.get("round"))
            if str(one.get("stage", "")) == stage and number is not None and number >= 1:
                inside = one.get("figures")
                named = {**one, **(inside if isinstance(inside, Mapping) else {})}
                values = {str(name): value for name in named if (value := real(named[name])) is not None and name not in ("stage", "round")}
                found[int(number)] = values
        return sorted(found.items())

    def why(self, what: str) -> str:
        """Why a part of the results is not there."""
        if not self.over and "compare" not in self.results:
            return f"{NOT_MEASURED}: the run {self.stands}, and it did not get as far as {what}."
        if not (self.study.holding.test or self.study.holding.column):
            return f"{NOT_MEASURED}: no patients were kept out of training, so nothing can be said about patients it never saw."
        return f"{NOT_MEASURED}: fewer than 10 patients with a known outcome were kept out of training."


def real(value: Any) -> float | None:
    """A number that can be written; None for anything else."""
    try:
        found = float(np.asarray(value)) if value is not None and not isinstance(value, str | bytes | Mapping) else None
    except (TypeError, ValueError):
        return None
    return found if found is not None and np.isfinite(found) else None
