"""Training that begins from a model: what does not fit is said before anything is sent, and a fitting model is where it begins."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from collegium import tree as T
from collegium import wire
from collegium.client.first import PIECE, First, first
from collegium.client.simulate import simulate
from collegium.client.tables import table
from collegium.errors import FrameError, NotFound, StudyError
from collegium.models.card import markdown
from collegium.study import manifest

RNG = np.random.default_rng(11)
VARIABLES = {"age": {"kind": "number", "unit": "years"}, "ward": {"kind": "category", "categories": ["A", "B"]}, "ill": {"kind": "binary"}}
STUDY: dict[str, Any] = {
    "title": "Age",
    "purpose": "A test.",
    "variables": VARIABLES,
    "outcome": {"task": "binary", "target": "ill"},
    "method": {"kind": "averaging", "hidden": [4], "rounds": 8},
}


def hospital(rows: int, middle: float) -> dict[str, np.ndarray]:
    age = RNG.normal(middle, 12, rows)
    return {"age": age, "ward": RNG.choice(["A", "B"], rows), "ill": (RNG.random(rows) < 1 / (1 + np.exp(-(age - 60) / 6))).astype(float)}


SITES = {"north": hospital(400, 60), "south": hospital(300, 55)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "age"
    simulate(STUDY, SITES, pooled=False).save(folder)
    return folder


def study(**changes: Any) -> manifest.Study:
    return manifest.read({**STUDY, **changes})


def method(**changes: Any) -> dict[str, Any]:
    return {**STUDY["method"], **changes}


def test_training_goes_on_where_the_model_stood(model: Path):
    """With steps too small to learn anything the new run's model says what the old one says, though its hospitals are others."""
    still = {**STUDY, "method": method(rounds=1, local={"lr": "0.00000001"})}
    others = {"east": hospital(300, 70), "west": hospital(200, 45)}
    found, old = simulate(still, others, pooled=False, first=model), simulate(STUDY, SITES, pooled=False)
    rows = {name: values for name, values in hospital(50, 60).items() if name != "ill"}
    np.testing.assert_allclose(found.model.predict(table(rows)), old.model.predict(table(rows)), atol=1e-5)
    assert "first" not in found.trees


def test_results_report_and_card_name_the_weights_that_were_brought(model: Path, tmp_path: Path):
    """Whoever has the model can find out what it learned from, and whoever has both that it was these weights."""
    begun, drawn = (simulate(STUDY, SITES, pooled=False, first=one) for one in (model, ""))
    digest = blake3((model / "model.safetensors").read_bytes()).hexdigest()
    assert (begun.first, drawn.first) == (digest, "")
    assert begun.to_dict()["run"]["first"] == digest
    assert f"BLAKE3 digest {digest}" in begun.report(tmp_path / "begun.html").read_text()
    assert "First weights" not in drawn.report(tmp_path / "drawn.html").read_text()
    begun.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "card.json").read_text())["first_weights"] == digest
    assert f"began from weights that were brought, BLAKE3 digest `{digest}`" in (tmp_path / "saved" / "card.md").read_text()
    assert drawn.model.card["first_weights"] == ""
    assert "weights that were brought" not in markdown(drawn.model.card)


def test_the_pooled_model_begins_there_too(model: Path):
    still = {**STUDY, "method": method(rounds=1, local={"lr": "0.00000001"})}
    found = simulate(still, SITES, first=model)
    mean = found.sheet[0]
    assert mean.joint
    assert mean.pooled
    assert mean.joint[0] == pytest.approx(mean.pooled[0], abs=1e-6)
    assert mean.joint[0] > 0.7


def test_bare_weights_of_a_file_are_taken_as_they_are(model: Path, tmp_path: Path):
    weights = wire.decode((model / "model.safetensors").read_bytes())["params"]
    (tmp_path / "w.safetensors").write_bytes(b"".join(bytes(piece) for piece in wire.encode(weights)))
    found = first(tmp_path / "w.safetensors", study())
    assert found.given["first"].keys() == {"params"}
    one = simulate(STUDY, SITES, pooled=False, first=tmp_path / "w.safetensors")
    two = simulate(STUDY, SITES, pooled=False, first=model)  # of the same hospitals, so their inputs are prepared alike
    for name, leaf in T.flatten(two.params).items():
        np.testing.assert_array_equal(leaf, T.flatten(one.params)[name])


def test_a_file_goes_out_in_pieces(tmp_path: Path):
    path = tmp_path / "large"
    path.write_bytes(bytes(2 * PIECE + 5))
    found = First(path, {})
    assert [(at, len(piece)) for at, piece in found.pieces()] == [(0, PIECE), (PIECE, PIECE), (2 * PIECE, 5)]
    assert [(at, len(piece)) for at, piece in found.pieces(PIECE + 5)] == [(PIECE + 5, PIECE)]
    assert len(found.digest) == 64


def test_what_does_not_fit_is_said_before_anything_is_sent(model: Path, tmp_path: Path):
    with pytest.raises(StudyError, match=r"leaf '0/weight' has the shape \(4, 3\), the study's model has \(5, 3\) there"):
        first(model, study(method=method(hidden=[5])))
    with pytest.raises(StudyError, match="leaf '1/weight' has the shape"):
        simulate({**STUDY, "method": method(hidden=[4, 4])}, SITES, first=model)
    with pytest.raises(StudyError, match="method 'glm' trains nothing"):
        first(model, study(method={"kind": "glm"}))
    months = {**VARIABLES, "age": {"kind": "number", "unit": "months"}}
    with pytest.raises(StudyError, match="'age' is a number in years in the model of 'Age', and a number in months in the study"):
        first(model, study(variables=months))
    more = {**VARIABLES, "bmi": {"kind": "number"}}
    with pytest.raises(StudyError, match="the input 'bmi' is absent in the model of 'Age', and a number in the study"):
        first(model, study(variables=more))
    with pytest.raises(NotFound, match=r"'.*nowhere' cannot be read: No such file"):
        first(tmp_path / "nowhere", study())
    with pytest.raises(NotFound, match="not a model's folder"):
        first(tmp_path, study())
    (tmp_path / "empty").touch()
    with pytest.raises(NotFound, match="cannot be read: it is empty"):
        first(tmp_path / "empty", study())
    (tmp_path / "note.txt").write_text("no weights at all")
    with pytest.raises(FrameError, match=r"note\.txt holds no weights"):
        first(tmp_path / "note.txt", study())
