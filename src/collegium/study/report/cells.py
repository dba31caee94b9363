"""Small groups in published tables: what is hidden, and what must be hidden with it so that it stays hidden.

A count of fewer than ten may tell who someone is. A single hidden count beside a known total is no secret, so a second one
is hidden with it; and as hidden counts are at least one, those of a line must add up to ten or more (Willenborg and de Waal
2001, chapter 4). Zeros are shown: that nobody is in a group is rarely a secret, and hiding it would empty most tables.

    >>> hidden(np.array([0, 3, 40, 25])).tolist()
    [False, True, False, True]
"""

import numpy as np

from collegium.charts import written

HIDDEN = "hidden"
FEWEST = 10
WHY = "“hidden” stands for fewer than 10 patients, or for a group that would give such a number away."


def hidden(counts: np.ndarray, fewest: int = FEWEST) -> np.ndarray:
    """Which counts of a line (or of a table, whose row and column totals are taken to be known) must not be shown."""
    table = np.atleast_2d(np.asarray(counts, np.int64))
    mask = (table > 0) & (table < fewest)
    for _ in range(table.size + 1):
        before = mask.copy()
        for row, line in zip(mask, table, strict=True):
            widen(row, line, fewest)
        if np.ndim(counts) > 1:
            for column, line in zip(mask.T, table.T, strict=True):
                widen(column, line, fewest)
        if (mask == before).all():
            break
    return mask.reshape(np.shape(counts))


def widen(mask: np.ndarray, line: np.ndarray, fewest: int) -> None:
    """Hide more of a line, in place, until its hidden counts cannot be told from their sum."""
    while mask.any() and not mask.all() and (mask.sum() < 2 or line[mask].sum() < fewest):
        left = np.flatnonzero(~mask)
        full = left[line[left] > 0]
        choice = full if len(full) else left
        mask[choice[np.argmin(line[choice])]] = True


def shown(count: int, secret: bool, whole: int = 0) -> str:
    """A count, with its share of a whole, or that it is hidden."""
    if secret:
        return HIDDEN
    return f"{written(count, 0)} ({written(100 * count / whole, 1)}\N{NO-BREAK SPACE}%)" if whole else written(count, 0)
