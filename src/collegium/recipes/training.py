"""The one local training loop: every recipe that learns with PyTorch runs through this file, between two rounds at a site.

All parameters are views of one flat float32 tensor, and so are their gradients: weights come in and go out by a copy, and an
optimiser's step, FedProx's pull and SCAFFOLD's shift are a few operations on whole vectors. The module is built once and
reused for as long as the site works on the study, so that a round allocates no parameter but the weights it returns.

The same weights, rows and seed give the same bytes, also in another process: one thread, deterministic algorithms, a random
generator of the round's own.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from collegium import tree as T
from collegium.algorithms.averaging import Learner, Pull
from collegium.errors import StudyError
from collegium.study.manifest import Averaging, Local, Study
from collegium.table import Table

Module = Callable[[T.Tree], torch.nn.Module]  # first weights -> a module whose parameters are called as their leaves, "." for "/"
AT_ONCE = 8192  # rows scored at a time: bounds the memory of a forward pass
BETAS, EPS = (0.9, 0.999), 1e-8  # Kingma and Ba 2015


def matrix(table: Table) -> Any:
    """What a model of tables looks at: the encoded columns."""
    return table["x"]


def learner(module_of: Module, study: Study, *, inputs: Callable[[Table], Any] = matrix) -> Learner:
    """Training, loss and scores of a PyTorch model, by the study's `method.local` settings and its outcome.

    `inputs(table)` is the array that the module is called with; the module gives one row of numbers for each row. Raises
    `StudyError` for an outcome or a method that has no such training.
    """
    if study.outcome is None or study.outcome.task not in LOSSES or not isinstance(study.method, Averaging):
        task = study.outcome.task if study.outcome else "none"
        raise StudyError(
            f"method {study.method.kind!r} with outcome {task!r} is not trained by rounds; wanted averaging, and {' or '.join(LOSSES)}",
            hint="use another method or recipe, or another outcome",
        )
    bench = Bench(module_of, study.method.local, study.outcome.task, inputs)
    return Learner(bench.train, bench.loss, bench.score)


def binary(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Log loss of log odds."""
    return F.binary_cross_entropy_with_logits(out.view(-1), y, reduction="sum")


def multiclass(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Log loss of class scores; `y` holds the class's number."""
    return F.cross_entropy(out, y.long(), reduction="sum")


def regression(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Squared error."""
    return F.mse_loss(out.view(-1), y, reduction="sum")


LOSSES = {"binary": binary, "multiclass": multiclass, "regression": regression}


class Bench:
    """A warm workplace: the module, its flat weights and gradients, and the optimiser's buffers."""

    def __init__(self, module_of: Module, local: Local, task: str, inputs: Callable[[Table], Any]) -> None:
        torch.set_num_threads(1)  # the order of a sum depends on the number of threads, and the last digits on the order
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a pass over every new buffer
        self.module_of, self.local, self.task, self.inputs = module_of, local, task, inputs
        self.lr, self.momentum, self.l2 = float(local.lr), float(local.momentum), float(local.l2)
        self.sizes: dict[str, tuple[int, ...]] = {}

    def build(self, sizes: dict[str, tuple[int, ...]], params: T.Tree) -> None:
        """Make the module for weights of these shapes, and tie it to the flat buffers."""
        with torch.random.fork_rng(devices=[]):  # a new module draws weights, which are then replaced
            self.module = self.module_of(params).float()
        mine = {name.replace(".", "/"): p for name, p in self.module.named_parameters()}
        extra = self.module.state_dict().keys() - dict(self.module.named_parameters())
        if extra:
            raise StudyError(
                f"the model keeps {sorted(extra)[0]!r} beside its weights, which would not be averaged",
                hint="use layers without running averages, such as GroupNorm for BatchNorm",
            )
        if {name: tuple(p.shape) for name, p in mine.items()} != sizes:
            odd = sorted({*mine} ^ {*sizes}) or [name for name in sizes if tuple(mine[name].shape) != sizes[name]]
            raise StudyError(f"the weights and the model differ at {odd[0]!r}", hint="take weights made for this recipe and these inputs")
        total = sum(p.numel() for p in mine.values())
        self.flat, self.grad, self.decay = torch.zeros(total), torch.zeros(total), torch.zeros(total if self.l2 else 0)
        self.centre, self.shift, self.first, self.second, self.work = (torch.zeros(0) for _ in range(5))
        at = 0
        for name in sizes:
            p = mine[name]
            here = slice(at, at + p.numel())
            p.data = self.flat[here].view(p.shape)
            if p.requires_grad:
                p.grad = self.grad[here].view(p.shape)
            if self.l2 and p.requires_grad and p.ndim > 1:  # an intercept is not shrunk: that would spoil calibration
                self.decay[here] = self.l2
            at = here.stop
        self.sizes = sizes

    def place(self, params: T.Tree) -> None:
        """Lay these weights on the bench."""
        sizes = {name: tuple(leaf.shape) for name, leaf in T.flatten(params).items()}
        if sizes != self.sizes:
            self.build(sizes, params)
        fill(self.flat, params)

    def taken(self) -> dict[str, Any]:
        """A copy of the weights on the bench: who keeps it must not see the next round's."""
        out, at, leaves = self.flat.numpy().copy(), 0, {}
        for name, shape in self.sizes.items():
            size = math.prod(shape)
            leaves[name] = out[at : at + size].reshape(shape)
            at += size
        return T.unflatten(leaves)

    def train(self, params: T.Tree, table: Table, pull: Pull, seed: int) -> tuple[T.Tree, int]:
        """New weights after the round's local steps, and how many steps those were."""
        self.place(params)
        x, y = self.tensors(table)
        if not len(y):
            return self.taken(), 0
        self.prepare(pull)
        steps = self.local.steps or self.local.epochs * math.ceil(len(y) / self.local.batch)
        drawn = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):  # for layers that draw from the global generator, such as Dropout
            torch.manual_seed(seed)
            self.module.train()
            for number, rows in enumerate(batches(len(y), self.local.batch, steps, drawn), 1):
                bx, by = (x, y) if rows is None else (x[rows], y[rows])
                self.grad.zero_()
                (LOSSES[self.task](self.module(bx), by) / len(by)).backward()  # type: ignore[no-untyped-call]  # torch's own
                self.step(pull, number)
        return self.taken(), steps

    def prepare(self, pull: Pull) -> None:
        """An optimiser without a past, and what pulls on this round's steps."""
        size = len(self.flat)
        buffers = 3 if self.local.optimizer == "adam" else 1 if self.momentum else 0
        for name in ("first", "second", "work")[:buffers]:
            setattr(self, name, zeroed(getattr(self, name), size))
        if pull.mu:
            self.centre = zeroed(self.centre, size)
            fill(self.centre, pull.centre)
        if pull.shift:
            self.shift = zeroed(self.shift, size)
            fill(self.shift, pull.shift)

    @torch.no_grad()
    def step(self, pull: Pull, number: int) -> None:
        """One step of SGD, SGD with momentum or Adam, on the gradient plus all that pulls."""
        if self.l2:
            self.grad.addcmul_(self.decay, self.flat)
        if pull.mu:  # FedProx: mu * (weights - centre)
            self.grad.add_(self.flat, alpha=pull.mu).sub_(self.centre, alpha=pull.mu)
        if pull.shift:
            self.grad.add_(self.shift)
        if self.local.optimizer == "adam":
            b1, b2 = BETAS
            self.first.lerp_(self.grad, 1 - b1)
            self.second.mul_(b2).addcmul_(self.grad, self.grad, value=1 - b2)
            torch.sqrt(self.second, out=self.work).div_(math.sqrt(1 - b2**number)).add_(EPS)
            self.flat.addcdiv_(self.first, self.work, value=-self.lr / (1 - b1**number))
        elif self.momentum:
            self.first.mul_(self.momentum).add_(self.grad)
            self.flat.add_(self.first, alpha=-self.lr)
        else:
            self.flat.add_(self.grad, alpha=-self.lr)

    @torch.no_grad()
    def outputs(self, params: T.Tree, x: torch.Tensor) -> torch.Tensor:
        """The module's last layer for each row, without training effects such as dropout."""
        self.place(params)
        self.module.eval()
        return torch.cat([self.module(x[at : at + AT_ONCE]) for at in range(0, max(len(x), 1), AT_ONCE)])

    def loss(self, params: T.Tree, table: Table) -> float:
        """The sum of the loss over the table's rows, in double precision."""
        x, y = self.tensors(table)
        return float(LOSSES[self.task](self.outputs(params, x).double(), y.double())) if len(y) else 0.0

    def score(self, params: T.Tree, table: Table) -> np.ndarray:
        """A probability (rows,), class probabilities (rows, classes) or a value (rows,), float64."""
        out = self.outputs(params, tensor(self.inputs(table))).double()
        if self.task == "multiclass":
            return out.softmax(1).numpy()
        return (out.view(-1).sigmoid() if self.task == "binary" else out.view(-1)).numpy()

    def tensors(self, table: Table) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows as PyTorch wants them."""
        return tensor(self.inputs(table)), tensor(np.asarray(table["y"], np.float32))


def tensor(values: Any) -> torch.Tensor:
    """An array as a tensor, floats in single precision; copied only where it must be."""
    values = np.asarray(values)
    kind = np.float32 if values.dtype.kind == "f" else values.dtype
    return torch.from_numpy(np.require(values, kind, ["C", "W"]))


def fill(flat: torch.Tensor, tree: T.Tree) -> None:
    """Copy a tree's leaves into a flat tensor, in the order of the wire."""
    into, at = flat.numpy(), 0
    for leaf in T.flatten(tree).values():
        for piece in T.blocks(leaf):
            into[at : at + len(piece)] = piece
            at += len(piece)


def zeroed(buffer: torch.Tensor, size: int) -> torch.Tensor:
    """The same buffer, all zero; a new one the first time."""
    return buffer.zero_() if len(buffer) == size else torch.zeros(size)


def batches(rows: int, batch: int, steps: int, drawn: torch.Generator) -> Iterator[torch.Tensor | None]:
    """The rows of each step: every row once an epoch in an order drawn anew; None for all of them."""
    done = 0
    while done < steps:
        if rows <= batch:
            done += 1
            yield None
            continue
        order = torch.randperm(rows, generator=drawn)
        for at in range(0, rows, batch)[: steps - done]:
            done += 1
            yield order[at : at + batch]
