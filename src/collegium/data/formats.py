"""How each kind of file is opened: its header, and batches of the columns asked for as Arrow arrays.

No format reads a column that nobody asked for, and none shows a value in an error: the libraries' own messages quote the
line they fail at, so they are put into other words here.
"""

import codecs
import csv
import gzip
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import pyarrow as pa

from collegium.data import duck
from collegium.errors import DataError

Batches: TypeAlias = Iterator[Mapping[str, Any]]
HEAD, BLOCK, ROWS = 1 << 18, 8 << 20, 1 << 16  # bytes looked at for the header; bytes and rows read at a time
SEPARATORS = ",;\t|"
BROKEN = (pa.ArrowException, OSError, EOFError, UnicodeError, zlib.error, zipfile.BadZipFile)  # what libraries raise at a damaged file
NOT_WINDOWS = b"\x81\x8d\x8f\x90\x9d"  # bytes that code page 1252 leaves undefined, and Latin-1 does not
BOMS = {codecs.BOM_UTF8: "utf8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def load(path: Path, columns: Sequence[str]) -> tuple[tuple[str, ...], Batches]:
    """The names of all columns, and the values of those among `columns` that the file has. Raises `DataError`."""
    kind = suffix(path)
    if not path.is_file():
        raise DataError(f"there is no file {path.name!r} in {str(path.parent)!r}", hint="check the path, and that the agent may read it")
    try:
        header, batches = FORMATS[kind](path, columns)
    except BROKEN as e:
        raise damaged(path, e) from None
    once(path.name, header, columns)
    return header, guarded(path, batches)


def once(where: str, header: Sequence[str], columns: Sequence[str], *, anycase: bool = False) -> None:
    """Raise `DataError` for a column that is asked for and stands twice; `anycase` for readers to which a and A are one name."""
    alike = [name.casefold() for name in header] if anycase else header
    for name in columns:
        if (times := alike.count(name.casefold() if anycase else name)) > 1:
            case = ", in capitals and small letters" if header.count(name) == 1 else ""
            raise DataError(f"{where}: column {name!r} stands {times} times{case}", hint="leave one of them, or rename the others")


def suffix(path: Path) -> str:
    """The kind of file by its name, compression left out. Raises `DataError` for a kind that is not read."""
    ends = [end.lower() for end in path.suffixes]
    kind = ends[-2] if len(ends) > 1 and ends[-1] == ".gz" else ends[-1] if ends else ""
    if kind not in FORMATS:
        raise DataError(
            f"{path.name}: files {kind or 'without ending'} are not read; wanted {', '.join(sorted(FORMATS))}, also .gz of text"
        )
    return kind


def guarded(path: Path, batches: Batches) -> Batches:
    """The batches, a library's error put into words that quote no value."""
    try:
        yield from batches
    except BROKEN as e:
        raise damaged(path, e) from None


def damaged(path: Path, error: Exception) -> DataError:
    """What a reading library's error means here."""
    return DataError(
        f"{path.name}: the file cannot be read as {''.join(path.suffixes)}: it is cut short, damaged or of another kind",
        hint=f"export it again, or open it with the program that wrote it ({type(error).__name__})",
    )


def delimited(path: Path, columns: Sequence[str]) -> tuple[tuple[str, ...], Batches]:
    """Text with separators: the separator and the encoding are found out, and rows must be as long as the header."""
    encoding = encoding_of(path)
    with opened(path) as file:
        head = codecs.getincrementaldecoder(encoding)().decode(file.read(HEAD)).lstrip("\ufeff\r\n")
    if not head.strip():
        raise DataError(f"{path.name}: the file is empty; wanted a line with the names of the columns", hint="export it again")
    bare = re.sub(r'"[^"]*"', "", head.split("\n")[0])  # what stands in quotes separates nothing
    separator = max(SEPARATORS, key=bare.count)
    raw = next(csv.reader(io.StringIO(head, newline=""), delimiter=separator))
    wanted = {name.strip(): name for name in raw if name.strip() in columns}
    return tuple(name.strip() for name in raw), delimited_rows(path, wanted, separator, encoding)


def opened(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]  # both read bytes


def encoding_of(path: Path) -> str:
    """UTF-8 if the whole file is that, else what Windows or Latin-1 programs write; a byte order mark decides at once."""
    decoder, western = codecs.getincrementaldecoder("utf8")(), "cp1252"
    utf8 = True
    with opened(path) as file:
        while chunk := file.read(BLOCK):
            if marked := next((name for bom, name in BOMS.items() if file.tell() == len(chunk) and chunk.startswith(bom)), ""):
                return marked
            if any(byte in chunk for byte in NOT_WINDOWS):
                western = "latin-1"
            try:
                if utf8 and not (chunk.isascii() and not decoder.getstate()[0]):  # ASCII is looked at faster than decoded
                    decoder.decode(chunk)
            except UnicodeDecodeError:
                utf8 = False
    return "utf8" if utf8 and not decoder.getstate()[0] else western


def delimited_rows(path: Path, wanted: Mapping[str, str], separator: str, encoding: str) -> Batches:
    """The batches of such a file. Raises `DataError` at its end if rows were longer or shorter than the header."""
    from pyarrow import csv as arrow

    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row if not ragged else None)
        return "skip"

    options = {"encoding": encoding, "block_size": BLOCK, "use_threads": False}
    parse = arrow.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=note)
    convert = arrow.ConvertOptions(include_columns=[*wanted.values()], column_types=dict.fromkeys(wanted.values(), pa.string()))
    for batch in arrow.open_csv(path, arrow.ReadOptions(**options), parse, convert):
        yield {name: batch.column(raw) for name, raw in wanted.items()} if wanted else {}
    if ragged:
        where = f"row {ragged[0].number}" if ragged[0].number else "one row"
        raise DataError(
            f"{path.name}: {where} has {ragged[0].actual_columns} fields, the header has {ragged[0].expected_columns}"
            f" ({len(ragged)} such rows)",
            hint=f"put fields that hold {separator!r} in double quotes, and end each row once",
        )


def parquet(path: Path, columns: Sequence[str]) -> tuple[tuple[str, ...], Batches]:
    """Apache Parquet: only the columns asked for are read from the disk."""
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(path, pre_buffer=False)  # not mapped: a file cut short while it is read would end this process
    header = tuple(file.schema_arrow.names)
    wanted = [name for name in dict.fromkeys(columns) if name in header]
    batches = ({name: batch.column(name) for name in wanted} for batch in file.iter_batches(ROWS, columns=wanted, use_threads=False))
    return header, batches


def ndjson(path: Path, columns: Sequence[str]) -> tuple[tuple[str, ...], Batches]:
    """One JSON object a line, as FHIR bulk exports have it; a field that a line lacks is missing there."""
    names = "select distinct unnest(json_keys(json)) from read_json_objects(?, format='newline_delimited')"
    header = tuple(sorted(name for batch in asked(path, names) for name in batch.column(0).to_pylist()))
    once(path.name, header, columns, anycase=True)
    return header, ndjson_rows(path, [name for name in dict.fromkeys(columns) if name in header])


def ndjson_rows(path: Path, wanted: Sequence[str]) -> Batches:
    """The batches of such a file, all as text."""
    if not wanted:
        return
    names = [duck.name(name) for name in wanted]
    kinds = ", ".join(f"{name}: 'VARCHAR'" for name in names)
    question = f"select {', '.join(names)} from read_json(?, format='newline_delimited', records=true, columns={{{kinds}}})"
    for batch in asked(path, question):
        yield {name: batch.column(at) for at, name in enumerate(wanted)}


def asked(path: Path, question: str) -> Iterator[Any]:
    """The answer of DuckDB to a question about one file, in Arrow batches. Raises `DataError`."""
    import duckdb

    try:
        with duck.shut_in(path) as link:
            yield from duck.batches(link, question, [str(path)])
    except duckdb.Error as e:
        line = re.search(r"in line (\d+)", str(e))
        raise DataError(
            f"{path.name}: {f'line {line[1]}' if line else 'a line'} is not a JSON object; wanted one object a line",
            hint="export it again as NDJSON; a cut file ends in half an object",
        ) from None


def excel(path: Path, columns: Sequence[str]) -> tuple[tuple[str, ...], Batches]:
    """The first sheet of a workbook, its first row the header; formulas give the value that was saved with them."""
    with closing(sheet(path)) as rows:
        header = tuple("" if name is None else str(name).strip() for name in next(rows, ()))
    return header, excel_rows(path, {name: at for at, name in enumerate(header) if name in columns})


def sheet(path: Path) -> Generator[tuple[Any, ...]]:
    """The rows of the first sheet; the file is open for as long as they are read."""
    from openpyxl import load_workbook

    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # about styles and validations, which are not read
        try:
            book = load_workbook(file, read_only=True, data_only=True)
        except (KeyError, ValueError) as e:
            raise damaged(path, e) from None
        with closing(book):
            yield from book.worksheets[0].iter_rows(values_only=True)


def excel_rows(path: Path, wanted: Mapping[str, int]) -> Batches:
    """The batches of a sheet, all as text; rows without any value are none."""
    if not wanted:
        return
    with closing(sheet(path)) as rows:
        next(rows, None)
        while piece := [*islice((row for row in rows if any(cell is not None for cell in row)), ROWS)]:
            yield {name: pa.array([cell(row[at] if at < len(row) else None) for row in piece], pa.string()) for name, at in wanted.items()}


def cell(value: Any) -> str | None:
    """A cell as a text file would have it."""
    if isinstance(value, datetime) and not (value.hour or value.minute or value.second):
        value = value.date()
    return None if value is None else value.isoformat() if isinstance(value, date) else str(value)


Format: TypeAlias = Callable[[Path, Sequence[str]], tuple[tuple[str, ...], Batches]]
FORMATS: dict[str, Format] = {
    ".csv": delimited, ".tsv": delimited, ".txt": delimited, ".data": delimited, ".parquet": parquet, ".pq": parquet,
    ".ndjson": ndjson, ".jsonl": ndjson, ".xlsx": excel, ".xlsm": excel,
}  # fmt: skip
