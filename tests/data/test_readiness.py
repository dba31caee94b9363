"""The readiness page: everything the report says, nothing of any patient, and nothing that runs or loads."""

import re
from html import unescape

import numpy as np

from collegium.data import quality, readiness
from collegium.study.manifest import EXAMPLE, read
from collegium.table import Table

STUDY = read(EXAMPLE.replace("title: Thirty-day readmission", "title: <b>Readmission</b>"))


def test_the_page_holds_every_finding_its_way_out_and_no_value():
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 90, 60)
    age[:3], age[3:9] = 777, np.nan
    table = Table({"age": age, "sex": np.tile(["F", "M", "divers"], 20)}, patient=np.array([f"p{k}" for k in range(60)]))
    report = quality.check(table, STUDY)
    page = readiness.html(report, STUDY, "stays & more")
    text = unescape(re.sub(r"<[^>]+>", " ", page))
    assert report.light == "red"
    for line in report.lines:
        if line.light != "green":
            assert line.says[1:] in text
            assert line.way_out in text
    assert "3 values lie outside 0 to 120 years" in text
    assert "777" not in text
    assert "divers" not in text
    assert "<script" not in page
    assert "&lt;b&gt;" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)


def test_a_table_in_order_has_nothing_to_mend():
    table = Table(
        {"age": np.linspace(20, 90, 60), "sex": np.tile(["F", "M"], 30), "readmitted": np.tile([0.0, 1, 1], 20)},
        patient=np.array([f"p{k}" for k in range(60)]),
    )
    page = readiness.html(quality.check(table, STUDY), STUDY, "stays")
    assert "Nothing: all is in order." in page


def test_a_row_that_stands_twice_is_told():
    once = {"age": np.linspace(20, 90, 60), "sex": np.tile(["F", "M"], 30), "readmitted": np.tile([0.0, 1, 1], 20)}
    who = np.array([f"p{k}" for k in range(60)])
    twice = Table({name: np.append(column, column[:2]) for name, column in once.items()}, np.append(who, who[:2]))
    says = [line.says for line in quality.check(twice, STUDY).lines]
    assert "2 rows stand in the table twice" in says
    assert quality.repeated(Table(once)) == 0
