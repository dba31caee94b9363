"""The study manifest: the one document that a data-protection officer, a doctor and a machine all read.

>>> study = read(EXAMPLE)
>>> study.features
('age', 'sex')
>>> digest(study) == digest(read(text(study)))
True
"""

import hashlib
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import BeforeValidator, Field, model_validator

from collegium.canonical import canonical
from collegium.errors import StudyError
from collegium.privacy import secagg
from collegium.study.schema import HeldOut, Outcome, Part, Variable

VERSION = 1
SMALL_COHORT = 64  # below it a cohort's sum may be one of fewer than 16 sites
EXAMPLE = """
collegium: 1
title: Thirty-day readmission
purpose: A score that warns when a patient may be back within thirty days.
patient: patient_id
variables:
  age: {kind: number, unit: years, low: 0, high: 120}
  sex: {kind: category, categories: [F, M]}
  readmitted: {kind: binary}
outcome: {task: binary, target: readmitted}
method: {kind: averaging, recipe: tabular, rounds: 20}
"""


def switch(value: Any) -> Any:
    """`on` and `off`, which YAML reads as truth values."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class Local(Part):
    """How a site trains between two rounds: whole `epochs`, or a fixed number of `steps` when that is set."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Decimal = Field(default=Decimal("0.1"), gt=0)
    momentum: Decimal = Field(default=Decimal("0"), ge=0, lt=1)
    l2: Decimal = Field(default=Decimal("0"), ge=0)
    batch: int = Field(default=64, ge=1)
    epochs: int = Field(default=1, ge=1)
    steps: int = Field(default=0, ge=0)


class Server(Part):
    """What the coordinator does with the sites' mean change: plain averaging by default."""

    kind: Literal["sgd", "adam", "yogi", "adagrad"] = "sgd"
    lr: Decimal = Field(default=Decimal("1"), gt=0)
    momentum: Decimal = Field(default=Decimal("0"), ge=0, lt=1)
    b1: Decimal | None = Field(default=None, ge=0, lt=1)  # of the adaptive rules; not given: 0.9, and 0 for adagrad
    b2: Decimal = Field(default=Decimal("0.99"), ge=0, lt=1)
    tau: Decimal = Field(default=Decimal("0.001"), gt=0)


class Averaging(Part):
    """Joint training by rounds: FedAvg, and with its knobs FedProx, FedNova, FedAvgM, FedAdam, FedYogi, FedAdagrad."""

    kind: Literal["averaging"]
    recipe: str = "tabular"
    hidden: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = ()  # none: a logistic or linear model
    rounds: int = Field(default=50, ge=1, le=100_000)
    mu: Decimal = Field(default=Decimal("0"), ge=0)
    normalise: bool = False
    patience: int = Field(default=0, ge=0)
    local: Local = Local()
    server: Server = Server()
    standardise: bool = True
    bits: Literal[16, 32] = 32  # of a weight on the way, up and down: 16 for links that are slow


class Glm(Part):
    """A generalised linear model with standard errors: the exact pooled fit, by Newton steps on sums."""

    kind: Literal["glm"]
    family: Literal["gaussian", "binomial", "poisson"] = "binomial"
    ridge: Decimal = Field(default=Decimal("0"), ge=0)
    errors: Literal["model", "patient", "site"] = "model"
    rounds: int = Field(default=50, ge=1, le=1000)
    standardise: bool = False


Share = Annotated[Decimal, Field(gt=0, le=1)]


class Trees(Part):
    """Gradient-boosted trees by summed histograms: the trees that all rows in one table would grow."""

    kind: Literal["trees"]
    recipe: str = ""  # whose rules about rows and variables hold; none: all rows
    trees: int = Field(default=100, ge=1, le=10_000)  # steps, at most; each grows `parallel` trees (times the classes)
    depth: int = Field(default=4, ge=1, le=10)
    learning_rate: Decimal = Field(default=Decimal("0.1"), gt=0, le=1)
    parallel: int = Field(default=1, ge=1, le=64)
    bins: int = Field(default=32, ge=2, le=1024)
    least: int = Field(default=20, ge=1)  # patients in a bin, rows in a leaf
    hessian: Decimal = Field(default=Decimal("1"), ge=0)
    l2: Decimal = Field(default=Decimal("1"), ge=0)
    gain: Decimal = Field(default=Decimal("0"), ge=0)
    smooth: Decimal = Field(default=Decimal("10"), ge=0)
    rows: Share = Decimal("1")
    columns: Share = Decimal("1")
    patience: int = Field(default=10, ge=0)
    monotone: dict[str, Literal["up", "down"]] = Field(default_factory=dict)


class Cox(Part):
    """Proportional hazards: hazard ratios with standard errors, exact, by Newton steps on sums.

    By default each site's patients are compared with one another only (stratified by site), and no time leaves a site. `pooled`
    risk sets reach over all sites, on a time grid of cells `grid` wide, joined until `fewest` have the event in each interval.
    """

    kind: Literal["cox"]
    ties: Literal["efron", "breslow"] = "efron"
    risk_sets: Literal["site", "pooled"] = "site"
    strata: str = ""  # a variable with listed categories, each with a baseline of its own
    grid: Decimal = Field(default=Decimal("1"), gt=0)  # in the unit of time
    fewest: int = Field(default=10, ge=1)
    horizons: tuple[Annotated[Decimal, Field(gt=0)], ...] = ()  # times for which the model tells a risk
    ridge: Decimal = Field(default=Decimal("0"), ge=0)
    rounds: int = Field(default=100, ge=1, le=1000)
    standardise: bool = False


class Survival(Part):
    """Kaplan-Meier curves of groups of patients, and the log-rank test between them, on a time grid that all sites share."""

    kind: Literal["survival"]
    by: str = ""  # a variable with listed categories: one curve each
    grid: Decimal = Field(default=Decimal("1"), gt=0)  # in the unit of time
    fewest: int = Field(default=10, ge=1)
    horizon: Decimal | None = Field(default=None, gt=0)  # up to where mean times are compared


class Statistics(Part):
    """Description without a model: counts, means, quantiles, histograms, cross tables, correlations."""

    kind: Literal["statistics"]
    quantiles: tuple[Decimal, ...] = (Decimal("0.25"), Decimal("0.5"), Decimal("0.75"))
    cross: tuple[tuple[str, str], ...] = ()
    correlations: bool = False


class Sites(Part):
    """Who must answer: a run starts with `minimum` sites, and a round needs `quorum` of them (0: all but one, at least `minimum`)."""

    minimum: int = Field(default=3, ge=1)
    quorum: int = Field(default=0, ge=0)
    deadline_s: int = Field(default=3600, ge=1)
    grace_s: int = Field(default=60, ge=0)


class Privacy(Part):
    """What hides a site's numbers. With secure sums the coordinator can read nothing but the sum of all sites; they are on (`auto`)
    wherever a study wants three sites or more. To turn them off, or to want them with two sites, takes a reason (`because`).

    `curious` lowers the number of sites that open a sum from two thirds to one half: more may drop out, but the coordinator may
    not lie. `epoch` is for how many rounds keys are made ahead. More sites than `cohort` are cut into groups of about half as many,
    each with a sum of its own, which the coordinator then sees. With `verified` the coordinator shows the sites each sum, and they
    check that it is that of their vectors.
    """

    secure_aggregation: Annotated[Literal["auto", "on", "off"], BeforeValidator(switch)] = "auto"
    because: str = Field(default="", max_length=2000)
    curious: bool = False
    epoch: int = Field(default=128, ge=2, le=512)
    cohort: int = Field(default=secagg.LARGEST, ge=6, le=secagg.LARGEST)
    verified: bool = False


class Study(Part):
    """A study, complete: its digest is its name, and any change makes another study."""

    collegium: Literal[1] = 1
    title: str = Field(min_length=1, max_length=200)
    purpose: str = Field(min_length=1, max_length=5000)
    lead: str = ""
    patient: str = ""  # the column that names the patient; without it each row is a patient
    variables: dict[str, Variable] = Field(min_length=1)
    outcome: Outcome | None = None
    method: Annotated[Averaging | Glm | Trees | Cox | Survival | Statistics, Field(discriminator="kind")]
    held_out: HeldOut | None = None  # not given: two tenths of the patients, or none where a fit is to describe all of them
    sites: Sites = Sites()
    privacy: Privacy = Privacy()
    seed: int = Field(default=1, ge=0, lt=2**53)

    @model_validator(mode="after")
    def consistent(self) -> "Study":
        known = self.variables.keys()
        for name in self.outcome.columns if self.outcome else ():
            if name not in known:
                raise ValueError(f"the outcome names {name!r}, which is not among the variables {', '.join(sorted(known))}")
        if self.outcome is None and not isinstance(self.method, Statistics):
            raise ValueError(f"method {self.method.kind!r} needs an outcome: add `outcome: {{task: ..., target: ...}}`")
        if isinstance(self.method, Statistics):
            for pair in self.method.cross:
                if strange := sorted(name for name in pair if name not in known or not self.variables[name].categories):
                    raise ValueError(f"a cross table names {strange[0]!r}, which is no variable with listed categories")
        if isinstance(self.method, Cox | Survival):
            self.timed(self.method)
        if self.outcome and self.outcome.task == "multiclass" and len(self.variables[self.outcome.target].categories) < 3:
            raise ValueError(f"the target {self.outcome.target!r} of a multiclass study lists its categories, three or more")
        self.refuse_exposed()
        if not self.features and not isinstance(self.method, Survival | Statistics):
            raise ValueError("no variable is left to learn from: every variable is the outcome")
        return self

    def refuse_exposed(self) -> None:
        """Raise `ValueError` where parts could be seen, or sums not be checked, and no reason is given."""
        if self.privacy.secure_aggregation == "off" and self.sites.minimum > 2 and not self.privacy.because.strip():
            raise ValueError("secure sums are turned off without a reason: the coordinator would see each site's part; add `because`")
        if self.privacy.secure_aggregation == "on" and self.sites.minimum < 3 and not self.privacy.because.strip():
            raise ValueError(
                "with two sites each can take its own part from the sum and read the other's: want three sites (`sites: {minimum: 3}`),"
                " or say why two will do (`because`)"
            )
        if self.privacy.cohort < SMALL_COHORT and not self.privacy.because.strip():
            raise ValueError(
                f"cohorts of fewer than {SMALL_COHORT} sites let the coordinator see sums over a few of them: say why (`because`)"
            )
        if self.privacy.verified and not self.secure:
            raise ValueError("`verified` checks secure sums, and this study has none: turn them on, or leave it out")

    @model_validator(mode="after")
    def ordered(self) -> "Study":
        for name in self.method.monotone if isinstance(self.method, Trees) else ():
            if name not in self.features or self.variables[name].kind == "category":
                raise ValueError(f"monotone names {name!r}, which is no number or yes/no to learn from")
        return self

    def timed(self, method: Cox | Survival) -> None:
        """Raise `ValueError` for a study of survival that lacks what its time grid is made of."""
        if self.outcome is None or self.outcome.task != "survival":
            raise ValueError(f"method {method.kind!r} needs `outcome: {{task: survival, time: ..., event: ...}}`")
        time, event = self.variables[self.outcome.time], self.variables[self.outcome.event]
        if time.kind != "number" or time.high is None or time.high <= 0:
            raise ValueError(
                f"the time {self.outcome.time!r} is a number with a `high`, where follow-up ends: the time grid reaches so far"
            )
        if event.kind != "binary":
            raise ValueError(f"the event {self.outcome.event!r} is binary: 1 where it was seen, 0 where follow-up ended without it")
        parted = method.strata if isinstance(method, Cox) else method.by
        if parted and (parted in self.outcome.columns or parted not in self.variables or not levels(self.variables[parted])):
            raise ValueError(f"{parted!r}, by which patients are parted, is no variable with listed categories")
        if isinstance(method, Cox) and method.strata and method.horizons:
            raise ValueError("a risk at `horizons` needs one baseline, and with `strata` there are several: leave one of them out")
        if method.fewest < 10 and not self.privacy.because.strip():
            raise ValueError(
                "with `fewest` below 10, times of few patients can be told from the results: say why (`privacy: {because: ...}`)"
            )

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The variables to learn from, by name: an order that no rewriting of the file can change."""
        taken = set(self.outcome.columns) if self.outcome else set()
        if isinstance(self.method, Survival):
            return ()
        return tuple(sorted(self.variables.keys() - taken - {self.parted}))

    @property
    def exact(self) -> bool:
        """Whether it fits coefficients with standard errors, by Newton steps on rows without a gap."""
        return isinstance(self.method, Glm | Cox)

    @property
    def parted(self) -> str:
        """The variable by which patients are parted: the strata of Cox's model, the groups of curves; empty for none."""
        return self.method.strata if isinstance(self.method, Cox) else self.method.by if isinstance(self.method, Survival) else ""

    @property
    def holding(self) -> HeldOut:
        """Who is held out."""
        return self.held_out or (HeldOut() if isinstance(self.method, Averaging | Trees) else HeldOut(test=0, validation=0))

    @property
    def secure(self) -> bool:
        """Whether the coordinator may see nothing but sums."""
        return secagg.wanted(self.privacy.secure_aggregation, self.sites.minimum)

    @property
    def quorum(self) -> int:
        """The fewest sites that must answer a round."""
        return self.sites.quorum or self.sites.minimum


def levels(variable: Variable) -> tuple[str, ...]:
    """The groups that a variable parts patients into; none where it lists none."""
    return variable.categories or (("0", "1") if variable.kind == "binary" else ())


def read(document: Any) -> Study:
    """A manifest from YAML text or a mapping. Raises `StudyError` that names each place in the file."""
    if isinstance(document, str | bytes):
        try:
            document = yaml.load(document, Loader=Plain)  # noqa: S506 - a SafeLoader that keeps decimals as they were written
        except yaml.YAMLError as e:
            raise StudyError(f"the manifest is not YAML: {' '.join(str(e).split())}") from None
    if not isinstance(document, dict):
        raise StudyError(f"a manifest is a mapping of fields, found {type(document).__name__}")
    try:
        return Study.model_validate(document)
    except pydantic.ValidationError as e:
        lines = [f"  {'.'.join(map(str, err['loc'])) or 'manifest'}: {said(err)}" for err in e.errors()]
        raise StudyError("the manifest cannot be run as written:\n" + "\n".join(lines), hint=near(e)) from None


def said(error: Any) -> str:
    """One of pydantic's errors in our words: found and wanted."""
    message = error["msg"].removeprefix("Value error, ")
    return message if error["type"] in ("value_error", "missing") else f"{message}; found {str(error.get('input'))[:60]!r}"


def near(error: pydantic.ValidationError) -> str:
    """For a field that is not known, the known name that looks most like it."""
    import difflib

    fields = {name for kind in Part.__subclasses__() for name in kind.model_fields}
    unknown = [str(e["loc"][-1]) for e in error.errors() if e["type"] == "extra_forbidden"]
    pairs = [(name, difflib.get_close_matches(name, fields, 1)) for name in unknown]
    return "; ".join(f"did you mean {match[0]!r} for {name!r}?" for name, match in pairs if match)


class Plain(yaml.SafeLoader):
    """YAML in which `0.1` stays the text "0.1": a manifest is signed, and signed values hold no floats."""


Plain.add_constructor("tag:yaml.org,2002:float", lambda loader, node: node.value)


def signed(study: Study) -> bytes:
    """The canonical bytes of a study: sorted JSON without floats, defaults written out."""
    return canonical(study.model_dump(mode="json"))


def digest(study: Study) -> str:
    """The study's name: SHA-256 of its canonical bytes, in hex."""
    return hashlib.sha256(signed(study)).hexdigest()


def text(study: Study) -> str:
    """The study as a YAML file, defaults left out."""
    fields = {"collegium": VERSION, **study.model_dump(mode="json", exclude_defaults=True)}
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
