"""The table of a recipe made from a hospital's records: `omop/readmission` of an OMOP database, `fhir/readmission` of a FHIR export.

A recipe brings its cohort and its features as views (`recipes/NAME.sql`); a model of records brings what they stand on (`omop.sql`,
`fhir.sql`): people, visits, conditions, drugs, procedures and labs. So each question is written once, and each model once. A
PostgreSQL server computes the table itself; what lies in files, DuckDB computes, shut in with those files.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from collegium.data import duck, fhir, omop, sql
from collegium.data.place import Place
from collegium.errors import DataError

HERE, RECIPES = Path(__file__).parent, Path(__file__).parents[1] / "recipes"
MODELS = {"omop": omop, "fhir": fhir}
OUTSIDE = ("postgresql", "duckdb")  # databases that answer a whole query by themselves
Opened = Callable[[], AbstractContextManager[Any]]


def load(place: Place, columns: Sequence[str]) -> tuple[tuple[str, ...], Iterator[Any]]:
    """The names of a view's columns, and the values of those asked for. Raises `DataError` and `LinkError`."""
    model, _, view = place.view.partition("/")
    known = views()
    if model not in MODELS or view not in known:
        there = ", ".join(f"{one}/{name}" for one in MODELS for name in known)
        raise DataError(f"there is no view {place.view!r}; wanted one of {there}", hint="check --view")
    if place.query or place.table:
        raise DataError(f"{place.label}: a view takes neither a table nor a query", hint="leave out --table and --query")
    if model == "fhir" and not Path(place.path).is_dir():
        raise DataError(
            f"{place.label} is no folder; wanted one of a FHIR bulk export", hint="name the folder that holds its .ndjson files"
        )
    if not Path(place.path).is_dir() and place.kind not in (*OUTSIDE, "sqlite"):
        raise DataError(f"{place.label}: wanted a folder, a DuckDB or SQLite file, or a PostgreSQL address", hint="check the path")
    question = (
        f"with {MODELS[model].prelude(place)},\n{(HERE / f'{model}.sql').read_text()},\n{known[view].read_text()}\nselect * from {view}"
    )
    if place.kind in OUTSIDE:
        return sql.load(place._replace(view="", schema="", query=question), columns)
    return computed(place, lambda: MODELS[model].opened(place), question, columns)


def views() -> dict[str, Path]:
    """The views that recipes bring, by name, and the files that define them: those whose names begin as their file's does."""
    return {
        name: path
        for path in sorted(RECIPES.glob("*.sql"))
        for name in re.findall(r"^(\w+) as \($", path.read_text(), re.MULTILINE)
        if name.startswith(path.stem)
    }


def computed(place: Place, opened: Opened, question: str, columns: Sequence[str]) -> tuple[tuple[str, ...], Iterator[Any]]:
    """The answer of DuckDB to a question about files."""
    with put_right(place), opened() as link:
        header = tuple(link.sql(f"select * from ({question}) limit 0").columns)
    return header, streamed(place, opened, question, [name for name in header if name in columns])


def streamed(place: Place, opened: Opened, question: str, wanted: Sequence[str]) -> Iterator[Any]:
    """The batches of some columns, in the order of their values."""
    if not wanted:
        return
    listed, order = ", ".join(map(duck.name, wanted)), ", ".join(map(str, range(1, len(wanted) + 1)))
    with put_right(place), opened() as link:
        for batch in duck.batches(link, f"select {listed} from ({question}\n) order by {order}", ()):
            yield {name: batch.column(at) for at, name in enumerate(wanted)}


@contextmanager
def put_right(place: Place) -> Iterator[None]:
    """Put an error of DuckDB into words that quote no value."""
    import duckdb

    try:
        yield
    except duckdb.Error as e:
        file = re.search(r'"([^"\n]*)"[^"\n]*?[Ll]ine:? (\d+)|[Ll]ine:? (\d+)', str(e))
        line = f"line {file[2] or file[3]}" if file else "a record"
        where = f"{Path(file[1]).name}, {line}" if file and file[1] else line
        raise DataError(
            f"{place.label}: {where} cannot be read ({type(e).__name__})", hint="export it again; a cut file ends in half a record"
        ) from None
