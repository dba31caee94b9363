"""Newton's method on sums, with what it says where no finite fit exists: shared by the regressions and by Cox's model.

A state holds `coef` (the best so far), `tried` (what sites are asked about), `step`, `value` (the penalised likelihood at
`coef`), `halvings`, `drift`, `decrement`; all in the centred, scaled columns that sites work in.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from collegium.errors import RunError
from collegium.tree import Tree

Z95 = NormalDist().inv_cdf(0.975)
SINGULAR = 1e-11  # least eigenvalue of the scaled information (a correlation matrix) that still tells columns apart
DRIFT = 3  # near a maximum each step is far below half the last; so many that are not tell that there is none
OUTCOME = "there are values for which all rows have the same outcome"


def start(p: int, lead: int = 0) -> dict[str, Any]:
    """The part of a state that Newton's steps need, before the first round; `lead` coefficients stand before those of x."""
    q = p + lead
    whole = dict.fromkeys(("phase", "round", "n", "missing", "halvings", "drift"), np.array(0))
    number = dict.fromkeys(("value", "loglik", "decrement"), np.array(0.0))
    vectors = {"centre": np.zeros(p), "scale": np.ones(p), "coef": np.zeros(q), "tried": np.zeros(q), "step": np.zeros(q)}
    progress = {"loglik": np.array(0.0), "step": np.array(0.0)}
    return {**whole, **number, **vectors, "worth": np.array(1.0), "information": np.zeros((q, q)), "progress": progress}


def power_of_two(size: np.ndarray) -> np.ndarray:
    """The power of two nearest each size, by which a division loses no digit; 1 for none."""
    return np.where(size > 0, 2.0 ** np.round(np.log2(np.where(size > 0, size, 1.0))), 1.0)


def fallen(state: Tree, value: float) -> bool:
    """Whether the likelihood of the same rows fell, by more than fixed-point sums round off."""
    return bool(value < state["value"] - 1e-7 - 1e-10 * abs(value))


def climb(
    state: Tree,
    found: Tree,
    pull: np.ndarray,
    *,
    first: bool,
    lead: int = 0,
    tol: float = 1e-10,
    longest: float = math.inf,
    why: str = OUTCOME,
) -> tuple[dict[str, Any], bool]:
    """One Newton step up, or half a step back if the likelihood of the same rows has fallen; and whether it is the last.

    `found` holds `loglik`, `gradient` and `information` at `state["tried"]`; `pull` is the ridge on each coefficient. `first`
    says that other rows answered than in the round before, so that likelihoods cannot be compared. Raises `RunError`.
    """
    tried, loglik = state["tried"], np.array(float(found["loglik"]))
    value = loglik - 0.5 * (pull @ tried**2)
    if not first and fallen(state, float(value)):
        return halve(state), False
    information = found["information"] + np.diag(pull)
    refuse_singular(information, state, lead, first, why)
    gradient = found["gradient"] - pull * tried
    step = np.linalg.solve(information, gradient)
    decrement, before = math.sqrt(max(gradient @ step, 0.0) * state["worth"]), float(state["decrement"])  # in standard errors
    settled = not first and before / 2 < decrement < 1e-6  # as small as the sums' own rounding lets it be
    drift = int(state["drift"]) + 1 if not first and before / 2 < decrement < 0.1 else 0
    if drift >= DRIFT and not settled:
        refuse_separation(step, state, lead, why)
    step = step * min(1.0, longest / max(reach(step), 1e-300))
    finished = settled or decrement < tol
    here = {"coef": tried, "information": found["information"], "value": np.array(value), "loglik": loglik}
    ahead = {"tried": tried if finished else tried + step, "step": step, "decrement": np.array(decrement)}
    count = {"halvings": np.array(0), "drift": np.array(drift)}
    return {**state, **here, **ahead, **count, "progress": {"loglik": loglik, "step": np.array(decrement)}}, finished


def reach(step: np.ndarray) -> float:
    """The largest change in a step."""
    return float(np.abs(step).max(initial=0.0))


def halve(state: Tree) -> dict[str, Any]:
    """Try half of the step that went too far."""
    if state["halvings"] >= 40:
        raise RunError("no step raises the likelihood any more", hint="look for extreme values in x, or set ridge above 0")
    step = state["step"] / 2
    return {**state, "step": step, "tried": state["coef"] + step, "halvings": state["halvings"] + 1}


def refuse_singular(information: np.ndarray, state: Tree, lead: int, first: bool, why: str) -> None:
    """Raise `RunError`, naming the columns, if the rows cannot tell some of them apart."""
    size = np.diag(information)
    if first and (flat := np.flatnonzero(size <= 1e-9 * size.max(initial=0.0))).size:
        raise RunError(
            f"{listed(flat, lead)} {'has' if len(flat) == 1 else 'have'} the same value in all {int(state['n'])} rows",
            hint="leave such a column out, or set ridge above 0",
        )
    if (size <= 0).any():
        refuse_separation(state["step"], state, lead, why)
    root = np.sqrt(size)
    values, vectors = np.linalg.eigh(information / root[:, None] / root)
    if not len(values) or values[0] > SINGULAR:
        return
    if not first:  # the columns differed at the start: it is the outcome that leaves them no information
        refuse_separation(state["step"], state, lead, why)
    part = np.abs(vectors[:, 0])
    raise RunError(
        f"{listed(np.flatnonzero(part > 0.1 * part.max()), lead)} say the same: each follows from the others",
        hint="leave one of them out, drop a reference level of each category, or set ridge above 0",
    )


def refuse_separation(step: np.ndarray, state: Tree, lead: int, why: str) -> None:
    """Raise `RunError`: some coefficients grow for ever, because a column gives the outcome away (Albert and Anderson 1984)."""
    move = np.abs(step / np.concatenate([np.ones(lead), state["scale"]]))
    move[:lead] = 0.0 if len(step) > 1 else 1.0
    raise RunError(
        f"{listed(np.flatnonzero(move > 0.3 * move.max()), lead)} gives the outcome away: {why}, so no finite coefficient is best",
        hint="leave the column out, join rare categories, or set ridge above 0",
    )


def listed(places: np.ndarray, lead: int) -> str:
    """Columns by their place in x, at most five; whoever knows their names puts them in."""
    called = ["the intercept" if lead and at == 0 else f"x[{at - lead}]" for at in places.tolist()]
    return ", ".join(called[:5]) + (f" and {len(called) - 5} more" if len(called) > 5 else "")


# What a fit says ------------------------------------------------------------------------------------------------------------


def wald(coef: np.ndarray, cov: np.ndarray) -> dict[str, np.ndarray]:
    """Coefficients with Wald's standard errors, two-sided p values and 95 % limits, by the normal distribution."""
    se = np.sqrt(np.maximum(np.diag(cov), 0.0))
    z = coef / np.where(se > 0, se, 1.0)
    p = np.array([math.erfc(abs(v) / math.sqrt(2)) for v in z.tolist()])
    return {"coef": coef, "se": se, "z": z, "p": p, "low": coef - Z95 * se, "high": coef + Z95 * se, "cov": cov}


def chance(statistic: float, df: int) -> float:
    """How often a chi-squared variable of `df` degrees of freedom is as large: the p value (Abramowitz and Stegun 26.4.4-5).

    >>> [round(chance(x, df), 6) for x, df in ((3.841459, 1), (5.991465, 2), (11.0705, 5))]
    [0.05, 0.05, 0.05]
    """
    half = max(statistic, 0.0) / 2
    if df < 1 or half == 0:
        return 1.0
    tail, term = (math.erfc(math.sqrt(half)), 2 * math.sqrt(half / math.pi)) if df % 2 else (0.0, 1.0)
    sums, k = 0.0, df % 2 / 2
    for at in range(df // 2):  # of term = half^k / gamma(k + 1), with k = 1/2, 3/2, ... or 0, 1, ...
        sums, k = sums + term, df % 2 / 2 + at + 1
        term *= half / k
    return float(min(tail + sums * math.exp(-half), 1.0)) if half < 700 else 0.0


def likelihood_ratio(loglik: float, null: float, df: int) -> dict[str, np.ndarray]:
    """Twice the gain over the model without any variable, with its degrees of freedom and p value (Wilks 1938)."""
    statistic = max(2 * (loglik - null), 0.0)
    return {"chi2": np.array(statistic), "df": np.array(df), "p": np.array(chance(statistic, df))}


def known(rows: Mapping[str, Any], state: Tree) -> bool:
    """Whether the rows that answered are those of the round before."""
    return all(state[name] == value for name, value in rows.items())
