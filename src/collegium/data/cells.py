"""Single-cell counts in AnnData files (.h5ad): read from the disk a few cells at a time, sparse as they are stored.

A panel is a text file, a gene a line: its name in the study, and after tabs the other names that files may know it by, such as its
Ensembl number. Genes are found by the names of the file's variables, then by the other columns that describe them. The columns of a
table are the cell's name (`cell`), the file's own description of each cell, and the panel's genes; what a study reads are raw
counts, so the matrix taken is the first of layers/counts, raw/X and X that holds whole numbers.

The layout is AnnData's on-disk format (https://anndata.readthedocs.io, "On-disk format"), also as its versions before 0.8 wrote it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from collegium.data.place import Place
from collegium.errors import DataError

CELL = "cell"
MATRICES = (("layers/counts", "var"), ("raw/X", "raw/var"), ("X", "var"))  # where counts may be, and what describes their genes
VALUES, SAMPLE = 1 << 22, 1 << 17  # numbers of a block at most, were it dense; stored numbers looked at to know counts by
FEWEST = 0.5  # share of a panel that a file must have, or it names genes in another way
WAY = "write the raw counts into layers['counts'] or raw before normalising, and save again"


class Block(NamedTuple):
    """Some cells' counts of a panel, sparse by cell (CSR): cell i has `data[p[i]:p[i + 1]]` at the panel's places `indices[...]`."""

    data: np.ndarray
    indices: np.ndarray
    p: np.ndarray
    first: int  # the place of its first cell in the file


def load(place: Place, columns: Sequence[str]) -> tuple[tuple[str, ...], Iterator[Any]]:
    """The names of all columns, and the values of those asked for. Raises `DataError`."""
    with opened(place) as file:
        matrix, genes = counts(file, place)
        described = tuple(name for name in described_by(file["obs"]))
        header = (CELL, *described, *(name for name, _ in genes))
    wanted, at = [name for name in dict.fromkeys(columns) if header.count(name) == 1], dict(genes)
    return header, batches(place, matrix, [name for name in wanted if name not in at], {name: at[name] for name in wanted if name in at})


def batches(place: Place, matrix: str, described: Sequence[str], genes: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """The batches of some columns, in the order of the file's cells."""
    if not described and not genes:
        return
    with opened(place) as file:
        rows = cells_of(file)
        for block in blocks(file, matrix, [*genes.values()], rows, place.label):
            first, last = block.first, block.first + len(block.p) - 1
            out = {name: column(file["obs"], name, first, last) for name in described}
            by_gene = np.argsort(block.indices, kind="stable")
            edges = np.searchsorted(block.indices[by_gene], np.arange(len(genes) + 1))
            cell = np.repeat(np.arange(last - first), np.diff(block.p))[by_gene]
            for at, name in enumerate(genes):
                values, here = np.zeros(last - first, np.int64), slice(edges[at], edges[at + 1])
                values[cell[here]] = block.data[by_gene][here]
                out[name] = pa.array(values)
            yield out


@contextmanager
def opened(place: Place) -> Iterator[Any]:
    """The file. Raises `DataError` if it is none, or is damaged where it is read."""
    path = Path(place.path)
    try:
        import h5py
    except ModuleNotFoundError:
        raise DataError(f"{place.label}: single-cell files need h5py here", hint="pip install 'collegium[omics]'") from None
    if not path.is_file():
        raise DataError(f"there is no file {path.name!r} in {str(path.parent)!r}", hint="check the path, and that the agent may read it")
    try:
        with h5py.File(path, "r") as file:
            if "obs" not in file or "var" not in file:
                raise DataError(f"{place.label} has no cells and genes (obs, var): it is no AnnData file", hint="save it by anndata")
            yield file
    except (OSError, KeyError, RuntimeError) as e:
        raise DataError(
            f"{place.label}: the file cannot be read as .h5ad: it is cut short, damaged or of another kind",
            hint=f"save it again by anndata ({type(e).__name__})",
        ) from None


def cells_of(file: Any) -> int:
    """How many cells a file has."""
    obs = file["obs"]
    return int(obs[text(obs.attrs.get("_index", "_index"))].shape[0])


def described_by(frame: Any) -> list[str]:
    """The columns of obs or var that hold one value each."""
    order = frame.attrs.get("column-order", np.zeros(0))
    return [name for name in map(text, np.asarray(order).tolist()) if name in frame]


def text(value: Any) -> str:
    """A name as AnnData keeps it."""
    return value.decode() if isinstance(value, bytes) else str(value)


def column(frame: Any, name: str, first: int, last: int) -> Any:
    """Some cells' (or genes') values of one column, in any of the encodings that AnnData has had."""
    stored = (
        frame[text(frame.attrs.get("_index", "_index"))] if name in (CELL, "_index") and name not in described_by(frame) else frame[name]
    )
    if hasattr(stored, "keys"):  # a group: categories by number, or values with a mask
        if "codes" in stored:
            return coded(stored["codes"][first:last], stored["categories"])
        kept = plain(stored["values"], first, last)
        return pa.array(kept.to_pylist(), kept.type, mask=np.asarray(stored["mask"][first:last], bool))
    if "categories" in stored.attrs:  # before AnnData 0.8
        return coded(stored[first:last], frame.file[stored.attrs["categories"]])
    return plain(stored, first, last)


def coded(codes: np.ndarray, categories: Any) -> Any:
    """Categories from their numbers; -1 is missing."""
    levels = plain(categories, 0, len(categories)).cast(pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(np.where(codes < 0, 0, codes), pa.int32(), mask=codes < 0), levels).dictionary_decode()


def plain(stored: Any, first: int, last: int) -> Any:
    """A part of a plain data set as an Arrow array."""
    values = stored[first:last]
    if values.dtype.kind in "OSU":
        return pa.array([text(value) for value in values.tolist()], pa.string())
    return pa.array(values)


def counts(file: Any, place: Place) -> tuple[str, list[tuple[str, int]]]:
    """Where the raw counts are, and the place of each gene by its name in the study. Raises `DataError`."""
    there = [(matrix, var) for matrix, var in MATRICES if matrix in file]
    whole = [(matrix, var) for matrix, var in there if counted(stored(file[matrix])[:SAMPLE])]
    if not whole:
        found = ", ".join(matrix for matrix, _ in there) or "no matrix"
        raise DataError(f"{place.label} holds no raw counts: {found} has numbers that are not whole, or below zero", hint=WAY)
    matrix, var = whole[0]
    return matrix, aligned(file[var], place)


def stored(matrix: Any) -> Any:
    """The numbers of a matrix as they lie on the disk."""
    return matrix["data"] if hasattr(matrix, "keys") else matrix


def counted(values: np.ndarray) -> bool:
    """Whether these are counts."""
    return bool(values.dtype.kind in "ui" or (np.all(values >= 0) and np.all(values == np.round(values))))


def aligned(var: Any, place: Place) -> list[tuple[str, int]]:
    """The place of each gene: of the panel's, or of all. Raises `DataError` for a gene met twice, and for another nomenclature."""
    rows = len(var[text(var.attrs.get("_index", "_index"))])
    names = column(var, "_index", 0, rows).to_pylist()
    if not place.panel:
        return [(name, at) for at, name in enumerate(names)]
    known: dict[str, list[int]] = {}
    for listed in (names, *(column(var, name, 0, rows).to_pylist() for name in described_by(var))):
        for at, name in enumerate(listed):
            if isinstance(name, str) and at not in (places := known.setdefault(bare(name), [])):
                places.append(at)
    panel, found = genes_of(Path(place.panel)), list[tuple[str, int]]()
    for gene, others in panel.items():
        places = next((known[bare(name)] for name in (gene, *others) if bare(name) in known), [])
        if len(places) > 1:
            raise DataError(
                f"{place.label}: gene {gene!r} stands {len(places)} times", hint="keep one, or name its Ensembl number in the panel"
            )
        found += [(gene, places[0])] if places else []
    if len(found) < FEWEST * len(panel):
        raise DataError(
            f"{place.label} has {len(found)} of the {len(panel)} genes of the panel {Path(place.panel).name}: it names them in another way",
            hint="give each gene's other names in the panel, after tabs: its symbol and its Ensembl number",
        )
    return found


def bare(name: str) -> str:
    """A gene's name without the version that follows an Ensembl number."""
    return name.partition(".")[0] if name.startswith("ENS") else name


def genes_of(path: Path) -> dict[str, tuple[str, ...]]:
    """A panel: each gene's name, and its other names. Raises `DataError`."""
    try:
        lines = path.read_text(encoding="utf8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"the panel {path.name} cannot be read ({type(e).__name__})", hint="check --panel; it is a text file") from None
    rows = [[part.strip() for part in line.split("\t") if part.strip()] for line in lines if line.strip() and not line.startswith("#")]
    if not rows or len({row[0] for row in rows}) < len(rows):
        raise DataError(f"the panel {path.name} names {'a gene twice' if rows else 'no gene'}", hint="wanted one gene a line")
    return {row[0]: tuple(row[1:]) for row in rows}


def blocks(file: Any, matrix: str, genes: Sequence[int], rows: int, where: str) -> Iterator[Block]:
    """The counts of some genes, a block of cells at a time, whatever form the matrix has on the disk. Raises `DataError`."""
    held = file[matrix]
    step = max(64, VALUES // max(len(genes), 1))
    kind = text(held.attrs.get("encoding-type", held.attrs.get("h5sparse_format", "array")))
    take = by_cell if kind.startswith("csr") else by_gene if kind.startswith("csc") else dense
    for block in take(held, np.asarray(genes, np.int64), rows, step):
        if not counted(block.data):
            cell = block.first + int(np.searchsorted(block.p, np.flatnonzero(block.data != np.round(np.abs(block.data)))[0], "right"))
            raise DataError(f"{where}: {matrix} holds numbers that are no counts, first in cell {cell}", hint=WAY)
        yield block


def by_cell(held: Any, genes: np.ndarray, rows: int, step: int) -> Iterator[Block]:
    """Blocks of a matrix stored by cell (CSR): its numbers are read as they lie, those of other genes let go."""
    p, width = held["indptr"], int(held.attrs["shape"][1] if "shape" in held.attrs else held.attrs["h5sparse_shape"][1])
    to = np.full(width, -1, np.int64)
    to[genes] = np.arange(len(genes))
    for first in range(0, rows, step):
        edges = p[first : min(first + step, rows) + 1].astype(np.int64)
        at = to[held["indices"][edges[0] : edges[-1]]]
        keep = at >= 0
        starts = np.concatenate([[0], np.cumsum(keep)])[edges - edges[0]]
        yield Block(held["data"][edges[0] : edges[-1]][keep], at[keep], starts, first)


def by_gene(held: Any, genes: np.ndarray, rows: int, step: int) -> Iterator[Block]:
    """Blocks of a matrix stored by gene (CSC): of each gene the next cells are read, from where the block before ended."""
    p = held["indptr"]
    here = np.array([p[gene] for gene in genes.tolist()], np.int64)
    ends = np.array([p[gene + 1] for gene in genes.tolist()], np.int64)
    for first in range(0, rows, step):
        last, parts = min(first + step, rows), []
        for at in range(len(genes)):
            cells = held["indices"][here[at] : min(ends[at], here[at] + step)]
            if np.any(np.diff(cells) <= 0) or np.any(cells < first):
                raise DataError("the matrix has cells out of order within a gene", hint="call X.sort_indices() before saving")
            count = int(np.searchsorted(cells, last))
            parts.append((cells[:count] - first, np.full(count, at), held["data"][here[at] : here[at] + count]))
            here[at] += count
        cell, gene, data = (np.concatenate([part[n] for part in parts]) if parts else np.zeros(0, np.int64) for n in range(3))
        order = np.argsort(cell, kind="stable")
        yield Block(data[order], gene[order], np.searchsorted(cell[order], np.arange(last - first + 1)), first)


def dense(held: Any, genes: np.ndarray, rows: int, step: int) -> Iterator[Block]:
    """Blocks of a matrix stored in full."""
    step = max(1, min(step, VALUES // max(held.shape[1], 1)))
    for first in range(0, rows, step):
        values = held[first : first + step][:, genes]
        cell, gene = np.nonzero(values)
        yield Block(values[cell, gene], gene, np.searchsorted(cell, np.arange(len(values) + 1)), first)
