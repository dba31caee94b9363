import json

import pytest

from collegium.errors import IdentityError, StorageError
from collegium.site.ledger import Ledger, entries, verify

LAYOUT = {"sites": 3, "leaves": [["delta/w", "float32", [3, 2], -20], ["rows", "int64", [], 0]]}


@pytest.fixture
def ledger(tmp_path):
    one = Ledger(tmp_path / "ledger.jsonl", now=lambda: 0)
    yield one
    one.close()


def test_each_line_is_bound_to_the_one_before(ledger):
    ledger.append("sum", run="r", bytes=10)
    ledger.append("sum", run="r", bytes=20)
    first, second = entries(ledger.path)
    assert second["before"] == first["hash"]
    assert (first["n"], first["time"]) == (1, "1970-01-01T00:00:00Z")
    assert [entry["n"] for entry in entries(ledger.path, after=1)] == [2]
    assert verify(ledger.path) == 2


def test_names_and_shapes_are_written_once_for_each_form(ledger):
    assert ledger.form(LAYOUT) == ledger.form(LAYOUT)
    ledger.close()
    again = Ledger(ledger.path)
    again.form(LAYOUT)
    (entry,) = entries(ledger.path)
    assert entry["leaves"] == [["delta/w", "float32", [3, 2]], ["rows", "int64", []]]
    again.append("sum", run="r", bytes=1)
    assert verify(ledger.path) == 2
    ledger.file = again.file  # closed by the fixture


def test_weights_in_sixteen_bits_are_written_down_as_such(ledger):
    ledger.form({"sites": 3, "leaves": [["delta/w", "float32", [3, 2], -8, 16]]})
    (entry,) = entries(ledger.path)
    assert entry["leaves"] == [["delta/w", "float32", [3, 2], 16]]


def test_a_line_cut_by_a_crash_is_cut_off(ledger):
    ledger.append("sum", run="r")
    ledger.close()
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + whole[:30])
    assert verify(ledger.path) == 1
    again = Ledger(ledger.path)
    again.append("sum", run="s")
    assert verify(ledger.path) == 2
    ledger.file = again.file


@pytest.mark.parametrize("change", ["alter", "remove", "insert", "swap", "garbage"])
def test_a_changed_record_is_found_out(ledger, change):
    for number in range(4):
        ledger.append("sum", run="r", bytes=number)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    if change == "alter":
        lines[1] = lines[1].replace(b'"bytes":1', b'"bytes":9')
    elif change == "remove":
        del lines[1]
    elif change == "insert":
        lines.insert(1, lines[0])
    elif change == "garbage":
        lines[1] = b"{}\n"
    else:
        lines[1], lines[2] = lines[2], lines[1]
    ledger.path.write_bytes(b"".join(lines))
    with pytest.raises(IdentityError, match="line 2: the chain is broken"):
        verify(ledger.path)


def test_a_full_disk_leaves_the_chain_whole(ledger, monkeypatch):
    ledger.append("sum", run="r")
    real = __import__("os").write
    monkeypatch.setattr("os.write", lambda file, line: real(file, line[:20]))
    with pytest.raises(StorageError, match="nothing was sent"):
        ledger.append("sum", run="r")
    monkeypatch.undo()
    ledger.append("sum", run="r")
    assert [json.loads(line)["n"] for line in ledger.path.read_text().splitlines()] == [1, 2]
    assert verify(ledger.path) == 2
