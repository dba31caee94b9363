"""What an agent keeps becomes a model at the first question."""

from pathlib import Path

import numpy as np

from collegium import wire
from collegium.client.simulate import simulate
from collegium.models import predict
from collegium.models.kept import complete
from collegium.study import manifest
from tests.client.test_results import simulate_rows
from tests.client.test_simulate import SITES, STUDY


def test_kept_results_become_a_model(tmp_path: Path):
    found = simulate(STUDY, SITES, pooled=False)
    (tmp_path / "results.safetensors").write_bytes(b"".join(bytes(piece) for piece in wire.encode(found.trees)))
    (tmp_path / "study.json").write_bytes(manifest.signed(found.study))
    (tmp_path / "run.json").write_text('{"first": "5f0c"}')
    assert complete(tmp_path)
    model = predict.load(tmp_path)
    np.testing.assert_array_equal(model.predict(simulate_rows()), found.model.predict(simulate_rows()))
    assert model.card["trained_on"]["sites"] == 3
    assert model.card["first_weights"] == "5f0c"
    assert complete(tmp_path)


def test_a_folder_without_results_is_left_alone(tmp_path: Path):
    assert not complete(tmp_path)
    assert [*tmp_path.iterdir()] == []
