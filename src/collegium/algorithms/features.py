"""Raw columns as numbers that models can use, the same at every hospital: the stage before most studies.

Hospitals that standardise alone give the same patient different numbers; standardising by sums over all of them is worth
more than any optimiser (UCI heart disease, four hospitals: AUROC 0.80 alone, 0.88 by sums). Round 1 sums counts, round 2
the squares around the common mean, which keeps all digits where a sum of raw squares would cancel them (Chan, Golub and
LeVeque 1983). Categories are counted: declared ones by name, open vocabularies by hash bucket, so that no text leaves a
hospital. Who holds a list of likely texts can hash it too, so an open vocabulary is for codes (ICD-10, ATC), never for
names or free text; and two codes may share a bucket, which joins them as one category.

    >>> columns = [Column("age", "number"), Column("sex", "category", ("F", "M"))]
    >>> table = Table({"age": np.array([40.0, 70.0, np.nan]), "sex": np.array(["F", "M", "M"])})
    >>> prepare = features(columns, min_count=1)
    >>> state = prepare.init({})
    >>> for _ in range(2):
    ...     state = prepare.apply(state, prepare.local(state, table, {})[0])
    >>> names(columns, state)
    ['age', 'age is missing', 'sex=F', 'sex=M']
    >>> encode(table, columns, prepare.result(state))
    array([[-1.,  0.,  1.,  0.],
           [ 1.,  0.,  0.,  1.],
           [ 0.,  1.,  0.,  1.]])
"""

import hashlib
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from collegium import tree as T
from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.columns import joined, limbs, numbers, places, texts, training
from collegium.errors import DataError, RunError, StudyError
from collegium.table import Table
from collegium.tree import Tree


class Column(NamedTuple):
    """One raw column. A binary one holds 0 and 1, or the two texts in `categories`: first no, then yes."""

    name: str
    kind: Literal["number", "category", "binary"]
    categories: tuple[str, ...] | None = None  # None: an open vocabulary, counted by hash bucket
    buckets: int = 16384


def features(columns: Sequence[Column], *, min_count: int = 10, max_categories: int = 64) -> Algorithm:
    """Means, spreads and category frequencies over all sites' training rows, in two rounds.

    Categories with fewer than `min_count` rows in the whole federation become `other`; of an open vocabulary the
    `max_categories` most frequent buckets are kept. The result has the same shapes whatever the data are:
    `numbers/{n, missing, mean, sd, flag}` one entry for each number or binary column, in their order, and for a category
    `categories/<name>/{kept, counts, other, missing, flag}`, where `kept` holds places in the declared categories or
    bucket numbers and ends in -1. `flag` is 1 where a column tells that the value is missing (for a category also: other).
    """
    check(columns)

    def init(given: Tree) -> Tree:
        return blank(columns, max_categories)

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        rows = training(table)
        return (look(columns, rows) if shared["step"] == 0 else spread(columns, rows, shared["numbers"]["mean"])), memory

    def apply(state: Tree, total: Tree) -> Tree:
        if state["step"] == 0:
            return settle(columns, state, total, min_count)
        n = state["numbers"]["n"]
        sd = np.sqrt(joined(total["numbers"]["squares"]) / np.maximum(n, 1))
        # A spread that is rounding beside its mean is none: the column is constant, and encodes as zeros
        sd = np.where(sd > 1e-12 * np.abs(state["numbers"]["mean"]), sd, 1.0)
        return {**state, "step": np.array(2), "numbers": {**state["numbers"], "sd": sd}}

    def result(state: Tree) -> Tree:
        return {name: value for name, value in state.items() if name != "step"}

    return Algorithm(init, local, apply, lambda state: bool(state["step"] >= 2), result=result, name="features")


def check(columns: Sequence[Column]) -> None:
    """Raise `StudyError` for columns that cannot be prepared, by name."""
    taken = [c.name for c in columns]
    for c in columns:
        if not c.name or "/" in c.name or taken.count(c.name) > 1:
            raise StudyError(f"column {c.name!r} stands twice, is empty or holds a '/'")
        if c.kind == "binary" and c.categories is not None and len(c.categories) != 2:
            raise StudyError(f"binary column {c.name!r} has {len(c.categories)} categories; wanted two, first no, then yes")
        if c.kind == "category" and c.categories is None and c.buckets < 2:
            raise StudyError(f"column {c.name!r} has {c.buckets} buckets; wanted at least 2")


def blank(columns: Sequence[Column], max_categories: int) -> dict[str, Any]:
    """The state before the first round, in the shapes it keeps."""
    k = len(measured(columns))
    none = np.zeros(k, np.int64)
    state: dict[str, Any] = {"step": np.array(0)}
    state["numbers"] = {"n": none, "missing": none, "flag": none, "mean": np.zeros(k), "sd": np.ones(k)}
    for c in (c for c in columns if c.kind == "category"):
        size = max_categories if c.categories is None else len(c.categories)
        one = {"kept": np.full(size, -1), "counts": np.zeros(size, np.int64)}
        one |= {"other": np.array(0), "missing": np.array(0), "flag": np.zeros(2, np.int64)}
        state.setdefault("categories", {})[c.name] = one
    return state


def measured(columns: Sequence[Column]) -> list[Column]:
    """The columns that are standardised or kept as numbers."""
    return [c for c in columns if c.kind != "category"]


def values(table: Table, columns: Sequence[Column]) -> np.ndarray:
    """Number and binary columns as (rows, columns), NaN where missing. Raises `DataError` by the column's name."""
    out = np.empty((len(table), len(measured(columns))))
    for at, c in enumerate(measured(columns)):
        if c.kind == "binary" and c.categories is not None:
            place = places(texts(table, c.name), c.categories)
            out[:, at] = np.array([0.0, 1.0, 2.0, np.nan])[place]
        else:
            out[:, at] = numbers(table, [c.name])[:, 0]
        if c.kind == "binary" and not (np.isnan(out[:, at]) | np.isin(out[:, at], (0, 1))).all():
            raise DataError(
                f"column {c.name!r} is declared binary but holds more than {' and '.join(c.categories or ('0', '1'))}",
                hint="declare it as a number or a category, or map its codes",
            )
    return out


def buckets(table: Table, c: Column) -> np.ndarray:
    """Where each row's category is counted; the last two places are other (declared categories only) and missing."""
    text = texts(table, c.name)
    if c.categories is not None:
        return places(text, c.categories)
    found, at = np.unique(text, return_inverse=True)
    return np.array([bucket(t, c.buckets) for t in found.tolist()], np.int64)[at.reshape(-1)]


def bucket(text: str, count: int) -> int:
    """The bucket of a category's text, the same at every hospital; a missing one comes after all buckets and `other`."""
    if not text:
        return count + 1
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") % count


def places_of(c: Column) -> int:
    """How many counts a category column sends."""
    return (c.buckets if c.categories is None else len(c.categories)) + 2


def look(columns: Sequence[Column], rows: Table) -> Tree:
    """Round 1 at a site: how many, how much, which categories."""
    x = values(rows, columns)
    seen = ~np.isnan(x)
    update = silence(columns)
    update["numbers"] |= {"n": seen.sum(0), "missing": (~seen).sum(0), "sums": limbs(np.where(seen, x, 0.0))}
    for c in (c for c in columns if c.kind == "category"):
        update["categories"][c.name] = np.bincount(buckets(rows, c), minlength=places_of(c)).astype(np.int64)
    return update


def spread(columns: Sequence[Column], rows: Table, mean: np.ndarray) -> Tree:
    """Round 2 at a site: the squares around the common mean."""
    update = silence(columns)
    update["numbers"]["squares"] = limbs(np.nan_to_num(values(rows, columns) - mean) ** 2)
    return update


def silence(columns: Sequence[Column]) -> dict[str, Any]:
    """An update that adds nothing. Both rounds send all of it, so that one list of shapes serves the whole stage."""
    k = len(measured(columns))
    update: dict[str, Any] = {"numbers": {name: np.zeros(k, np.int64) for name in ("n", "missing")}}
    update["numbers"] |= {name: limbs(np.zeros((0, k))) for name in ("sums", "squares")}
    for c in (c for c in columns if c.kind == "category"):
        update.setdefault("categories", {})[c.name] = np.zeros(places_of(c), np.int64)
    return update


def settle(columns: Sequence[Column], state: Tree, total: Tree, min_count: int) -> Tree:
    """After round 1: the means, and which categories are frequent enough to keep."""
    n, missing = total["numbers"]["n"], total["numbers"]["missing"]
    flag = (missing >= min_count).astype(np.int64)
    mean = joined(total["numbers"]["sums"]) / np.maximum(n, 1)
    out: dict[str, Any] = {"step": np.array(1)}
    out["numbers"] = {**state["numbers"], "n": n, "missing": missing, "flag": flag, "mean": mean}
    for c in (c for c in columns if c.kind == "category"):
        kept = keep(c, total["categories"][c.name], len(state["categories"][c.name]["kept"]), min_count)
        out.setdefault("categories", {})[c.name] = kept
    return out


def keep(c: Column, counts: np.ndarray, size: int, min_count: int) -> Tree:
    """The categories worth a column: declared ones in their order, buckets by frequency (ties by number)."""
    level, missing = counts[:-2], int(counts[-1])
    order = np.arange(len(level)) if c.categories is not None else np.argsort(-level, kind="stable")
    order = order[level[order] >= max(min_count, 1)][:size]
    kept, frequency = np.full(size, -1), np.zeros(size, np.int64)
    kept[: len(order)], frequency[: len(order)] = order, level[order]
    other = int(counts[:-1].sum() - frequency.sum())
    flag = np.array([other, missing]) >= max(min_count, 1)
    return {"kept": kept, "counts": frequency, "other": np.array(other), "missing": np.array(missing), "flag": flag.astype(np.int64)}


class Level(NamedTuple):
    """One column of the encoded matrix: where it comes from and what it is called."""

    column: Column
    name: str
    place: int | None  # a category's place among the counts; None for the value itself; -1 missing, -2 other


def levels(columns: Sequence[Column], prepared: Tree, *, reference: bool = False) -> list[Level]:
    """The encoded columns in their order."""
    out: list[Level] = []
    flags = dict(zip((c.name for c in measured(columns)), prepared["numbers"]["flag"].tolist(), strict=True))
    for c in columns:
        if c.kind != "category":
            out += [Level(c, c.name, None)] + [Level(c, f"{c.name} is missing", -1)] * flags[c.name]
            continue
        one = prepared["categories"][c.name]
        kept = [int(k) for k in one["kept"] if k >= 0]
        mine = [Level(c, f"{c.name}={c.categories[k] if c.categories is not None else f'#{k}'}", k) for k in kept]
        mine += [Level(c, f"{c.name}=other", -2)] * int(one["flag"][0])
        mine += [Level(c, f"{c.name} is missing", -1)] * int(one["flag"][1])
        if reference and mine:  # the most frequent level: the others' coefficients are then best determined
            del mine[int(np.argmax(one["counts"][: len(kept)])) if kept else 0]
        out += mine
    return out


def names(columns: Sequence[Column], prepared: Tree, *, reference: bool = False) -> list[str]:
    """What the encoded columns are called; a bucket of an open vocabulary has only its number."""
    return [level.name for level in levels(columns, prepared, reference=reference)]


def references(columns: Sequence[Column], prepared: Tree) -> list[int]:
    """The places among all `names` of the levels that `reference=True` drops: those that the others of a category are compared with."""
    kept = {(level.column.name, level.place) for level in levels(columns, prepared, reference=True)}
    return [at for at, level in enumerate(levels(columns, prepared)) if (level.column.name, level.place) not in kept]


def encode(table: Table, columns: Sequence[Column], prepared: Tree, *, reference: bool = False) -> np.ndarray:
    """The table's columns as float64 (rows, p), as `names` calls them.

    Numbers are standardised, a missing one is 0, the mean; where at least `min_count` training rows missed it, a column of
    its own says so. Binary columns stay 0 and 1, so that their coefficients keep their meaning; a missing one is the mean.
    A category is one column a level; a rare or unknown one is `other`, or all zeros where training saw too few others.
    `reference=True` drops each category's most frequent level, or the columns would add up to the intercept.
    """
    x = values(table, columns)
    mean, sd = np.asarray(prepared["numbers"]["mean"]), np.asarray(prepared["numbers"]["sd"])
    out = np.zeros((len(table), len(chosen := levels(columns, prepared, reference=reference))))
    number = {c.name: at for at, c in enumerate(measured(columns))}
    where = {c.name: kept_places(table, c, prepared) for c in columns if c.kind == "category"}
    for at, (c, _, place) in enumerate(chosen):
        if c.kind == "category":
            out[:, at] = where[c.name] == place
        elif place is not None:
            out[:, at] = np.isnan(x[:, number[c.name]])
        else:
            k = number[c.name]
            column = np.where(np.isnan(x[:, k]), mean[k], x[:, k])
            out[:, at] = column if c.kind == "binary" else (column - mean[k]) / sd[k]
    return out


def kept_places(table: Table, c: Column, prepared: Tree) -> np.ndarray:
    """Each row's kept category, -1 where missing, -2 for any other."""
    at = buckets(table, c)
    kept = np.asarray(prepared["categories"][c.name]["kept"])
    return np.where(at == places_of(c) - 1, -1, np.where(np.isin(at, kept[kept >= 0]), at, -2))


def encoded(inner: Algorithm, columns: Sequence[Column], *, stage: str = "features", reference: bool = False) -> Algorithm:
    """Run `inner` on a table whose raw columns have become one matrix `x`, by what the stage `features` found.

    `inner.init` finds the width of `x` as `given["encoded"]["width"]`. The state holds the prepared tree under `features`
    and the inner state under `inner`. Where a message of `inner` says `x[3]`, the reader is told the column's name.
    """

    def make(table: Table, found: Tree) -> np.ndarray:
        return encode(table, columns, found["features"], reference=reference)

    def called(found: Tree) -> list[str]:
        return names(columns, found["features"], reference=reference)

    def told(found: Tree) -> Tree:
        return {"encoded": {"width": np.array(len(called(found)))}}

    return made(inner, columns, {"features": stage}, make, told, called)


def made(
    inner: Algorithm,
    columns: Sequence[Column],
    stages: Mapping[str, str],
    make: Callable[[Table, Tree], np.ndarray],
    told: Callable[[Tree], Tree],
    called: Callable[[Tree], Sequence[str]],
) -> Algorithm:
    """Run `inner` on a table whose raw columns have become one matrix `x`, by what earlier stages found.

    `stages` says under which name the state holds the result of which stage; `make`, `told` (what `inner.init` is given besides)
    and `called` (the columns of `x`, for messages) are functions of that part of the state.
    """
    ready = once(columns, make)

    def wrap(found: Tree, state: Tree) -> Tree:
        out: dict[str, Any] = {**found, "inner": state}
        return out | {"progress": state["progress"]} if "progress" in state else out

    def kept(state: Tree) -> dict[str, Any]:
        return {name: state[name] for name in stages}

    def init(given: Tree) -> Tree:
        for stage in stages.values():
            if stage not in given:
                raise StudyError(f"{inner.name or 'this stage'} needs the result of a stage {stage!r} before it")
        found = {name: given[stage] for name, stage in stages.items()}
        return wrap(found, inner.init({**given, **told(found)}))

    def local(shared: Tree, table: Table, memory: Tree) -> tuple[Tree, Tree]:
        return inner.local(shared.get("inner", {}), ready(table, kept(shared)), memory)

    def apply(state: Tree, total: Tree) -> Tree:
        try:
            return wrap(kept(state), inner.apply(state.get("inner", {}), total))
        except RunError as error:
            known = called(kept(state))
            message = re.sub(r"x\[(\d+)\]", lambda found: repr(known[int(found[1])]), str(error))
            raise RunError(message, hint=error.hint) from None

    def share(state: Tree) -> Tree:
        return {**kept(state), "inner": inner.share(state.get("inner", {}))}

    def result(state: Tree) -> Tree:
        return inner.result(state.get("inner", {}))

    return Algorithm(init, local, apply, lambda s: inner.done(s.get("inner", {})), share, result, inner.name)


def once(columns: Sequence[Column], make: Callable[[Table, Tree], np.ndarray]) -> Callable[[Table, Tree], Table]:
    """Encoding that is done when a table and what it is prepared by first meet, and remembered as long as the table lives.

    A site meets the same table in every round, and encoding a large one takes longer than the round. The memory is not a
    state: it changes no answer, only how soon it comes. The prepared tree is compared by its bytes, because a site decodes
    a new one from each round's frame; the table by identity, which is safe because tables are never changed in place.
    """
    known: dict[int, tuple[weakref.ref[Table], bytes, Table]] = {}

    def ready(table: Table, prepared: Tree) -> Table:
        digest = hashlib.blake2b()
        for name, leaf in T.flatten(prepared).items():
            digest.update(name.encode() + np.ascontiguousarray(leaf).tobytes())
        here, key = digest.digest(), id(table)
        if key in known and known[key][0]() is table and known[key][1] == here:
            return known[key][2]
        raw = {c.name for c in columns}
        rest = {name: column for name, column in table.columns.items() if name not in raw}
        ready_made = Table({**rest, "x": make(table, prepared)}, table.patient)
        known[key] = (weakref.ref(table, lambda _: known.pop(key, None)), here, ready_made)
        return ready_made

    return ready
