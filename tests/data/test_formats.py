import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collegium.data import formats
from collegium.errors import DataError

SECRET = "Mustermann"


def whole(path: Path, *columns: str) -> dict[str, list[object]]:
    out: dict[str, list[object]] = {}
    for batch in formats.load(path, columns)[1]:
        for name, values in batch.items():
            out.setdefault(name, []).extend(values.to_pylist())
    return out


def file(folder: Path, raw: bytes, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(raw)
    return folder / name


def test_only_the_columns_asked_for_are_read(tmp_path: Path):
    assert whole(file(tmp_path, b"a,b,c\n1,2,3\n"), "c", "a") == {"a": ["1"], "c": ["3"]}
    assert whole(file(tmp_path, b"a,b,c\n1,2,3\n"), "z") == {}


@pytest.mark.parametrize("encoding", ["utf8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", list(formats.SEPARATORS))
def test_separator_and_encoding_are_found_out(tmp_path: Path, encoding: str, separator: str):
    euro = "€" if encoding not in ("latin-1",) else "\x81"
    text = separator.join(['"Größe, m"', "b", "c"]) + "\r\n" + separator.join(["1", f"{euro}ü", '"x"']) + "\r\n"
    raw = text.encode(encoding) if encoding != "utf-16-le" else b"\xff\xfe" + text.encode(encoding)
    path = file(tmp_path, raw)
    assert formats.load(path, [])[0] == ("Größe, m", "b", "c")
    assert whole(path, "Größe, m", "b") == {"Größe, m": ["1"], "b": [f"{euro}ü"]}


def test_latin_letters_far_down_the_file_are_found(tmp_path: Path):
    raw = b"a,b\n" + b"1,plain\n" * (formats.HEAD // 4) + "2,Köln\n".encode("latin-1")
    assert whole(file(tmp_path, raw), "b")["b"][-1] == "Köln"


def test_ragged_rows_are_told_by_number_and_not_shown(tmp_path: Path):
    path = file(tmp_path, f"a,b,c\n1,2,3\n4,{SECRET}\n5,6,7,{SECRET}\n".encode())
    with pytest.raises(DataError, match=r"t.csv: row 3 has 2 fields, the header has 3 \(2 such rows\)") as caught:
        whole(path, "a")
    assert SECRET not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None


def test_a_doubled_column_is_refused_only_if_it_is_wanted(tmp_path: Path):
    path = file(tmp_path, b"a,b,a\n1,2,3\n")
    assert whole(path, "b") == {"b": ["2"]}
    with pytest.raises(DataError, match="column 'a' stands 2 times"):
        formats.load(path, ["a"])


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_told(tmp_path: Path, raw: bytes):
    with pytest.raises(DataError, match="the file is empty"):
        formats.load(file(tmp_path, raw), ["a"])


def test_a_file_that_is_not_there_and_one_of_another_kind(tmp_path: Path):
    with pytest.raises(DataError, match=r"no file 'none.csv'"):
        formats.load(tmp_path / "none.csv", [])
    with pytest.raises(DataError, match=r"t.sav: files .sav are not read; wanted .csv"):
        formats.load(file(tmp_path, b"", "t.sav"), [])
    with pytest.raises(DataError, match="files without ending are not read"):
        formats.load(file(tmp_path, b"", "t"), [])


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet", "t.xlsx", "t.ndjson"])
def test_a_file_cut_short_is_told_without_its_values(tmp_path: Path, name: str):
    path = tmp_path / name
    if name == "t.parquet":
        pq.write_table(pa.table({"a": [SECRET] * 1000}), path)
    elif name == "t.xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        book.active.append(["a"])
        book.save(path)
    else:
        text = (f'{{"a": "{SECRET}"}}\n' if name == "t.ndjson" else f"{SECRET}\n") * 1000
        path.write_bytes(gzip.compress(b"a\n" + text.encode()) if name.endswith("gz") else text.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3 + 3])
    with pytest.raises(DataError, match=rf"{name}.*(cut short|not a JSON object)") as caught:
        whole(path, "a")
    assert SECRET not in str(caught.value) + caught.value.hint


def test_json_that_is_not_an_object_is_told_by_line(tmp_path: Path):
    with pytest.raises(DataError, match="not a JSON object") as caught:
        whole(file(tmp_path, f'{{"a": 1}}\n{{"a": {SECRET}}}\n'.encode(), "t.ndjson"), "a")
    assert SECRET not in str(caught.value)


def test_quoted_names_in_json_are_only_names(tmp_path: Path):
    odd = "a\"; copy (select 1) to '/tmp/x"
    path = file(tmp_path, b'{"a\\"; copy (select 1) to \'/tmp/x": 5}\n', "t.ndjson")
    assert whole(path, odd) == {odd: ["5"]}


def test_an_excel_row_shorter_than_the_header_has_missing_values(tmp_path: Path):
    import datetime

    import openpyxl

    book, midnight = openpyxl.Workbook(), datetime.datetime(2020, 1, 2)  # noqa: DTZ001  Excel knows no time zones
    for row in (["a", "b", None, "d"], [1, "x"], [None] * 4, [2.5, None, 3, midnight], [True, "#N/A", 1, None]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    got = whole(tmp_path / "t.xlsx", "a", "b", "d")
    assert got == {"a": ["1", "2.5", "True"], "b": ["x", None, "#N/A"], "d": [None, "2020-01-02", None]}
