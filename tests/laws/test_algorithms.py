"""What every algorithm keeps: many sites are one, an empty one is none, their order is nobody's business."""

from collections.abc import Iterator

import numpy as np
import pytest

from collegium import tree as T
from collegium import wire
from collegium.simulation.local import simulate
from tests.laws.examples import Example, collect, cut, factories, nobody

ALL = collect()
SITES = (1, 3, 7)
SECRET = 1234567.8125  # a number that no honest update holds

each = pytest.mark.parametrize("example", ALL, ids=[e.id for e in ALL])
exact = pytest.mark.parametrize("example", [e for e in ALL if e.exact], ids=[e.id for e in ALL if e.exact])
empty = pytest.mark.parametrize("example", [e for e in ALL if e.empty], ids=[e.id for e in ALL if e.empty])


def rows(example: Example):
    return example.table(np.random.default_rng(7))


def run(example: Example, sites, **more) -> dict[str, np.ndarray]:
    pooled = rows(example)
    return T.flatten(simulate(example.algorithm, sites, rounds=example.rounds, given=example.given(pooled), seed=3, **more))


def close(got: dict[str, np.ndarray], want: dict[str, np.ndarray], rtol: float, atol: float) -> None:
    assert got.keys() == want.keys()
    for name, leaf in want.items():
        if name.rsplit("/", 1)[-1] != "rounds":  # rounding may end a search one step sooner
            np.testing.assert_allclose(got[name], leaf, rtol=rtol, atol=atol, err_msg=name)


def frozen(tree: T.Tree) -> T.Tree:
    """The tree as it arrives from a frame: whatever writes into it, fails."""
    return wire.decode(b"".join(wire.encode(tree)))


def freeze(table):
    for column in (*table.columns.values(), *([] if table.patient is None else [table.patient])):
        if isinstance(column, np.ndarray):
            column.setflags(write=False)
    return table


def walk(example: Example, sites: dict) -> Iterator[tuple[T.Tree, dict, list]]:
    """Round by round, each tree through its frame: the shared state, the memories before, and (update, memory) of each site."""
    algorithm, given = example.algorithm, example.given(rows(example))
    state, memory = algorithm.init(given), {name: {"seed": np.array(k)} for k, name in enumerate(sites)}
    for _ in range(min(example.rounds, 4)):
        shared = frozen(algorithm.share(frozen(state)))
        answers = [algorithm.local(shared, freeze(table), frozen(memory[name])) for name, table in sites.items()]
        yield shared, memory, answers
        memory = {name: {"seed": memory[name]["seed"], **after} for name, (_, after) in zip(sites, answers, strict=True)}
        total = answers[0][0]
        for update, _ in answers[1:]:
            total = T.add(total, update)
        state = algorithm.apply(frozen(state), frozen(total))
        if algorithm.done(state):
            return


def test_every_algorithm_has_an_example():
    missing = factories().keys() - {e.factory for e in ALL}
    assert not missing, f"add an Example of {', '.join(sorted(missing))} to tests/laws/examples.py, or to an examples_*.py beside it"


def test_every_example_is_of_an_algorithm():
    assert {e.factory for e in ALL} - factories().keys() == set()


@exact
def test_federated_equals_pooled(example: Example):
    table = rows(example)
    one = run(example, {"all": table})
    for sites in SITES[1:]:
        close(run(example, cut(table, sites, np.random.default_rng(sites))), one, example.rtol, example.atol)


@empty
def test_an_empty_site_changes_nothing(example: Example):
    table = rows(example)
    for sites in SITES:
        some = cut(table, sites, np.random.default_rng(sites))
        close(run(example, {**some, "nobody": nobody(table)}), run(example, some), 1e-6, example.atol)


@each
def test_the_order_of_sites_does_not_matter(example: Example):
    sites = cut(rows(example), 3, np.random.default_rng(3))
    there, back = run(example, sites), run(example, dict(reversed(sites.items())))
    for name, leaf in there.items():
        np.testing.assert_array_equal(back[name], leaf, err_msg=name)  # sums of integers: the very bits


@each
def test_an_empty_table_answers_zeros_in_the_same_form(example: Example):
    table = rows(example)
    sites = {**cut(table, 3, np.random.default_rng(3)), "nobody": nobody(table)}
    for _, _, answers in walk(example, sites):
        forms = [{n: (x.shape, x.dtype) for n, x in T.flatten(update).items()} for update, _ in answers]
        assert all(form == forms[0] for form in forms), "sites must answer in one form"
        assert all(dtype.name in ("int64", "float64", "float32") for _, dtype in forms[0].values()), forms[0]
        assert [name for name, leaf in T.flatten(answers[-1][0]).items() if np.any(leaf)] == []


@each
def test_every_round_asks_for_one_form(example: Example):
    sites = cut(rows(example), 3, np.random.default_rng(3))
    seen = [{n: (x.shape, x.dtype) for n, x in T.flatten(answers[0][0]).items()} for _, _, answers in walk(example, sites)]
    assert all(form == seen[0] for form in seen), "the vector that a stage sums is laid out once"


@each
def test_states_and_updates_survive_the_wire(example: Example):
    """`walk` decodes every tree from its frame, which refuses NaN; here the frames are compared bit for bit."""
    for shared, _, answers in walk(example, cut(rows(example), 3, np.random.default_rng(3))):
        for tree in (shared, *(update for update, _ in answers)):
            back = T.flatten(frozen(tree))
            for name, leaf in T.flatten(tree).items():
                assert (back[name].dtype, back[name].shape) == (leaf.dtype, leaf.shape), name
                assert back[name].tobytes() == np.ascontiguousarray(leaf).tobytes(), name


@each
def test_memory_does_not_leak_into_the_update(example: Example):
    sites = cut(rows(example), 3, np.random.default_rng(3))
    for shared, memory, answers in walk(example, sites):
        for (name, table), (update, after) in zip(sites.items(), answers, strict=True):
            marked = {**memory[name], "secret": np.full(3, SECRET)}
            again, _ = example.algorithm.local(shared, table, marked)
            for path, leaf in T.flatten(again).items():
                assert not np.any(leaf == SECRET), path
                np.testing.assert_array_equal(leaf, T.flatten(update)[path], err_msg=path)
            kept = [np.asarray(x) for x in T.flatten(after).values()]
            assert not any(np.shares_memory(x, leaf) for x in kept for leaf in T.flatten(update).values())


@each
def test_inputs_are_not_changed(example: Example):
    """Frames are read-only already; here nothing that came in may be told to change either."""
    table = freeze(rows(example))
    before = {name: np.array(column) for name, column in table.columns.items()}
    given = example.given(table)
    shared = example.algorithm.share(example.algorithm.init(given))
    bytes_before = b"".join(wire.encode(shared))
    first, _ = example.algorithm.local(shared, table, {"seed": np.array(1)})
    second, _ = example.algorithm.local(shared, table, {"seed": np.array(1)})
    for name, leaf in T.flatten(first).items():
        np.testing.assert_array_equal(T.flatten(second)[name], leaf, err_msg=f"{name} differs when asked again")
    assert b"".join(wire.encode(shared)) == bytes_before
    for name, column in before.items():
        np.testing.assert_array_equal(np.asarray(table[name]), column)
