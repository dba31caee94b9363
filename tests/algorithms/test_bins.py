"""Bins that hold enough patients, on coordinates that keep the order."""

import numpy as np

from collegium.algorithms.bins import CELLS, GRID, PAST, cut, logit, merge, signed_log
from collegium.table import Table
from tests.algorithms.cohorts import binary, quality


def test_bins_hold_enough_patients():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.05, CELLS)
    edges = cut(counts, 64)
    held = np.add.reduceat(counts, np.concatenate([[0], np.searchsorted(GRID, edges[edges < PAST])]))
    assert held.min() >= 20
    patients = rng.integers(0, 15, 100)
    starts = merge(patients)
    assert np.add.reduceat(patients, starts).min() >= 10
    assert np.isin(float(logit(np.array(0.5))), cut(np.full(CELLS, 1), 64, [0.0]))
    assert (np.diff(signed_log(np.array([-1e308, -5.0, -1e-4, 0.0, 1e-4, 1.0, 1e6]))) > 0).all()


def test_a_patient_with_many_rows_counts_once_towards_a_bin():
    t = binary(2000)
    found = quality("binary", Table(t.columns, patient=np.arange(2000) % 50))
    assert int(found["patients"]) == 50
    assert len(found["roc"]["true_positive_rate"]) <= 5 + 1
