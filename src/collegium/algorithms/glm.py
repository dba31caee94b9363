"""Generalised linear models by Newton's method: the pooled fit with standard errors, from sums alone.

For the canonical links (identity, logit, log) the log-likelihood of coefficients b on rows (x, y) with weights w has
gradient  sum w x (y - mu)  and information  sum w v(mu) x x'  (McCullagh and Nelder 1989, section 2.5). Both are sums over
rows, so they are sums over hospitals, and every Newton step is the one that pooled rows would take: after round 1, which
finds centres and scales, five to eight rounds are usual. A step after which the likelihood has fallen is halved. Where other rows answer
than in the round before (a hospital dropped out, or is back), likelihoods cannot be compared: Newton goes on from there, and the
fit is that of the rows which answered last.

    >>> x, y = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    >>> fit = glm(family="binomial", width=1)
    >>> state = fit.init({})
    >>> while not fit.done(state):
    ...     state = fit.apply(state, fit.local(fit.share(state), Table({"x": x, "y": y}), {})[0])
    >>> for row in table_of(fit.result(state), ["treated"]):
    ...     print(f"{row.name} {row.coef:.4f} ({row.se:.4f}), odds ratio {row.ratio:.1f}")
    intercept -0.6931 (1.2247), odds ratio 0.5
    treated 1.3863 (1.7321), odds ratio 4.0

Sites work on x centred and scaled by the coordinator's power of two and, for gaussian, y too: fixed-point sums then keep
their digits whatever the units are. Coefficients are put back into the given units at the end.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.columns import LARGEST, joined, limbs, training
from collegium.algorithms.newton import OUTCOME, known, likelihood_ratio, power_of_two, wald
from collegium.algorithms.newton import climb as step_up
from collegium.algorithms.newton import start as standing
from collegium.errors import DataError, RunError, StudyError
from collegium.table import Table
from collegium.tree import Tree

Name: TypeAlias = Literal["gaussian", "binomial", "poisson"]
Errors: TypeAlias = Literal["model", "patient", "site"]
LOOK, CLIMB, DONE = 0, 1, 2  # phases: find scales; Newton steps; the summit
LONGEST = {"gaussian": math.inf, "binomial": math.inf, "poisson": 2.0}  # a step, in scaled columns: exp() must not overshoot


class Family(NamedTuple):
    """What a family of outcomes changes."""

    mean: Callable[[np.ndarray], np.ndarray]  # from the linear predictor
    variance: Callable[[np.ndarray], np.ndarray]  # from the mean
    loglik: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # of (y, predictor, mean), a row; without constants


FAMILIES: dict[str, Family] = {
    "gaussian": Family(lambda eta: eta, np.ones_like, lambda y, eta, mu: -0.5 * (y - mu) ** 2),
    "binomial": Family(
        lambda eta: np.exp(-np.logaddexp(0, -eta)),
        lambda mu: mu * (1 - mu),
        lambda y, eta, mu: y * eta - np.logaddexp(0, eta),
    ),
    "poisson": Family(np.exp, lambda mu: mu, lambda y, eta, mu: y * eta - mu),
}


class Rows(NamedTuple):
    """A site's training rows with a known outcome."""

    x: np.ndarray  # (n, p)
    y: np.ndarray
    offset: np.ndarray
    weight: np.ndarray
    missing: int  # rows left out because the outcome is not known
    whose: np.ndarray  # the number of the patient that each row is of


def glm(
    *,
    family: Name = "binomial",
    ridge: float = 0.0,
    intercept: bool = True,
    errors: Errors = "model",
    tol: float = 1e-10,
    width: int | None = None,
) -> Algorithm:
    """Linear, logistic or Poisson regression of `y` on the matrix `x`, equal to the fit on pooled rows.

    Columns `offset` (added to the linear predictor) and `weight` (how many rows a row stands for) are used where the table
    has them; rows of another `part` than 0 and rows without outcome are left out. `ridge` adds ridge/2 times the squares of
    the coefficients but the intercept's to minus the log-likelihood (gaussian: to half the squared error). It stops when
    the step is below `tol` standard errors. `width`, the columns of `x`, comes from `encoded` where it is not given.

    `errors` says what is taken to be independent: rows, as the model has it, or only patients, or only sites. The last two
    are the sandwich of Huber (1967) and Liang and Zeger (1986), with the factor G/(G-1) (n-1)/(n-q) for G clusters.
    """
    model, lead = FAMILIES[family], int(intercept)  # lead: coefficients before those of x

    def init(given: Tree) -> Tree:
        p = width if width is not None else int(given["encoded"]["width"]) if "encoded" in given else None
        if p is None:
            raise StudyError("glm does not know how many columns x has: give `width`, or wrap it in `encoded`")
        return start(p, lead)

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        p = len(shared["centre"])
        rows = usable(training(table), family, p)
        nothing = Rows(rows.x[:0], rows.y[:0], rows.offset[:0], rows.weight[:0], 0, rows.whose[:0])
        seen, asked = (rows, nothing) if shared["phase"] == LOOK else (nothing, rows)
        newton = slope(asked, shared, family, model, lead, errors)
        return {"look": look(seen, family), "who": who(asked, family), "newton": newton}, memory

    def apply(state: Tree, total: Tree) -> Tree:
        state = {**state, "round": state["round"] + 1}
        if state["phase"] == LOOK:
            return begin(state, total["look"], family, ridge, lead)
        return climb(state, total["newton"], total["who"], ridge, lead, tol, LONGEST[family])

    def share(state: Tree) -> Tree:
        return {name: state[name] for name in ("phase", "tried", "centre", "scale", "level", "unit", "worth")}

    def result(state: Tree) -> Tree:
        return summit(state, family, ridge, lead, errors)

    return Algorithm(init, local, apply, lambda s: bool(s["phase"] == DONE), share, result, f"glm {family}")


def start(p: int, lead: int) -> Tree:
    """The state before the first round. Coefficients in it are those of the centred, scaled columns."""
    number = dict.fromkeys(("weight", "outcome", "constant", "level", "null"), np.array(0.0))
    whole = dict.fromkeys(("shifted", "clusters"), np.array(0))
    return {**standing(p, lead), **number, **whole, "unit": np.array(1.0), "meat": np.zeros((p + lead,) * 2)}


def usable(table: Table, family: str, p: int) -> Rows:
    """The rows with a known outcome, checked. Raises `DataError`."""
    x, y = np.asarray(table["x"], np.float64), np.asarray(table["y"], np.float64)
    if x.ndim != 2 or x.shape[1] != p or y.ndim != 1:
        raise DataError(f"x has shape {x.shape} and y {y.shape}; wanted (rows, {p}) and (rows,)")
    offset = np.asarray(table["offset"], np.float64) if "offset" in table else np.zeros(len(y))
    weight = np.asarray(table["weight"], np.float64) if "weight" in table else np.ones(len(y))
    there = ~np.isnan(y)
    whose = np.arange(len(y)) if table.patient is None else np.unique(table.patient, return_inverse=True)[1].reshape(-1)
    x, y, offset, weight, whose = x[there], y[there], offset[there], weight[there], whose[there]
    for name, column in (("x", x), ("y", y), ("offset", offset), ("weight", weight)):
        if not (np.abs(column) <= LARGEST).all():
            raise DataError(f"column {name!r} holds missing values, infinity or values beyond {LARGEST:.2g}")
    if (weight < 0).any():
        raise DataError("column 'weight' holds values below 0")
    if (family == "binomial" and not ((y >= 0) & (y <= 1)).all()) or (family == "poisson" and not (y >= 0).all()):
        raise DataError(
            f"column 'y' ranges from {y.min():g} to {y.max():g}; {family} wants {'0 to 1' if family == 'binomial' else 'counts'}"
        )
    return Rows(x, y, offset, weight, int((~there).sum()), whose)


def look(rows: Rows, family: str) -> Tree:
    """Round 1 at a site: what centres and scales are made of."""
    w = rows.weight
    y = rows.y - rows.offset if family == "gaussian" else rows.y
    exposure = w * np.exp(np.minimum(rows.offset, 20)) if family == "poisson" else w
    shifted = np.array(int((rows.offset != 0).sum()))
    out: dict[str, Any] = {"n": np.array(len(y)), "shifted": shifted, "x": limbs(rows.x), "squares": limbs(rows.x**2)}
    return out | {"y": limbs(np.stack([w, w * y, w * y**2, exposure], axis=1))}


def who(rows: Rows, family: str) -> Tree:
    """Which rows answer, as exact sums: how many, their weight and outcome, and the constant of their likelihood."""
    w, constant = rows.weight, np.zeros(len(rows.y))
    if family == "poisson":
        found, at = np.unique(rows.y, return_inverse=True)
        constant = w * np.array([math.lgamma(v + 1) for v in found.tolist()])[at.reshape(-1)]
    sums = limbs(np.stack([w, w * rows.y, constant], axis=1))
    return {"n": np.array(len(rows.y)), "missing": np.array(rows.missing), "sums": sums}


def begin(state: Tree, total: Tree, family: str, ridge: float, lead: int) -> Tree:
    """After round 1: centres and scales, and coefficients to climb from."""
    n, p = int(total["n"]), len(state["centre"])
    weight, y, squares, exposure = joined(total["y"]).tolist()
    if not n or not weight:
        raise RunError("no site has a training row with a known outcome", hint="check the outcome's mapping and the cohort")
    if n <= p + lead and not ridge:
        raise RunError(f"{n} rows cannot carry {p + lead} coefficients", hint="use fewer columns, or set ridge above 0")
    if (family == "poisson" and y <= 0) or (family == "binomial" and not 0 < y < weight):
        raise RunError(f"all {n} rows have the same outcome, so nothing can be learned", hint="check the outcome's definition")
    mean = joined(total["x"]) / n
    centre = mean if lead else np.zeros(p)  # without an intercept, centring would change the model
    scale = power_of_two(np.sqrt(np.maximum(joined(total["squares"]) / n - centre**2, 0)))
    level, unit, worth, coef = 0.0, 1.0, 1.0, np.zeros(p + lead)
    if family == "gaussian":
        level = y / weight if lead else 0.0
        unit = float(power_of_two(np.sqrt(max(squares / weight - level**2, 0))))
    elif family == "poisson":
        worth = float(power_of_two(np.array(y / weight)))
        coef[:lead] = math.log(y / exposure)
    else:
        coef[:lead] = math.log(y / (weight - y))
    units = {"centre": centre, "scale": scale, "level": np.array(level), "unit": np.array(unit), "worth": np.array(worth)}
    return {**state, **units, "n": total["n"], "shifted": total["shifted"], "tried": coef, "phase": np.array(CLIMB)}


def design(x: np.ndarray, shared: Tree, lead: int) -> np.ndarray:
    """The centred, scaled columns, after a column of ones for the intercept."""
    z = (x - shared["centre"]) / shared["scale"]
    return np.column_stack([np.ones(len(z)), z]) if lead else z


def slope(rows: Rows, shared: Tree, family: str, model: Family, lead: int, errors: Errors) -> Tree:
    """A site's gradient, information and log-likelihood at the coefficients tried, divided by `worth`; for a sandwich, its filling."""
    z, w, y, offset = design(rows.x, shared, lead), rows.weight / shared["worth"], rows.y, rows.offset
    if family == "gaussian":
        y, offset = (y - offset - shared["level"]) / shared["unit"], np.zeros(len(y))
    eta = z @ shared["tried"] + offset
    if family == "poisson":
        # A step may overshoot to exp(700). Beyond 2e7 times the mean the likelihood has fallen far enough to halve it
        eta = np.minimum(eta, 17 + np.log(shared["worth"]))
    mu = model.mean(eta)
    information = z.T @ (z * (w * model.variance(mu))[:, None])
    out = {"gradient": z.T @ (w * (y - mu)), "information": information, "loglik": np.sum(w * model.loglik(y, eta, mu))}
    if errors == "model":
        return out
    group = rows.whose if errors == "patient" else np.zeros(len(y), np.int64)
    score = np.zeros((int(group.max(initial=-1)) + 1, z.shape[1]))
    np.add.at(score, group, z * (w * (y - mu))[:, None])
    return out | {"meat": score.T @ score, "clusters": np.array(len(np.unique(group)))}


def climb(state: Tree, total: Tree, answered: Tree, ridge: float, lead: int, tol: float, longest: float) -> Tree:
    """One Newton step up, or half a step back if the likelihood of the same rows has fallen."""
    sums = dict(zip(("weight", "outcome", "constant"), map(np.array, joined(answered["sums"])), strict=True))
    rows = {"n": answered["n"], "missing": answered["missing"], **sums}
    first, null = state["round"] == 2 or not known(rows, state), state["null"]
    if not answered["n"]:
        raise RunError("no site that answered has a training row with a known outcome", hint="start the run again over those that have")
    if first:  # the first coefficients tried are those of the model without any variable; later ones are not
        null = np.array(float(total["loglik"]) if state["round"] == 2 else 0.0)
        state = {**state, "shifted": state["shifted"] if state["round"] == 2 else np.array(-1)}
    after, finished = step_up(state, total, penalty(state, ridge, lead), first=first, lead=lead, tol=tol, longest=longest, why=OUTCOME)
    filling = {name: total[name] for name in ("meat", "clusters") if name in total}
    return {**after, **rows, **filling, "null": null, "phase": np.array(DONE if finished else CLIMB)}


def penalty(state: Tree, ridge: float, lead: int) -> np.ndarray:
    """The ridge on each coefficient in the units that sites work in; none on the intercept."""
    return np.concatenate([np.zeros(lead), ridge / state["scale"] ** 2 / state["worth"]])


def summit(state: Tree, family: str, ridge: float, lead: int, errors: Errors) -> Tree:
    """Coefficients, standard errors and likelihood in the units the rows came in.

    The covariance is the inverse information; with a ridge it is that of the shrunken estimate (Gray 1992), which says
    nothing of its bias. Intervals and p values are Wald's with the normal distribution.
    """
    p, worth, unit, weight = len(state["centre"]), state["worth"], float(state["unit"]), float(state["weight"])
    q = p + lead
    to = np.zeros((q, q))  # from working coefficients to given units
    to[np.arange(lead, q), np.arange(lead, q)] = unit / state["scale"]
    if lead:
        to[0, 0], to[0, 1:] = unit, -unit * state["centre"] / state["scale"]
    coef = to @ state["coef"]
    coef[:lead] += state["level"]
    dispersion, loglik = 1.0, float(worth * state["loglik"] - state["constant"])
    inverse = np.zeros((q, q))
    if state["information"].any():
        inverse = np.linalg.inv(state["information"] + np.diag(penalty(state, ridge, lead)))
    if family == "gaussian":
        error = max(-2 * float(state["loglik"]), 1e-300)
        dispersion = error / max(weight - q, 1.0)
        loglik = gaussian(error, unit, weight)
    cov = to @ (inverse @ state["information"] @ inverse if ridge else inverse) @ to.T * (dispersion / worth)
    out: dict[str, Any] = wald(coef, cov)
    if errors != "model":
        many, n = max(int(state["clusters"]), 1), int(state["n"])
        factor = many / max(many - 1, 1) * max(n - 1, 1) / max(n - q, 1)
        out = {**wald(coef, factor * (to @ inverse @ state["meat"] @ inverse @ to.T)), "model_se": out["se"], "clusters": state["clusters"]}
    out |= {"loglik": np.array(loglik), "aic": np.array(2 * q - 2 * loglik)}
    if not ridge and p and (int(state["shifted"]) == 0 or (family == "poisson" and int(state["shifted"]) > 0)):
        null = float(worth * state["null"] - state["constant"])
        if family == "gaussian":
            null = gaussian(max(-2 * float(state["null"]), 1e-300), unit, weight)
        out["test"] = likelihood_ratio(loglik, null, p)
    out |= {"dispersion": np.array(dispersion * (unit**2 if family == "gaussian" else 1.0)), "n": state["n"]}
    whole = {"missing": state["missing"], "rounds": state["round"], "converged": np.array(int(state["phase"] == DONE))}
    return out | whole | {"intercept": np.array(lead), "family": np.array([*FAMILIES].index(family))}


def gaussian(error: float, unit: float, weight: float) -> float:
    """The log-likelihood of a linear model with its variance estimated, from the squared error in units of `unit`."""
    return -0.5 * weight * (math.log(2 * math.pi * error * unit**2 / max(weight, 1.0)) + 1)


class Row(NamedTuple):
    """One coefficient as people read it; `ratio` is its exponential with 95 % limits, None for gaussian.

    The level that the others of its category are compared with has a row too: nought by definition, so without an error.
    """

    name: str
    coef: float
    se: float | None
    z: float | None
    p: float | None
    low: float | None
    high: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None

    @property
    def reference(self) -> bool:
        """Whether others are compared with it."""
        return self.se is None


def table_of(result: Tree, names: Sequence[str], references: Collection[int] = ()) -> list[Row]:
    """A result as rows: odds ratios (binomial), rate ratios (poisson) or hazard ratios (Cox) with intervals and p values.

    `references` are the places among the names that have no coefficient, for they are what others are compared with.
    """
    lead, fitted = int(result["intercept"]), len(names) - len(references)
    if lead + fitted != len(result["coef"]):
        raise StudyError(f"the fit has {len(result['coef']) - lead} columns, {fitted} names were given")
    numbers = zip(*(np.asarray(result[part]).tolist() for part in ("coef", "se", "z", "p", "low", "high")), strict=True)
    plain = "family" in result and [*FAMILIES][int(result["family"])] == "gaussian"
    rows = []
    for at, name in enumerate(["intercept"] * lead + list(names), -lead):
        if at in references:
            rows.append(Row(name, 0.0, None, None, None, None, None, None if plain else 1.0, None, None))
            continue
        coef, se, z, p, low, high = next(numbers)
        ratios = (None, None, None) if plain else tuple(math.exp(min(v, 700.0)) for v in (coef, low, high))
        rows.append(Row(name, coef, se, z, p, low, high, *ratios))
    return rows
