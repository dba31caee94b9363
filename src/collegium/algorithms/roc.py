"""How well a score puts the ill before the well: AUROC with its interval, exactly from rows or from summed bins.

The exact form needs rows and so runs at one site; the binned form needs only how many positives and negatives fall between
shared edges, which add up over sites. What the bins cannot know is bounded, and the bound stands beside every binned figure.
"""

from typing import NamedTuple

import numpy as np

Z = 1.959963984540054  # two-sided 95 %


class Binned(NamedTuple):
    """A figure computed from bins: its sampling variance, and how far at most it is from the figure without bins."""

    value: float
    variance: float
    error: float


def midranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 1, tied values sharing the mean of their ranks.

    >>> midranks(np.array([3.0, 1.0, 3.0]))
    array([2.5, 1. , 2.5])
    """
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse.reshape(-1)]


def auroc(y: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """The exact AUROC of one site's rows, and each row's influence on it: the squares of those sum to DeLong's variance.

    Placements come from midranks in O(n log n) (Sun & Xu 2014, eq. 5-9; DeLong 1988). Influences instead of one variance
    let two models be paired (subtract them) and a patient's rows be taken together (add them; Obuchowski 1997).
    `y` is 0/1 with both present.

    >>> value, influence = auroc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> value, round(variance(influence), 4)
    (0.75, 0.125)
    """
    ill = np.asarray(y) == 1
    positives, negatives = int(ill.sum()), int((~ill).sum())
    among_all = midranks(score)
    above = (among_all[ill] - midranks(score[ill])) / negatives  # V10: the share of negatives below each positive
    below = 1 - (among_all[~ill] - midranks(score[~ill])) / positives  # V01: the share of positives above each negative
    value = float(above.mean())
    influence = np.empty(len(score))
    influence[ill], influence[~ill] = spread(above, value), spread(below, value)
    return value, influence


def spread(placement: np.ndarray, value: float) -> np.ndarray:
    """Deviations whose squares sum to the variance of the mean placement."""
    if len(placement) == 1:  # one row shows no variance: take the most that a mean between 0 and 1 can have
        return np.array([np.sqrt(value * (1 - value))])
    return np.asarray((placement - value) / np.sqrt(len(placement) * (len(placement) - 1)))


def variance(influence: np.ndarray, patient: np.ndarray | None = None) -> float:
    """The variance of an estimate from its rows' influences; the rows of one patient count as one draw."""
    if patient is not None:
        _, inverse = np.unique(patient, return_inverse=True)
        influence = np.bincount(inverse.reshape(-1), influence)
    return float(np.square(influence).sum())


def interval(value: float, variance: float, pairs: int) -> tuple[float, float]:
    """A 95 % interval for a share, symmetric on the logit scale, so that it stays between 0 and 1 (Qin & Hotilovac 2008).

    At 0 or 1 the variance is 0 and says nothing; `pairs` independent pairs that all agree still bound the share
    (Clopper & Pearson 1934): there are at least as many as patients in the smaller class.

    >>> [round(x, 3) for x in interval(0.75, 0.0025, 40)], [round(x, 3) for x in interval(1.0, 0.0, 40)]
    ([0.64, 0.835], [0.912, 1.0])
    """
    if not 0 < value < 1:
        edge = float(0.025 ** (1 / max(pairs, 1)))
        return (edge, 1.0) if value >= 1 else (0.0, 1 - edge)
    centre, half = np.log(value / (1 - value)), Z * np.sqrt(variance) / (value * (1 - value))
    low, high = (float((1 + np.tanh(x / 2)) / 2) for x in (centre - half, centre + half))  # tanh: no overflow at either end
    return low, high


def auroc_binned(positive: np.ndarray, negative: np.ndarray) -> Binned:
    """AUROC and DeLong's variance from positives and negatives per score bin, lowest bin first.

    A pair inside one bin counts one half, so the value is at most sum_b p_b n_b / (2 P N) from the AUROC of the rows.

    >>> auroc_binned(np.array([0, 1, 1]), np.array([1, 1, 0]))
    Binned(value=0.875, variance=0.03125, error=0.125)
    """
    ill, well = float(positive.sum()), float(negative.sum())
    above = (np.cumsum(negative) - negative / 2) / well
    below = 1 - (np.cumsum(positive) - positive / 2) / ill
    value = float(positive @ above / ill)
    between = 0.0
    for counts, placement in ((positive, above), (negative, below)):
        total = float(counts.sum())
        squares = float(counts @ np.square(placement - value))
        between += squares / (total * (total - 1)) if total > 1 else value * (1 - value)
    return Binned(value, between, float(positive @ negative / (2 * ill * well)))


def average_precision_binned(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """Average precision from bins, lowest first, and its greatest error.

    Inside a bin the negatives are taken to lie evenly among the positives (Davis & Goadrich 2006); the error is the
    distance to the better or worse extreme: all its positives before its negatives, or after.

    >>> average_precision_binned(np.array([0, 1, 1]), np.array([1, 0, 0]))
    (1.0, 0.0)
    """
    p, n = positive[::-1].astype(np.int64), negative[::-1].astype(np.int64)
    bin_of = np.repeat(np.arange(len(p)), p)
    found = np.arange(1, len(bin_of) + 1)  # true positives when this one is reached
    inside = found - (np.cumsum(p) - p)[bin_of]
    before = (np.cumsum(n) - n)[bin_of]
    middle = before + n[bin_of] * (inside - 0.5) / p[bin_of]
    value, best, worst = (float((found / (found + false)).mean()) for false in (middle, before, before + n[bin_of]))
    return value, max(best - value, value - worst)


def curve(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ROC curve at the bins' edges, from (0, 0) to (1, 1): false-positive rates, true-positive rates."""
    false, true = (np.concatenate([[0.0], np.cumsum(x[::-1]) / x.sum()]) for x in (negative, positive))
    return false, true


def confusion(positive: np.ndarray, negative: np.ndarray, first: np.ndarray) -> dict[str, np.ndarray]:
    """Sensitivity, specificity, PPV and NPV when every bin from `first` on is called positive.

    >>> confusion(np.array([1, 4]), np.array([9, 1]), np.array([1]))["ppv"]
    array([0.8])
    """
    true, false = (x.sum() - np.cumsum(np.concatenate([[0], x]))[first] for x in (positive, negative))
    missed, spared = positive.sum() - true, negative.sum() - false
    return {
        "sensitivity": true / positive.sum(),
        "specificity": spared / negative.sum(),
        "ppv": true / np.maximum(true + false, 1),
        "npv": spared / np.maximum(missed + spared, 1),
    }
