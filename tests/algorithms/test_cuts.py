"""Bins of enough patients, wherever the cuts are asked for and in whatever unit."""

import numpy as np
import pytest

from collegium.algorithms.cuts import UNUSED, cuts
from collegium.algorithms.features import Column
from collegium.errors import StudyError
from collegium.simulation.local import simulate
from collegium.table import Table


def found(values, patient=None, **knobs):
    table = Table({"v": np.asarray(values, float)}, patient)
    result = simulate(cuts([Column("v", "number")], **knobs), {"one": table})
    count = int(result["count"][0])
    assert (result["edges"][0, count:] == UNUSED).all()
    return result["edges"][0, :count]


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1e-6, 0), (2.6e5, 0), (1, 140), (-3, 5)])
def test_bins_are_even_in_any_unit(scale: float, shift: float):
    values = np.random.default_rng(1).normal(0, 1, 20_000) * scale + shift
    edges = found(values, bins=16, least=20)
    share = np.bincount(np.searchsorted(edges, values, side="right")) / len(values)
    assert len(edges) == 15
    np.testing.assert_allclose(share, 1 / 16, atol=0.02)


def test_every_bin_holds_enough_patients():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, 300), [1e6, -1e6], np.full(40, 3.0)])
    edges = found(values, bins=64, least=20)
    assert np.bincount(np.searchsorted(edges, values, side="right")).min() >= 20


def test_ages_a_year_apart_come_apart_and_a_shared_value_stands_alone():
    edges = found(np.concatenate([np.repeat(np.arange(60.0, 80.0), 50), np.zeros(3000)]), bins=32, least=20)
    assert len(edges) == 20  # nought, and each of twenty ages
    assert len({int(np.searchsorted(edges, age, side="right")) for age in np.arange(60.0, 80.0)}) == 20


def test_a_patient_counts_once():
    assert len(found(np.arange(200.0), np.array([f"p{k // 100}" for k in range(200)]), least=2)) == 0


def test_edges_are_exact_in_single_precision():
    edges = found(np.random.default_rng(3).lognormal(3, 2, 5000), bins=64)
    assert (edges == edges.astype(np.float32)).all()


@pytest.mark.parametrize("values", [[], [np.nan] * 50, [7.0] * 500])
def test_what_cannot_be_cut_has_one_bin(values):
    assert len(found(values)) == 0


@pytest.mark.parametrize("knobs", [{"bins": 1}, {"least": 0}])
def test_no_bins_are_refused(knobs):
    with pytest.raises(StudyError, match="two bins or more"):
        cuts([Column("v", "number")], **knobs)
