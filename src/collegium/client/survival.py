"""Time until an event, as lifelines reads: `CoxPH` and `KaplanMeier`, fitted to many hospitals' tables at once.

    >>> rng = np.random.default_rng(0)
    >>> def hospital(rows):
    ...     age = rng.normal(65, 10, rows)
    ...     time, end = rng.exponential(200 * np.exp(-(age - 65) / 20)), rng.uniform(50, 365, rows)
    ...     return {"age": age, "days": np.ceil(np.minimum(time, end)), "died": (time <= end).astype(int)}
    >>> sites = {"north": hospital(300), "south": hospital(200), "west": hospital(150)}
    >>> model = CoxPH(until=365).fit(sites, time="days", event="died")
    >>> [(row.name, round(row.ratio, 2)) for row in model.summary_]
    [('age', 1.05)]
    >>> KaplanMeier(until=365).fit(sites, time="days", event="died").median_
    {'All patients': 139.0}

As with the other estimators the fit runs in this process, through the same stages and sums as at real hospitals;
`study(sites, time, event)` is the manifest to submit for the real thing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from collegium.algorithms.survival import NEVER
from collegium.client import propose, tables
from collegium.client.arrays import HERE, columns, tabular, unfitted
from collegium.client.estimators import tell_left_out
from collegium.client.simulate import simulate
from collegium.errors import DataError
from collegium.study import manifest
from collegium.study.manifest import Study, levels
from collegium.study.schema import Variable, decimal
from collegium.table import Table

Self = TypeVar("Self", bound="Followed")


class Followed:
    """What both share: a study of a time and an event, drafted from the sites' tables and run over them."""

    until: float | None
    because: str

    def read(self, time: str, event: str) -> tuple[str, ...]:
        """The columns that the study is about; none: every one that can be used."""
        return ()

    def method(self) -> dict[str, Any]:
        """The manifest's `method`."""
        raise NotImplementedError

    def study(self, sites: Mapping[str, Any], time: str, event: str) -> Study:
        """The study that `fit` would run, ready to submit to real hospitals whose columns are called the same.

        Follow-up is considered up to `until`; without it, up to a round number beyond the longest time.
        """
        if not sites:
            raise DataError("there is no site to fit", hint="give a mapping of names to tables: fit({'north': ..., 'south': ...}, ...)")
        read, about = {name: tables.table(source, name=f"site {name!r}") for name, source in sites.items()}, self.read(time, event)
        for name, rows in read.items():
            if absent := [column for column in about or (time, event) if column not in rows]:
                raise DataError(f"site {name!r}: there is no column {absent[0]!r}; the table has {', '.join(rows.columns)}")
        whole = tables.together(read.values())
        if about:
            whole = Table({name: whole[name] for name in about})
        else:
            tell_left_out(read, whole, event)
        found = {name: one.variable for name, one in propose.look(whole, target=event).items() if one.variable}
        found |= {time: Variable(kind="number", high=decimal(self.until or propose.beyond(np.asarray(whole[time]))))}
        found |= {event: Variable(kind="binary", categories=two(whole, event))}
        document = {
            "title": f"Time until {event}",
            "purpose": f"Try how long patients stay free of {event!r}, and what goes with it.",
            "variables": {name: propose.short(variable) for name, variable in found.items()},
            "outcome": {"task": "survival", "time": time, "event": event},
            "method": {**self.method()},
            **({"privacy": {"because": self.because}} if self.because else {}),
        }
        return manifest.read(document)

    def fit(self: Self, sites: Any, *, time: str, event: str, patient: str = "", secure: bool = False) -> Self:
        """Fit to a mapping of sites to tables, or to one table; `time` and `event` name columns of each.

        With `secure` every sum is made under masks, as at real hospitals: the same bytes, and slower.
        """
        named = sites if isinstance(sites, Mapping) and all(tabular(one) for one in sites.values()) else {HERE: sites}
        ready = {name: tables.table(source, patient=patient, name=f"site {name!r}") for name, source in named.items()}
        self.study_ = self.study(ready, time, event)
        ready = {name: rows.with_columns(**{event: as_named(rows, event, self.study_)}) for name, rows in ready.items()}
        self.results_ = simulate(self.study_, ready, pooled=False, secure=secure)
        self.settle()
        return self

    def settle(self) -> None:
        """The fitted attributes."""
        raise NotImplementedError


class CoxPH(Followed):
    """Proportional hazards: hazard ratios with standard errors, the fit of all sites' rows.

    `risk_sets="site"` compares patients within each site (a fit stratified by site), "pooled" over all. See the manifest's
    `cox` for `ties`, `strata`, `grid`, `fewest`, `ridge` and `horizons`.
    """

    def __init__(
        self,
        *,
        risk_sets: str = "site",
        ties: str = "efron",
        strata: str = "",
        grid: float = 1,
        until: float | None = None,
        fewest: int = 10,
        because: str = "",
        ridge: float = 0.0,
        horizons: Sequence[float] = (),
    ) -> None:
        self.risk_sets, self.ties, self.strata, self.grid, self.until = risk_sets, ties, strata, grid, until
        self.fewest, self.because, self.ridge, self.horizons = fewest, because, ridge, tuple(horizons)

    def method(self) -> dict[str, Any]:
        """The manifest's `method`."""
        chosen = {"risk_sets": self.risk_sets, "ties": self.ties, "strata": self.strata, "fewest": self.fewest}
        return {"kind": "cox", **chosen, "grid": str(self.grid), "ridge": str(self.ridge), "horizons": [str(h) for h in self.horizons]}

    def settle(self) -> None:
        """What a statistician asks for: coefficients and their errors, `summary_` with hazard ratios, tests, the baseline."""
        found = self.results_.trees["fit"]
        self.names_, self.summary_ = self.results_.encoded, self.results_.coefficients
        self.coef_, self.se_, self.pvalues_ = (np.asarray(found[name]) for name in ("coef", "se", "p"))
        self.hazard_ratios_, self.conf_int_ = np.exp(self.coef_), np.column_stack([found["low"], found["high"]])
        self.log_likelihood_, self.n_, self.events_ = float(found["loglik"]), int(found["n"]), int(found["events"])
        self.test_ = {name: float(x) for name, x in found["test"].items()} if "test" in found else {}
        tested = np.asarray(found["proportional"]["p"]).tolist() if "proportional" in found else []
        self.proportional_ = dict(zip(self.names_, tested, strict=bool(tested)))
        self.baseline_ = {name: np.asarray(x) for name, x in found["baseline"].items()}
        kept = self.results_.trees.get("concordance", {}).get("concordance", {})
        self.concordance_ = float(kept["value"]) if "value" in kept else math.nan

    def predict(self, X: Any) -> np.ndarray:
        """The hazard relative to that of the mean patient (rows,); with `horizons`, the risk by each (rows, horizons)."""
        if not hasattr(self, "results_"):
            raise unfitted("CoxPH")
        return self.results_.model.predict(columns(X, list(self.study_.features), "CoxPH"))


class Curve(NamedTuple):
    """One group's curve, at the points that may be told; `low` and `high` are 95 % limits."""

    time: np.ndarray
    survival: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_risk: np.ndarray


class KaplanMeier(Followed):
    """Survival curves of all sites' patients, or of each group `by` a variable, with the log-rank test between them."""

    def __init__(
        self,
        *,
        by: str = "",
        grid: float = 1,
        until: float | None = None,
        horizon: float | None = None,
        fewest: int = 10,
        because: str = "",
    ) -> None:
        self.by, self.grid, self.until, self.horizon, self.fewest, self.because = by, grid, until, horizon, fewest, because

    def read(self, time: str, event: str) -> tuple[str, ...]:
        """Only what curves are made of."""
        return (time, event, self.by) if self.by else (time, event)

    def method(self) -> dict[str, Any]:
        """The manifest's `method`."""
        end = {} if self.horizon is None else {"horizon": str(self.horizon)}
        return {"kind": "survival", "by": self.by, "grid": str(self.grid), "fewest": self.fewest, **end}

    def settle(self) -> None:
        """`curves_`, `median_` (NaN where half are never reached), `mean_` up to `horizon_`, and `logrank_` between groups."""
        found: Any = self.results_.trees["survival"]
        names = levels(self.study_.variables[self.by]) if self.by else ("All patients",)
        parts = [np.asarray(found["group"]) == at for at in range(len(names))]
        self.curves_ = {
            name: Curve(*(np.asarray(found[field])[mine] for field in Curve._fields)) for name, mine in zip(names, parts, strict=True)
        }
        median = np.where(np.asarray(found["median"]) == NEVER, np.nan, found["median"])
        self.median_, self.mean_ = (dict(zip(names, np.asarray(x).tolist(), strict=True)) for x in (median, found["mean"]))
        self.horizon_ = float(found["horizon"])
        self.logrank_ = {name: float(x) for name, x in found["logrank"].items()} if "logrank" in found else {}
        self.stratified_ = {name: float(x) for name, x in found["stratified"].items()} if "stratified" in found else {}


def two(whole: Table, event: str) -> tuple[str, ...]:
    """The texts for no and yes; none where the column holds 0 and 1. Raises `DataError`."""
    values = np.asarray(whole[event])
    if values.dtype.kind == "f":
        if not np.isin(values[~np.isnan(values)], (0, 1)).all():
            raise DataError(f"column {event!r}, the event, holds other values than 0 and 1", hint="1 where it was seen, 0 where not")
        return ()
    found = np.unique(values[values != ""])
    if len(found) != 2:
        raise DataError(f"column {event!r}, the event, has {len(found)} different texts; wanted two, in order no and yes")
    return tuple(found.tolist())


def as_named(rows: Table, event: str, study: Study) -> np.ndarray:
    """The event as the manifest writes it."""
    return np.asarray(rows[event]).astype(np.str_) if study.variables[event].categories else np.asarray(rows[event])
