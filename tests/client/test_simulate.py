"""A whole study in one process: the sheet with every line, the pooled model beside it, and errors that name the site."""

from pathlib import Path

import numpy as np
import pytest

from collegium import tree as T
from collegium.client.estimators import LogisticRegression, MLPClassifier
from collegium.client.simulate import simulate
from collegium.errors import DataError, NotFound
from collegium.study import manifest

RNG = np.random.default_rng(3)
STUDY = {
    "title": "Age and pressure",
    "purpose": "A test.",
    "variables": {"age": {"kind": "number"}, "pressure": {"kind": "number", "required": False}, "ill": {"kind": "binary"}},
    "outcome": {"task": "binary", "target": "ill"},
    "method": {"kind": "averaging", "rounds": 12, "local": {"batch": 16, "lr": "0.3"}},
    "held_out": {"test": 3},
}


def hospital(rows: int) -> dict[str, np.ndarray]:
    age, pressure = RNG.normal(60, 12, rows), RNG.normal(130, 20, rows)
    return {"age": age, "pressure": pressure, "ill": (RNG.random(rows) < 1 / (1 + np.exp(-(age - 60) / 6))).astype(float)}


SITES = {"north": hospital(300), "south": hospital(200), "tiny": hospital(20)}


def test_every_site_has_its_line_and_the_pooled_model_stands_beside_it():
    found = simulate(STUDY, SITES)
    names = [row.name for row in found.sheet]
    assert names == ["Mean over hospitals", "All held-out patients together", "north", "south", "tiny"]
    north = found.sheet[2]
    assert north.alone
    assert north.joint
    assert north.pooled
    assert abs(north.joint[0] - north.pooled[0]) < 0.05
    assert found.sheet[0].pooled[0] == pytest.approx(np.mean([found.pooled[n][0] for n in found.pooled if "gain" in found.lines[n]]))
    rounds = [one["round"] for one in found.run["figures"] if one["stage"] == "fit"]
    assert rounds == sorted(rounds)
    assert rounds
    assert found.to_dict()["metric"] == "AUROC"
    assert "north" in repr(found) or "hospital" in repr(found)


def test_the_same_study_gives_the_same_model_whatever_form_it_comes_in(tmp_path: Path):
    file = tmp_path / "study.yaml"
    file.write_text(manifest.text(manifest.read(STUDY)))
    one, two = simulate(STUDY, SITES, pooled=False), simulate(file, SITES, pooled=False)
    np.testing.assert_array_equal(one.params["0"]["weight"], two.params["0"]["weight"])
    other = simulate(manifest.read(STUDY), SITES, pooled=False, seed=9)
    assert (one.params["0"]["weight"] != other.params["0"]["weight"]).any()
    assert other.study.seed == 9


def test_files_and_frames_are_read_alike(tmp_path: Path):
    for name, columns in SITES.items():
        rows = zip(*(columns[key].tolist() for key in columns), strict=True)
        (tmp_path / f"{name}.csv").write_text("\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows)]) + "\n")
    from_files = simulate(STUDY, {name: tmp_path / f"{name}.csv" for name in SITES}, pooled=False)
    np.testing.assert_array_equal(from_files.params["0"]["weight"], simulate(STUDY, SITES, pooled=False).params["0"]["weight"])


def test_an_estimator_can_be_simulated_too():
    found = simulate(LogisticRegression(held_out=3), SITES, y="ill")
    assert [row.name for row in found.coefficients] == ["intercept", "age", "pressure"]
    assert found.sheet[2].pooled
    assert found.study.held_out.test == 3


def test_an_estimator_that_holds_nobody_out_is_compared_all_the_same():
    found = simulate(LogisticRegression(), SITES, y="ill")
    assert [row.name for row in found.sheet[2:]] == ["north", "south", "tiny"]
    assert None not in (found.sheet[2].alone, found.sheet[2].joint, found.sheet[2].pooled)
    assert found.study.held_out.test == 2


def test_an_estimator_goes_the_way_of_every_study():
    """Codes as outcome, an impossible category, a missing value: `simulate` and `fit` clean them alike, and tell it alike."""
    rows = {
        name: {**columns, "ill": columns["ill"] + 1, "ward": RNG.choice(["A", "B"], len(columns["age"]))} for name, columns in SITES.items()
    }
    rows["north"]["ward"][:4] = "Z"
    rows["south"]["age"][:3] = np.nan
    for model in (LogisticRegression(held_out=3), MLPClassifier(rounds=2, hidden=(), held_out=3)):
        with pytest.warns(UserWarning, match="'ward' holds rare categories in 4 rows") as told:
            fitted = model.fit(rows, y="ill")
        with pytest.warns(UserWarning, match="'ward' holds rare categories in 4 rows") as again:
            found = simulate(model, rows, y="ill", pooled=False)
        assert found.study == fitted.study_
        assert T.flatten(found.trees["fit"]).keys() == T.flatten(fitted.results_.trees["fit"]).keys()
        for leaf, value in T.flatten(found.trees["fit"]).items():
            np.testing.assert_array_equal(value, T.flatten(fitted.results_.trees["fit"])[leaf])
        assert {one.filename for one in [*told, *again]} == {__file__}


def test_the_site_with_the_fault_is_named():
    with pytest.raises(DataError, match=r"site 'south'.*'ill'"):
        simulate(STUDY, SITES | {"south": {"age": [1.0], "pressure": [2.0]}})
    with pytest.raises(NotFound, match=r"nofile\.yaml"):
        simulate("nofile.yaml", SITES)
    with pytest.raises(DataError, match="no site"):
        simulate(STUDY, {})


def test_what_is_shown_in_a_notebook_is_escaped():
    found = simulate(
        STUDY | {"title": "<script>alert(1)</script>"}, {"<b>north</b>": SITES["north"], "south": SITES["south"]}, pooled=False
    )
    shown = found._repr_html_()
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "&lt;script&gt;" in shown
