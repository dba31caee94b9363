"""One standardisation for all hospitals, and no text that leaves one."""

import csv
import gc

import numpy as np
import pytest

from collegium import tree as T
from collegium import wire
from collegium.algorithms.algorithm import Algorithm
from collegium.algorithms.features import Column, bucket, encode, encoded, features, names
from collegium.errors import DataError, RunError, StudyError
from collegium.simulation.local import simulate
from collegium.table import Table
from tests.datasets import dataset
from tests.laws.examples import COLUMNS, cut, patients


def prepare(columns, table: Table, **more) -> T.Tree:
    return simulate(features(columns, **more), {"a": table})


def one(name: str, values, kind="number", categories=None) -> tuple[list[Column], Table]:
    return [Column(name, kind, categories)], Table({name: np.array(values)})


def test_standardised_numbers_have_mean_0_and_sd_1():
    table = patients(np.random.default_rng(0))
    mine = table.where(table["part"] == 0)
    found = simulate(features(COLUMNS), cut(table, 5, np.random.default_rng(1)))
    x = encode(mine, COLUMNS, found)
    np.testing.assert_allclose(x[:, 0].mean(), 0, atol=1e-12)
    np.testing.assert_allclose(x[:, 0].std(), 1, rtol=1e-12)
    np.testing.assert_allclose(found["numbers"]["mean"][1], np.nanmean(mine["platelets"]), rtol=1e-14)
    np.testing.assert_allclose(found["numbers"]["sd"][1], np.nanstd(mine["platelets"]), rtol=1e-12)
    assert found["numbers"]["n"].tolist() == (~np.isnan([mine["age"], mine["platelets"], mine["diabetic"]])).sum(1).tolist()


def test_many_hospitals_find_the_very_bits_of_one():
    table = patients(np.random.default_rng(2))
    one_site = T.flatten(prepare(COLUMNS, table))
    for name, leaf in T.flatten(simulate(features(COLUMNS), cut(table, 7, np.random.default_rng(3)))).items():
        np.testing.assert_array_equal(leaf, one_site[name], err_msg=name)


def test_a_large_offset_costs_no_digits():
    stamps = 1.7e9 + np.random.default_rng(4).normal(size=500)
    columns, table = one("time", stamps)
    np.testing.assert_allclose(prepare(columns, table)["numbers"]["sd"], stamps.std(), rtol=1e-6)


def test_missing_values_are_the_mean_and_say_so_where_there_were_enough():
    columns, table = one("lab", [1.0] * 6 + [3.0] * 6 + [np.nan] * 10)
    found = prepare(columns, table)
    assert names(columns, found) == ["lab", "lab is missing"]
    assert encode(table, columns, found)[-1].tolist() == [0.0, 1.0]
    few = table.where(np.arange(21))
    assert names(columns, prepare(columns, few)) == ["lab"]


def test_a_constant_column_is_all_zeros():
    columns, table = one("ward", [0.1] * 30)
    assert not encode(table, columns, prepare(columns, table)).any()


def test_a_column_nobody_has_is_all_zeros():
    columns, table = one("lab", [np.nan] * 4)
    assert not encode(table, columns, prepare(columns, table)).any()


def test_declared_categories():
    columns, table = one("sex", ["F"] * 20 + ["M"] * 30 + ["X"] * 3 + ["?"] * 9 + [""] * 11, "category", ("F", "M", "X"))
    found = prepare(columns, table)
    assert names(columns, found) == ["sex=F", "sex=M", "sex=other", "sex is missing"]
    assert names(columns, found, reference=True) == ["sex=F", "sex=other", "sex is missing"]  # M is the most frequent
    x = encode(table, columns, found)
    assert x.sum(0).tolist() == [20, 30, 12, 11]
    assert (x.sum(1) == 1).all()
    new = encode(Table({"sex": np.array(["unheard of"])}), columns, found)
    assert new.tolist() == [[0, 0, 1, 0]]


def test_too_few_others_have_no_column():
    columns, table = one("sex", ["F"] * 20 + ["?"] * 3, "category", ("F", "M"))
    found = prepare(columns, table)
    assert names(columns, found) == ["sex=F"]
    assert names(columns, found, reference=True) == []
    assert encode(table, columns, found)[-1].tolist() == [0.0]


def test_no_category_is_frequent_enough():
    columns, table = one("code", [f"c{k}" for k in range(30)], "category", None)
    found = prepare(columns, table)
    assert names(columns, found) == ["code=other"]
    assert names(columns, found, reference=True) == []


def test_an_open_vocabulary_sends_bucket_counts_and_no_text():
    columns = [Column("code", "category", buckets=512)]
    table = Table({"code": np.array(["I50.9"] * 40 + ["N18"] * 20 + ["rare"] * 2 + [""] * 12)})
    stage = features(columns)
    update, _ = stage.local(stage.share(stage.init({})), table, {})
    assert b"I50" not in b"".join(bytes(piece) for piece in wire.encode(update))
    found = prepare(columns, table)
    assert names(columns, found) == [f"code=#{bucket('I50.9', 512)}", f"code=#{bucket('N18', 512)}", "code is missing"]
    assert encode(table, columns, found).sum(0).tolist() == [40, 20, 12]
    assert int(found["categories"]["code"]["other"]) == 2
    few = prepare(columns, table, max_categories=1)
    assert names(columns, few)[0] == f"code=#{bucket('I50.9', 512)}"
    assert names(columns, few)[1] == "code=other"


def test_codes_kept_as_numbers_are_categories_too():
    columns, table = one("ward", [1.0] * 15 + [2.0] * 15 + [np.nan] * 15, "category", ("1", "2"))
    assert names(columns, prepare(columns, table)) == ["ward=1", "ward=2", "ward is missing"]


def test_binary_columns_keep_their_meaning():
    columns, table = one("smokes", ["yes"] * 10 + ["no"] * 30 + [""] * 10, "binary", ("no", "yes"))
    found = prepare(columns, table)
    x = encode(table, columns, found)
    assert x[[0, 10, 49]].tolist() == [[1, 0], [0, 0], [0.25, 1]]
    with pytest.raises(DataError, match="'smokes' is declared binary but holds more than no and yes"):
        encode(Table({"smokes": np.array(["sometimes"])}), columns, found)
    with pytest.raises(DataError, match="more than 0 and 1"):
        prepare(*one("smokes", [0.0, 2.0], "binary"))


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e12])
def test_values_beyond_reason_are_refused_by_name(value: float):
    columns, table = one("lab", [1.0, 2.0])
    found = prepare(columns, table)
    for call in (lambda t: prepare(columns, t), lambda t: encode(t, columns, found)):
        with pytest.raises(DataError, match="'lab' holds"):
            call(Table({"lab": np.array([1.0, value])}))


@pytest.mark.parametrize(
    "columns",
    [
        [Column("a/b", "number")],
        [Column("a", "number"), Column("a", "binary")],
        [Column("a", "binary", ("x",))],
        [Column("a", "category", buckets=1)],
    ],
)
def test_columns_that_cannot_be_prepared(columns):
    with pytest.raises(StudyError):
        features(columns)


def spy(calls: list) -> Algorithm:
    """An algorithm that notes the table it is given."""

    def local(shared, table, memory):
        calls.append(table)
        return {"n": np.array(len(table))}, memory

    def apply(state, total):
        if int(total["n"]) == 13:
            raise RunError("x[1] is unlucky")
        return {"n": state["n"] + total["n"], "progress": {"n": total["n"]}}

    return Algorithm(lambda given: {"n": np.array(int(given["encoded"]["width"]))}, local, apply, name="spy")


def test_encoded_gives_the_inner_algorithm_a_matrix_and_keeps_the_rest():
    table, calls = patients(np.random.default_rng(5)), []
    given = {"features": prepare(COLUMNS, table)}
    wrapped = encoded(spy(calls), COLUMNS)
    state = wrapped.init(given)
    assert int(state["inner"]["n"]) == len(names(COLUMNS, given["features"]))
    for _ in range(2):  # the shared tree is decoded anew each round, as at a site
        shared = wire.decode(b"".join(wire.encode(wrapped.share(state))))
        state = wrapped.apply(state, wrapped.local(shared, table, {})[0])
    assert set(calls[0].columns) == {"x", "y", "part", "stay"}
    np.testing.assert_array_equal(calls[0]["x"], encode(table, COLUMNS, given["features"]))
    assert calls[0] is calls[1], "encoded once"
    assert calls[0].patient is table.patient
    assert int(state["progress"]["n"]) == len(table)
    assert int(wrapped.result(state)["n"]) > 2 * len(table)


def test_encoding_is_not_remembered_for_another_table_or_stage():
    calls = []
    wrapped = encoded(spy(calls), COLUMNS)
    first, second = (patients(np.random.default_rng(k)) for k in (6, 7))
    for table in (first, second):
        state = wrapped.init({"features": prepare(COLUMNS, table)})
        wrapped.local(wrapped.share(state), first, {})
    assert not np.array_equal(calls[0]["x"], calls[1]["x"])
    before = len(gc.get_objects())
    for k in range(3):
        table = patients(np.random.default_rng(k))
        wrapped.local(wrapped.share(state), table, {})
        np.testing.assert_array_equal(calls.pop()["x"], encode(table, COLUMNS, state["features"]))
        del table
    gc.collect()
    assert len(gc.get_objects()) < before + 200, "a table that is gone takes its encoding with it"


def test_encoded_needs_its_stage_and_names_columns_in_errors():
    table = patients(np.random.default_rng(5))
    with pytest.raises(StudyError, match="spy needs the result of a stage 'features'"):
        encoded(spy([]), COLUMNS).init({})
    with pytest.raises(RunError, match="'platelets' is unlucky"):
        simulate(encoded(spy([]), COLUMNS), {"a": table.where(np.arange(13))}, given={"features": prepare(COLUMNS, table)})


def test_four_real_hospitals_standardise_as_one():
    folder, columns = dataset("uci_heart"), [Column(f"c{k}", "number") for k in (0, 3, 4, 7, 9)]
    sites = {}
    for path in sorted(folder.glob("processed.*.data")):
        rows = np.array([[float(v) if v != "?" else np.nan for v in row] for row in csv.reader(path.read_text().splitlines())])
        sites[path.name] = Table({f"c{k}": rows[:, k] for k in range(rows.shape[1])})
    found = simulate(features(columns), sites)
    pooled = np.concatenate([np.column_stack([t[c.name] for c in columns]) for t in sites.values()])
    np.testing.assert_allclose(found["numbers"]["mean"], np.nanmean(pooled, 0), rtol=1e-13)
    np.testing.assert_allclose(found["numbers"]["sd"], np.nanstd(pooled, 0), rtol=1e-12)
    assert found["numbers"]["missing"].tolist() == np.isnan(pooled).sum(0).tolist()
