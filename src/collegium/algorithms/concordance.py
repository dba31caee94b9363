"""How well a risk puts early events first: Harrell's concordance, exactly from rows or from summed two-way bins.

Two patients can be compared when one had the event before the other's time was up; they are concordant when that one had
the higher risk, and count one half when the risks are equal (Harrell 1982). At equal times an event comes before a
censoring, and two events say nothing.
"""

import numpy as np

from collegium.algorithms.roc import Binned


def concordance(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> tuple[float, np.ndarray]:
    """The exact concordance of one site's rows in O(n log^2 n), and each row's influence on it.

    The squares of the influences sum to the infinitesimal-jackknife variance (Therneau & Watson 2015). Without any pair to
    compare the value is 0.5 and no row has influence.

    >>> time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 1, 0, 1])
    >>> value, influence = concordance(time, event, np.array([4.0, 2.0, 3.0, 1.0]))
    >>> value
    0.8
    """
    event = np.asarray(event) == 1
    _, slot = np.unique(time, return_inverse=True)
    slot = 2 * slot.reshape(-1) + ~event  # strictly later in `slot` is what makes a pair comparable
    _, rank = np.unique(risk, return_inverse=True)
    rank = rank.reshape(-1)
    later = len(slot) - np.searchsorted(np.sort(slot), slot, side="right")
    earlier = np.searchsorted(np.sort(slot[event]), slot)
    pairs = np.where(event, later, 0) + earlier
    total = pairs.sum() / 2
    if not total:
        return 0.5, np.zeros(len(slot))
    agree = (pairs + inversions(slot, rank, event) - inversions(slot, -rank, event)) / 2  # ties: half of what is left
    value = float(agree.sum() / 2 / total)
    return value, (agree - value * pairs) / total


def inversions(slot: np.ndarray, rank: np.ndarray, event: np.ndarray) -> np.ndarray:
    """For each row, the pairs it is in whose earlier half had an event and a strictly higher rank.

    Counted as a merge sort counts: at each width, rows of a left block against rows of the right block beside it.
    """
    n = len(slot)
    order = np.lexsort((rank, slot))  # equal slots by ascending rank, so that they never count as inverted
    count, place = np.zeros(n, np.int64), np.arange(n)
    r = rank[order].astype(np.int64) - int(rank.min(initial=0))
    had, span = event[order], int(r.max(initial=0)) + 1
    width = 1
    while width < n:
        block, right = place // (2 * width), place // width % 2 == 1
        left = ~right & had
        key = block * span + r
        lower, higher = np.sort(key[right]), np.sort(key[left])
        start = np.searchsorted(lower, block[left] * span)
        count[left] += np.searchsorted(lower, key[left]) - start
        stop = np.searchsorted(higher, (block[right] + 1) * span)
        count[right] += stop - np.searchsorted(higher, key[right], side="right")
        width *= 2
    out = np.empty(n, np.int64)
    out[order] = count
    return out


def concordance_binned(events: np.ndarray, censored: np.ndarray) -> Binned:
    """Concordance, variance and greatest error from counts by time bin (rows) and risk bin (columns), both ascending.

    Only pairs in different time bins are counted, and one half for those in one risk bin. The error allows every pair
    inside a time bin to be comparable and to go either way, so it is wide where the truth is mostly near: halve the time
    bins and it halves.

    >>> concordance_binned(np.array([[0, 9], [9, 0]]), np.zeros((2, 2))).value
    1.0
    """
    events, censored = np.asarray(events, np.float64), np.asarray(censored, np.float64)
    everyone = events + censored
    after = everyone[::-1].cumsum(0)[::-1] - everyone  # patients in later time bins, by risk bin
    before = events.cumsum(0) - events  # events in earlier time bins, by risk bin
    low_after = after.cumsum(1) - after / 2  # of those, at lower risk; one half of those in the same risk bin
    high_before = before.sum(1, keepdims=True) - before.cumsum(1) + before / 2
    comparable_event = after.sum(1, keepdims=True) + before.sum(1, keepdims=True) + 0 * events
    comparable_censored = before.sum(1, keepdims=True) + 0 * events
    total, agree = float((events * after.sum(1, keepdims=True)).sum()), float((events * low_after).sum())
    if not total:
        return Binned(0.5, 0.0, 0.5)
    value = agree / total
    by_event = (low_after + high_before - value * comparable_event) / total
    by_censored = (high_before - value * comparable_censored) / total
    variance = float((events * by_event**2).sum() + (censored * by_censored**2).sum())

    tied = float((events * after).sum())
    e, c = events.sum(1), censored.sum(1)
    unknown = float((e * (e - 1) / 2 + e * c).sum())
    best, worst = (agree + tied / 2 + unknown) / (total + unknown), (agree - tied / 2) / (total + unknown)
    return Binned(value, variance, max(best - value, value - worst))
