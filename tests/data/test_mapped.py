"""Columns through a mapping: what comes out, what is counted, and what an expression cannot do."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from collegium.data import expression, files, mapped
from collegium.data.files import Odd
from collegium.data.mapping import read
from collegium.errors import DataError
from collegium.study.schema import Variable

AGE, DAYS = Variable(kind="number", unit="years"), Variable(kind="number", unit="days")
SEX, SICK = Variable(kind="category", categories=("F", "M")), Variable(kind="binary", categories=("no", "yes"))
ANY, NUMBER = Variable(kind="category"), Variable(kind="number")


def through(rules: str, wanted: dict[str, Variable], *batches: dict[str, Any]) -> tuple[dict[str, list[Any]], dict[str, Odd]]:
    """The variables of some batches of columns, and what was wrong with them."""

    def load(columns: Sequence[str]) -> Any:
        here = [name for name in columns if name in batches[0]]
        return tuple(batches[0]), ({name: pa.array(batch[name]) for name in here} for batch in batches)

    notes: dict[str, Odd] = {}
    header, found = mapped.mapped(load, read(rules, "ward.yaml"), wanted, notes)([*wanted])
    out: dict[str, list[Any]] = {name: [] for name in wanted if name in header}
    for batch in found:
        for name, values in batch.items():
            out[name] += values.to_pylist()
    return out, {name: odd for name, odd in notes.items() if odd != files.NONE}


def test_ages_are_completed_years_and_stays_are_days_of_the_calendar():
    rules = "{dates: [DD.MM.YYYY, DD.MM.YYYY hh:mm], columns: {age: {from: born, until: came}, stay: {from: came, until: left}}}"
    rows = {
        "born": ["29.02.1960", "1.3.1960", "01.03.1960", "1950-02-03", "03/04/1950", None],
        "came": ["28.02.2020", "1.3.2020", "02.03.2020", "2000-02-02", "01.01.2020", "01.01.2020"],
        "left": ["01.03.2020", "1.3.2020 23:59", "01.03.2020", "2000-02-02", "", "02.01.2020"],
    }
    found, odd = through(rules, {"age": AGE, "stay": DAYS}, rows)
    assert found["age"] == [59.0, 60.0, 60.0, 49.0, None, None]
    assert found["stay"] == [2.0, 0.0, None, 0.0, None, 1.0]
    assert odd == {"age": Odd(undated=1, row=5), "stay": Odd(order=1, row=3)}


def test_a_year_of_two_digits_is_the_last_one_before_the_end():
    rows = {"born": ["03.02.50", "03.02.19", "03.02.1950", "03.02.2050"], "came": ["01.03.2020"] * 4}
    found, odd = through("{dates: [DD.MM.YYYY, DD.MM.YY], columns: {age: {from: born, until: came}}}", {"age": AGE}, rows)
    assert found["age"] == [70.0, 1.0, 70.0, None]
    assert odd["age"] == Odd(order=1, row=4)


def test_dates_of_a_database_need_no_style():
    when = pa.array([0, 366], pa.date32())
    found, odd = through(
        "{columns: {stay: {from: a, until: b}}}", {"stay": DAYS}, {"a": when, "b": pa.array([86400 * 10**6] * 2, pa.timestamp("us"))}
    )
    assert found["stay"] == [1.0, None]
    assert odd["stay"].order == 1
    berlin = pa.array([1_500_000_123_456, None], pa.timestamp("us", "Europe/Berlin"))  # 1970-01-18 09:40:00.123456 there
    hours, odd = through(
        "{columns: {stay: {from: a, until: b}}}",
        {"stay": Variable(kind="number", unit="h")},
        {"a": berlin, "b": ["1970-01-18 12:40:00"] * 2},
    )
    assert (hours["stay"], odd) == ([3.0, None], {})


@pytest.mark.parametrize(
    ("decimal", "texts", "numbers"),
    [
        (",", ["1,5", "1.234,5", "12", "1.234", "1.5", "-0,2", "1 000,25"], [1.5, 1234.5, 12, None, None, -0.2, 1000.25]),
        (".", ["1.5", "1,234.5", "12", "1,234", "1,5", "+.5", "2e3"], [1.5, 1234.5, 12, None, None, 0.5, 2000]),
        ("", ["1.5", "1,234.5", "12", "1,234", "1,5", "+.5", "inf"], [1.5, None, 12, None, None, 0.5, None]),
    ],
)
def test_a_number_that_could_be_two_is_none(decimal: str, texts: list[str], numbers: list[float | None]):
    found, odd = through(f"{{decimal: {decimal!r}, columns: {{x: {{from: raw}}}}}}", {"x": NUMBER}, {"raw": texts})
    assert found["x"] == numbers
    assert odd["x"].total == numbers.count(None)


def test_units_are_converted_to_the_one_that_the_study_wants():
    rules = "{columns: {creatinine: {from: k, unit: mg/dL}, sugar: {from: k, unit: mg/dL, of: glucose}, temperature: {from: t, unit: °F}}}"
    wanted = {"creatinine": Variable(kind="number", unit="umol/L"), "sugar": Variable(kind="number", unit="mmol/L"),
              "temperature": Variable(kind="number", unit="Cel")}  # fmt: skip
    found, _ = through(rules, wanted, {"k": ["1", "90"], "t": ["98.6", None]})
    assert found["creatinine"][0] == pytest.approx(88.4, abs=0.01)
    assert found["sugar"][1] == pytest.approx(4.996, abs=0.001)
    assert found["temperature"][0] == pytest.approx(37.0)
    same, _ = through(
        rules, {"creatinine": Variable(kind="number", unit="mg/dL")}, {"k": ["0.1", "0.30000000000000004"], "t": [None, None]}
    )
    assert same["creatinine"] == [0.1, 0.30000000000000004]  # one file, another study: not touched


@pytest.mark.parametrize(
    ("rule", "variable", "says"),
    [
        ("{from: k, unit: mg/dL}", Variable(kind="number", unit="mmol/L"), "line 1: x: 'mg/dL' cannot be converted to 'mmol/L'"),
        ("{from: k, unit: mg/dL}", NUMBER, "the study names no unit"),
        ("{from: k, until: k}", Variable(kind="number", unit="kg"), "a time between two dates, and the study wants a number in kg"),
        ("{from: k, until: k}", SEX, "the study wants a category"),
        ("{from: kk}", NUMBER, "x: there is no column 'kk'; did you mean 'k'?"),
        ("{sql: kk + 1}", NUMBER, "kk"),
        ("{sql: k +}", NUMBER, "line 1: x: this is not one SQL expression"),
    ],
)
def test_a_rule_that_does_not_fit_says_where(rule: str, variable: Variable, says: str):
    with pytest.raises(DataError) as caught:
        through(f"{{columns: {{x: {rule}}}}}", {"x": variable}, {"k": ["1"]})
    assert says in str(caught.value)
    assert str(caught.value).startswith("ward.yaml")
    assert caught.value.hint


def test_codes_groups_and_ranges_become_words_the_exact_ones_first():
    rules = """
    columns:
      d:
        from: icd
        values: {I50.1: left, I50*: heart failure, I20..I25: ischaemic, "250..250": diabetes, "390..459": other heart}
        others: other
    """
    codes = ["I50.1", "I50.9", "I20.0", "I25.9", "I26", "250.83", "251", "428.0", "459.9", "460", "E11", None, "nan"]
    words = [
        "left",
        "heart failure",
        "ischaemic",
        "ischaemic",
        "other",
        "diabetes",
        "other",
        "other heart",
        "other heart",
        "other",
        "other",
    ]
    assert through(rules, {"d": ANY}, {"icd": codes})[0]["d"] == [*words, None, None]


def test_missing_is_what_the_table_says_unless_a_rule_lists_it():
    rules = "{missing: ['-9', '99'], columns: {a: {from: x}, b: {from: x, values: {'99': M}}, c: {from: x, missing: '1'}}}"
    found, odd = through(rules, {"a": NUMBER, "b": ANY, "c": NUMBER}, {"x": ["1", "-9", "99", "NA"]})
    assert (found["a"], found["b"], found["c"]) == ([1.0, None, None, None], ["1", None, "M", None], [None] * 4)
    assert odd == {}


def test_software_that_keeps_whole_numbers_as_decimals_is_understood():
    found, _ = through("{columns: {s: {from: g, values: {1: M, 2: F}}}}", {"s": SEX}, {"g": pa.array([1.0, 2.0, None, math.nan])})
    assert found["s"] == ["M", "F", None, None]


def test_an_expression_over_the_row_and_over_other_rows():
    rules = """
    columns:
      bmi: {sql: number(kg) / (number(cm) / 100) ** 2}
      sick: {sql: icd like 'I50%' or try_cast(bnp as int) > 400}
      before: {sql: "count(*) over (partition by id order by date_of(day) rows between unbounded preceding and 1 preceding)"}
    """
    rows = {
        "kg": ["81", "x"],
        "cm": ["180", "170"],
        "icd": ["I50.1", "A"],
        "bnp": ["100", "n/a"],
        "id": ["a", "a"],
        "day": ["2020-01-02", "2020-01-01"],
    }
    found, _ = through(rules, {"bmi": NUMBER, "sick": SICK, "before": NUMBER}, rows)
    assert found == {"bmi": [25.0, None], "sick": ["yes", None], "before": [1.0, 0.0]}  # in the table's own order


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("(select max(x) from raw)", "a query of its own cannot stand in it"),
        ("x in (select 1)", "a query of its own"),
        ("exists(from read_csv('/etc/passwd'))", "a query of its own"),
        ("x from read_text('/etc/passwd')", "not one SQL expression"),
        ("1; drop table raw", "not one SQL expression"),
        ("1), (2", "not one SQL expression"),
        ("x, x", "not one SQL expression"),
        ("*", "* cannot stand"),
        ("columns('.*')", "cannot stand"),
        ("random()", "random is something else each time"),
        ("now()", "something else each time"),
        ("current_date", "something else each time"),
        ("nextval('s')", "something else each time"),
        ("getenv('HOME')", "ward.yaml"),
        ("read_text('/etc/passwd')", "ward.yaml"),
        ("max(x)", "ward.yaml"),
        ("nosuch(x)", "ward.yaml"),
    ],
)
def test_an_expression_can_do_nothing_but_compute(sql: str, says: str):
    with pytest.raises(DataError) as caught:
        through(
            f"{{columns: {{y: {{sql: {sql!r}}}}}}}" if "'" not in sql else f'{{columns: {{y: {{sql: "{sql}"}}}}}}',
            {"y": NUMBER},
            {"x": ["1"]},
        )
    assert says in str(caught.value)
    assert "root:" not in str(caught.value)


def test_the_connection_reaches_no_file_no_network_and_no_variable_of_this_program():
    import duckdb

    secret = pa.table({"a": [1]})
    with expression.shut_in() as link:
        for question in ("select * from read_csv('/etc/passwd')", "copy (select 1) to '/tmp/out.csv'", "install httpfs", "load httpfs",
                         "select * from 'https://example.org/x.csv'", "set enable_external_access=true", "attach '/tmp/x.db'",
                         "set memory_limit='10GB'", "select * from secret"):  # fmt: skip
            with pytest.raises(duckdb.Error):
                link.execute(question)
    assert len(secret) == 1


def test_an_error_on_a_row_makes_it_missing_and_shows_no_value():
    found, _ = through("{columns: {y: {sql: cast(x as integer)}}}", {"y": NUMBER}, {"x": ["1", "Müller", "3"]})
    assert found["y"] == [1.0, None, 3.0]
    with pytest.raises(DataError) as caught:
        through("{columns: {y: {sql: sum(cast(x as integer)) over ()}}}", {"y": NUMBER}, {"x": ["1", "Müller", "3"]})
    assert "Müller" not in str(caught.value) + caught.value.hint
    assert "failed on a row" in str(caught.value)


def test_an_expression_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mapped, "SECONDS", 0.2)
    slow = "list_sum(list_transform(range(0, 20000), lambda i: sqrt(i + len(x))))"
    with pytest.raises(DataError, match=r"took longer than|needs more than"):
        through(f'{{columns: {{y: {{sql: "{slow}"}}}}}}', {"y": NUMBER}, {"x": ["1"] * 20000})


def test_many_batches_are_one_table_and_rows_are_counted_through():
    batches = [{"a": [str(k), "x"], "b": ["F", "M"]} for k in range(5)]
    found, odd = through("{columns: {n: {from: a}}}", {"n": NUMBER, "b": SEX}, *batches)
    assert found["n"] == [v for k in range(5) for v in (float(k), None)]
    assert found["b"] == ["F", "M"] * 5
    assert odd["n"] == Odd(other=5, row=2)


def test_a_table_without_rows_and_a_study_without_mapped_columns():
    assert through("{columns: {n: {from: a}}}", {"n": NUMBER}, {"a": pa.array([], pa.string())})[0] == {"n": []}
    assert through("{columns: {n: {from: a}}}", {"b": SEX}, {"a": ["1"], "b": ["F"]})[0] == {"b": ["F"]}


def test_an_error_of_the_file_comes_through_as_it_is():
    def load(columns: Sequence[str]) -> Any:
        def rows() -> Any:
            yield {"a": pa.array(["1"])}
            raise DataError("stays.csv: row 2 has 3 fields, the header has 2")

        return ("a",), rows()

    _, batches = mapped.mapped(load, read("{columns: {n: {from: a}}}"), {"n": NUMBER}, {})(["n"])
    with pytest.raises(DataError, match=r"stays.csv: row 2"):
        list(batches)


def test_columns_that_differ_in_case_and_odd_names():
    with pytest.raises(DataError, match="differ only in case"):
        through("{columns: {n: {from: A}, m: {from: a}}}", {"n": NUMBER, "m": NUMBER}, {"A": ["1"], "a": ["2"]})
    odd = "a \"b\" 'c'; drop"
    found, _ = through('{columns: {n: {from: "a \\"b\\" \'c\'; drop"}}}', {"n": NUMBER}, {odd: ["1"]})
    assert found["n"] == [1.0]


def test_larger_than_memory_streams(tmp_path: Any):
    """A hundred batches are asked for one at a time, not all before the first comes out."""
    asked = 0

    def load(columns: Sequence[str]) -> Any:
        def rows() -> Any:
            nonlocal asked
            for _ in range(100):
                asked += 1
                yield {"a": pa.array(np.arange(65536).astype(str))}

        return ("a",), rows()

    _, batches = mapped.mapped(load, read("{columns: {n: {from: a, unit: kg}}}"), {"n": Variable(kind="number", unit="g")}, {})(["n"])
    next(iter(batches))
    assert asked < 20
