"""Cox's partial likelihood and its derivatives from sums over risk sets: the mathematics, wherever the sums were made.

With risk sets R_k at the event times k, weights w_i = exp(x_i b) and d_k events, let S0, S1 be the sums of w and w x over R_k and
D0, D1 those over the patients who have the event at k. Efron (1977) takes the l-th of d_k tied events, l = 0 to d_k - 1, from a
risk set less the share f = l/d_k of the tied: c = S0 - f D0. Then (Therneau and Grambsch 2000, section 3.3)

    log-likelihood  sum over events of x_i b      - sum over k, l of log c
    gradient        sum over events of x_i        - sum of (S1 - f D1)/c
    information     sum of (S2 - f D2)/c          - sum of (S1 - f D1)(S1 - f D1)'/c^2

Breslow's rule (1974) is f = 0. The sums over l are of scalars only, `Steps`; and the first part of the information is a sum over
patients, of w_i x_i x_i' times what has been added up of 1/c by the time patient i leaves: so no S2 need be kept, or sent.
"""

from typing import NamedTuple

import numpy as np


class Steps(NamedTuple):
    """By interval, sums over its events l of 1/c, f/c, 1/c^2, f/c^2 and f^2/c^2; and of log c over all."""

    rise: np.ndarray
    tied: np.ndarray
    square: np.ndarray
    cross: np.ndarray
    own: np.ndarray
    logs: float


def steps(risk: np.ndarray, deaths: np.ndarray | None, events: np.ndarray) -> Steps:
    """The scalars of each interval, from S0, D0 (None for Breslow's rule) and the number of events."""
    at = np.repeat(np.arange(len(events)), events)
    place = np.arange(len(at)) - np.repeat(events.cumsum() - events, events)
    f = place / events[at] if deaths is not None else np.zeros(len(at))
    c = risk[at] - f * deaths[at] if deaths is not None else risk[at]
    c = np.maximum(c, 1e-300)
    rise, tied, square, cross, own = (np.bincount(at, value, len(events)) for value in (1 / c, f / c, 1 / c**2, f / c**2, f**2 / c**2))
    return Steps(rise, tied, square, cross, own, float(np.log(c).sum()))


def backwards(sums: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Sums over whoever leaves in an interval, as sums over whoever is still at risk in it; strata stand one after another."""
    out = np.empty_like(sums)
    for part in parts(stratum):
        out[part] = sums[part][::-1].cumsum(0)[::-1]
    return out


def forwards(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """What has been added up by the end of each interval of its stratum."""
    out = np.empty_like(values)
    for part in parts(stratum):
        out[part] = values[part].cumsum(0)
    return out


def parts(stratum: np.ndarray) -> list[slice]:
    """The intervals of each stratum."""
    ends = [*(np.flatnonzero(np.diff(stratum)) + 1).tolist(), len(stratum)]
    return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a]


def summed(slot: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Sums of the rows of `values` (n, q) by slot, (size, q)."""
    return np.stack([np.bincount(slot, column, size) for column in values.T], axis=1)


def expected(found: Steps, risk: np.ndarray, deaths: np.ndarray | None, by: np.ndarray) -> np.ndarray:
    """What the events' columns would sum to if risk alone chose them, weighted `by` interval, from S1 and D1."""
    out = (by * found.rise) @ risk
    return np.asarray(out if deaths is None else out - (by * found.tied) @ deaths)


def outer(found: Steps, risk: np.ndarray, deaths: np.ndarray | None, scale: np.ndarray) -> np.ndarray:
    """The second part of the information, (3, p, p): weighted by 1, `scale` and its square."""
    out = []
    for by in (np.ones(len(scale)), scale, scale**2):
        one = risk.T @ (risk * (by * found.square)[:, None])
        if deaths is not None:
            mixed = risk.T @ (deaths * (by * found.cross)[:, None])
            one = one - mixed - mixed.T + deaths.T @ (deaths * (by * found.own)[:, None])
        out.append(one)
    return np.stack(out)


class Followed(NamedTuple):
    """Patients at one site, with the interval in which each leaves (all of them at risk in some interval)."""

    x: np.ndarray  # (n, p)
    weight: np.ndarray  # exp(x b)
    event: np.ndarray
    slot: np.ndarray


def curve(rows: Followed, rise: np.ndarray, tied: np.ndarray, scale: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """The first part of the information, (3, p, p), weighted by 1, `scale` and its square: a sum over patients."""
    out = []
    for by in (np.ones(len(scale)), scale, scale**2):
        ahead = forwards(by * rise, stratum)[rows.slot] - rows.event * (by * tied)[rows.slot]
        out.append(rows.x.T @ (rows.x * (rows.weight * ahead)[:, None]))
    return np.stack(out)
