"""The one abstraction: a federated computation is a few pure functions and a sum."""

from collections.abc import Callable
from typing import NamedTuple

from collegium.table import Table
from collegium.tree import Tree


def never(state: Tree) -> bool:
    """Runs until its rounds are used up."""
    return False


def whole(state: Tree) -> Tree:
    """All of the state."""
    return state


class Algorithm(NamedTuple):
    """A federated computation over any number of sites.

    `init(given)`                   -> state             at the coordinator, once; `given` holds the results of earlier stages
    `local(shared, table, memory)`  -> (update, memory)  at every site, every round; `shared` is `share(state)`
    `apply(state, total)`           -> state             at the coordinator, once a round
    `done(state)`                   -> bool              at the coordinator, after `apply`
    `share(state)`                  -> the part of the state that sites are sent
    `result(state)`                 -> what the computation was run for, handed to later stages as `given[name]`

    `total` is the leafwise sum of the sites' updates. It is all that is ever kept of them, so a mean travels as a numerator
    and a denominator. The dtype of an update's leaf says how it is summed: int64 counts exactly, float64 (statistics, Newton
    steps) in Z_2^64, float32 (weights) in Z_2^32 or Z_2^16; no other dtype leaves a site. `local` may use only the manifest, what it
    is given, and the site's own `memory`, a tree that never leaves the site; `memory["seed"]` is the site's random seed.
    An empty table must give an update of zeros in the right shapes: an empty site changes nothing. No NaN or infinity may
    stand in a state or an update. `state["progress"]`, if there, holds a few scalars that people watch.
    """

    init: Callable[[Tree], Tree]
    local: Callable[[Tree, Table, Tree], tuple[Tree, Tree]]
    apply: Callable[[Tree, Tree], Tree]
    done: Callable[[Tree], bool] = never
    share: Callable[[Tree], Tree] = whole
    result: Callable[[Tree], Tree] = whole
    name: str = ""
