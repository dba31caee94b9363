"""How the coordinator grows boosted trees, a level a round, from the sums of `trees.answer`; a pure function of state and total."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from collegium.algorithms.forest import Shape, empty, packed
from collegium.algorithms.losses import INTERVALS, Loss, summed_hazard
from collegium.algorithms.splits import BOUND, ROWS, UNIT, Rules, Splits, best, real, weight
from collegium.tree import Tree

LOOK, RISK, GROW, DONE = 0, 1, 2, 3  # phases: count outcomes; sum who is at risk (survival); a level of a tree; the end
CHECK = 2.0**20  # losses are whole multiples of its inverse


@dataclass(frozen=True)
class Grower:
    """The settings of `trees.trees`, and what the coordinator does with a total."""

    loss: Loss
    steps: int
    depth: int
    rate: float
    parallel: int
    rows: float
    columns: float
    patience: int
    rules: Rules
    monotone: Mapping[int, int]
    seed: int

    @property
    def trees(self) -> int:
        """Trees grown side by side in a step: by output, then by sample."""
        return self.loss.outputs * self.parallel

    def start(self, shape: Shape) -> dict[str, Any]:
        """The state before the first round."""
        widest = int(shape.widths.max(initial=1))
        none, one = empty(0, self.trees, self.depth, widest), empty(1, self.trees, self.depth, widest)
        kept = {
            "gain": np.zeros(none["feature"].shape),
            "growing": np.zeros(one["feature"].shape[1:]),
            "sums": np.zeros((*one["value"].shape[1:], 3), np.int64),
            "bounds": np.tile(np.array([-BOUND, BOUND]), (*one["value"].shape[1:], 1)),
            "level": np.zeros((self.trees, 1, shape.total, 3), np.int64),
            "best": np.array(0),
            "since": np.array(-1),
            "loss": np.array(0.0),
        }
        return {
            "phase": np.array(LOOK),
            "round": np.array(0),
            "level": np.array(0),
            "widths": shape.widths,
            "category": shape.category.astype(np.uint8),
            "hazard": np.zeros((INTERVALS if self.loss.timed else 1, 2)),
            "trees": {"base": np.zeros(self.loss.outputs), **none},
            "growing": {name: one[name][0] for name in ("feature", "left")},
            "ask": np.full((self.trees, 2 ** max(self.depth - 2, 0)), -1),
            "use": np.ones((self.parallel, len(shape.widths)), np.uint8),
            "kept": kept,
            "progress": {"trees": np.array(0)},
        }

    def apply(self, state: Tree, total: Tree) -> dict[str, Any]:
        """The state after a round. Raises `RunError` where there is nothing to learn."""
        state = {**state, "round": state["round"] + 1}
        phase = int(state["phase"])
        if phase == LOOK:
            base = self.loss.begin(np.asarray(total["outcome"]) / UNIT, int(total["rows"]))
            return self.step({**state, "trees": {**state["trees"], "base": base}})
        if phase == RISK:
            risk, events = np.asarray(total["risk"])
            return {**state, "hazard": summed_hazard(risk / UNIT, events), "phase": np.array(GROW)}
        if int(state["level"]) == 0:
            state = self.judged(state, total["check"])
            if int(state["phase"]) == DONE:
                return state
        return self.level(state, np.asarray(total["sums"]))

    def step(self, state: Tree) -> dict[str, Any]:
        """The beginning of a step: roots to ask, and columns to ask about."""
        done = len(state["trees"]["feature"])
        widest = 8 * state["growing"]["left"].shape[-1]
        one = empty(1, self.trees, self.depth, widest)
        ask = np.full_like(state["ask"], -1)
        ask[:, 0] = 0
        kept = {**state["kept"], "growing": np.zeros_like(state["kept"]["growing"]), "sums": np.zeros_like(state["kept"]["sums"])}
        kept["bounds"] = np.tile(np.array([-BOUND, BOUND]), (*kept["sums"].shape[:2], 1))
        use = np.stack([self.drawn(len(state["widths"]), (done, sample)) for sample in range(self.parallel)])
        return {
            **state,
            "phase": np.array(DONE if done >= self.steps else RISK if self.loss.timed else GROW),
            "level": np.array(0),
            "growing": {name: one[name][0] for name in ("feature", "left")},
            "ask": ask,
            "use": use,
            "kept": kept,
            "progress": {**state["progress"], "trees": np.array(done * self.trees)},
        }

    def drawn(self, columns: int, key: tuple[int, int]) -> np.ndarray:
        """Which columns the trees of one sample are grown on."""
        some = max(1, round(self.columns * columns))
        out = np.zeros(columns, np.uint8)
        out[np.argsort(np.random.Philox([self.seed, (key[0] << 16) + key[1]]).random_raw(columns), kind="stable")[:some]] = 1
        return out

    def judged(self, state: Tree, check: Tree) -> dict[str, Any]:
        """Whether the trees so far are the best yet, by the loss of everybody's validation rows."""
        if not int(check["rows"]):
            return dict(state)
        loss, kept = int(check["loss"]) / CHECK / int(check["rows"]), dict(state["kept"])
        if int(kept["since"]) < 0 or loss < float(kept["loss"]):
            kept |= {"loss": np.array(loss), "best": np.array(len(state["trees"]["feature"])), "since": np.array(0)}
        else:
            kept["since"] = kept["since"] + 1
        watched = {**state["progress"], "loss": np.array(loss), "best": kept["loss"]}
        if not self.patience:
            kept["since"] = np.array(0)
        over = bool(self.patience) and int(kept["since"]) >= self.patience
        return {**state, "kept": kept, "progress": watched, **({"phase": np.array(DONE)} if over else {})}

    def level(self, state: Tree, sums: np.ndarray) -> dict[str, Any]:
        """One more level of each growing tree."""
        at, shape = int(state["level"]), Shape(np.asarray(state["widths"]), np.asarray(state["category"]) == 1)
        histogram = sums[:, :1] if at == 0 else whole_level(sums, state, at)
        nodes, kept, growing = 2**at, {**state["kept"]}, {**state["growing"]}
        span = slice(nodes - 1, 2 * nodes - 1)
        if at == 0:
            kept["sums"] = np.array(kept["sums"])
            kept["sums"][:, 0] = histogram[:, 0, : int(shape.widths[0])].sum(1)
        allowed = np.asarray(state["use"])[np.arange(self.trees) % self.parallel] == 1
        monotone = np.array([self.monotone.get(column, 0) for column in range(len(shape.widths))])
        bounds = kept["bounds"][:, span].reshape(-1, 2)
        found = best(histogram.reshape(-1, shape.total, 3), shape, allowed.repeat(nodes, axis=0), monotone, bounds, self.rules)
        for name, into, values in (
            ("feature", growing, found.feature),
            ("left", growing, packed(np.pad(found.left, ((0, 0), (0, -found.left.shape[1] % 8))))),
            ("growing", kept, found.gain),
        ):
            into[name] = np.array(into[name])
            into[name][:, span] = values.reshape(self.trees, nodes, *values.shape[1:])
        kept |= self.children(kept, found, bounds, monotone, nodes)
        state = {**state, "growing": growing, "kept": {**kept, "level": histogram}}
        if at + 1 == self.depth or (found.feature < 0).all():
            return self.finished(state)
        return {**state, "level": state["level"] + 1, "ask": self.smaller(state, nodes)}

    def children(self, kept: Tree, found: Splits, bounds: np.ndarray, monotone: np.ndarray, nodes: int) -> dict[str, np.ndarray]:
        """Sums and bounds of the nodes that the splits of a level made."""
        split = (found.feature >= 0).reshape(self.trees, nodes)
        steps = weight(real(found.sums), self.rules.l2, bounds[:, None])
        middle, way = steps.mean(1), np.where(found.feature >= 0, monotone[found.feature], 0)
        ends = np.repeat(bounds[:, None], 2, axis=1)  # node, child, low and high
        for sign, capped, raised in ((1, 0, 1), (-1, 1, 0)):
            ends[way == sign, capped, 1], ends[way == sign, raised, 0] = middle[way == sign], middle[way == sign]
        out = {}
        for name, values in (("sums", found.sums), ("bounds", ends)):
            whole, below = np.array(kept[name]), slice(2 * nodes - 1, 4 * nodes - 1)
            new = values.reshape(self.trees, 2 * nodes, -1)
            whole[:, below] = np.where(split.repeat(2, axis=1)[..., None], new, whole[:, below])
            out[name] = whole
        return out

    def smaller(self, state: Tree, nodes: int) -> np.ndarray:
        """Of each split the child with fewer rows, which sites are asked next; -1 where there was no split."""
        first = 2 * nodes - 1
        rows = state["kept"]["sums"][:, first : first + 2 * nodes, ROWS].reshape(self.trees, nodes, 2)
        child = first + 2 * np.arange(nodes) + rows.argmin(2)
        ask: np.ndarray = np.full_like(state["ask"], -1)
        ask[:, :nodes] = np.where(state["growing"]["feature"][:, nodes - 1 : 2 * nodes - 1] >= 0, child, -1)
        return ask

    def finished(self, state: Tree) -> dict[str, Any]:
        """The trees of a step with their leaves, added to the model; the next step begins."""
        growing, kept, model = state["growing"], state["kept"], state["trees"]
        split = np.pad(growing["feature"] >= 0, ((0, 0), (0, kept["sums"].shape[1] - growing["feature"].shape[1])))
        there = kept["sums"][..., ROWS] > 0
        value = weight(real(kept["sums"]), self.rules.l2, kept["bounds"]) * (self.rate / self.parallel)
        new = {**growing, "value": np.where(there & ~split, value, 0.0)}
        model = {**model, **{name: np.concatenate([model[name], leaf[None]]) for name, leaf in new.items()}}
        kept = {**kept, "gain": np.concatenate([kept["gain"], kept["growing"][None]]), "level": kept["level"][:, :1]}
        state = self.step({**state, "trees": model, "kept": kept})
        nothing = not split.any() and self.columns == 1 and self.rows == 1  # nor would the next trees find anything
        return {**state, "phase": np.array(DONE)} if nothing else state


def whole_level(sums: np.ndarray, state: Tree, at: int) -> np.ndarray:
    """(trees, nodes, bins, 3): the histograms of a level, the larger child of each split as what its parent has left."""
    parents, above = np.asarray(state["kept"]["level"]), 2 ** (at - 1)
    asked = np.asarray(state["ask"])[:, :above]
    side = (asked - (2 * above - 1)) % 2
    small, large = sums[:, :above], parents - sums[:, :above]
    left = np.where((side == 0)[..., None, None], small, large)
    right = np.where((side == 0)[..., None, None], large, small)
    both = np.where((asked >= 0)[..., None, None, None], np.stack([left, right], 2), 0)
    return np.asarray(both.reshape(len(sums), 2 * above, *sums.shape[2:]))
