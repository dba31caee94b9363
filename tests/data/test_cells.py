"""Single-cell files: what AnnData writes, in every form, gives the same counts."""

import resource
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from collegium.data import cells, files, sources
from collegium.data.place import Place
from collegium.errors import DataError
from collegium.study import manifest
from tests.datasets import dataset

GENES = [f"G{n}" for n in range(40)]
FORMS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}


def truth(cells: int = 300) -> np.ndarray:
    return np.random.default_rng(1).poisson(0.3, (cells, len(GENES))).astype(np.float32)


def write(path: Path, x: np.ndarray, form: str = "csr", **more: object) -> Place:
    rng = np.random.default_rng(2)
    obs = pd.DataFrame(
        {
            "age": rng.integers(20, 90, len(x)),
            "sex": pd.Categorical(rng.choice(["F", "M"], len(x))),
            "donor": [f"d{n % 7}" for n in range(len(x))],
        },
        index=[f"cell{n}" for n in range(len(x))],
    )
    obs.loc[obs.index[0], "sex"] = None
    var = pd.DataFrame({"gene_ids": [f"ENSG{n:05}.{n % 3}" for n in range(len(GENES))]}, index=GENES)
    anndata.AnnData(FORMS[form](x), obs, var, **more).write_h5ad(path)
    return Place(str(path))


def whole(place: Place, *columns: str) -> dict[str, list[object]]:
    out: dict[str, list[object]] = {}
    for batch in sources.load(place, columns)[1]:
        for name, values in batch.items():
            out.setdefault(name, []).extend(values.to_pylist())
    return out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", [1 << 22, 700])
def test_counts_are_the_same_in_every_form_and_block(form: str, values: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cells, "VALUES", values)
    place = write(tmp_path / "t.h5ad", truth(), form)
    header, _ = sources.load(place, [])
    assert header == ("cell", "age", "sex", "donor", *GENES)
    got = whole(place, "G7", "G3", "cell", "sex")
    assert got["G3"] == truth()[:, 3].tolist()
    assert got["G7"] == truth()[:, 7].tolist()
    assert (got["cell"][299], got["sex"][0], len(got["sex"])) == ("cell299", None, 300)


def test_cells_are_rows_of_a_study(tmp_path: Path):
    kinds = {"sex": "category", "G5": "number", "age": "number"}
    document = manifest.read(manifest.EXAMPLE).model_dump() | {"patient": "donor"}
    document["variables"] = {name: {"kind": kind} for name, kind in kinds.items()}
    document["outcome"] = {"task": "regression", "target": "G5"}
    document["method"] = {"kind": "statistics"}
    table = files.scan(write(tmp_path / "t.h5ad", truth()), manifest.read(document)).table
    assert table.patients() == 7
    np.testing.assert_array_equal(table["G5"], truth()[:, 5])


def test_a_panel_names_genes_as_the_study_does(tmp_path: Path):
    place = write(tmp_path / "t.h5ad", truth())
    panel = tmp_path / "panel.txt"
    panel.write_text("# study name\tother names\nCD3D\tG1\nMS4A1\tENSG00002\nG3\nABSENT\tENSG99999\n")
    place = place._replace(panel=str(panel))
    assert sources.load(place, [])[0] == ("cell", "age", "sex", "donor", "CD3D", "MS4A1", "G3")
    got = whole(place, "CD3D", "MS4A1")
    assert got == {"CD3D": truth()[:, 1].tolist(), "MS4A1": truth()[:, 2].tolist()}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("A\nB\nG1\n", "has 1 of the 3 genes of the panel panel.txt: it names them in another way"),
        ("G1\nG1\n", "names a gene twice"),
        ("# nothing\n", "names no gene"),
    ],
)
def test_a_panel_that_does_not_fit_is_refused(lines: str, says: str, tmp_path: Path):
    (tmp_path / "panel.txt").write_text(lines)
    with pytest.raises(DataError, match=says):
        sources.load(write(tmp_path / "t.h5ad", truth())._replace(panel=str(tmp_path / "panel.txt")), [])
    with pytest.raises(DataError, match=r"the panel none\.txt cannot be read"):
        sources.load(Place(str(tmp_path / "t.h5ad"), panel=str(tmp_path / "none.txt")), [])


def test_raw_counts_are_found_where_they_are(tmp_path: Path):
    x, logs = truth(), np.log1p(truth())
    layered = write(tmp_path / "a.h5ad", logs, layers={"counts": sparse.csr_matrix(x)})
    assert whole(layered, "G1")["G1"] == x[:, 1].tolist()
    raw = anndata.AnnData(sparse.csr_matrix(x), var=pd.DataFrame(index=GENES))
    raw.raw = raw.copy()
    raw.X = sparse.csr_matrix(logs)
    raw.write_h5ad(tmp_path / "b.h5ad")
    assert whole(Place(str(tmp_path / "b.h5ad")), "G1")["G1"] == x[:, 1].tolist()


@pytest.mark.parametrize("form", FORMS)
def test_a_file_without_raw_counts_is_refused(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match="holds no raw counts: X has numbers that are not whole"):
        sources.load(write(tmp_path / "t.h5ad", np.log1p(truth()), form), [])
    with pytest.raises(DataError, match="no raw counts"):
        sources.load(write(tmp_path / "t.h5ad", truth() - 1, form), [])
    monkeypatch.setattr(cells, "SAMPLE", 1)
    late = truth()
    late[0, 0], late[200, 3] = 1, 0.5
    with pytest.raises(DataError, match="X holds numbers that are no counts, first in cell 201"):
        whole(write(tmp_path / "t.h5ad", late, form), "G0", "G3")


def test_a_gene_that_stands_twice_is_refused(tmp_path: Path):
    place = write(tmp_path / "t.h5ad", truth())
    with h5py.File(place.path, "r+") as file:
        file["var"][file["var"].attrs["_index"]][1] = "G3"
    with pytest.raises(DataError, match="column 'G3' stands 2 times"):
        sources.load(place, ["G3"])
    (tmp_path / "panel.txt").write_text("G3\n")
    with pytest.raises(DataError, match="gene 'G3' stands 2 times"):
        sources.load(place._replace(panel=str(tmp_path / "panel.txt")), [])


@pytest.mark.parametrize("left", [0.0, 0.3, 0.9])
def test_a_file_cut_short_is_told(left: float, tmp_path: Path):
    place = write(tmp_path / "t.h5ad", truth())
    raw = Path(place.path).read_bytes()
    Path(place.path).write_bytes(raw[: int(len(raw) * left)])
    with pytest.raises(DataError, match=r"cannot be read as \.h5ad"):
        whole(place, "G1")


def test_another_hdf5_file_is_no_anndata(tmp_path: Path):
    with h5py.File(tmp_path / "t.h5ad", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="it is no AnnData file"):
        sources.load(Place(str(tmp_path / "t.h5ad")), [])
    with pytest.raises(DataError, match=r"no file 'u\.h5ad'"):
        sources.load(Place(str(tmp_path / "u.h5ad")), [])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csr", "csc"])
def test_memory_is_that_of_a_block(form: str, tmp_path: Path):
    x = sparse.random(60000, 2000, 0.05, "csr", np.float32, np.random.default_rng(1))
    x.data = np.ceil(x.data * 9).astype(np.float32)
    anndata.AnnData(FORMS[form](x)).write_h5ad(tmp_path / "big.h5ad")
    total, before = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for batch in sources.load(Place(str(tmp_path / "big.h5ad")), ["3", "1999"])[1]:
        total += sum(batch["3"].to_pylist())
    assert total == x[:, 3].sum()
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_real_file_of_an_early_anndata():
    place = Place(str(dataset("citeseq_pbmc1k") / "pbmc_1k_protein_v3_rna.h5ad"))
    with h5py.File(place.path) as file:
        data, indices, p = (file["X"][part][:] for part in ("data", "indices", "indptr"))
        x = sparse.csc_matrix((data, indices, p), shape=(747, 630)).toarray()
    header, _ = sources.load(place, [])
    gene = header[100]
    assert (header[0], len(header)) == ("cell", 631)
    assert whole(place, gene)[gene] == x[:, 99].tolist()
