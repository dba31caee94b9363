"""CoxPH and KaplanMeier: lifelines' figures whatever the cut, and a study to submit."""

import warnings

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter

import collegium
from collegium.client.survival import CoxPH, KaplanMeier
from collegium.errors import DataError, NotFound, StudyError
from collegium.study import manifest

RNG = np.random.default_rng(11)
PUBLIC = {"fewest": 1, "because": "made-up rows"}


def hospital(rows: int, event=("alive", "dead")) -> dict[str, np.ndarray]:
    age, arm = RNG.normal(65, 10, rows).round(), RNG.choice(np.array(["drug", "placebo"]), rows)
    time, end = RNG.exponential(25 * np.exp(-(age - 65) / 20 + 0.5 * (arm == "drug"))), RNG.uniform(5, 48, rows)
    return {"age": age, "arm": arm, "months": np.ceil(np.minimum(time, end)), "status": np.where(time <= end, event[1], event[0])}


SITES = {"north": hospital(220), "south": hospital(150), "west": hospital(90)}
WHOLE = pd.concat([pd.DataFrame(t) for t in SITES.values()], ignore_index=True).assign(status=lambda f: (f.status == "dead").astype(int))


def test_pooled_risk_sets_give_lifelines_hazard_ratios_masks_or_not():
    model, masked = (CoxPH(risk_sets="pooled", **PUBLIC).fit(SITES, time="months", event="status", secure=s) for s in (False, True))
    frame = WHOLE.assign(drug=(WHOLE.arm == "drug").astype(int)).drop(columns="arm")
    want = CoxPHFitter().fit(frame, "months", "status", fit_options={"precision": 1e-12})
    assert model.names_ == ["age", "arm=drug"] or model.names_ == ["age", "arm=placebo"]
    sign = 1 if model.names_[1] == "arm=drug" else -1
    np.testing.assert_allclose(model.coef_ * (1, sign), want.params_[["age", "drug"]], rtol=1e-6)
    np.testing.assert_allclose(model.se_, want.standard_errors_[["age", "drug"]], rtol=1e-6)
    np.testing.assert_array_equal(masked.coef_, model.coef_)
    assert model.log_likelihood_ == pytest.approx(want.log_likelihood_, rel=1e-9)
    assert model.concordance_ == pytest.approx(want.concordance_index_, abs=0.01)
    assert set(model.proportional_) == set(model.names_)
    assert [row.name for row in model.summary_ if row.reference]
    assert model.test_["df"] == 2


def test_risks_at_horizons_follow_the_baseline():
    model = CoxPH(horizons=(8, 16, 500), until=60).fit(SITES, time="months", event="status")
    found = model.predict({"age": [50.0, 80.0, np.nan], "arm": ["drug", "placebo", "drug"]})
    assert found.shape == (3, 3)
    assert np.isnan(found[:, 2]).all()  # nobody was followed so long
    assert np.isnan(found[2]).all()  # no age, no risk
    assert 0 < found[0, 0] < found[0, 1] < found[1, 1] < 1
    relative = CoxPH(until=60).fit(SITES, time="months", event="status").predict({"age": [65.0, 75.0], "arm": ["drug", "drug"]})
    assert relative[1] / relative[0] == pytest.approx(np.exp(10 * model.coef_[0]), rel=1e-6)


def test_curves_are_lifelines_and_only_the_columns_they_need_are_read():
    found = KaplanMeier(by="arm", **PUBLIC).fit(SITES, time="months", event="status")
    assert set(found.study_.variables) == {"months", "status", "arm"}
    for arm, curve in found.curves_.items():
        mine = WHOLE[WHOLE.arm == arm]
        want = KaplanMeierFitter().fit(mine.months, mine.status)
        np.testing.assert_allclose(curve.survival, want.survival_function_at_times(curve.time), rtol=1e-9)
        assert found.median_[arm] == want.median_survival_time_
    assert 0 <= found.logrank_["p"] <= 1
    assert found.stratified_["df"] == 1
    alone = KaplanMeier(horizon=12).fit(WHOLE, time="months", event="status")
    assert list(alone.curves_) == ["All patients"]
    assert alone.horizon_ == 12
    assert (alone.curves_["All patients"].at_risk >= 10).all()


def test_the_study_can_be_submitted():
    study = CoxPH(strata="arm").study(SITES, "months", "status")
    assert manifest.read(manifest.text(study)) == study
    assert study.variables["months"].high == 50
    assert study.features == ("age",)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: CoxPH().fit({}, time="months", event="status"), "no site"),
        (lambda: CoxPH().fit(SITES, time="weeks", event="status"), "no column 'weeks'"),
        (lambda: CoxPH().fit(SITES, time="months", event="age"), "other values than 0 and 1"),
        (lambda: KaplanMeier().fit({"a": {"t": [1.0, 2], "e": ["x", "x"]}}, time="t", event="e"), "1 different texts"),
    ],
)
def test_what_cannot_be_fitted_says_why(call, says: str):
    with pytest.raises(DataError, match=says):
        call()


def test_times_of_few_patients_take_a_reason():
    with pytest.raises(StudyError, match="say why"):
        CoxPH(fewest=1).study(SITES, "months", "status")
    with pytest.raises(NotFound, match="not fitted"):
        CoxPH().predict({"age": [1.0]})


def test_they_are_public_names():
    assert collegium.CoxPH is CoxPH
    assert collegium.KaplanMeier is KaplanMeier
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collegium.KaplanMeier(until=60).fit(SITES, time="months", event="status")  # columns that are not read need no warning
