import numpy as np
import pytest

from collegium.study.report.cells import HIDDEN
from collegium.study.report.description import counts, description, related
from collegium.study.report.document import Drawing, Grid
from tests.study.report.runs import four, run, study, walked


def parts(record):
    blocks = description(record, record.method).blocks
    return {block.title: block for block in blocks if isinstance(block, Grid)}, [block for block in blocks if isinstance(block, Drawing)]


def everybody():
    tables = four().values()
    return {name: np.concatenate([np.asarray(table[name]) for table in tables]) for name in ("age", "sex", "ward", "smoker", "pressure")}


def test_means_and_quantiles_are_those_of_all_rows():
    tables, _ = parts(run("statistics"))
    age = everybody()["age"]
    row = tables["Numbers"].rows[0]
    assert row[0] == "age (years)"
    assert float(row[1]) == pytest.approx(age.mean(), abs=0.01)
    assert float(row[2]) == pytest.approx(age.std(ddof=1), abs=0.01)
    assert float(row[4]) == pytest.approx(np.quantile(age, 0.5, method="inverted_cdf"))


def test_categories_are_counted_and_small_ones_hidden():
    tables, _ = parts(run("statistics"))
    rows = dict(tables["Categories"].rows)
    assert rows["sex: F"].startswith(f"{(everybody()['sex'] == 'F').sum():,} (")
    assert rows["smoker: missing"].startswith("16 (")
    small, _ = parts(walked(run("statistics").study, four(sizes=(300, 40, 0, 0))))
    rows = dict(small["Categories"].rows)
    assert rows["smoker: missing"] == rows["smoker: yes"] == HIDDEN  # eight are missing: the next group would give it away
    assert rows["ward: other (ice cream among them)"] == HIDDEN


def test_all_groups_of_a_variable_make_up_all_rows():
    record = run("statistics")
    for name in ("sex", "ward", "smoker", "y"):
        assert sum(n for _, n in counts(record, name)) == int(record.results["counts"]["rows"])


def test_no_small_count_stands_in_any_table():
    """Neither in the tables nor in the folded figures of the charts."""
    tables, drawn = parts(walked(run("statistics").study, four(sizes=(90, 60, 30, 20))))
    cells = [
        cell for name, table in tables.items() if name in ("Categories",) or "across" in name for row in table.rows for cell in row[1:]
    ]
    cells += [row[1] for one in drawn for row in one.numbers.rows]
    found = [int(cell.split(" ")[0].replace(",", "")) for cell in cells if cell != HIDDEN]
    assert HIDDEN in cells
    assert [n for n in found if 0 < n < 10] == []
    assert max(found) > 9


def test_histograms_leave_empty_ends_out_and_say_what_lies_outside():
    _, drawn = parts(run("statistics"))
    age = next(one for one in drawn if one.title == "age: age at admission")
    assert age.numbers.rows[0][0] != "0 to 6.000"
    assert [row[0] for row in age.numbers.rows[-3:]] == ["Below the range", "Above the range", "Missing"]
    assert age.half


def test_a_cross_table_leaves_out_an_empty_other():
    tables, _ = parts(run("statistics"))
    assert tables["sex (down) and ward (across)"].head == ["sex", "heart", "lung", "surgery", "ice cream"]


def test_correlations_of_many_variables_become_a_list():
    names = [f"v{at:02}" for at in range(14)]
    rng = np.random.default_rng(0)
    values = {name: {"kind": "number"} for name in names}
    record = run("statistics")
    chosen = record.study.model_copy(update={"variables": dict.fromkeys(values, record.study.variables["age"])})
    r = np.corrcoef(rng.normal(size=(14, 40)))
    found = {"correlation": r, "n": np.full((14, 14), 40)}
    grid = related(record._replace(study=chosen, results={**record.results, "correlations": found}))
    assert len(grid.rows) == 30
    assert abs(float(grid.rows[0][1].replace("\N{MINUS SIGN}", "-"))) == pytest.approx(abs(np.triu(r, 1)).max(), abs=0.006)


def test_columns_without_values_are_not_described():
    tables = {name: table.with_columns(age=np.full(len(table), np.nan)) for name, table in four(sizes=(40, 30, 20, 20)).items()}
    found, _ = parts(walked(study({"kind": "statistics"}), tables))
    assert found["Numbers"].rows[0][1:3] == [HIDDEN, HIDDEN]
