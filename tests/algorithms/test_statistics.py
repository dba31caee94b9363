"""Statistics of many hospitals against NumPy and pandas on all rows."""

import numpy as np
import pandas as pd
import pytest

from collegium.algorithms.statistics import correlation, counts, crosstab, histograms, moments, suppress
from collegium.errors import DataError, StudyError
from collegium.simulation.local import simulate
from collegium.table import Table
from tests.datasets import dataset
from tests.laws.examples import cut, patients


@pytest.fixture
def table() -> Table:
    return patients(np.random.default_rng(11))


def sites(table: Table) -> dict[str, Table]:
    return cut(table, 5, np.random.default_rng(1))


def test_counts(table: Table):
    found = simulate(counts(["age", "platelets", "sex"]), sites(table))
    missing = [0, int(np.isnan(table["platelets"]).sum()), int((table["sex"] == "").sum())]
    assert found["missing"].tolist() == missing
    assert found["present"].tolist() == [len(table) - m for m in missing]
    assert (int(found["rows"]), int(found["patients"])) == (len(table), table.patients())


def test_moments(table: Table):
    found = simulate(moments(["age", "stay", "platelets"]), sites(table))
    x = np.column_stack([table[name] for name in ("age", "stay", "platelets")])
    np.testing.assert_allclose(found["mean"], np.nanmean(x, 0), rtol=1e-14)
    np.testing.assert_allclose(found["variance"], np.nanvar(x, 0, ddof=1), rtol=1e-13)
    np.testing.assert_allclose(found["sd"], np.nanstd(x, 0, ddof=1), rtol=1e-13)
    assert found["n"].tolist() == (~np.isnan(x)).sum(0).tolist()


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e7])
def test_moments_in_any_unit_and_far_from_zero(unit: float):
    x = (1000 + np.random.default_rng(2).normal(size=300)) * unit
    found = simulate(moments(["x"]), sites(Table({"x": x})))
    np.testing.assert_allclose(found["mean"], x.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["variance"], x.var(ddof=1), rtol=1e-5 if unit < 1 else 1e-9)


def test_a_column_without_values_has_zeros():
    found = simulate(moments(["x"]), {"a": Table({"x": np.full(3, np.nan)})})
    assert {name: float(leaf[0]) for name, leaf in found.items()} == {"n": 0, "missing": 3, "mean": 0, "variance": 0, "sd": 0}


def test_correlation_is_pairwise_complete(table: Table):
    stay = np.array(table["stay"])
    stay[::7] = np.nan
    holes = table.with_columns(stay=stay, same=np.full(len(table), 3.3), none=np.full(len(table), np.nan))
    names = ["age", "stay", "platelets", "diabetic", "same", "none"]
    found = simulate(correlation(names), sites(holes))
    want = pd.DataFrame({name: holes[name] for name in names}).corr().fillna(0).to_numpy()
    np.testing.assert_allclose(found["correlation"], want, rtol=1e-10, atol=1e-12)
    seen = ~np.isnan(np.column_stack([holes[name] for name in names]))
    np.testing.assert_array_equal(found["n"], seen.T.astype(int) @ seen)


def test_histograms_bin_as_numpy_does(table: Table):
    edges = [20.0, 40.0, 65.0, 80.0]
    found = simulate(histograms({"age": edges, "platelets": [1e5, 3e5]}), sites(table))
    age = table["age"]
    assert found["age"]["counts"].tolist() == np.histogram(age, edges)[0].tolist()
    assert int(found["age"]["below"]) == (age < 20).sum()
    assert int(found["age"]["above"]) == (age > 80).sum()
    platelets = table["platelets"]
    assert found["platelets"]["counts"].tolist() == [((platelets >= 1e5) & (platelets <= 3e5)).sum()]
    assert int(found["platelets"]["missing"]) == np.isnan(platelets).sum()
    border = simulate(histograms({"x": [0.0, 1.0, 2.0]}), {"a": Table({"x": np.array([0.0, 1.0, 2.0, 2.5])})})
    assert border["x"]["counts"].tolist() == [1, 2]


@pytest.mark.parametrize("edges", [[1.0], [2.0, 1.0], [0.0, np.inf], [[0.0, 1.0]]])
def test_edges_that_bound_nothing(edges):
    with pytest.raises(StudyError, match="edges of 'x'"):
        histograms({"x": edges})


def test_crosstab(table: Table):
    found = simulate(crosstab("sex", "code", row_levels=["F", "M"], column_levels=["I50.9", "N18.3"]), sites(table))
    frame = pd.DataFrame({"sex": table["sex"], "code": table["code"]})
    frame["code"] = frame["code"].where(frame["code"].isin(["I50.9", "N18.3"]), "other")
    frame = frame[frame["sex"] != ""]
    want = pd.crosstab(frame["sex"], frame["code"])[["I50.9", "N18.3", "other"]].to_numpy()
    assert found["counts"].tolist() == [*want.tolist(), [0, 0, 0]]
    assert int(found["missing"]) == (table["sex"] == "").sum()


def test_small_cells_are_hidden():
    assert suppress(np.array([[0, 1], [9, 10]])).tolist() == [[0, -1], [-1, 10]]
    assert suppress(np.array([4, 5]), k=5).tolist() == [-1, 5]


def test_text_where_numbers_are_wanted_is_refused_by_name(table: Table):
    with pytest.raises(DataError, match="column 'sex' is <U1"):
        simulate(moments(["sex"]), {"a": table})


def test_real_diabetes_stays():
    rows = pd.read_csv(dataset("diabetes130") / "diabetic_data.csv.gz", low_memory=False, nrows=20_000)
    names = ["time_in_hospital", "num_lab_procedures", "num_medications", "number_inpatient"]
    whole = Table({name: rows[name].to_numpy(float) for name in names})
    payer = rows["payer_code"].to_numpy(np.str_)
    by_payer = {code: whole.where(payer == code) for code in np.unique(payer).tolist()}
    found = simulate(correlation(names), by_payer)
    np.testing.assert_allclose(found["correlation"], rows[names].corr().to_numpy(), rtol=1e-10)
    np.testing.assert_allclose(found["sd"], rows[names].std().to_numpy(), rtol=1e-12)
