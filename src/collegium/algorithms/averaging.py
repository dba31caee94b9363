"""FedAvg, FedProx, FedNova and FedOpt: one computation with three knobs.

FedAvg (McMahan 2017, algorithm 1) is the default; `mu` makes it FedProx (Li 2020, eq. 2), `normalise` FedNova (Wang 2020,
eq. 6, plain local SGD), an `optimizer` at the coordinator FedAvgM, FedAdam, FedYogi or FedAdagrad (Reddi 2021).
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.table import Table

TRAINING, VALIDATION, HELD_OUT = 0, 1, 2  # the column "part": what a row is for
WORST, GONE = 1000.0, 1 << 30  # so many times the first loss: training has diverged; as many "rounds since the best" say so


class Optimizer(NamedTuple):
    """`init(params) -> state`; `update(delta, state) -> (step, state)`, where `delta` is the sites' mean change. Both pure."""

    init: Callable[[T.Tree], T.Tree]
    update: Callable[[T.Tree, T.Tree], tuple[T.Tree, T.Tree]]


PLAIN = Optimizer(lambda params: {}, lambda delta, state: (delta, {}))  # the new weights are the mean of the sites'


class Pull(NamedTuple):
    """What is added to each local gradient: `mu * (params - centre) + shift`; nothing at the defaults."""

    mu: float = 0.0
    centre: T.Tree = MappingProxyType({})
    shift: T.Tree = MappingProxyType({})


class Train(Protocol):
    """Local training: where the model, the loss and the framework live. Returns new weights and how many steps it took."""

    def __call__(self, params: T.Tree, table: Table, pull: Pull, seed: int) -> tuple[T.Tree, int]: ...


Loss = Callable[[T.Tree, Table], float]  # (params, table) -> the sum of the loss over the table's rows
Score = Callable[[T.Tree, Table], np.ndarray]  # (params, table) -> a probability, class probabilities, value or risk for each row


class Learner(NamedTuple):
    """Everything a recipe knows how to do with its model; it lives at the sites, never at the coordinator."""

    train: Train
    loss: Loss
    score: Score


def part(table: Table, which: int) -> Table:
    """The rows for training, validation or testing; a table without the column "part" is all for training."""
    if "part" in table:
        mine = np.asarray(table["part"]) == which
        return table if mine.all() else table.where(mine)
    return table if which == TRAINING else table.where(np.zeros(len(table), bool))


def seed_of(memory: T.Tree, number: int) -> int:
    """The seed of one round at one site: the same wherever the round is run again."""
    return (int(memory.get("seed", 0)) * 1_000_003 + number) % 2**63


def averaging(
    train: Train,
    loss: Loss,
    *,
    mu: float = 0.0,
    normalise: bool = False,
    optimizer: Optimizer = PLAIN,
    patience: int = 0,
    first: Callable[[T.Tree], T.Tree] = lambda given: given["first"]["params"],
) -> Algorithm:
    """Average locally trained weights, weighted by rows; stop early and keep the best by the summed validation loss.

    `first(given)` gives the first weights. Each round's update also holds the loss of the weights that came in, over the sites'
    validation rows; `patience` rounds without a better one end the run, and so does one beyond all measure: `diverged`. The
    result is the best weights seen, or the newest when the last loss measured was the best.
    """

    def init(given: T.Tree) -> T.Tree:
        params = first(given)
        kept = {"opt": optimizer.init(params), "best": params, "loss": np.array(0.0), "worst": np.array(0.0), "since": np.array(-1)}
        return {"params": params, "round": np.array(1), "kept": kept, "progress": {}}

    def local(shared: T.Tree, table: Table, memory: T.Tree) -> tuple[T.Tree, T.Tree]:
        centre, mine, check = shared["params"], part(table, TRAINING), part(table, VALIDATION)
        rows, steps, worst = len(mine), 0, len(check) * float(shared["worst"])
        found = loss(centre, check) if len(check) else 0.0
        lost = worst > 0 and not found < worst  # also where it is no number
        if rows and not lost:
            params, steps = train(centre, mine, Pull(mu, centre), seed_of(memory, int(shared["round"])))
            weight = rows / steps if normalise else rows
            delta = T.later(lambda p, c: ((p - c) * np.float32(weight)).astype(np.float32, copy=False), params, centre)
        else:
            delta = T.zeros_like(centre)
        measured = {"loss": np.array(worst if lost else found), "rows": np.array(len(check))}  # a sum with room for more loses small ones
        return {"delta": delta, "rows": np.array(rows), "steps": np.array(rows * steps), "check": measured}, memory

    def apply(state: T.Tree, total: T.Tree) -> T.Tree:
        rows = max(int(total["rows"]), 1)
        mean = T.scale(total["delta"], (int(total["steps"]) / rows if normalise else 1.0) / rows)
        step, opt_state = optimizer.update(mean, state["kept"]["opt"])
        params = T.map(lambda p, s: (p + s).astype(p.dtype, copy=False), state["params"], step)
        kept, progress = judge(state, total["check"])
        return {"params": params, "round": state["round"] + 1, "kept": {**kept, "opt": opt_state}, "progress": progress}

    def result(state: T.Tree) -> T.Tree:
        since = int(state["kept"]["since"])
        params = state["params"] if since <= 0 else state["kept"]["best"]
        return {"params": params, "rounds": state["round"] - 1, "diverged": np.array(int(since >= GONE))}

    done = lambda state: int(state["kept"]["since"]) >= (patience or GONE)
    share = lambda state: {"params": state["params"], "round": state["round"], "worst": state["kept"]["worst"]}
    return Algorithm(init, local, apply, done, share, result, "averaging")


def judge(state: T.Tree, check: T.Tree) -> tuple[dict[str, object], dict[str, object]]:
    """Keep the weights that came in if their loss is the best; `since` counts rounds from then, -1: nobody has validation rows."""
    kept = dict(state["kept"])
    if not int(check["rows"]):
        return kept, {}
    loss, since = float(check["loss"]) / int(check["rows"]), int(kept["since"])
    kept["worst"] = kept["worst"] if since >= 0 else np.array(WORST * max(loss, 1.0))
    if since < 0 or loss < float(kept["loss"]):
        kept |= {"best": state["params"], "loss": np.array(loss), "since": np.array(0)}
    else:
        kept |= {"since": np.array(GONE if loss > float(kept["worst"]) / 2 else since + 1)}
    return kept, {"loss": np.array(loss), "best": kept["loss"], **({"diverged": np.array(1.0)} if int(kept["since"]) >= GONE else {})}
