import pytest

from collegium.study.report import text
from collegium.study.report.document import Grid
from collegium.study.report.plain import aligned, clean
from tests.study.report.runs import RUNS, run


def made(record, **options):
    return text(
        record.study, record.results, figures=record.figures, lines=record.lines, pooled=record.pooled, facts=record.facts, **options
    )


@pytest.mark.parametrize("name", RUNS)
def test_every_run_can_be_read_in_a_terminal(name):
    found = made(run(name), only=())
    assert found.startswith(f"{run(name).study.title}\n")
    assert all(char.isprintable() or char in "\n\N{NO-BREAK SPACE}" for char in found)
    assert all(line == line.rstrip() for line in found.splitlines())
    assert "nan" not in found.split()


def test_the_sheet_is_there_and_the_rest_on_request():
    found = made(run("binary"))
    assert "The comparison sheet: AUROC on held-out patients" in found
    assert "What did it cost?" not in found
    assert "What did it cost?" in made(run("binary"), only=("cost",))


def test_a_last_column_of_words_wraps_or_goes_below():
    grid = Grid("t", ["name", "value", "remark"], [["a", "0.812", "one two three four five six"]], frozenset({2}))
    assert aligned(grid, 60)[1] == "a     0.812  one two three four five six"
    assert aligned(grid, 35)[1:] == ["a     0.812  one two three four", "             five six"]
    assert aligned(grid, 24)[2:] == ["a     0.812", "    one two three four", "    five six"]


def test_a_strangers_text_cannot_move_the_cursor():
    assert clean("a\x1b[31mb\r\nc\u202ed") == "a [31mb  c d"
