import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from collegium import tree as T
from collegium.algorithms.averaging import Pull
from collegium.errors import StudyError
from collegium.recipes import dense
from collegium.recipes.training import AT_ONCE, Bench, learner, matrix
from collegium.study import layers, manifest
from collegium.study.manifest import Local
from collegium.table import Table


def bench(task: str = "binary", **local: object) -> Bench:
    return Bench(dense.module_of, Local(**local), task, matrix)


def rows(n: int = 100, p: int = 5, *, task: str = "binary", seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    y = {"binary": x[:, 0] > 0, "multiclass": rng.integers(0, 3, n), "regression": x @ np.arange(p)}[task]
    return Table({"x": x, "y": y.astype(float)})


def digest(tree: T.Tree) -> str:
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in T.flatten(tree).values())).hexdigest()


def trained(seed: int = 9, hidden: tuple[int, ...] = (8,)) -> str:
    """What the determinism tests hash; also run in a process of its own."""
    params = layers.first(5, hidden, 1, seed=1)
    return digest(bench(epochs=3, batch=16, optimizer="adam", lr="0.01").train(params, rows(), Pull(), seed)[0])


def test_same_seed_same_bytes_in_another_process():
    code = "from tests.recipes.test_training import trained; print(trained())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == trained() == trained()
    assert trained(seed=10) != trained()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("settings", [{}, {"momentum": "0.9"}, {"optimizer": "adam", "lr": "0.01"}, {"steps": 7}], ids=str)
def test_the_flat_loop_equals_torch_optimisers(task: str, settings: dict[str, object]):
    """The reference is written as anyone would write it: torch.optim, a loss, and the same batches."""
    outputs = 3 if task == "multiclass" else 1
    params, table = layers.first(5, (4,), outputs, seed=2), rows(50, task=task)
    work = bench(task, batch=16, epochs=2, **settings)
    got, steps = work.train(params, table, Pull(), seed=3)

    model = dense.module_of(params)
    model.load_state_dict({name.replace("/", "."): torch.tensor(leaf) for name, leaf in T.flatten(params).items()})
    lr, local = float(work.local.lr), work.local
    optim = (
        torch.optim.Adam(model.parameters(), lr)
        if local.optimizer == "adam"
        else torch.optim.SGD(model.parameters(), lr, momentum=float(local.momentum))
    )
    x, y = torch.tensor(table["x"], dtype=torch.float32), torch.tensor(table["y"], dtype=torch.float32)
    drawn, done, want = torch.Generator().manual_seed(3), 0, local.steps or 8
    while done < want:
        for at in torch.randperm(50, generator=drawn).split(16):
            if done == want:
                break
            out = model(x[at])
            loss = {
                "binary": lambda out=out, at=at: F.binary_cross_entropy_with_logits(out[:, 0], y[at]),
                "multiclass": lambda out=out, at=at: F.cross_entropy(out, y[at].long()),
                "regression": lambda out=out, at=at: F.mse_loss(out[:, 0], y[at]),
            }[task]()
            optim.zero_grad()
            loss.backward()
            optim.step()
            done += 1
    assert steps == done
    for name, leaf in model.state_dict().items():
        np.testing.assert_allclose(T.flatten(got)[name.replace(".", "/")], leaf.numpy(), rtol=2e-5, atol=2e-6)


def test_a_warm_bench_gives_what_a_new_one_gives_and_keeps_its_buffers():
    params, table = layers.first(5, (8,), 1, seed=1), rows()
    warm = bench(momentum="0.9")
    first, _ = warm.train(params, table, Pull(), 1)
    kept, buffers = digest(first), (warm.flat.data_ptr(), warm.grad.data_ptr(), warm.first.data_ptr(), id(warm.module))
    second, _ = warm.train(first, table, Pull(), 2)
    assert (warm.flat.data_ptr(), warm.grad.data_ptr(), warm.first.data_ptr(), id(warm.module)) == buffers
    assert digest(first) == kept, "weights handed out must not change when the bench works on"
    assert digest(second) == digest(bench(momentum="0.9").train(first, table, Pull(), 2)[0])


def test_weights_are_views_of_one_buffer_in_the_order_of_the_wire():
    work = bench()
    params = layers.first(5, (8, 3), 1, seed=1)
    work.place(params)
    np.testing.assert_array_equal(work.flat.numpy(), np.concatenate([leaf.reshape(-1) for leaf in T.flatten(params).values()]))
    start, end = work.flat.data_ptr(), work.flat.data_ptr() + 4 * len(work.flat)
    assert all(start <= p.data_ptr() < end for p in work.module.parameters())
    assert digest(work.taken()) == digest(params)


def test_fedprox_and_scaffold_pull_on_the_gradient():
    params, table, one = layers.first(5, (), 1, seed=1), rows(20), {"lr": "0.5", "batch": 20, "epochs": 1}
    plain, _ = bench(**one).train(params, table, Pull(), 0)
    shift = T.map(np.ones_like, params)
    shifted, _ = bench(**one).train(params, table, Pull(shift=shift), 0)
    np.testing.assert_allclose(T.flatten(shifted)["0/weight"], T.flatten(plain)["0/weight"] - 0.5, rtol=1e-5)
    centre = T.map(lambda p: p + np.float32(1), params)
    pulled, _ = bench(**one).train(params, table, Pull(mu=0.2, centre=centre), 0)
    np.testing.assert_allclose(T.flatten(pulled)["0/bias"], T.flatten(plain)["0/bias"] + 0.5 * 0.2, rtol=1e-5)


def test_l2_shrinks_weights_but_not_intercepts():
    params = T.map(np.ones_like, layers.first(5, (), 1, seed=1))
    blank = Table({"x": np.zeros((4, 5)), "y": np.full(4, 0.5)})
    one = {"lr": "0.1", "batch": 4}
    free, _ = bench(**one).train(params, blank, Pull(), 0)
    shrunk, _ = bench(l2="0.5", **one).train(params, blank, Pull(), 0)
    np.testing.assert_allclose(T.flatten(shrunk)["0/weight"], 0.95, rtol=1e-6)
    np.testing.assert_array_equal(T.flatten(shrunk)["0/bias"], T.flatten(free)["0/bias"])


def test_scores_and_losses_agree_with_the_numpy_model():
    for task, outputs in (("binary", 1), ("multiclass", 3), ("regression", 1)):
        params, table, work = layers.first(5, (4,), outputs, seed=2), rows(AT_ONCE + 7, task=task), bench(task)
        logits = layers.forward(params, table["x"])
        np.testing.assert_allclose(work.score(params, table), layers.scores(logits, task), rtol=1e-4, atol=1e-6)
        half = np.arange(len(table)) < 50
        parts = work.loss(params, table.where(half)) + work.loss(params, table.where(~half))
        assert work.loss(params, table) == pytest.approx(parts, rel=1e-6)
        assert work.loss(params, table.where(np.zeros(0, int))) == 0.0
        assert len(work.score(params, table.where(np.zeros(0, int)))) == 0


def test_no_rows_leave_the_weights_alone():
    params = layers.first(5, (), 1, seed=1)
    got, steps = bench().train(params, rows(0), Pull(), 1)
    assert (digest(got), steps) == (digest(params), 0)


def test_dropout_is_drawn_from_the_rounds_seed_and_leaves_the_global_generator_alone():
    class Dropping(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = torch.nn.Linear(5, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(F.dropout(x, 0.5, self.training))

    params = {"last": {"weight": np.zeros((1, 5), np.float32), "bias": np.zeros(1, np.float32)}}
    work = Bench(lambda params: Dropping(), Local(), "binary", matrix)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again = (digest(work.train(params, rows(), Pull(), 4)[0]) for _ in range(2))
    assert first == again != digest(work.train(params, rows(), Pull(), 5)[0])
    assert torch.equal(before, torch.get_rng_state())


def test_running_averages_and_foreign_weights_are_refused():
    norm = Bench(lambda params: torch.nn.BatchNorm1d(5), Local(), "binary", matrix)
    with pytest.raises(StudyError, match=r"keeps 'num_batches_tracked' beside its weights"):
        norm.place({"weight": np.ones(5, np.float32), "bias": np.zeros(5, np.float32)})
    other = Bench(lambda params: torch.nn.Linear(5, 1), Local(), "binary", matrix)
    with pytest.raises(StudyError, match="differ at 'weight'"):
        other.place({"weight": np.ones((1, 4), np.float32), "bias": np.zeros(1, np.float32)})
    with pytest.raises(StudyError, match="differ at 'extra'"):
        other.place({"weight": np.ones((1, 5), np.float32), "bias": np.zeros(1, np.float32), "extra": np.zeros(1, np.float32)})


def test_an_outcome_without_a_loss_is_refused():
    document = manifest.read(manifest.EXAMPLE).model_dump()
    document["variables"] |= {"days": {"kind": "number"}}
    document["outcome"] = {"task": "survival", "time": "days", "event": "readmitted"}
    with pytest.raises(StudyError, match="outcome 'survival'"):
        learner(dense.module_of, manifest.read(document))


def test_steps_and_epochs_count_batches():
    params, table = layers.first(5, (), 1, seed=1), rows(50)
    assert bench(epochs=3, batch=16).train(params, table, Pull(), 1)[1] == 3 * math.ceil(50 / 16)
    assert bench(steps=5, batch=1000).train(params, table, Pull(), 1)[1] == 5
