"""What a run found: the comparison sheet, the coefficients, the model; the same object after a simulation and after a real run."""

import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from collegium import tree as T
from collegium.algorithms import compare, features, forest
from collegium.algorithms.glm import Row, table_of
from collegium.algorithms.metrics import METRICS, TASKS
from collegium.errors import NotFound
from collegium.study import manifest
from collegium.study.manifest import Statistics, Study, Survival, Trees
from collegium.study.plan import column

if TYPE_CHECKING:
    from collegium.models.predict import Model

DIVERGED = "Training diverged; the best model before that is kept. Lower the learning rate, or look for extreme values in the data."
STANDS = {"running": "goes on", "paused": "is paused", "stopped": "was stopped", "failed": "failed", "finished": "is finished"}
Figure: TypeAlias = tuple[float, float, float]  # value and its 95 % interval


class Line(NamedTuple):
    """One row of the comparison sheet; a figure that does not exist is None."""

    name: str
    alone: Figure | None
    joint: Figure | None
    gain: Figure | None
    pooled: Figure | None  # simulation only: nobody may pool the rows of real hospitals
    note: str


@dataclass(frozen=True)
class Results:
    """The end of one run, in words, in figures and as arrays."""

    study: Study
    trees: Mapping[str, T.Tree]  # stage -> what it found
    lines: Mapping[str, T.Tree] = field(default_factory=dict)  # a site's own line, where it publishes it
    pooled: Mapping[str, Figure] = field(default_factory=dict)  # site -> the pooled model's figure on its held-out rows
    run: Mapping[str, Any] = field(default_factory=dict)  # the run's document: sites, rounds, figures of each round

    @property
    def metric(self) -> str:
        """What the sheet's figures are: AUROC, accuracy, R2 or concordance."""
        task = self.study.outcome.task if self.study.outcome else ""
        return METRICS[TASKS.index(task)] if task in TASKS else ""

    @property
    def sheet(self) -> list[Line]:
        """The comparison sheet: means over the sites, everybody's held-out rows, each published line; empty without held-out rows."""
        if "compare" not in self.trees:
            return []
        rows = compare.sheet(self.trees["compare"], sorted(self.lines.items()))
        found = [self.pooled[name] for name, line in self.lines.items() if name in self.pooled and "gain" in line]
        mean = (sum(f[0] for f in found) / len(found),) * 3 if found else None
        pooled = {rows[0].name: mean, **self.pooled}
        return [Line(r.name, r.alone, r.joint, r.gain, pooled.get(r.name), r.note) for r in rows]

    @property
    def sentence(self) -> str:
        """The headline in words, whatever it is."""
        if isinstance(self.study.method, Statistics | Survival):
            return "This study describes patients; it trains no model."
        if int(self.trees.get("fit", {}).get("diverged", 0)):
            return f"{DIVERGED} {compare.sentence(self.trees['compare']) if 'compare' in self.trees else ''}".strip()
        if "compare" in self.trees:
            return compare.sentence(self.trees["compare"])
        if (status := str(self.run.get("status", "finished"))) != "finished":
            why = f": {str(self.run['says']).rstrip('.')}" if self.run.get("says") else ""
            none = "It did not get as far as a comparison, so nothing can be said about new patients."
            return f"The run {STANDS.get(status, status)}{why}. {none}"
        return "Nobody was held out, so nothing can be said about new patients: the fit describes the rows it was made from."

    @property
    def encoded(self) -> list[str]:
        """What the model's inputs are called."""
        if isinstance(self.study.method, Trees):
            return [c.name for c in self.columns]
        return features.names(self.columns, self.trees["features"], reference=self.study.exact)

    @property
    def columns(self) -> list[features.Column]:
        """The variables that the model learns from."""
        return [column(name, self.study.variables[name]) for name in self.study.features]

    @property
    def importance(self) -> list[tuple[str, float, int]]:
        """Of boosted trees, each variable's share of all that splits gained, and how often it was asked; the most important first."""
        if not isinstance(self.study.method, Trees) or "fit" not in self.trees:
            raise NotFound(f"method {self.study.method.kind!r} has no importance by gain", hint="`results.trees` holds what it found")
        return forest.importance(self.columns, self.trees["fit"])

    @property
    def fitted(self) -> bool:
        """Whether there is a table of coefficients."""
        return self.study.exact and "fit" in self.trees

    @property
    def coefficients(self) -> list[Row]:
        """The table of an exact fit: coefficients, standard errors, intervals, p values; odds, rate or hazard ratios.

        The level that the others of its category are compared with has a row whose `reference` is true.
        """
        if not self.study.exact:
            raise NotFound(f"method {self.study.method.kind!r} has no table of coefficients", hint="`results.trees` holds what it found")
        if "fit" not in self.trees:
            raise NotFound("the run ended before its fit, so there are no coefficients", hint="`results.trees` holds what it found")
        prepared = self.trees["features"]
        return table_of(self.trees["fit"], features.names(self.columns, prepared), features.references(self.columns, prepared))

    @property
    def model(self) -> "Model":
        """The trained model: `predict(table)`, `card`."""
        from collegium.models.card import card
        from collegium.models.predict import BESIDE, Model

        trees = {"params": self.params, **{name: self.trees[name] for name in ("features", *BESIDE) if name in self.trees}}
        return Model(self.study, trees, card(self.study, self.trees, sites=self.sites, created=time.strftime("%d %B %Y"), first=self.first))

    @property
    def first(self) -> str | None:
        """The digest of the weights that were brought and training began from; empty if they were drawn, None if nobody told."""
        return self.run.get("first")

    @property
    def sites(self) -> int:
        """How many hospitals took part."""
        found = self.run.get("sites") or self.lines
        return found if isinstance(found, int) else len(found)

    def save(self, folder: str | Path) -> None:
        """Keep the model in a folder: weights, study and card, for `collegium model use`."""
        from collegium.models import predict

        predict.save(folder, self.study, self.trees, self.model.card)

    def report(self, path: str | Path, **facts: Any) -> Path:
        """Write the report as one HTML file, its charts inside, and return where it is; `facts` as in `study.report`."""
        Path(path).write_text(self.page(**facts))
        return Path(path)

    def page(self, **facts: Any) -> str:
        """The report as the text of an HTML file."""
        from collegium.study import report

        known = {**self.run, **facts}
        lines = sorted(self.lines.items())
        return report.html(self.study, self.trees, figures=known.get("figures", ()), lines=lines, pooled=self.pooled or None, facts=known)

    def text(self, *, width: int = 100) -> str:
        """The report as text: what a terminal shows of a descriptive study."""
        from collegium.study import report

        lines = sorted(self.lines.items())
        return report.text(self.study, self.trees, lines=lines, pooled=self.pooled or None, facts=self.run, width=width)

    @property
    def params(self) -> T.Tree:
        """The joint model's weights."""
        if "fit" not in self.trees:
            why = (
                "this study trains no model"
                if isinstance(self.study.method, Statistics | Survival)
                else "the run ended before it had a model"
            )
            raise NotFound(why, hint="`results.trees` holds what it found")
        return self.trees["fit"]["params"]  # type: ignore[no-any-return]  # a tree's leaf

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        return {
            "study": manifest.digest(self.study),
            "title": self.study.title,
            "metric": self.metric,
            "sentence": self.sentence,
            "sheet": [line._asdict() for line in self.sheet],
            "quality": plain(self.trees["compare"]["pooled"]) if "compare" in self.trees else {},
            "coefficients": [{**row._asdict(), "reference": row.reference} for row in self.coefficients] if self.fitted else [],
            **({"importance": self.importance} if isinstance(self.study.method, Trees) and "fit" in self.trees else {}),
            "statistics": plain(self.trees) if self.study.method.kind in ("statistics", "survival") else {},
            "run": dict(self.run),
        }

    def __repr__(self) -> str:
        return f"<Results of {self.study.title!r}: {self.sentence}>"

    def _repr_html_(self) -> str:
        head = ("", "alone", "together", "gain", *(["pooled"] if self.pooled else []), "")
        body = [
            (r.name, said(r.alone), said(r.joint), said(r.gain, sign=True), *([said(r.pooled)] if self.pooled else []), r.note)
            for r in self.sheet
        ]
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
        heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        table = f"<table><caption>{html.escape(self.metric)}</caption><tr>{heads}</tr>{rows}</table>" if body else ""
        return f"<div><strong>{html.escape(self.study.title)}</strong><p>{html.escape(self.sentence)}</p>{table}</div>"


def said(figure: Figure | None, *, sign: bool = False) -> str:
    """A figure as people read it: `0.812 (0.76 to 0.86)`."""
    if figure is None:
        return ""
    value, low, high = figure
    s = "+" if sign else ""
    return f"{value:{s}.3f}" if low == high else f"{value:{s}.3f} ({low:{s}.2f} to {high:{s}.2f})"


def plain(tree: Any) -> Any:
    """A tree as plain lists and numbers, for JSON; NaN and infinity become null."""
    if isinstance(tree, Mapping):
        return {str(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [plain(value) for value in tree]
    if isinstance(tree, np.ndarray | np.generic) or hasattr(tree, "block"):
        return plain(np.asarray(tree).tolist())
    if isinstance(tree, float) and not np.isfinite(tree):
        return None
    return str(tree) if isinstance(tree, Path) else tree
