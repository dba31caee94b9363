"""FLamby's Fed-Heart-Disease: its published figures, its training loop written out again, and what its seeds decide.

FLamby (Ogier du Terrail et al. 2022, arXiv:2210.04620) trains one linear layer with batches of 4, for 15 rounds of 100 local SGD
steps, averaged by rows. A seed draws the first weights as `torch.nn.Linear` does and each hospital's order of batches, which
goes on from one round to the next. `loop` does just that in plain PyTorch: run on the same rows it gives all of FLamby's figures
to the last digit, so the rows, the split and the protocol here are FLamby's.
"""

import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

SEEDS, ROUNDS, STEPS, BATCH = range(42, 47), 15, 100, 4
SITES = ("cleveland", "hungarian", "switzerland", "va")
TESTS = {**{f"client_test_{number}": site for number, site in enumerate(SITES)}, "Pooled Test": "all"}
B1, B2, TAU = 0.9, 0.999, 1e-8  # of FLamby's adaptive methods


class Method(NamedTuple):
    """A published strategy: its name in FLamby's file, and its settings in flamby_config_heart_disease.json."""

    published: str
    lr: str
    mu: str = "0"
    rule: str = ""
    server_lr: float = 1.0


METHODS = {
    "FedAvg": Method("FedAvg100", "0.001"),
    "FedProx": Method("FedProx100", "0.001", mu="0.01"),
    "FedAdam": Method("FedAdam100", "0.01", rule="adam", server_lr=0.01),
    "FedYogi": Method("FedYogi100", "0.003162", rule="yogi", server_lr=0.01),
    "FedAdagrad": Method("FedAdagrad100", "0.003162", rule="adagrad", server_lr=0.316228),
}


def published(folder: Path) -> dict[tuple[str, int], dict[str, float]]:
    """FLamby's accuracies by strategy and seed: at each hospital's test rows, and `all` for its pooled test."""
    out: dict[tuple[str, int], dict[str, float]] = {}
    with (folder / "flamby_heart_tcga_seeds42_46.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            if line["dataset"] == "fed_heart_disease":
                out.setdefault((line["Method"], int(line["seed"])), {})[TESTS[line["Test"]]] = float(line["Metric"])
    return out


def first_weights(seed: int, inputs: Sequence[int]) -> dict[str, Any]:
    """What FLamby starts from with this seed, `inputs` being its inputs in our order."""
    torch.manual_seed(seed)
    layer = torch.nn.Linear(len(inputs), 1)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return {"0": {"weight": weight[:, list(inputs)].copy(), "bias": bias.copy()}}


def server(method: Method) -> dict[str, str]:
    """The strategy's optimiser at the coordinator as a manifest says it, with FLamby's constants; averaging where it has none."""
    if not method.rule:
        return {}
    return {"kind": method.rule, "lr": str(method.server_lr), "b1": str(B1), "b2": str(B2), "tau": str(TAU)}


def loop(seed: int, method: Method, rows: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Callable[[np.ndarray], np.ndarray]:
    """FLamby's loop over the hospitals' training rows; returns which rows of a matrix the model calls ill."""
    torch.manual_seed(seed)
    inputs = next(iter(rows.values()))[0].shape[1]
    layer = torch.nn.Linear(inputs, 1)
    parts = list(layer.parameters())
    feeds = [endless(loader(x, y)) for x, y in rows.values()]
    torch.manual_seed(seed)  # FLamby sets it again when training starts
    weights = [p.detach().clone() for p in parts]
    step, state = step_of(method), None
    for _ in range(ROUNDS):
        total = [torch.zeros_like(w) for w in weights]
        for feed, (_, y) in zip(feeds, rows.values(), strict=True):
            local(layer, weights, feed, float(method.lr), float(method.mu))
            for into, p, w in zip(total, parts, weights, strict=True):
                into += (p.detach() - w) * float(len(y))
        mean = [t / float(sum(len(y) for _, y in rows.values())) for t in total]
        mean, state = step(mean, state)
        weights = [w + m for w, m in zip(weights, mean, strict=True)]
    return lambda x: ((torch.from_numpy(x) @ weights[0].T + weights[1])[:, 0] > 0).numpy()


def loader(x: np.ndarray, y: np.ndarray) -> torch.utils.data.DataLoader[tuple[torch.Tensor, ...]]:
    """One hospital's rows in random batches."""
    rows = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))[:, None])
    return torch.utils.data.DataLoader(rows, batch_size=BATCH, shuffle=True)


def endless(batches: torch.utils.data.DataLoader[tuple[torch.Tensor, ...]]) -> Iterator[Any]:
    """Batch after batch, in a new order whenever all rows have been met. The first order is begun here, as in FLamby."""
    return itertools.chain(iter(batches), itertools.chain.from_iterable(itertools.repeat(batches)))


def local(layer: torch.nn.Linear, weights: list[torch.Tensor], feed: Iterator[Any], lr: float, mu: float) -> None:
    """One hospital's steps from the common weights."""
    for p, w in zip(layer.parameters(), weights, strict=True):
        p.data = w.clone()
    steps = torch.optim.SGD(layer.parameters(), lr)
    for _ in range(STEPS):
        x, y = next(feed)
        loss = torch.nn.functional.binary_cross_entropy(torch.sigmoid(layer(x)), y)
        if mu:
            loss = loss + mu / 2 * sum(torch.sum((p - w) ** 2) for p, w in zip(layer.parameters(), weights, strict=True))
        steps.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        steps.step()


def step_of(method: Method) -> Callable[[list[torch.Tensor], Any], tuple[list[torch.Tensor], Any]]:
    """What the server does with the mean change."""
    if not method.rule:
        return lambda mean, state: (mean, None)
    grow: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = {
        "adam": lambda v, d: B2 * v + (1 - B2) * d * d,
        "yogi": lambda v, d: v - (1 - B2) * d * d * torch.sign(v - d * d),
        "adagrad": lambda v, d: v + d * d,
    }[method.rule]

    def step(mean: list[torch.Tensor], state: Any) -> tuple[list[torch.Tensor], Any]:
        m, v = state or ([torch.zeros_like(d) for d in mean], [torch.zeros_like(d) for d in mean])
        m = [B1 * a + (1 - B1) * d for a, d in zip(m, mean, strict=True)]
        v = [grow(a, d) for a, d in zip(v, mean, strict=True)]
        return [method.server_lr * a / (b.sqrt() + TAU) for a, b in zip(m, v, strict=True)], (m, v)

    return step
