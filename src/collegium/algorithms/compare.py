"""The proof of benefit: did working together help, and whom? Each site trains alone, and both models meet its own held-out rows.

Only sums leave a site: how many sites gained, and the totals of both figures, of their difference and of the variances. A
site's own line stays in its `memory["line"]`; the agent shows it at the site, and elsewhere only where the site's policy
publishes it. `sheet` and `sentence` put the result into words, and always say at how many sites the site's own model won.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.bins import KEPT, first_rows
from collegium.algorithms.metrics import METRICS, Score, evaluate, held_out, measure, scored
from collegium.algorithms.roc import Z, interval, variance
from collegium.errors import CollegiumError
from collegium.table import Table
from collegium.tree import Tree

WORST = -10.0  # an R2 below it says no more than "useless", and would drown every other site's in the sum
REASONS = {"one_class": "had one outcome only", "too_few": "had too few held-out patients", "untrained": "could not train a model alone"}
COUNTS = ("compared", "gaining", "alone_better", "gaining_clearly", "alone_clearly", *REASONS)
SUMS = ("alone", "joint", "gain", "alone_variance", "joint_variance", "gain_variance")
ROUNDING = 1e-12  # two equal figures may differ so much by the order in which they were added up: that is no gain
FEWEST = 2  # sites whose figures may be added and kept: the sum of one is that one's own figure


def alone(inner: Algorithm, state: Tree, table: Table, memory: Tree, rounds: int) -> Tree:
    """What one site gets from `inner` by itself, with the same rounds and the same rule for stopping early.

    Held-out rows are taken away first: no `inner`, however written, can train on what it is judged by.

    >>> count = Algorithm(
    ...     init=lambda given: {"n": np.array(0)},
    ...     local=lambda shared, table, memory: ({"n": np.array(len(table))}, memory),
    ...     apply=lambda state, total: {"n": state["n"] + total["n"]},
    ... )
    >>> int(alone(count, count.init({}), Table({"part": np.array([0, 1, 2])}), {}, rounds=3)["n"])
    6
    """
    if "part" in table:
        table = table.where(np.asarray(table["part"]) != 2)
    seed = {"seed": memory["seed"]} if "seed" in memory else {}
    mine: Tree = seed
    for _ in range(rounds):
        update, mine = inner.local(T.whole(inner.share(state)), table, mine)
        mine = {**seed, **mine}
        state = T.whole(inner.apply(state, update))  # computed now: what is left for later would grow with each round
        if inner.done(state):
            break
    return inner.result(state)


def compare(
    inner: Algorithm,
    score: Score,
    *,
    task: str,
    rounds: int,
    fit: str = "fit",
    key: str = "params",
    least: int = KEPT,
    classes: int = 2,
    bins: int = 256,
    thresholds: Sequence[float] = (0.1, 0.2, 0.5),
) -> Algorithm:
    """Judge `given[fit][key]` against what each site's own run of `inner` gives, on that site's held-out rows, as sums.

    `score(params, table)` is what either model says of each row; `key=""` gives it a whole result, such as a regression's.
    Round 1: every site trains alone for at most `rounds` and measures both models exactly (AUROC, accuracy, R2 or
    concordance; see `metrics.measure`), paired as in DeLong 1988. Rounds 1 and 2 also `evaluate` the joint model on all
    held-out rows together. A site with fewer than `least` held-out patients, one outcome only or a failed training is left
    out and counted. The mean gain's interval is that of these sites, not of hospitals at large.
    """
    pooled = evaluate(task, score, bins=bins, classes=classes, thresholds=thresholds, fit=fit, key=key)

    def init(given: Tree) -> Tree:
        return {"start": inner.init(given), "pooled": pooled.init(given)}

    def share(state: Tree) -> Tree:
        shared = {"pooled": pooled.share(state["pooled"])}
        return shared | {"start": state["start"]} if int(state["pooled"]["round"]) == 1 else shared

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        quality, _ = pooled.local(shared["pooled"], table, {})
        if int(shared["pooled"]["round"]) > 1 or not len(table):
            return {"pooled": quality, "sites": as_sums({})}, memory
        own: Tree | None
        try:
            with np.errstate(all="ignore"):  # a small site's own training may diverge: that is a result, not a fault
                own = alone(inner, shared["start"], table, memory, rounds)
            own = own.get(key, {}) if key else own
        except (CollegiumError, ArithmeticError, np.linalg.LinAlgError):
            own = None
        line = judge(task, score, held_out(table), own, shared["pooled"].get("params", {}), least, classes)
        return {"pooled": quality, "sites": as_sums(line)}, {**memory, "line": line}

    def apply(state: Tree, total: Tree) -> Tree:
        first = int(state["pooled"]["round"]) == 1
        judged = pooled.apply(state["pooled"], total["pooled"])
        sites = summary(total["sites"]) if first else state["sites"]
        watched = {"gain": sites["gain"]["value"]} if "gain" in sites else {}
        return {**state, "pooled": judged, "sites": sites, "progress": {**judged.get("progress", {}), **watched}}

    def result(state: Tree) -> Tree:
        quality = pooled.result(state["pooled"])
        return {"task": quality["task"], "pooled": quality, **state.get("sites", {})}

    return Algorithm(init, local, apply, lambda state: pooled.done(state["pooled"]), share, result, "compare")


# At the site ---------------------------------------------------------------------------------------------------------------


def judge(task: str, score: Score, held: Table, own: Tree | None, joint: Tree, least: int, classes: int) -> dict[str, np.ndarray]:
    """The site's own line: both models' figures on its held-out rows with 95 % intervals, or why there are none."""
    rows, together, unscored = scored(task, score, joint, held, classes)
    patients = int(first_rows(rows).sum())
    line = {"patients": np.array(patients), "unscored": np.array(unscored)}
    if patients < max(least, 2):
        return line | {"too_few": np.array(1)}
    rarer = pairs(task, rows)
    found = measure(task, rows, together)
    if found is None or rarer < 2:
        return line | {"one_class" if found is None else "too_few": np.array(1)}
    mine = None
    if own is not None:
        with np.errstate(all="ignore"):
            _, apart, lost = scored(task, score, own, rows, classes)
        mine = None if lost else measure(task, rows, apart)
    if mine is None or mine[0] < WORST:
        return line | {"untrained": np.array(1)}
    found = (max(found[0], WORST), np.clip(found[1], WORST, -WORST))
    for name, (value, influence) in (("alone", mine), ("joint", found)):
        spread = variance(influence, rows.patient)
        low, high = around(value, spread) if task == "regression" else interval(value, spread, rarer)
        line |= figures(name, value, spread, low, high)
    gain, spread = found[0] - mine[0], variance(found[1] - mine[1], rows.patient)
    gain = gain if abs(gain) > ROUNDING else 0.0
    return line | figures("gain", gain, spread, *around(gain, spread))


def pairs(task: str, rows: Table) -> int:
    """How many independent pairs of a better and a worse outcome the rows hold at least."""
    if task == "binary":
        ill = int((np.asarray(rows["y"]) == 1).sum())
        return min(ill, len(rows) - ill)
    return int((np.asarray(rows["event"]) == 1).sum()) // 2 if task == "survival" else len(rows)


def around(value: float, variance: float) -> tuple[float, float]:
    """A symmetric 95 % interval."""
    half = Z * float(np.sqrt(variance))
    return value - half, value + half


def figures(name: str, value: float, variance: float, low: float, high: float) -> dict[str, np.ndarray]:
    """One figure as leaves of a line."""
    return {name: np.array(value), f"{name}_variance": np.array(variance), f"{name}_low": np.array(low), f"{name}_high": np.array(high)}


def as_sums(line: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a site adds: ones and its figures; all zero without a line."""
    counts = {name: int(name in line) for name in REASONS} | {"compared": int("gain" in line)}
    if "gain" in line:
        gain, sure = float(line["gain"]), float(line["gain_low"]) > 0 or float(line["gain_high"]) < 0
        counts |= {"gaining": int(gain > 0), "alone_better": int(gain < 0)}
        known = sure and float(line["gain_variance"]) > 0
        counts |= {"gaining_clearly": int(known and gain > 0), "alone_clearly": int(known and gain < 0)}
    out = {name: np.array(counts.get(name, 0), np.int64) for name in COUNTS}
    return out | {name: np.array(line.get(name, 0.0), np.float64) for name in SUMS}


# At the coordinator --------------------------------------------------------------------------------------------------------


def summary(total: Tree) -> dict[str, Any]:
    """Means over the compared sites with their intervals; counts alone where fewer than two were compared."""
    counts = {name: np.maximum(np.asarray(total[name]), 0) for name in COUNTS}
    compared = int(counts["compared"])
    if compared < FEWEST:
        return {"sites": {name: counts[name] for name in ("compared", *REASONS)}}
    out: dict[str, Any] = {"sites": counts}
    for name in ("alone", "joint", "gain"):
        value, spread = float(total[name]) / compared, max(float(total[f"{name}_variance"]), 0.0) / compared**2
        out[name] = {part: np.array(x) for part, x in zip(("value", "low", "high"), (value, *around(value, spread)), strict=True)}
    return out


Figure = tuple[float, float, float]  # value, low, high


class Line(NamedTuple):
    """One row of the comparison sheet; None where there is no figure."""

    name: str
    alone: Figure | None
    joint: Figure | None
    gain: Figure | None
    note: str


def sheet(result: Tree, lines: Sequence[tuple[str, Tree]] = ()) -> list[Line]:
    """The comparison sheet: the mean over sites, the joint model on everybody's rows, and the lines that sites publish."""
    sites = {name: int(x) for name, x in result.get("sites", {}).items()}
    note = f"{sites.get('compared', 0)} compared"
    if "gain" in result:
        own, clearly = sites["alone_better"], sites["alone_clearly"]
        note += f"; together better at {sites['gaining']}, alone better at {own}" + (f" (clearly at {clearly})" if own else "")
    note += "".join(f"; {sites[name]} {words}" for name, words in REASONS.items() if sites.get(name))
    rows = [Line("Mean over hospitals", triple(result.get("alone")), triple(result.get("joint")), triple(result.get("gain")), note)]
    rows.append(Line("All held-out patients together", None, *pooled_figure(result["pooled"])))
    return rows + [of_site(name, line) for name, line in lines]


def triple(found: Tree | None) -> Figure | None:
    """A figure as plain numbers."""
    return None if found is None else (float(found["value"]), float(found["low"]), float(found["high"]))


def pooled_figure(quality: Tree) -> tuple[Figure | None, None, str]:
    """The joint model's figure on all held-out rows, no gain, and how far binning can have moved it."""
    metric = METRICS[int(quality["task"])]
    if metric == "accuracy" and "accuracy" in quality:
        value, n = float(quality["accuracy"]), int(quality["rows"])
        return (value, *interval(value, value * (1 - value) / n, n)), None, ""
    if metric == "R2" and "r2" in quality:
        return (float(quality["r2"]),) * 3, None, "no interval"
    found = quality.get(metric.lower())
    return triple(found), None, "cannot be computed" if found is None else f"at most {float(found['error']):.4f} of it is binning"


def of_site(name: str, line: Tree) -> Line:
    """A site's own line as a row of the sheet."""
    if "gain" not in line:
        return Line(name, None, None, None, next((words for reason, words in REASONS.items() if reason in line), "not compared"))
    alone, joint, gain = (
        (float(line[name]), float(line[f"{name}_low"]), float(line[f"{name}_high"])) for name in ("alone", "joint", "gain")
    )
    better = "no difference" if gain[0] == 0 else "together better" if gain[0] > 0 else "alone better"
    sure = gain[0] != 0 and float(line["gain_variance"]) > 0 and (gain[1] > 0 or gain[2] < 0)
    return Line(name, alone, joint, gain, better + (", clearly" if sure else ", within chance" if gain[0] else ""))


def sentence(result: Tree) -> str:
    """The headline: whether working together helped, whom it did not help, and who could not be compared.

    >>> sites = dict(zip(COUNTS, (6, 5, 1, 3, 0, 0, 1, 0)))
    >>> means = {name: dict(zip(("value", "low", "high"), x)) for name, x in
    ...          (("alone", (0.74, 0.7, 0.78)), ("joint", (0.81, 0.78, 0.84)), ("gain", (0.07, 0.05, 0.09)))}
    >>> print(sentence({"task": 0, "pooled": {"task": 0}, "sites": sites, **means}))
    Working together helped 5 of 6 hospitals: on each one's own held-out patients the joint model's AUROC was 0.810 on average,
    against 0.740 for a model trained alone (gain +0.070, 95 % interval +0.050 to +0.090).
    At 1 of 6 hospitals its own model was better, clearly so at none. 1 hospital was left out: 1 had too few held-out patients.
    """
    sites = {name: int(x) for name, x in result.get("sites", {}).items()}
    n = sites.get("compared", 0)
    if "gain" not in result:
        only = "Only one hospital could be compared, and one hospital's figures stay with it." if n else "No hospital could be compared."
        return " ".join([only, *left_out(sites)])
    gain, low, high = triple(result["gain"]) or (0.0, 0.0, 0.0)
    opening = f"Working together helped {sites['gaining']} of {hospitals(n)}"
    if high < 0:
        opening = f"Working together did not help: the joint model was better at {sites['gaining']} of {hospitals(n)}"
    elif low <= 0:
        opening = f"Working together made no clear difference: the joint model was better at {sites['gaining']} of {hospitals(n)}"
    means = (
        f"{opening}: on each one's own held-out patients the joint model's {METRICS[int(result['task'])]} was "
        f"{float(result['joint']['value']):.3f} on average, against {float(result['alone']['value']):.3f} for a model trained alone "
        f"(gain {gain:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})."
    )
    return " ".join([means, own_better(sites), *left_out(sites)])


def own_better(sites: Mapping[str, int]) -> str:
    """Who is better off alone: said in every headline."""
    own, clearly = sites["alone_better"], sites["alone_clearly"]
    if not own:
        return "At no hospital was its own model better."
    return f"At {own} of {hospitals(sites['compared'])} its own model was better, clearly so at {clearly or 'none'}."


def left_out(sites: Mapping[str, int]) -> list[str]:
    """Who could not be compared, and why; nothing if everybody was."""
    reasons = [f"{sites[name]} {words}" for name, words in REASONS.items() if sites.get(name)]
    count = sum(sites.get(name, 0) for name in REASONS)
    return [f"{hospitals(count)} {'was' if count == 1 else 'were'} left out: {', '.join(reasons)}."] if count else []


def hospitals(count: int) -> str:
    """A number of hospitals in words."""
    return f"{count} hospital" if count == 1 else f"{count} hospitals"
