"""Cox's proportional hazards by Newton's method on sums: hazard ratios that pooled rows would give, with their errors.

Risk sets may be the site's own (`risk_sets="site"`, a fit stratified by site) or reach over all sites ("pooled").

*The site's own.* Each site works out its partial likelihood, gradient and information and sends these; times stay at home.

*Pooled.* A patient at one site is at risk when one at another has the event. So sites send, for each interval that the stage
`timegrid` found, the sums of exp(xb) and x exp(xb) over whoever leaves in it, and over those with the event. The coordinator adds
them up backwards to sums over risk sets, finds likelihood and gradient, and asks back, with the baseline's steps, for one matrix:
the sum over patients that is left of the information (`partial`). Second moments by interval, which a round in one go would take,
are never sent.

All sums travel as whole numbers (`limbs`): exact, however far exp(xb) reaches, and without a round to find their range.

    >>> from collegium.algorithms.timegrid import timegrid
    >>> rows = Table({"x": np.array([[1.0], [0], [1], [0], [1], [0]]), "time": np.array([1.0, 2, 3, 4, 5, 6]), "event": np.ones(6)})
    >>> step = timegrid(6, fewest=1)
    >>> grid = step.result(step.apply(step.init({}), step.local({}, rows, {})[0]))
    >>> fit = cox(risk_sets="pooled", width=1)
    >>> state = fit.init({"grid": grid})
    >>> while not fit.done(state):
    ...     state = fit.apply(state, fit.local(fit.share(state), rows, {})[0])
    >>> found = fit.result(state)
    >>> print(f"{found['coef'][0]:.4f} ({found['se'][0]:.4f}), log-likelihood {found['loglik']:.4f}")
    0.6321 (0.9220), log-likelihood -6.3382
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.columns import LARGEST, joined, limbs, training
from collegium.algorithms.newton import chance, climb, fallen, halve, known, likelihood_ratio, power_of_two, start, wald
from collegium.algorithms.partial import Followed, backwards, curve, expected, forwards, outer, steps, summed
from collegium.algorithms.timegrid import FEWEST, leaving, timed
from collegium.algorithms.timegrid import joined as gathered
from collegium.algorithms.timegrid import stratum as stratum_of
from collegium.errors import DataError, RunError, StudyError
from collegium.table import Table
from collegium.tree import Tree

Ties: TypeAlias = Literal["efron", "breslow"]
RiskSets: TypeAlias = Literal["site", "pooled"]
LOOK, SLOPE, CURVE, BASE, DONE = range(5)  # phases: scales; likelihood and gradient; information; the baseline; the summit
LONGEST = 2.0  # a step, in scaled columns: exp() must not overshoot
FARTHEST = 30.0  # of a log relative hazard from the mean: beyond lies no patient, but a wrong value or a column that tells all
WHY = "there are values with which the event never comes, or always comes first"


class Rows(NamedTuple):
    """A site's training rows."""

    x: np.ndarray  # (n, p)
    time: np.ndarray
    event: np.ndarray
    stratum: np.ndarray
    slot: np.ndarray  # the interval of the shared grid in which each leaves; -1 for whoever left before the first


class Setting(NamedTuple):
    """What a study chooses."""

    efron: bool
    pooled: bool
    strata: Sequence[str]
    cell: float
    ridge: float
    tol: float
    fewest: int  # for what is released
    joins: bool  # whether intervals may be joined of several times


def cox(
    *,
    ties: Ties = "efron",
    risk_sets: RiskSets = "site",
    strata: Sequence[str] = (),
    cell: float = 1.0,
    ridge: float = 0.0,
    tol: float = 1e-10,
    fewest: int = FEWEST,
    width: int | None = None,
) -> Algorithm:
    """Proportional hazards of `time` and `event` on the matrix `x` (Cox 1972), after a stage `grid` of the same cells and strata.

    Rows of another `part` than 0 are left out. With `strata` the table's column `stratum` tells which risk sets a patient is in.
    With pooled risk sets, times are those of the grid's intervals: two events in one interval are tied. `ridge` adds ridge/2
    times the squares of the coefficients to minus the log-likelihood. The result holds coefficients with errors, the
    likelihood-ratio test, a test of proportionality (score test of an interaction with time; Therneau and Grambsch 2000,
    section 6.2), and Breslow's baseline where `fewest` patients leave between two of its points.
    """
    how = Setting(ties == "efron", risk_sets == "pooled", tuple(strata), cell, ridge, tol, max(fewest, FEWEST), fewest > 1)

    def init(given: Tree) -> Tree:
        p = width if width is not None else int(given["encoded"]["width"]) if "encoded" in given else None
        if p is None or "grid" not in given:
            raise StudyError("cox does not know how many columns x has, or on which grid: give `width`, or wrap it in `encoded`")
        return beginning(p, given["grid"], how)

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        rows, phase = usable(training(table), shared, how), int(shared["phase"])
        nobody = Rows(*(column[:0] for column in rows))
        asked = {name: rows if phase in when else nobody for name, when in PHASES.items()}
        look = {"x": limbs(asked["look"].x), "squares": limbs(asked["look"].x ** 2)}
        update = {"look": look, "who": who(asked["who"], predictor(asked["who"], shared)[1])}
        if how.pooled:
            return update | interval_sums(*reading(asked["slope"], shared), how, shared) | bend(
                *reading(asked["curve"], shared), shared
            ), memory
        return update | own_sums(asked["slope"], shared, how) | base_sums(*reading(asked["base"], shared), shared), memory

    def apply(state: Tree, total: Tree) -> Tree:
        state = {**state, "round": state["round"] + 1}
        if state["phase"] == LOOK:
            return scaled(state, total)
        sums = dict(zip(("events", "times", "event_times"), map(np.array, joined(total["who"]["sums"])), strict=True))
        rows = {"n": total["who"]["n"], **sums}
        if not rows["events"]:
            raise RunError("no site that answered has a training row with the event", hint="start the run again over those that have")
        if state["phase"] == BASE:
            return {
                **state,
                "base": lasting(joined(total["base"]), total["count"], state["grid"]),
                "count": total["count"],
                "phase": np.array(DONE),
            }
        if state["phase"] == CURVE:
            return bent(state, total, rows, how)
        return sloped(state, total, rows, how)

    def share(state: Tree) -> Tree:
        shared = {name: state[name] for name in ("phase", "tried", "centre", "scale", "grid")}
        return shared | ({"rise": state["rise"], "tied": state["tied"]} if how.pooled else {})

    def result(state: Tree) -> Tree:
        return summit(state, how)

    return Algorithm(init, local, apply, lambda s: bool(s["phase"] == DONE), share, result, "cox")


PHASES = {"look": (LOOK,), "who": (LOOK, SLOPE, CURVE, BASE), "slope": (SLOPE,), "curve": (CURVE,), "base": (BASE,)}


def beginning(p: int, grid: Tree, how: Setting) -> Tree:
    """The state before the first round."""
    size = len(grid["end"])
    number = dict.fromkeys(("events", "times", "event_times", "null"), np.array(0.0))
    whole = dict.fromkeys(("fresh", "comparable", "halves"), np.array(0))
    found = {"loglik": np.array(0.0), "gradient": np.zeros(p), "test": np.zeros(p), "outer": np.zeros((3, p, p))}
    blank = {"rise": np.zeros(size), "tied": np.zeros(size), "base": np.zeros(size), "count": np.zeros((size, 2), np.int64)}
    return {**start(p), **number, **whole, **blank, "found": found, "curves": np.zeros((3, p, p)), "test": np.zeros(p), "grid": grid}


# At a site ------------------------------------------------------------------------------------------------------------------


def usable(table: Table, shared: Tree, how: Setting) -> Rows:
    """The training rows, checked, and where each is on the grid. Raises `DataError`."""
    x, p = np.asarray(table["x"], np.float64), len(shared["centre"])
    if x.ndim != 2 or x.shape[1] != p:
        raise DataError(f"x has shape {x.shape}; wanted (rows, {p})")
    if not (np.abs(x) <= LARGEST).all():
        raise DataError(f"column 'x' holds missing values, infinity or values beyond {LARGEST:.2g}")
    group = np.asarray(shared["grid"]["group"])
    time, event = timed(table)
    at = leaving(table, group.shape[1] - 1, how.cell, how.strata)
    slot = group[at.stratum, at.cell]
    if how.strata or len(shared["grid"]["end"]):
        early = (slot < 0) & (event == 1)  # a site that had not been counted when the grid was made
        slot = np.where(early, np.array([line.max(initial=-1) if (line >= 0).any() else -1 for line in group])[at.stratum], slot)
    return Rows(x, time, event, stratum_of(table, how.strata), slot)


def predictor(rows: Rows, shared: Tree) -> tuple[np.ndarray, np.ndarray]:
    """The centred, scaled columns, and the log relative hazard."""
    z = (rows.x - shared["centre"]) / shared["scale"]
    return z, z @ shared["tried"]


def reading(rows: Rows, shared: Tree) -> tuple[Followed, np.ndarray]:
    """Whoever is at risk in some interval, and their log relative hazards."""
    z, eta = predictor(rows, shared)
    kept, eta = rows.slot >= 0, np.clip(eta, -FARTHEST, FARTHEST)
    return Followed(z[kept], np.exp(eta[kept]), rows.event[kept], rows.slot[kept]), eta[kept]


def who(rows: Rows, eta: np.ndarray) -> Tree:
    """Which rows answer, as exact sums; and how many are so far from all others that no risk is believable."""
    sums = limbs(np.stack([rows.event, rows.time, rows.event * rows.time], axis=1).astype(np.float64))
    return {"n": np.array(len(eta)), "far": np.array(int((np.abs(eta) > FARTHEST).sum())), "sums": sums}


def counted(rows: Followed, size: int) -> np.ndarray:
    """Events, and all who leave, in each interval."""
    had = np.bincount(rows.slot[rows.event == 1], minlength=size)
    return np.stack([had, np.bincount(rows.slot, minlength=size)], axis=1).astype(np.int64)


def interval_sums(rows: Followed, eta: np.ndarray, how: Setting, shared: Tree) -> dict[str, Any]:
    """Pooled risk sets: S0 and S1 of whoever leaves in each interval, D0 and D1 of those with the event, and the events' own sums."""
    size, had = len(shared["grid"]["end"]), rows.event == 1
    weighted = np.column_stack([rows.weight, rows.x * rows.weight[:, None]])
    events = np.column_stack([eta, rows.x, rows.x * np.asarray(shared["grid"]["ahead"])[rows.slot][:, None]])[had]
    out = {"count": counted(rows, size), "risk": limbs(summed(rows.slot, weighted, size)[None]), "events": limbs(events)}
    return out | ({"deaths": limbs(summed(rows.slot[had], weighted[had], size)[None])} if how.efron else {})


def bend(rows: Followed, eta: np.ndarray, shared: Tree) -> dict[str, Any]:
    """Pooled risk sets: the first part of the information, for the baseline's steps that the coordinator found."""
    grid = shared["grid"]
    scale, stratum = np.asarray(grid["ahead"]), np.asarray(grid["stratum"])
    return {"curve": limbs(curve(rows, np.asarray(shared["rise"]), np.asarray(shared["tied"]), scale, stratum)[None])}


def own_sums(rows: Rows, shared: Tree, how: Setting) -> dict[str, Any]:
    """The site's own risk sets: its log-likelihood, gradient, score against time, and information."""
    order, slot, stratum, size = distinct(rows)
    rows = Rows(*(column[order] for column in rows))
    z, eta = predictor(rows, shared)
    eta = np.clip(eta, -FARTHEST, FARTHEST)
    kept, weight = slot >= 0, np.exp(eta)
    inside, had = Followed(z[kept], weight[kept], rows.event[kept], slot[kept]), rows.event[kept] == 1
    weighted = np.column_stack([inside.weight, inside.x * inside.weight[:, None]])
    risk = backwards(summed(inside.slot, weighted, size), stratum)
    deaths = summed(inside.slot[had], weighted[had], size) if how.efron else None
    found = steps(risk[:, 0], None if deaths is None else deaths[:, 0], np.bincount(inside.slot[had], minlength=size))
    scale, ahead = np.zeros(size), np.append(np.asarray(shared["grid"]["ahead"]), 0.0)
    scale[inside.slot[had]] = ahead[rows.slot[kept][had]]  # ties of one time are in one interval of the grid
    d1 = None if deaths is None else deaths[:, 1:]
    value = np.array([eta[kept][had].sum() - found.logs])
    slope = inside.x[had].sum(0) - expected(found, risk[:, 1:], d1, np.ones(size))
    against = (inside.x[had] * scale[inside.slot[had]][:, None]).sum(0) - expected(found, risk[:, 1:], d1, scale)
    curves = curve(inside, found.rise, found.tied, scale, stratum) - outer(found, risk[:, 1:], d1, scale)
    return {"own": limbs(np.concatenate([value, slope, against, curves.reshape(-1)])[None])}


def distinct(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The site's distinct event times in each stratum: an order of its rows, and in it the last such time that each lived to see."""
    order = np.lexsort((-rows.event, rows.time, rows.stratum))  # at one time events come first
    time, event, home = rows.time[order], rows.event[order], rows.stratum[order]
    fresh = np.ones(len(time), bool)
    fresh[1:] = (time[1:] != time[:-1]) | (home[1:] != home[:-1])
    new = fresh & (event == 1)
    slot = new.cumsum() - 1
    begun = np.zeros(len(time), bool)
    for at in np.unique(home):
        mine = home == at
        begun[mine] = new[mine].cumsum() > 0
    return order, np.where(begun, slot, -1), home[new], int(new.sum())


def base_sums(rows: Followed, eta: np.ndarray, shared: Tree) -> dict[str, Any]:
    """The site's own risk sets, after the fit: what the common baseline is made of."""
    size = len(shared["grid"]["end"])
    return {"base": limbs(np.bincount(rows.slot, rows.weight, size)[None]), "count": counted(rows, size)}


# At the coordinator ---------------------------------------------------------------------------------------------------------


def scaled(state: Tree, total: Tree) -> Tree:
    """After round 1: centres and scales. Raises `RunError` where there is nothing to learn from."""
    n, events, p = int(total["who"]["n"]), int(joined(total["who"]["sums"])[0]), len(state["centre"])
    if not events:
        raise RunError(f"nobody in {n} training rows has the event, so nothing can be learned", hint="check the event's definition")
    mean = joined(total["look"]["x"]) / n
    scale = power_of_two(np.sqrt(np.maximum(joined(total["look"]["squares"]) / n - mean**2, 0)))
    return {**state, "centre": mean, "scale": scale, "n": np.array(n), "phase": np.array(SLOPE), "tried": np.zeros(p)}


def penalty(state: Tree, how: Setting) -> np.ndarray:
    """The ridge on each coefficient of the scaled columns."""
    return np.asarray(how.ridge / state["scale"] ** 2)


def sloped(state: Tree, total: Tree, rows: dict[str, Any], how: Setting) -> Tree:
    """After a round that told likelihood and gradient at the coefficients tried."""
    first = int(state["round"]) == 2 or not known(rows, state)
    if int(total["who"]["far"]):
        return too_far(state, int(total["who"]["far"]), first)
    found = pooled(total, state, how) if how.pooled else unpacked(joined(total["own"]), len(state["centre"]))
    if first:  # the first coefficients tried are those of the model without any variable; later ones are not
        state = {**state, "null": found["loglik"], "comparable": np.array(int(state["round"] == 2))}
    state = {**state, **rows, "fresh": np.array(int(first))}
    if not how.pooled:
        return risen(state, found, found.pop("curves"), how)
    if not first and fallen(state, float(found["loglik"] - 0.5 * (penalty(state, how) @ state["tried"] ** 2))):
        return {**halve(state), "phase": np.array(SLOPE)}
    ahead = {name: found.pop(name) for name in ("rise", "tied", "base", "count")}
    return {**state, **ahead, "found": found, "phase": np.array(CURVE)}


def pooled(total: Tree, state: Tree, how: Setting) -> dict[str, Any]:
    """Likelihood, gradient and what else follows from sums by interval."""
    grid, many = state["grid"], total["count"][:, 0]
    scale, stratum, p = grid["ahead"], grid["stratum"], len(state["centre"])
    leaving = joined(total["risk"])
    risk = backwards(leaving, stratum)
    deaths = joined(total["deaths"]) if how.efron else None
    found = steps(risk[:, 0], None if deaths is None else deaths[:, 0], many)
    d1, events = None if deaths is None else deaths[:, 1:], joined(total["events"])
    out = {"loglik": np.array(events[0] - found.logs), "outer": outer(found, risk[:, 1:], d1, scale)}
    out["gradient"] = events[1 : p + 1] - expected(found, risk[:, 1:], d1, np.ones(len(scale)))
    out["test"] = events[p + 1 :] - expected(found, risk[:, 1:], d1, scale)
    base = lasting(leaving[:, 0], total["count"], grid) if how.joins else found.rise
    return out | {"rise": found.rise, "tied": found.tied, "base": base, "count": total["count"]}


def unpacked(own: np.ndarray, p: int) -> dict[str, Any]:
    """The sums that sites with risk sets of their own sent, by name."""
    return {"loglik": own[0], "gradient": own[1 : p + 1], "test": own[p + 1 : 2 * p + 1], "curves": own[2 * p + 1 :].reshape(3, p, p)}


def lasting(leaving: np.ndarray, count: np.ndarray, grid: Tree) -> np.ndarray:
    """The baseline's steps over intervals joined of many times: at the l-th of d events the share l/d of all who leave is gone.

    To leave everybody of an interval in its risk set would put the hazard too low where few remain.
    """
    return steps(backwards(leaving, grid["stratum"]), leaving, count[:, 0]).rise


def bent(state: Tree, total: Tree, rows: dict[str, Any], how: Setting) -> Tree:
    """After a round that told the rest of the information, of the same rows; else the likelihood is asked for again."""
    if not known(rows, state):
        return {**state, "n": np.array(-1), "phase": np.array(SLOPE)}
    return risen(state, state["found"], joined(total["curve"]) - state["found"]["outer"], how)


def risen(state: Tree, found: Tree, curves: np.ndarray, how: Setting) -> Tree:
    """A Newton step."""
    full = {**found, "information": curves[0]}
    after, finished = climb(state, full, penalty(state, how), first=bool(state["fresh"]), tol=how.tol, longest=LONGEST, why=WHY)
    if finished:
        after |= {"curves": curves, "test": found["test"]}
    return {**after, "phase": np.array((DONE if how.pooled else BASE) if finished else SLOPE)}


def too_far(state: Tree, rows: int, first: bool) -> Tree:
    """A step that puts patients beyond any believable risk went too far. Raises `RunError` where no smaller one will do."""
    if first or state["halvings"] >= 40:
        raise RunError(
            f"{rows} rows have a risk more than exp({FARTHEST:g}) times that of the mean patient",
            hint="look for extreme values in x, or set ridge above 0",
        )
    return {**halve(state), "phase": np.array(SLOPE)}


# What was found -------------------------------------------------------------------------------------------------------------


def summit(state: Tree, how: Setting) -> Tree:
    """Coefficients, errors, likelihood, tests and baseline, in the units the rows came in; the baseline is of the mean patient."""
    p, scale = len(state["centre"]), state["scale"]
    inverse, loglik = np.zeros((p, p)), float(state["loglik"])
    if state["information"].any():
        inverse = np.linalg.inv(state["information"] + np.diag(penalty(state, how)))
    cov = (inverse @ state["information"] @ inverse if how.ridge else inverse) / np.outer(scale, scale)
    out: dict[str, Any] = wald(state["coef"] / scale, cov)
    out |= {"loglik": np.array(loglik), "aic": np.array(2 * p - 2 * loglik), "n": state["n"]}
    out |= {"events": np.array(int(state["events"])), "rounds": state["round"], "intercept": np.array(0)}
    out |= {"missing": state["missing"], "converged": np.array(int(state["phase"] == DONE))}
    if state["comparable"] and not how.ridge:
        out |= {"test": likelihood_ratio(loglik, float(state["null"]), p), "null": state["null"]}
    if state["phase"] == DONE and not how.ridge:
        out["proportional"] = proportional(state["test"], state["curves"])
    base = baseline(state, how)
    params = {"coef": out["coef"], "centre": state["centre"]}
    if not how.strata:
        params |= {"time": base["time"], "hazard": base["hazard"]}
    return out | {"baseline": base, "params": params}


def proportional(score: np.ndarray, curves: np.ndarray) -> dict[str, np.ndarray]:
    """Score tests of an interaction with the scale of time, of each column and of all: large where hazards are not proportional."""
    p = len(score)
    left = curves[2] - curves[1] @ np.linalg.pinv(curves[0]) @ curves[1]
    size = np.diag(left)
    clear = size > 1e-9 * np.maximum(np.diag(curves[2]), 1e-300)
    chi2 = np.where(clear, score**2 / np.where(clear, size, 1.0), 0.0)
    whole = max(float(score @ np.linalg.pinv(left, rcond=1e-9, hermitian=True) @ score), 0.0)
    alone = np.array([chance(x, 1) for x in chi2.tolist()])
    return {"chi2": chi2, "p": alone, "all_chi2": np.array(whole), "all_p": np.array(chance(whole, p)), "df": np.array(p)}


def baseline(state: Tree, how: Setting) -> dict[str, np.ndarray]:
    """The cumulative hazard of the mean patient, at points between which `fewest` patients leave, or more.

    Breslow's estimate (1972): each event adds one over the sum of the relative hazards of those still at risk, with ties as in
    the fit, or in intervals joined of many times as `lasting` has it.
    """
    grid, count = state["grid"], state["count"]
    stratum = grid["stratum"]
    leaves, hazard = count[:, 1], forwards(state["base"], stratum)
    still = backwards(leaves, stratum)
    last: list[int] = []
    begun: list[int] = []
    for place in np.unique(stratum).tolist():
        mine = np.flatnonzero(stratum == place)
        group = gathered(count[mine, 0], leaves[mine] - count[mine, 0], how.fewest)
        # In the last of joined intervals everybody's follow-up ends, some time: too coarse to tell a hazard
        for number in range(int(group.max(initial=-1)) + (how.pooled and not how.joins)):
            inside = mine[group == number]
            if leaves[inside].sum() >= how.fewest:
                begun.append(int(inside[0]))
                last.append(int(inside[-1]))
    return {"time": grid["end"][last], "hazard": hazard[last], "at_risk": still[begun], "stratum": stratum[last]}
