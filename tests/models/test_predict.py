import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from collegium import recipes
from collegium.algorithms.features import encode
from collegium.data.quality import ready
from collegium.data.synthetic import make
from collegium.errors import DataError, FrameError, NotFound, StudyError
from collegium.models import predict
from collegium.models.card import card
from collegium.simulation.local import walk
from collegium.study import manifest, plan
from collegium.table import Table


def study(task: str = "binary", **method: object) -> manifest.Study:
    document = manifest.read(manifest.EXAMPLE).model_dump(exclude_defaults=True)
    document["variables"] |= {"bmi": {"kind": "number", "low": "10", "high": "80"}, "smoker": {"kind": "binary", "required": False}}
    document["variables"] |= {"ward": {"kind": "category", "categories": ["a", "b", "c"]}}
    document["outcome"] = {"task": task, "target": {"binary": "readmitted", "regression": "bmi", "multiclass": "ward"}[task]}
    document["method"] = {"kind": "averaging", "rounds": 6} | method
    return manifest.read(document)


def finished(s: manifest.Study) -> tuple[dict, dict[str, Table]]:
    """A run over three made-up hospitals."""
    tables = {f"h{k}": ready(make(s, 250, seed=k, site_shift=0.3, missing=0.0), s) for k in range(3)}
    learner = recipes.learner(s) if s.method.kind == "averaging" else None
    end, _ = walk(plan.stages(s, learner), {name: plan.rows(s, t) for name, t in tables.items()}, seed=s.seed)
    return end.results, tables


KINDS = {
    "logistic": study(),
    "network": study(hidden=[4]),
    "regression": study("regression", local={"lr": "0.05"}),
    "multiclass": study("multiclass", hidden=[3]),
    "glm": study(kind="glm"),
    "gaussian": study("regression", kind="glm", family="gaussian"),
}


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict, dict[str, Table]]:
    s, folder = KINDS[request.param], tmp_path_factory.mktemp(request.param) / "model"
    results, tables = finished(s)
    predict.save(folder, s, results, card(s, results, sites=3))
    return request.param, folder, results, tables


@pytest.fixture(scope="module")
def logistic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, s = tmp_path_factory.mktemp("one") / "model", KINDS["logistic"]
    results, _ = finished(s)
    predict.save(folder, s, results, card(s, results, sites=3))
    return folder


def test_a_saved_model_says_what_the_trained_one_said(model: tuple[str, Path, dict, dict[str, Table]]):
    name, folder, results, tables = model
    s, table = KINDS[name], tables["h1"]
    got = predict.load(folder).predict(table)
    if s.method.kind == "glm":
        x = encode(table, predict.inputs(s), results["features"], reference=True)
        linear = results["fit"]["params"]["coef"][0] + x @ results["fit"]["params"]["coef"][1:]
        want = 1 / (1 + np.exp(-linear)) if s.method.family == "binomial" else linear
    else:
        x = encode(table, predict.inputs(s), results["features"])
        want = recipes.learner(s).score(results["fit"]["params"], Table({"x": x}))
        if name == "regression":
            scale = results["outcome"]["numbers"]
            want = want * scale["sd"][0] + scale["mean"][0]
            assert np.corrcoef(want, table["bmi"])[0, 1] > 0.3  # in the outcome's own unit
            assert abs(want.mean() - np.nanmean(table["bmi"])) < 3
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_the_folder_is_complete_and_any_reader_opens_it(model: tuple[str, Path, dict, dict[str, Table]]):
    name, folder, _, _ = model
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "card.md", "model.safetensors", "study.json"]
    flat = load_file(folder / "model.safetensors")
    assert {leaf.split("/")[0] for leaf in flat} == {"params", "features"} | ({"outcome"} if name == "regression" else set())
    if name != "glm" and name != "gaussian":
        assert {"params/0/weight", "params/0/bias"} <= flat.keys()
    assert json.loads((folder / "card.json").read_text())["trained_on"]["sites"] == 3
    assert predict.load(folder).study == KINDS[name]


def test_use_writes_an_answer_for_every_row(model: tuple[str, Path, dict, dict[str, Table]], tmp_path: Path):
    name, folder, _, tables = model
    features = KINDS[name].features
    path, table = tmp_path / "new.csv", tables["h2"].where(np.arange(20))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", *features])
        writer.writerows(zip(table.patient.tolist(), *(table[n].tolist() for n in features), strict=True))
    done = predict.use(folder, path)
    predict.write(tmp_path / "out.csv", done.columns)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["patient_id"] for row in rows] == table.patient.tolist()
    want = predict.load(folder).predict(table)
    if name == "multiclass":
        np.testing.assert_allclose([float(row["probability of b"]) for row in rows], want[:, 1], rtol=1e-3)
        assert rows[0]["most likely"] == "abc"[want[0].argmax()]
    else:
        np.testing.assert_allclose([float(row["probability" if "probability" in rows[0] else "estimate"]) for row in rows], want, rtol=1e-3)
    assert done.noted == sum(bool(row["note"]) for row in rows)


def test_use_needs_neither_torch_nor_an_outcome_column(logistic: Path, tmp_path: Path):
    path = tmp_path / "new.csv"
    path.write_text("age,sex,bmi,ward\n61,F,25,a\n")
    code = (
        "import sys; from collegium.models import predict; "
        f"done = predict.use({str(logistic)!r}, {str(path)!r}); "
        "print(done.columns['row'], 'torch' in sys.modules, 'patient_id' in done.columns)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1] False False"


def test_rows_unlike_the_training_patients_are_noted(logistic: Path, tmp_path: Path):
    path = tmp_path / "new.csv"
    lines = [
        "61,F,45,a,1", "119.9,F,45,a,1", ",F,45,a,1", "150,F,45,a,1", "61,X,45,a,1", "61,M,45,b,0", "61,M,45,b,0", "61,M,45,c,0"
    ]  # fmt: skip
    path.write_text("age,sex,bmi,ward,smoker\n" + "\n".join(lines) + "\n")
    done = predict.use(logistic, path)
    assert done.columns["note"] == [
        "",
        "age is unusual",
        "age is missing",
        "age is out of range",
        "sex is not a known category",
        "",
        "",
        "",
    ]
    assert done.noted == 4
    assert all(0 < float(p) < 1 for p in done.columns["probability"])


def test_an_exact_model_gives_no_answer_where_an_input_is_missing(tmp_path: Path):
    s = KINDS["glm"]
    results, _ = finished(s)
    predict.save(tmp_path / "m", s, results, card(s, results, sites=3))
    path = tmp_path / "new.csv"
    path.write_text("age,sex,bmi,ward,smoker\n61,F,45,a,1\n,F,45,a,1\n61,F,45,a,\n")
    done = predict.use(tmp_path / "m", path)
    assert [bool(p) for p in done.columns["probability"]] == [True, False, False]
    assert done.columns["note"] == ["", "age is missing", "smoker is missing"]
    assert json.loads((tmp_path / "m" / "card.json").read_text())["coefficients"][0]["name"] == "intercept"
    assert "## Coefficients" in (tmp_path / "m" / "card.md").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Age,sex,bmi,ward\n61,F,25,a\n", r"new.csv: there is no column 'age'; did you mean 'Age'\?"),
        ("age,sex,bmi,ward\n" + "61,F,1900,a\n" * 20, "new.csv: column 'bmi': 20 values lie outside 10 to 80"),
        ("age,sex,bmi,ward\nold,F,25,a\n", "new.csv: column 'age': holds text in 1 rows"),
        ("age,sex,bmi,ward\ninf,F,25,a\n", "new.csv: column 'age': holds infinite values"),
        ("age,sex,bmi,ward\n", "new.csv: the table holds no rows"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(logistic: Path, tmp_path: Path, text: str, says: str):
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        predict.use(logistic, tmp_path / "new.csv")


def test_a_changed_file_is_refused(logistic: Path, tmp_path: Path):
    folder = tmp_path / "m"
    for name, change, says in (
        ("model.safetensors", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "model.safetensors is not the file that card.json describes"),
        ("study.json", lambda raw: raw.replace(b"120", b"130"), "study.json is not the file"),
        ("card.json", lambda raw: raw[:50], "damaged"),
        ("card.json", lambda raw: raw.replace(b'"format": 1', b'"format": 9'), "format 9"),
    ):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(logistic, folder)
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        with pytest.raises(FrameError, match=says):
            predict.load(folder)
    (folder / "card.json").unlink()
    with pytest.raises(NotFound, match=r"card.json is not there"):
        predict.load(folder)


def test_weights_of_another_study_are_refused(logistic: Path, tmp_path: Path):
    import hashlib

    shutil.copytree(logistic, tmp_path / "m")
    other = manifest.signed(study(rounds=7))
    described = json.loads((tmp_path / "m" / "card.json").read_text())
    described["files"]["study.json"] = "sha256:" + hashlib.sha256(other).hexdigest()
    (tmp_path / "m" / "study.json").write_bytes(other)
    (tmp_path / "m" / "card.json").write_text(json.dumps(described))
    with pytest.raises(FrameError, match="trained for another study"):
        predict.load(tmp_path / "m")


def test_a_run_without_a_model_cannot_be_saved(tmp_path: Path):
    with pytest.raises(StudyError, match="has no model: it has moments"):
        predict.save(tmp_path, KINDS["logistic"], {"moments": {}}, {})
