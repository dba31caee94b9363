"""The regression that hospitals fit together is the one statsmodels fits on their pooled rows."""

import gzip
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from collegium.algorithms.features import Column, encode, encoded, features, names, references
from collegium.algorithms.glm import FAMILIES, glm, table_of
from collegium.engine import run as course
from collegium.engine import task
from collegium.engine.run import Stage
from collegium.errors import DataError, RunError, StudyError
from collegium.simulation.local import close, simulate
from collegium.table import Table
from tests.datasets import dataset
from tests.laws.examples import cut, numbers

FAMILY = {"gaussian": sm.families.Gaussian, "binomial": sm.families.Binomial, "poisson": sm.families.Poisson}


def sites(table: Table, count: int = 4) -> dict[str, Table]:
    return cut(table, count, np.random.default_rng(1))


def reference(family: str, x: np.ndarray, y: np.ndarray, **more):
    """statsmodels on centred and scaled columns, put back into their units: on raw ones it loses digits itself."""
    mean, sd = x.mean(0), x.std(0)
    fit = sm.GLM(y, sm.add_constant((x - mean) / sd, has_constant="add"), family=FAMILY[family](), **more)
    fit = fit.fit(tol=1e-13, maxiter=30, tol_criterion="params")
    back = np.diag(np.append(1.0, 1 / sd))
    back[0, 1:] = -mean / sd
    return back @ fit.params, np.sqrt(np.diag(back @ fit.cov_params() @ back.T)), fit


def same_fit(found, family: str, x: np.ndarray, y: np.ndarray, **more) -> None:
    coef, se, fit = reference(family, x, y, **more)
    np.testing.assert_allclose(found["coef"], coef, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found["se"], se, rtol=1e-8)
    np.testing.assert_allclose(found["loglik"], fit.llf, rtol=1e-8)
    np.testing.assert_allclose(found["aic"], fit.aic, rtol=1e-8)
    np.testing.assert_allclose(found["dispersion"], fit.scale, rtol=1e-8)
    assert int(found["converged"]) == 1
    assert int(found["n"]) == len(y)


@pytest.mark.parametrize("family", [*FAMILIES])
@pytest.mark.parametrize("extra", [False, True], ids=["plain", "offset and weight"])
def test_statsmodels_on_pooled_rows(family: str, extra: bool):
    table = numbers(np.random.default_rng(0), family)
    more = {"offset": table["offset"], "freq_weights": table["weight"]} if extra else {}
    table = table if extra else Table({"x": table["x"], "y": table["y"]})
    same_fit(simulate(glm(family=family, width=3), sites(table)), family, table["x"], table["y"], **more)


ABSENT = {
    "one misses a round": lambda at, number: ["0"] if number == at else [],
    "one leaves": lambda at, number: ["0"] if number >= at else [],
    "one comes late": lambda at, number: ["0"] if number <= at else [],
    "two take turns": lambda at, number: ["0"] if number < at else ["1"],
    "half of them leave": lambda at, number: ["0", "1"] if number >= at else [],
}


@pytest.mark.parametrize("at", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("how", ABSENT)
@pytest.mark.parametrize("family", [*FAMILIES])
def test_where_hospitals_drop_out_the_fit_is_that_of_those_who_answered_last(family: str, how: str, at: int):
    table = numbers(np.random.default_rng(4), family)
    here = {str(n): rows for n, rows in enumerate(sites(Table({"x": table["x"], "y": table["y"]})).values())}
    stages = [Stage("fit", glm(family=family, width=3), 60, table.where(np.zeros(0, int)))]
    run = course.begin(stages, len(here))
    while not run.over:
        place, shared = run.place, course.shared(run, stages)
        names = [name for name in here if name not in ABSENT[how](at, place.round)]
        changes = {name: task.update(stages[0].algorithm, shared, here[name], {"seed": np.array(0)})[0] for name in names}
        while run.place[:2] == place[:2] and not run.over:
            run = close(run, stages, changes, 0)
    x, y = (np.concatenate([here[name][column] for name in names]) for column in "xy")
    same_fit(run.results["fit"], family, x, y)


def test_without_an_intercept():
    table = numbers(np.random.default_rng(2), "poisson")
    x, y = table["x"][:, [0, 2]], 20 * table["y"]  # far from the mean of 1 that it starts with: steps must be held short
    found = simulate(glm(family="poisson", intercept=False, width=2), sites(Table({"x": x, "y": y})))
    fit = sm.GLM(y, x, family=sm.families.Poisson()).fit(tol=1e-14, tol_criterion="params", maxiter=200)
    np.testing.assert_allclose(found["coef"], fit.params, rtol=1e-7)
    np.testing.assert_allclose(found["se"], fit.bse, rtol=1e-7)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
def test_ridge_is_the_penalised_maximum(family: str):
    table = numbers(np.random.default_rng(3), family)
    x, y = table["x"] - table["x"].mean(0), table["y"]
    coef = simulate(glm(family=family, ridge=3.0, width=3), sites(Table({"x": x, "y": y})))["coef"]
    mu = FAMILIES[family].mean(coef[0] + x @ coef[1:])
    score = np.append((y - mu).sum(), x.T @ (y - mu) - 3.0 * coef[1:])
    np.testing.assert_allclose(score, 0, atol=1e-6 * np.abs(x).sum())


def diabetes() -> pd.DataFrame:
    raw = gzip.decompress((dataset("diabetes130") / "diabetic_data.csv.gz").read_bytes()).decode()
    rows = pd.read_csv(StringIO(raw), low_memory=False)
    return rows[rows["diag_1"].str.startswith("428")].reset_index(drop=True)


@pytest.fixture(scope="module")
def heart_failure() -> tuple[Table, list[Column], dict[str, Table]]:
    """Hospital stays for heart failure, 6,665 of them, dealt to sites by who paid."""
    rows = diabetes()
    measured = ["num_lab_procedures", "num_procedures", "num_medications", "number_emergency", "number_diagnoses"]
    columns = {name: rows[name].to_numpy(float) for name in [*measured, "time_in_hospital", "number_inpatient"]}
    text = {name: rows[name].replace("?", "").fillna("").to_numpy(np.str_) for name in ("age", "gender", "race", "insulin")}
    table = Table({**columns, **text, "readmitted": (rows["readmitted"] == "<30").to_numpy(float)}, rows["patient_nbr"].to_numpy())
    plan = [Column(name, "number") for name in measured]
    plan += [Column(name, "category", tuple(sorted(set(text[name].tolist()) - {""}))) for name in ("age", "gender")]
    plan += [Column(name, "category") for name in ("race", "insulin")]
    payer = rows["payer_code"].to_numpy(np.str_)
    return table, plan, {name: table.where(payer == name) for name in np.unique(payer).tolist()}


@pytest.mark.parametrize(
    ("family", "outcome"), [("binomial", "readmitted"), ("poisson", "number_inpatient"), ("gaussian", "time_in_hospital")]
)
def test_heart_failure_by_payer_is_statsmodels_on_all_rows(heart_failure, family: str, outcome: str):
    table, columns, by_payer = heart_failure
    given = {"features": simulate(features(columns), by_payer)}
    with_y = {name: site.with_columns(y=site[outcome]) for name, site in by_payer.items()}
    found = simulate(encoded(glm(family=family), columns, reference=True), with_y, given=given)
    x = encode(table, columns, given["features"], reference=True)
    same_fit(found, family, x, table[outcome])
    rows = table_of(found, names(columns, given["features"], reference=True))
    assert len(rows) == x.shape[1] + 1
    whole = table_of(found, names(columns, given["features"]), references(columns, given["features"]))
    assert [row for row in whole if not row.reference] == rows
    assert [row.coef for row in whole if row.reference] == [0.0] * (len(whole) - len(rows))


def test_heart_failure_records_in_raw_units():
    """Platelets by the hundred thousand beside creatinine near one: the scale is the fit's own business."""
    rows = pd.read_csv(dataset("hf_records") / "heart_failure_clinical_records_dataset.csv")
    x, y = rows.drop(columns=["DEATH_EVENT"]).to_numpy(float), rows["DEATH_EVENT"].to_numpy(float)
    same_fit(simulate(glm(width=x.shape[1]), sites(Table({"x": x, "y": y}))), "binomial", x, y)


def test_only_training_rows_with_an_outcome_count():
    table = numbers(np.random.default_rng(4))
    x, y, part = table["x"], np.array(table["y"]), (np.arange(180) % 3).astype(np.int8)
    y[0] = np.nan
    found = simulate(glm(width=3), sites(Table({"x": x, "y": y, "part": part})))
    use = (part == 0) & ~np.isnan(y)
    same_fit(found, "binomial", x[use], y[use])
    assert int(found["missing"]) == 1


def fails(x: np.ndarray, y: np.ndarray, **more) -> str:
    with pytest.raises(RunError) as caught:
        simulate(glm(width=x.shape[1], **more), {"a": Table({"x": x, "y": y})})
    return str(caught.value)


def test_a_column_that_gives_the_outcome_away_is_named():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(200, 2)), (rng.random(200) < 0.5).astype(float)
    rare = (np.arange(200) < 7).astype(float)
    wide = np.column_stack([x, rare])
    assert "x[2] gives the outcome away" in fails(wide, np.where(rare, 1.0, y))
    assert "x[2] gives the outcome away" in fails(wide, np.where(rare, 0.0, 1 + y), family="poisson")
    assert "x[0] gives the outcome away" in fails(x, (x[:, 0] > 0.3).astype(float))
    held = simulate(glm(width=3, ridge=1.0), {"a": Table({"x": wide, "y": np.where(rare, 1.0, y)})})
    assert int(held["converged"])


@pytest.mark.parametrize("seed", range(40))
def test_strong_effects_are_not_taken_for_separation(seed: int):
    """Forty rows, an odds ratio of 20: near separation, so a fit exists for some and not for others; a linear program knows."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 3))
    y = (rng.random(40) < 1 / (1 + np.exp(-3 * x[:, 0]))).astype(float)
    signed = sm.add_constant(x) * (2 * y - 1)[:, None]
    apart = -linprog(-signed.sum(0), A_ub=-signed, b_ub=np.zeros(40), bounds=[(-1, 1)] * 4).fun > 1e-9
    if apart:
        assert "gives the outcome away" in fails(x, y)
    else:
        same_fit(simulate(glm(width=3), {"a": Table({"x": x, "y": y})}), "binomial", x, y)


def test_columns_that_say_the_same_are_named():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(100, 3)), (rng.random(100) < 0.5).astype(float)
    assert "x[0], x[1], x[3] say the same" in fails(np.column_stack([x, x[:, 0] - x[:, 1]]), y)
    assert "x[3] has the same value in all 100 rows" in fails(np.column_stack([x, np.full(100, 0.1)]), y)
    assert "and 2 more" in fails(np.ones((100, 7)), y)
    kept = simulate(glm(width=4, ridge=0.1), {"a": Table({"x": np.column_stack([x, np.full(100, 0.1)]), "y": y})})
    assert kept["coef"][4] == pytest.approx(0, abs=1e-9)


def test_names_of_columns_reach_the_message():
    columns = [Column("age", "number"), Column("sex", "category", ("F", "M"))]
    table = Table({"age": np.full(40, 50.0), "sex": np.array(["F", "M"] * 20), "y": np.arange(40) // 5 % 2.0})
    given = {"features": simulate(features(columns), {"a": table})}
    with pytest.raises(RunError, match="'age' has the same value in all 40 rows"):
        simulate(encoded(glm(), columns, reference=True), {"a": table}, given=given)
    with pytest.raises(RunError, match="'sex=F', 'sex=M' say the same"):
        simulate(encoded(glm(), columns[1:]), {"a": table}, given={"features": simulate(features(columns[1:]), {"a": table})})


def test_what_cannot_be_learned_is_refused():
    x = np.random.default_rng(0).normal(size=(6, 2))
    assert "all 6 rows have the same outcome" in fails(x, np.ones(6))
    assert "all 6 rows have the same outcome" in fails(x, np.zeros(6), family="poisson")
    assert "no site has a training row" in fails(x, np.full(6, np.nan))
    assert "3 rows cannot carry 3 coefficients" in fails(x[:3], np.array([0.0, 1, 0]))
    with pytest.raises(StudyError, match="how many columns"):
        glm().init({})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.zeros((4, 3))}, r"wanted \(rows, 2\)"),
        ({"x": np.full((4, 2), np.nan)}, "'x' holds missing"),
        ({"y": np.array([0, 1, 2, 0.0])}, "'y' ranges from 0 to 2; binomial wants 0 to 1"),
        ({"weight": np.array([1, -1, 1, 1.0])}, "'weight' holds values below 0"),
        ({"offset": np.array([1, np.inf, 1, 1.0])}, "'offset' holds missing values, infinity"),
    ],
)
def test_rows_that_do_not_fit_are_refused(changed, message: str):
    table = Table({"x": np.zeros((4, 2)), "y": np.array([0, 1, 0, 1.0])}).with_columns(**changed)
    with pytest.raises(DataError, match=message):
        simulate(glm(width=2), {"a": table})


def test_a_step_too_far_is_halved():
    fit = glm(width=1, tol=1e-12)
    table = Table({"x": np.array([[0.0], [1.0], [2.0], [3.0]]), "y": np.array([0, 1, 0, 1.0])})
    state = fit.init({})
    for _ in range(2):
        state = fit.apply(state, fit.local(fit.share(state), table, {})[0])
    far = {**state, "tried": state["coef"] + 64 * state["step"], "step": 64 * state["step"]}
    back = fit.apply(far, fit.local(fit.share(far), table, {})[0])
    np.testing.assert_array_equal(back["tried"], state["coef"] + 32 * state["step"])
    assert int(back["halvings"]) == 1
    with pytest.raises(RunError, match="no step raises the likelihood"):
        fit.apply({**far, "halvings": np.array(40)}, fit.local(fit.share(far), table, {})[0])
    assert not np.any(fit.result(fit.init({}))["se"])  # a run stopped before its first round has nothing to say


def test_the_table_reads_as_people_expect():
    table = numbers(np.random.default_rng(8))
    found = simulate(glm(width=3), sites(table))
    rows = table_of(found, ["a", "b", "c"])
    assert [row.name for row in rows] == ["intercept", "a", "b", "c"]
    assert rows[1].ratio == pytest.approx(np.exp(rows[1].coef))
    assert rows[1].low == pytest.approx(rows[1].coef - 1.959964 * rows[1].se)
    assert rows[1].ratio_low < rows[1].ratio < rows[1].ratio_high
    assert 0 <= rows[1].p < 0.001
    with pytest.raises(StudyError, match="3 columns, 1 names"):
        table_of(found, ["a"])
    line = simulate(glm(family="gaussian", width=3), sites(numbers(np.random.default_rng(8), "gaussian")))
    assert table_of(line, ["a", "b", "c"])[1].ratio is None


def test_rounding_at_the_summit_ends_the_climb():
    """With a tolerance below what sums of integers resolve, it stops where steps no longer shrink."""
    found = simulate(glm(width=3, tol=0.0), sites(numbers(np.random.default_rng(9))))
    assert int(found["converged"])
    assert int(found["rounds"]) < 20


@pytest.mark.parametrize("family", [*FAMILIES])
def test_the_likelihood_ratio_is_against_the_intercept_alone(family: str):
    table = numbers(np.random.default_rng(3), family)
    table = Table({"x": table["x"], "y": table["y"]})
    found = simulate(glm(family=family, width=3), sites(table))
    _, _, fit = reference(family, table["x"], table["y"])
    null = sm.GLM(table["y"], np.ones((len(table), 1)), family=FAMILY[family]()).fit(tol=1e-13)
    assert float(found["test"]["chi2"]) == pytest.approx(2 * (fit.llf - null.llf), rel=1e-8)
    assert int(found["test"]["df"]) == 3


def test_there_is_no_likelihood_ratio_where_it_would_mislead():
    table = numbers(
        np.random.default_rng(3), "binomial"
    )  # the null model of a logistic regression with an offset is not what is tried first
    assert "test" not in simulate(glm(family="binomial", width=3), sites(table))
    assert "test" not in simulate(glm(family="binomial", ridge=1.0, width=3), sites(Table({"x": table["x"], "y": table["y"]})))


@pytest.mark.parametrize("errors", ["patient", "site"])
@pytest.mark.parametrize("family", [*FAMILIES])
def test_sandwich_errors_are_statsmodels(family: str, errors: str):
    table = numbers(np.random.default_rng(5), family)
    table = Table({"x": table["x"], "y": table["y"]}, np.array([f"p{n // 3}" for n in range(len(table))]))
    here = sites(table, 5)
    found = simulate(glm(family=family, width=3, errors=errors), here)
    whole = {name: np.concatenate([t[name] for t in here.values()]) for name in ("x", "y")}
    who = {
        "patient": np.concatenate([t.patient for t in here.values()]),
        "site": np.repeat(np.arange(5), [len(t) for t in here.values()]),
    }[errors]
    mean, sd = whole["x"].mean(0), whole["x"].std(0)
    groups = np.unique(who, return_inverse=True)[1]
    model = sm.GLM(whole["y"], sm.add_constant((whole["x"] - mean) / sd), family=FAMILY[family]())
    fit = model.fit(tol=1e-13, maxiter=50, tol_criterion="params", cov_type="cluster", cov_kwds={"groups": groups})
    back = np.diag(np.append(1.0, 1 / sd))
    back[0, 1:] = -mean / sd
    np.testing.assert_allclose(found["se"], np.sqrt(np.diag(back @ fit.cov_params() @ back.T)), rtol=1e-6)
    np.testing.assert_allclose(found["model_se"], simulate(glm(family=family, width=3), here)["se"], rtol=1e-9)
    assert int(found["clusters"]) == len(np.unique(who))
