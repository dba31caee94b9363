"""The worker as a process: what it is told, what it answers, what it keeps to itself. And the agent's hold on it."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import wire
from collegium.algorithms.algorithm import Algorithm
from collegium.data import registry
from collegium.engine import messages
from collegium.engine import run as course
from collegium.engine.messages import Task
from collegium.engine.run import Stage
from collegium.errors import DataError, UpdateError
from collegium.identity import CHUNK, digest, vector_digest
from collegium.privacy import masks, ring
from collegium.privacy.masks import Mask
from collegium.site.frames import INLINE
from collegium.site.pipe import Worker, WorkerDied, environment
from collegium.site.worker import Bench, failure, masked, ready, shown, spooled
from collegium.study import manifest, plan
from collegium.table import Table
from tests.site.federation import STUDY, rows_of, until

READ = manifest.read(STUDY)
STAGES = plan.stages(READ)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "stays.csv").write_text(rows_of("leeds", 50))
    registry.add(tmp_path, "stays", tmp_path / "stays.csv")
    return tmp_path


@pytest.fixture
def worker(home):
    opening = {
        "do": "open", "manifest": json.loads(manifest.signed(READ)), "study": manifest.digest(READ), "site": "leeds",
        "folder": str(home / "run"), "home": str(home), "table": "stays",
    }  # fmt: skip
    (home / "run").mkdir()
    one = Worker(opening, home / "log" / "worker.log")
    yield one
    one.end()


def first_task():
    """The first task of the study, and its state's frame."""
    now = course.begin(STAGES, 3)
    frame = b"".join(map(bytes, wire.encode(course.shared(now, STAGES))))
    task = Task("r1", manifest.digest(READ), now.place, now.layout, "ab" * 32, len(frame))
    return {"do": "task", "task": messages.document(task)}, frame


def test_it_reads_computes_and_answers_the_same_after_it_was_killed(worker, home):
    told = worker.open()
    assert (told["rows"], told["stages"]) == (50, ["features", "fit"])
    asked, state = first_task()
    says, vector = worker.ask(asked, state)
    assert says["digest"] == digest(vector)
    (home / "state").write_bytes(state)
    assert bytes(worker.ask(asked | {"state": str(home / "state")}).payload) == bytes(vector)
    worker.kill()
    with pytest.raises(WorkerDied, match="in the middle"):
        worker.ask(asked, state)
    again = worker.ask(asked, state)
    assert bytes(again.payload) == bytes(vector)


def test_it_ends_with_its_agent_and_stops_where_it_is(worker):
    worker.open()
    pid, to = worker.child.process.pid, worker.child.to
    worker.hold(True)
    until(lambda: re.search(r"State:\s+T", Path(f"/proc/{pid}/status").read_text()))
    worker.hold(False)
    until(lambda: re.search(r"State:\s+[SR]", Path(f"/proc/{pid}/status").read_text()))
    os.close(os.dup(to))
    os.dup2(os.open(os.devnull, os.O_WRONLY), to)  # as if the agent had gone
    assert worker.child.process.wait(5) == 0


def test_it_has_no_key_no_proxy_and_two_open_pipes(worker, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://anna:secret@proxy")
    worker.open()
    pid = worker.child.process.pid
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert not [link for link in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()) if "socket" in link]
    loaded = Path(f"/proc/{pid}/maps").read_text()
    assert "pyarrow" not in loaded  # the table's readers ended with their process
    assert environment({"PATH": "/bin", "SSH_AUTH_SOCK": "x"}, 2)["OMP_NUM_THREADS"] == "2"
    assert "SSH_AUTH_SOCK" not in environment({"SSH_AUTH_SOCK": "x"}, 1)


def test_an_error_tells_its_code_and_names_of_the_study_alone(worker, home):
    (home / "stays.csv").write_text(rows_of("leeds", 50).replace(",F,", ",Queen Victoria,").replace("age", "Alter"))
    told = worker.open()
    assert told["failure"] == "data"
    assert told["says"] == "the site's table does not fit the study at 'age'; its log has the details"
    assert told["final"]
    assert "Alter" in told["detail"]


@pytest.mark.parametrize(
    ("error", "code", "final"),
    [
        (OSError(28, "No space left on device"), "storage", False),
        (MemoryError(), "failed", False),
        (ZeroDivisionError("the value was 42"), "failed", False),
        (UpdateError("leaf 'w' holds NaN"), "update", False),
        (DataError("x"), "data", True),
    ],
)
def test_what_may_be_told_of_an_error(error, code, final):
    told = failure(error, READ)
    assert (told["failure"], told["final"]) == (code, final)
    assert "42" not in told["says"]


def test_a_large_vector_is_written_as_it_is_made(tmp_path):
    for count in (CHUNK // 4 + 7, 5):  # the second is written over the first, and is shorter
        pieces = [np.arange(count, dtype=np.uint64), np.arange(4, dtype=np.uint32)]
        told = spooled(iter(pieces), tmp_path / "spool")
        whole = b"".join(piece.tobytes() for piece in pieces)
        assert Path(told["spool"]).read_bytes() == whole
        assert told["chunks"] == [digest(whole[at : at + CHUNK]) for at in range(0, len(whole), CHUNK)]
        assert (told["nbytes"], told["digest"]) == (len(whole), vector_digest(told["chunks"]))


def test_a_line_is_text():
    assert shown({"gain": np.array(0.25), "patients": np.array(12), "curve": np.ones(3)}) == {"gain": "0.25", "patients": "12"}


LAID = [Mask(bytes([k]) * 32, sign) for k, sign in enumerate((1, -1, 1))]


def covered(vector, layout):
    """A plain vector with the masks laid over it, all at once."""
    out = np.frombuffer(bytearray(vector), np.uint8)
    masks.apply(out, layout, LAID)
    return out.tobytes()


def bench(folder, weights):
    """A study of one stage whose update has all three kinds of numbers, and odd lengths; and its tasks."""
    update = {
        "n": np.arange(5), "x": np.linspace(-9, 9, 7), "a": np.ones(3, np.float32),
        "w": np.linspace(-1, 1, weights, dtype=np.float32),
    }  # fmt: skip
    none = Table({})
    stages = [
        Stage("fit", Algorithm(lambda given: {}, lambda shared, table, memory: (update, memory), lambda state, total: state), 2, none)
    ]
    folder.mkdir()
    ranging = course.begin(stages, 3)
    counts = sum(ring.ranges(update, ranging.target)["ranges"] for _ in range(3))
    layouts = {"range": ranging.layout, "sum": ring.settle(ranging.target, counts)}
    frame = b"".join(map(bytes, wire.encode({})))
    asked = [Task("r1", "s", ranging.place._replace(phase=phase), layout, "ab" * 32, len(frame)) for phase, layout in layouts.items()]
    return Bench(READ, stages, none, folder, "leeds"), asked, frame


def bytes_of(told, vector):
    """The vector, wherever it is; its digest and size are those of these very bytes."""
    if "spool" not in told:
        assert told["digest"] == digest(vector)
        whole = bytes(vector)
    else:
        whole = Path(told["spool"]).read_bytes()
        assert told["chunks"] == [digest(whole[at : at + CHUNK]) for at in range(0, len(whole), CHUNK)]
        assert told["digest"] == vector_digest(told["chunks"])
    assert told["nbytes"] == len(whole)
    return whole


def test_weights_that_are_asked_for_in_other_bits_than_the_study_says_are_refused(tmp_path):
    one, asked, state = bench(tmp_path / "run", 33)
    layout = asked[1].layout
    short = replace(layout, leaves=tuple(leaf._replace(short=leaf.dtype == "float32") for leaf in layout.leaves))
    with pytest.raises(UpdateError, match="leaf 'a' is asked for in 16 bits, the study sends 32"):
        one.answer(replace(asked[1], layout=short), state)
    one.stages = [stage._replace(bits=16) for stage in one.stages]
    with pytest.raises(UpdateError, match="leaf 'a' is asked for in 32 bits, the study sends 16"):
        one.answer(asked[1], state)
    assert len(one.answer(replace(asked[1], layout=short), state)[1]) == short.nbytes < layout.nbytes


@pytest.mark.parametrize(("weights", "inline"), [(0, True), (33, True), (INLINE // 4, False), (CHUNK // 4 + 1, False)])
def test_masks_are_laid_over_the_vector_that_leaves_and_over_nothing_else(tmp_path, weights, inline):
    one, asked, state = bench(tmp_path / "run", weights)
    for task in asked:
        assert (task.layout.nbytes <= INLINE) is (inline or task.place.phase == "range")
        plain = bytes_of(*one.answer(task, state))
        under = bytes_of(*one.answer(task, state, LAID))
        assert under == covered(plain, task.layout) != plain
        assert bytes_of(*one.answer(task, state, LAID)) == under
        assert bytes_of(*one.answer(task, state)) == plain  # the update that is kept from phase to phase has no mask on it


def test_a_worker_that_is_told_of_masks_answers_under_them(worker, home):
    worker.open()
    asked, state = first_task()
    _, plain = worker.ask(asked, state)
    layout = ring.layout_of(asked["task"]["layout"])
    says, vector = worker.ask(asked | {"masks": [[mask.key.hex(), mask.sign] for mask in LAID]}, state)
    assert bytes_of(says, vector) == covered(plain, layout)
    assert not [mask for mask in LAID if mask.key.hex() in (home / "log" / "worker.log").read_text()]


@given(st.lists(st.tuples(st.sampled_from(sorted(ring.BITS)), st.integers(0, 9)), max_size=9))
def test_blocks_of_any_length_are_masked_as_the_whole(kinds):
    update = {f"{k:02}": np.arange(size).astype(dtype) for k, (dtype, size) in enumerate(kinds)}
    layout = ring.plain(update, 3)
    plain = b"".join(piece.tobytes() for piece in ring.encode(update, layout))
    assert b"".join(piece.tobytes() for piece in masked(ring.encode(update, layout), layout, LAID)) == covered(plain, layout)
    assert b"".join(piece.tobytes() for piece in masked(ring.encode(update, layout), layout, ())) == plain


MAPPING = """
dates: DD.MM.YYYY
columns:
  patient_id: {from: mrn}
  age: {from: born, until: came}
  sex: {from: geschlecht, values: {W: F}}
  readmitted: {from: wieder}
"""


@pytest.fixture
def ward(tmp_path):
    """A table with other names, its mapping, and the policy of a hospital where some objected."""
    rows = [f"m{k};0{k % 9 + 1}.02.{1930 + k % 60};05.06.2020;{'WM'[k % 2]};{k % 2};{'x' if k == 5 else ''}" for k in range(60)]
    (tmp_path / "ward.csv").write_text("\n".join(["mrn;born;came;geschlecht;wieder;objected", *rows]) + "\n")
    registry.add(tmp_path, "ward", tmp_path / "ward.csv")
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "ward.yaml").write_text(MAPPING)
    (tmp_path / "policy.yaml").write_text("objections: no.txt\ntables:\n  ward:\n    columns: '*'\n    objected: objected\n")
    (tmp_path / "no.txt").write_text("m7\n")
    return tmp_path


def test_the_worker_reads_through_the_mapping_and_without_those_who_objected(ward):
    study = manifest.read(manifest.EXAMPLE)
    table = ready(study, ward, "ward")
    assert len(table) == 58
    assert not {"m5", "m7"} & set(table.patient.tolist())
    assert table["age"][0] == 90.0
    assert set(table["sex"].tolist()) == {"F", "M"}


def test_the_worker_reads_nothing_without_the_list_of_those_who_objected(ward):
    (ward / "no.txt").unlink()
    with pytest.raises(DataError, match=r"who objected, no\.txt, cannot be read"):
        ready(manifest.read(manifest.EXAMPLE), ward, "ward")


def test_the_worker_reads_no_column_that_names_patients_until_it_is_waived(ward):
    study = manifest.read(manifest.EXAMPLE.replace("  readmitted:", "  who: {kind: category}\n  readmitted:"))
    path = ward / "mappings" / "ward.yaml"
    path.write_text(MAPPING + "  who: {from: born}\n")
    with pytest.raises(DataError, match="table 'ward': column 'who': seems to hold") as caught:
        ready(study, ward, "ward")
    assert "1931" not in str(caught.value)
    policy = ward / "policy.yaml"
    policy.write_text(policy.read_text() + "    waived: {born: made up}\n")
    assert len(ready(study, ward, "ward")) == 58
