"""Made-up rows that fit a study: for tests, rehearsals before hospitals are asked, and examples that show no patient.

    >>> from collegium.study.manifest import EXAMPLE, read
    >>> table = make(read(EXAMPLE), 200, seed=1)
    >>> len(table), sorted(table.columns), bool(0.1 < table["readmitted"].mean() < 0.6)
    (200, ['age', 'readmitted', 'sex'], True)

The outcome depends on the variables by weights that follow from the study's seed and the variables' names: every site made
from one study holds the same truth, so that learning together can be seen to help. `site_shift` makes sites differ in their
patients, and nothing here is drawn from real ones.
"""

import hashlib

import numpy as np

from collegium.study.manifest import Study
from collegium.study.schema import Variable
from collegium.table import Table

STRENGTH = 1.6  # of the planted signal: a good model reaches an AUROC of about 0.8
OPEN = ("A", "B", "C", "D", "E")  # the categories of a variable that lists none


def make(study: Study, rows: int, seed: int, site_shift: float = 0.0, *, missing: float = 0.02) -> Table:
    """A table of `rows` visits with a planted signal; `site_shift` moves a site's means by about so many standard deviations."""
    rng = np.random.default_rng(seed)
    columns, signal = {}, np.zeros(rows)
    taken = {*study.features, *(study.outcome.columns if study.outcome else ()), study.holding.column}
    for name in (*study.features, *sorted(study.variables.keys() - taken)):
        columns[name], part = drawn(study, name, rows, site_shift * rng.standard_normal(), rng)
        signal += part
        hole = rng.random(rows) < missing
        columns[name] = np.where(hole, np.nan if columns[name].dtype.kind == "f" else "", columns[name])
    signal *= STRENGTH / np.sqrt(max(len(study.features), 1))
    columns |= outcome(study, signal, rng)
    who = patients(rows, seed, rng)
    if study.holding.column:
        share = np.random.default_rng(seed + 1).random(rows)[np.unique(who, return_inverse=True)[1]]
        columns[study.holding.column] = np.select([share < 0.2, share < 0.3], ["test", "validation"], "train")
    return Table(columns, who if study.patient else None)


def patients(rows: int, seed: int, rng: np.random.Generator) -> np.ndarray:
    """A name for each row; about one patient in four comes again."""
    number = np.cumsum(rng.random(rows) < 0.8)
    return np.array([f"P{seed}-{n}" for n in number.tolist()] or np.zeros(0, np.str_), np.str_)


def weight(study: Study, *what: object) -> float:
    """A number from -1 to 1 that belongs to a variable or a level of it, at every site of the study."""
    digest = hashlib.sha256("|".join(map(str, (study.seed, *what))).encode()).digest()
    return int.from_bytes(digest[:8], "little") / 2**63 - 1


def drawn(study: Study, name: str, rows: int, shift: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One variable's values, and what they add to the signal (mean about 0, spread about 1 times the weight)."""
    variable = study.variables[name]
    if variable.kind == "number":
        z = rng.standard_normal(rows) + shift
        middle, spread, low, high = frame(variable)
        return np.clip(middle + spread * z, low, high), 1.5 * weight(study, name) * z
    levels = variable.categories or (("0", "1") if variable.kind == "binary" else OPEN)
    odds = np.exp([weight(study, name, "share", level) for level in levels] + shift * np.linspace(-0.5, 0.5, len(levels)))
    place = rng.choice(len(levels), rows, p=odds / odds.sum())
    part = 1.5 * np.array([weight(study, name, level) for level in levels])[place]
    if variable.kind == "binary" and not variable.categories:
        return place.astype(float), part
    return np.array(levels, np.str_)[place], part


def frame(variable: Variable) -> tuple[float, float, float, float]:
    """Where a number's values lie: middle, spread, least and most."""
    low, high = (None if end is None else float(end) for end in (variable.low, variable.high))
    if low is not None and high is not None:
        return (low + high) / 2, (high - low) / 8, low, high
    if low is not None:
        return low + 4, 1.0, low, np.inf
    return (0.0, 1.0, -np.inf, np.inf) if high is None else (high - 4, 1.0, -np.inf, high)


def outcome(study: Study, signal: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The outcome's columns, in the form in which a hospital's file gives them."""
    wanted, rows = study.outcome, len(signal)
    if wanted is None:
        return {}
    if wanted.task == "survival":
        end = study.variables[wanted.time].high
        middle = 365.0 if end is None else float(end) / 2
        time, censored = rng.exponential(np.exp(-signal)) * middle, rng.exponential(1.5, rows) * middle
        censored = np.minimum(censored, 2 * middle) if end is not None else censored
        return {wanted.time: np.minimum(time, censored), wanted.event: truth(time <= censored, study.variables[wanted.event])}
    variable = study.variables[wanted.target]
    if wanted.task == "binary":
        return {wanted.target: truth(rng.random(rows) < 1 / (1 + np.exp(0.8 - signal)), variable)}
    if wanted.task == "regression":
        middle, spread, low, high = frame(variable)
        return {wanted.target: np.clip(middle + 0.6 * spread * (signal + 0.7 * rng.standard_normal(rows)), low, high)}
    tilt = np.linspace(-1, 1, len(variable.categories))
    scores = 2 * signal[:, None] * tilt - np.abs(tilt) + rng.gumbel(size=(rows, len(tilt)))
    return {wanted.target: np.array(variable.categories, np.str_)[scores.argmax(1)]}


def truth(yes: np.ndarray, variable: Variable) -> np.ndarray:
    """A yes-or-no column as the manifest has it."""
    return np.where(yes, variable.categories[1], variable.categories[0]) if variable.categories else yes.astype(float)
