"""Shared bins for scores that no site may show: a fixed grid first, then edges that hold enough patients each.

A score is mapped to one coordinate in [-16, 16]. Round 1 counts patients on a fixed grid of it; the coordinator cuts that
grid where each bin will hold at least 20; round 2 counts outcomes between the cuts; bins that still hold fewer than 10
patients are merged with their neighbour before anything is kept.
"""

from collections.abc import Sequence

import numpy as np

from collegium.table import Table

CELLS, REACH = 8192, 16.0
GRID = np.linspace(-REACH, REACH, CELLS + 1)
PAST = REACH + 1.0  # an edge that no coordinate reaches: fills up a fixed number of edges
EXPECTED, KEPT = 20, 10  # patients a bin should hold when it is cut, and must hold when it is kept


def logit(probability: np.ndarray) -> np.ndarray:
    """The coordinate of a probability: its logit, at most 16 (one in nine million) from zero."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(np.clip(np.log(p) - np.log1p(-p), -REACH, REACH))


def signed_log(x: np.ndarray) -> np.ndarray:
    """The coordinate of any number: about one per cent of resolution from 0.001 to 10^14, either sign; order kept."""
    return np.asarray(np.clip(0.4 * np.arcsinh(1e3 * np.clip(x, -1e300, 1e300)), -REACH, REACH))


def first_rows(table: Table) -> np.ndarray:
    """True for one row of each patient: summed over bins, those never count a patient twice."""
    if table.patient is None:
        return np.ones(len(table), bool)
    out = np.zeros(len(table), bool)
    out[np.unique(table.patient, return_index=True)[1]] = True
    return out


def tally(edges: np.ndarray, x: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """How many coordinates (or the sum of `weight`) lie in each of `len(edges) + 1` bins; an edge belongs to the bin above it."""
    return np.bincount(np.searchsorted(edges, x, side="right"), weight, len(edges) + 1)


def sketch(x: np.ndarray) -> np.ndarray:
    """How many coordinates lie in each cell of the fixed grid."""
    return tally(GRID[1:-1], x).astype(np.int64)


def cut(counts: np.ndarray, bins: int, through: Sequence[float] = ()) -> np.ndarray:
    """`bins - 1` edges on the grid with at least 20 patients, by the sketch, between each two; unused edges lie past its end.

    An edge is moved to each coordinate in `through` that lies among them, so that a threshold is a bin's border.

    >>> counts = np.zeros(CELLS, int); counts[[100, 4000, 8000]] = 30
    >>> cut(counts, 4) == [GRID[101], GRID[4001], PAST]
    array([ True,  True,  True])
    """
    size = max(EXPECTED, -(-int(counts.sum()) // bins))
    edges: list[float] = []
    held = 0
    for cell in np.flatnonzero(counts):
        held += int(counts[cell])
        if held >= size:
            edges.append(float(GRID[cell + 1]))
            held = 0
    if edges and held < EXPECTED:
        edges.pop()
    edges = edges[: bins - 1]
    for want in through:
        if edges and edges[0] < want < edges[-1]:
            edges[int(np.argmin(np.abs(np.array(edges) - want)))] = want
    return np.array(edges + [PAST] * (bins - 1 - len(edges)))


def merge(patients: np.ndarray, least: int = KEPT) -> np.ndarray:
    """Where the kept bins start, once neighbours are merged until each holds `least` patients; always at least one bin.

    >>> merge(np.array([4, 7, 30, 2, 1]))
    array([0, 2])
    """
    starts, held = [0], 0
    for bin, count in enumerate(patients):
        if held >= least:
            starts.append(bin)
            held = 0
        held += int(count)
    if len(starts) > 1 and held < least:
        starts.pop()
    return np.array(starts)
