"""The Cox model that hospitals fit together is the one lifelines fits on their pooled rows."""

import gzip
import warnings
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from collegium.algorithms.cox import cox
from collegium.algorithms.glm import table_of
from collegium.algorithms.timegrid import timegrid
from collegium.engine import run as course
from collegium.engine import task
from collegium.engine.run import Stage
from collegium.errors import DataError, RunError, StudyError
from collegium.simulation.local import close, simulate, walk
from collegium.table import Table
from tests.datasets import dataset
from tests.laws.examples import cut
from tests.laws.examples_survival import ARMS, followed, gridded


def train(table: Table) -> Table:
    return table.where(np.asarray(table["part"]) == 0)


def lifelines(table: Table, strata=None, **more) -> CoxPHFitter:
    """lifelines on all rows; Efron is its only rule for ties."""
    frame = pd.DataFrame(np.asarray(table["x"]), columns=["a", "b", "c"]).assign(time=table["time"], event=table["event"], **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CoxPHFitter().fit(frame, "time", "event", strata=strata, fit_options={"precision": 1e-12})


def same(found, want: CoxPHFitter) -> None:
    np.testing.assert_allclose(found["coef"], want.params_.to_numpy(), rtol=1e-6)
    np.testing.assert_allclose(found["se"], want.standard_errors_.to_numpy(), rtol=1e-6)
    np.testing.assert_allclose(found["loglik"], want.log_likelihood_, rtol=1e-9)
    np.testing.assert_allclose(found["test"]["chi2"], want.log_likelihood_ratio_test().test_statistic, rtol=1e-6)
    assert int(found["converged"]) == 1


def test_pooled_risk_sets_are_those_of_one_table():
    table = followed(np.random.default_rng(0))
    found = simulate(cox(risk_sets="pooled", width=3, fewest=1), cut(table, 5, np.random.default_rng(1)), given=gridded(table), rounds=60)
    same(found, lifelines(train(table)))
    assert int(found["n"]) == len(train(table))
    assert int(found["events"]) == train(table)["event"].sum()


def test_strata_by_a_category():
    table = followed(np.random.default_rng(1))
    fit, sites = cox(risk_sets="pooled", width=3, strata=ARMS, fewest=1), cut(table, 4, np.random.default_rng(1))
    found = simulate(fit, sites, given=gridded(table, ARMS), rounds=60)
    same(found, lifelines(train(table), "arm", arm=train(table)["stratum"]))


def test_stratified_by_site_no_time_leaves():
    table = followed(np.random.default_rng(2))
    sites = cut(table, 3, np.random.default_rng(1))
    found = simulate(cox(width=3), sites, given=gridded(table, fewest=10), rounds=60)
    rows = {name: train(part) for name, part in sites.items()}
    whole = Table({name: np.concatenate([part[name] for part in rows.values()]) for name in ("x", "time", "event")})
    same(found, lifelines(whole, "site", site=np.repeat([*rows], [len(part) for part in rows.values()])))


def test_stratified_by_site_is_strata_of_one_table():
    table = followed(np.random.default_rng(3))
    arms = {arm: table.where(np.flatnonzero(table["stratum"] == arm)) for arm in ARMS}
    by_site = simulate(cox(width=3, ties="breslow"), arms, given=gridded(table, fewest=10), rounds=60)
    fit = cox(risk_sets="pooled", width=3, strata=ARMS, ties="breslow", fewest=1)
    by_arm = simulate(fit, {"all": table}, given=gridded(table, ARMS), rounds=60)
    for name in ("coef", "se", "loglik"):
        np.testing.assert_allclose(by_site[name], by_arm[name], rtol=1e-9)


def test_breslows_rule_without_ties_is_efrons():
    table = followed(np.random.default_rng(4), 200)
    apart = table.with_columns(time=np.random.default_rng(0).permutation(200) + 1.0)
    short = apart.where(apart["time"] <= 40)
    given = gridded(short)
    fits = [
        simulate(cox(risk_sets="pooled", width=3, ties=t, fewest=1), {"a": short}, given=given, rounds=60) for t in ("efron", "breslow")
    ]
    np.testing.assert_allclose(fits[0]["coef"], fits[1]["coef"], rtol=1e-9)


def test_joined_intervals_are_lifelines_on_joined_times():
    table = followed(np.random.default_rng(5))
    given = gridded(table, fewest=10)
    found = simulate(cox(risk_sets="pooled", width=3), cut(table, 4, np.random.default_rng(1)), given=given, rounds=60)
    slot = given["grid"]["group"][0][np.asarray(train(table)["time"], int)]
    kept = train(table).where(slot >= 0).with_columns(time=slot[slot >= 0] + 1.0)
    same(found, lifelines(kept))


def test_the_baseline_is_breslows_at_points_about_ten():
    table = followed(np.random.default_rng(6))
    found = simulate(cox(risk_sets="pooled", width=3, fewest=1), cut(table, 3, np.random.default_rng(1)), given=gridded(table), rounds=60)
    rows, base = train(table), found["baseline"]
    weight = np.exp((rows["x"] - np.asarray(rows["x"]).mean(0)) @ found["coef"])
    event = np.asarray(rows["event"]) == 1
    steps = {}
    for t in np.unique(rows["time"][event]):  # Efron's rule for ties, as in the fit
        risk, tied = weight[rows["time"] >= t].sum(), weight[(rows["time"] == t) & event]
        steps[t] = sum(1 / (risk - at / len(tied) * tied.sum()) for at in range(len(tied)))
    assert 3 < len(base["time"]) < len(np.unique(table["time"]))
    for time, hazard in zip(base["time"], base["hazard"], strict=True):
        assert hazard == pytest.approx(sum(step for t, step in steps.items() if t <= time), rel=1e-9)
    assert (base["at_risk"] >= 10).all()
    assert (-np.diff(base["at_risk"]) >= 10).all()
    own = simulate(cox(width=3), {"all": table}, given=gridded(table, fewest=10), rounds=60)["baseline"]
    assert (own["at_risk"] >= 10).all()
    for time, hazard in zip(own["time"], own["hazard"], strict=True):  # of joined intervals: nearly the same, and not of the last
        assert hazard == pytest.approx(sum(step for t, step in steps.items() if t <= time), rel=0.05)


def test_the_baseline_without_ties_in_rule_is_lifelines():
    table = followed(np.random.default_rng(6))
    fit = cox(risk_sets="pooled", width=3, fewest=1)
    rows = train(table).with_columns(time=np.argsort(np.argsort(train(table)["time"], kind="stable"), kind="stable") + 1.0)
    step = timegrid(len(rows), fewest=1)
    grid = step.result(step.apply(step.init({}), step.local({}, rows, {})[0]))
    base = simulate(fit, cut(rows, 3, np.random.default_rng(1)), given={"grid": grid}, rounds=60)["baseline"]
    want = lifelines(rows).baseline_cumulative_hazard_.iloc[:, 0]
    for time, hazard in zip(base["time"], base["hazard"], strict=True):
        assert hazard == pytest.approx(want[want.index <= time].iloc[-1], rel=1e-6)


def test_proportionality_is_the_score_test_of_an_interaction_with_time():
    """Against the gradient and information of the model with x times its scale of time, by differences of its likelihood."""
    table = train(followed(np.random.default_rng(7)))
    grid = gridded(table)["grid"]
    found = simulate(cox(risk_sets="pooled", ties="breslow", width=3, fewest=1), {"a": table}, given={"grid": grid}, rounds=60)
    slot, x = grid["group"][0][np.asarray(table["time"], int)], np.asarray(table["x"])
    x = (x - x.mean(0)) / x.std(0)
    b = found["coef"] * np.asarray(table["x"]).std(0)

    def loglik(both: np.ndarray) -> float:
        total = 0.0
        for k in range(slot.max() + 1):
            eta = x @ (both[:3] + both[3:] * grid["ahead"][k])
            tied = (slot == k) & (np.asarray(table["event"]) == 1)
            total += eta[tied].sum() - tied.sum() * np.log(np.exp(eta[slot >= k]).sum())
        return total

    at, h = np.concatenate([b, np.zeros(3)]), 1e-4
    steps = np.eye(6) * h
    score = np.array([(loglik(at + e) - loglik(at - e)) / (2 * h) for e in steps])
    information = -np.array(
        [[(loglik(at + e + f) - loglik(at + e - f) - loglik(at - e + f) + loglik(at - e - f)) / (4 * h * h) for f in steps] for e in steps]
    )
    np.testing.assert_allclose(found["proportional"]["all_chi2"], score @ np.linalg.solve(information, score), rtol=1e-4)
    for j in range(3):
        some = [0, 1, 2, 3 + j]
        want = score[some] @ np.linalg.solve(information[np.ix_(some, some)], score[some])
        np.testing.assert_allclose(found["proportional"]["chi2"][j], want, rtol=1e-4, atol=1e-6)


def test_hazards_that_cross_are_found():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(600, 1))
    early = x[:, 0] > 0
    time = np.where(early, rng.choice([2.0, 38.0], 600), rng.choice([15.0, 25.0], 600))
    table = Table({"x": x, "time": time, "event": np.ones(600), "stratum": np.full(600, "drug"), "part": np.zeros(600, np.int8)})
    found = simulate(cox(width=1), cut(table, 3, rng), given=gridded(table, fewest=10), rounds=60)
    assert float(found["proportional"]["p"][0]) < 1e-6


def test_ratios_are_the_table():
    table = followed(np.random.default_rng(0))
    found = simulate(cox(width=3), {"a": table}, given=gridded(table, fewest=10), rounds=60)
    row = table_of(found, ["a", "b", "c"])[0]
    assert row.ratio == pytest.approx(np.exp(row.coef))
    assert row.name == "a"


@pytest.mark.parametrize("risk_sets", ["site", "pooled"])
class TestTrouble:
    def fit(self, table: Table, risk_sets: str, **more):
        grid = gridded(table, fewest=10)
        return simulate(cox(risk_sets=risk_sets, width=3, **more), cut(table, 3, np.random.default_rng(0)), given=grid, rounds=60)

    def test_nobody_has_the_event(self, risk_sets: str):
        table = followed(np.random.default_rng(0))
        with pytest.raises(RunError, match=r"nobody in .* has the event"):
            self.fit(table.with_columns(event=np.zeros(len(table))), risk_sets)

    def test_a_constant_column_is_named(self, risk_sets: str):
        table = followed(np.random.default_rng(0))
        x = np.array(table["x"])
        x[:, 1] = 7.0
        with pytest.raises(RunError, match=r"x\[1\] has the same value"):
            self.fit(table.with_columns(x=x), risk_sets)

    def test_columns_that_say_the_same_are_named(self, risk_sets: str):
        table = followed(np.random.default_rng(0))
        x = np.array(table["x"])
        x[:, 1] = 2 * x[:, 0] + 1
        with pytest.raises(RunError, match=r"x\[0\], x\[1\] say the same"):
            self.fit(table.with_columns(x=x), risk_sets)

    def test_a_group_without_events_has_no_finite_coefficient(self, risk_sets: str):
        table = followed(np.random.default_rng(0))
        x = np.array(table["x"])
        x[:, 2] = np.arange(len(x)) % 2
        event = np.where(x[:, 2] == 1, 0.0, table["event"])
        with pytest.raises(RunError, match=r"x\[2\] gives the outcome away"):
            self.fit(table.with_columns(x=x, event=event), risk_sets)
        found = self.fit(table.with_columns(x=x, event=event), risk_sets, ridge=1.0)
        assert int(found["converged"]) == 1
        assert "test" not in found

    def test_values_that_are_none_are_refused(self, risk_sets: str):
        table = followed(np.random.default_rng(0))
        x = np.array(table["x"])
        x[3, 0] = np.nan
        with pytest.raises(DataError, match="missing values"):
            self.fit(table.with_columns(x=x), risk_sets)


def test_it_wants_a_grid_and_a_width():
    with pytest.raises(StudyError, match="which grid"):
        cox(width=2).init({})


@pytest.mark.parametrize("at", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "misses one round"])
@pytest.mark.parametrize("risk_sets", ["site", "pooled"])
def test_where_a_hospital_drops_out_the_fit_is_that_of_those_who_answered_last(risk_sets: str, leaves: bool, at: int):
    table = followed(np.random.default_rng(9))
    here = {str(n): rows for n, rows in enumerate(cut(table, 4, np.random.default_rng(1)).values())}
    given = gridded(table, fewest=10)
    stages = [Stage("fit", cox(risk_sets=risk_sets, width=3), 80, table.where(np.zeros(0, int)))]
    run = course.begin(stages, len(here), given)
    while not run.over:
        place, shared = run.place, course.shared(run, stages)
        gone = place.round >= at if leaves else place.round == at
        names = [name for name in here if not (gone and name == "0")]
        changes = {name: task.update(stages[0].algorithm, shared, here[name], {"seed": np.array(0)})[0] for name in names}
        while run.place[:2] == place[:2] and not run.over:
            run = close(run, stages, changes, 0)
    baseline = risk_sets == "site" and place.round == at  # the last round of all asks for the baseline: the fit is made
    left = {name: rows for name, rows in here.items() if not (leaves and not baseline and name == "0")}
    want = simulate(stages[0].algorithm, left, given=given, rounds=60)
    found = run.results["fit"]
    np.testing.assert_allclose(found["coef"], want["coef"], rtol=1e-6)
    np.testing.assert_allclose(found["loglik"], want["loglik"], rtol=1e-9)
    assert int(found["n"]) == int(want["n"])


def dialysis() -> pd.DataFrame:
    with gzip.open(dataset("survival_multicentre") / "Dialysis.csv.gz", "rt") as file:
        return pd.read_csv(StringIO(file.read()))


def test_dialysis_in_67_centres_is_what_was_published_of_pooled_rows():
    frame = dialysis()
    kinds = ["diabetes", "hypert", "other", "renal"]
    x = np.column_stack([frame["num_age"], frame["num_begin"], *(frame["fac_disease"] == kind for kind in kinds)]).astype(float)
    table = Table({"x": x, "time": frame["time"].to_numpy(float), "event": frame["event"].to_numpy(float)})
    sites = {str(c): table.where(np.flatnonzero(frame["fac_center"] == c)) for c in frame["fac_center"].unique()}
    like = table.where(np.zeros(0, int))
    for risk_sets, coef, loglik in (
        ("pooled", [0.034387993, 0.006505927, 0.987546045, 0.693364592, 0.729817027, 0.740076315], -13013.498548),
        ("site", [0.034520502, 0.002675221, 1.026904179, 0.627356465, 0.750336770, 0.569405015], -6516.189466),
    ):
        plan = [Stage("grid", timegrid(44, fewest=1), 1, like), Stage("fit", cox(risk_sets=risk_sets, width=6, fewest=1), 60, like)]
        found = walk(plan, sites)[0].results["fit"]
        np.testing.assert_allclose(found["coef"], coef, atol=1e-6)
        assert float(found["loglik"]) == pytest.approx(loglik, abs=1e-6)
