"""Who objected is left out, in doubt too, and a list that is not there lets nobody in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from collegium.data import objections
from collegium.errors import DataError


def load_of(**columns: Any):
    def load(wanted: Sequence[str]) -> Any:
        return tuple(columns), iter([{name: pa.array(columns[name]) for name in wanted if name in columns}])

    return load


def left(load: Any, column: str, **how: Any) -> tuple[list[Any], dict[str, int]]:
    count: dict[str, int] = {}
    found = [
        batch[column].to_pylist()
        for batch in objections.without(load, count, **({"patient": "", "listed": frozenset()} | how))([column])[1]
    ]
    return [value for batch in found for value in batch], count


def test_in_doubt_a_patient_objected():
    words = ["", None, "no", "Nein", "0", 0.0, "NA", "yes", "1", "?!", "maybe", "x"]
    load = load_of(flag=[None if word is None else str(word) for word in words], row=list(range(len(words))))
    assert left(load, "row", flag="flag") == ([0, 1, 2, 3, 4, 5, 6], {"of patients who objected": 5})


@pytest.mark.parametrize("ids", [["7", "8", "9"], [7, 8, 9], [7.0, 8.0, 9.0]])
def test_a_listed_patient_is_known_whatever_type_the_column_has(ids: list[Any]):
    assert left(load_of(id=ids, row=[0, 1, 2]), "row", patient="id", listed=frozenset({"8"})) == ([0, 2], {"of patients who objected": 1})


def test_truth_values_are_read():
    assert left(load_of(flag=[True, False, None], row=[0, 1, 2]), "row", flag="flag")[0] == [1, 2]


def test_nothing_is_read_without_the_column_or_the_list(tmp_path: Path):
    with pytest.raises(DataError, match=r"no column 'optout', which marks patients who objected; did you mean 'opt_out'\?"):
        left(load_of(opt_out=["x"]), "opt_out", flag="optout")
    with pytest.raises(DataError, match="no column 'id', which tells who objected"):
        left(load_of(a=["x"]), "a", patient="id", listed=frozenset({"1"}))
    with pytest.raises(DataError, match="nothing says whose row"):
        left(load_of(a=["x"]), "a", listed=frozenset({"1"}))
    with pytest.raises(DataError, match=r"objected, gone\.txt, cannot be read"):
        objections.read(tmp_path / "gone.txt")
    with pytest.raises(DataError, match=r"there is no file 'gone\.csv'"):
        objections.read(tmp_path / "gone.csv")


def test_a_list_is_lines_or_the_first_column_of_a_table(tmp_path: Path):
    (tmp_path / "a.txt").write_text("# from the consent office\n007\n\n 8 \n", encoding="utf-8-sig")
    (tmp_path / "b.csv").write_text("mrn;since\n007;2020\n8;2021\n")
    assert objections.read(tmp_path / "a.txt") == objections.read(tmp_path / "b.csv") == {"007", "8"}
