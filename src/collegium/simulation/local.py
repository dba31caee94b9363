"""A whole federation in one process: the engine, the sums and the bytes of the real thing, without the network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.engine import run as course
from collegium.engine import task
from collegium.engine.fold import fold_bytes
from collegium.engine.run import Run, Stage
from collegium.simulation.secure import Sums
from collegium.table import Table

Memory = dict[str, dict[str, T.Tree]]  # site -> stage -> what the site keeps to itself


def simulate(
    algorithm: Algorithm, sites: Mapping[str, Table], *, rounds: int = 100, given: Mapping[str, T.Tree] | None = None, seed: int = 0
) -> T.Tree:
    """Run one algorithm over the sites' tables until it is done; return its result."""
    like = next(iter(sites.values())).where(np.zeros(0, int))
    end, _ = walk([Stage("only", algorithm, rounds, like)], sites, given=given, seed=seed)
    return end.results["only"]


def walk(
    stages: Sequence[Stage],
    sites: Mapping[str, Table],
    *,
    given: Mapping[str, T.Tree] | None = None,
    seed: int = 0,
    watch: Callable[[Run], object] = lambda run: None,
    secure: Sums | None = None,
) -> tuple[Run, Memory]:
    """All stages of a study over the sites' tables: the run's end, and what each site kept. `watch` sees every place.

    With `secure` each sum is made under masks.
    """
    verified = secure is not None and secure.verified
    run, memory = course.begin(stages, len(sites), given, verified=verified), Memory((site, {}) for site in sites)
    while not run.over:
        run = play(run, stages, sites, memory, seed, watch, secure)
    return run, memory


def play(
    run: Run, stages: Sequence[Stage], sites: Mapping[str, Table], memory: Memory, seed: int,
    watch: Callable[[Run], object], secure: Sums | None,
) -> Run:  # fmt: skip
    """One round: every site's update, then its phases (ranging, the sum) until the run has moved on."""
    stage, shared, here = stages[run.place.stage], T.whole(course.shared(run, stages)), run.place[:2]
    kept = {site: memory[site].get(stage.name, {"seed": task.seed(seed, site)}) for site in sites}
    changes = {site: task.update(stage.algorithm, shared, table, kept[site]) for site, table in sites.items()}
    while run.place[:2] == here and not run.over:
        run = close(run, stages, {site: change for site, (change, _) in changes.items()}, seed, secure)
        watch(run)
    for site, (_, after) in changes.items():
        memory[site][stage.name] = after
    return run


def close(run: Run, stages: Sequence[Stage], changes: Mapping[str, T.Tree], seed: int, secure: Sums | None = None) -> Run:
    """One phase of a round, from the sites' updates to the next place, by way of the very vectors that would travel."""
    seeds = {site: task.seed(seed, site) for site in changes}
    made = {site: partial(task.vector, change, run.layout, run.place, seeds[site]) for site, change in changes.items()}
    if secure:
        total = secure.add(run, made)
    else:
        total = fold_bytes(run.layout, (b"".join(block.data for block in make()) for make in made.values()))
    after = course.close(run, stages, lambda at, size: total[at : at + size], len(changes))
    return replace(after, state=T.whole(after.state))
