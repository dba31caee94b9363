"""A copy of the log is whole and signed, or the first wrong entry is named; with no network."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from collegium import identity, merkle
from collegium.canonical import canonical
from collegium.client import audit
from collegium.coordinator.logbook import origin
from collegium.errors import IdentityError, NotFound
from collegium.merkle import Checkpoint

HUB, OTHER = identity.key(b"h" * 32), identity.key(b"o" * 32)
Lines = list[bytes]


def entry(seq: int, **facts: object) -> bytes:
    return canonical(
        {"type": "collegium/log/1", "seq": seq, "time": 100 + seq, "before": 99 + seq, "actor": "a", "action": "task", **facts}
    )


def row(text: bytes) -> bytes:
    return b'{"leaf":"%s","entry":%s}\n' % (merkle.leaf(text).hex().encode(), text)


def head(key: identity.Key = HUB) -> bytes:
    return json.dumps({"collegium_log": 1, "origin": origin(key.public), "public": key.public}).encode() + b"\n"


def note(texts: Lines, key: identity.Key = HUB) -> bytes:
    nodes: dict[tuple[int, int], bytes] = {}
    for seq, text in enumerate(texts):
        for level, digest in enumerate(merkle.completed(merkle.leaf(text), seq, lambda *at: nodes[at])):
            nodes[level, seq >> level] = digest
    found = Checkpoint(origin(key.public), len(texts), merkle.root(lambda *at: nodes[at], len(texts)))
    return json.dumps({"note": merkle.sign(found, key.public, key.sign)}, ensure_ascii=False).encode() + b"\n"


def copy(texts: Lines, every: int = 64, key: identity.Key = HUB) -> Lines:
    """The lines of an export."""
    out = [head(key)]
    for seq, text in enumerate(texts, 1):
        out.append(row(text))
        if seq % every == 0 or seq == len(texts):
            out.append(note(texts[:seq], key))
    return out


def judged(folder: Path, lines: Lines, **how: object) -> audit.Verdict:
    path = folder / "log.jsonl"
    path.write_bytes(b"".join(lines))
    return audit.verify(path, **how)  # type: ignore[arg-type]  # the tests' own words


def rows_of(lines: Lines) -> list[int]:
    """Which lines hold entries."""
    return [at for at, line in enumerate(lines) if line.startswith(b'{"leaf"')]


@pytest.fixture(scope="module")
def thousand() -> Lines:
    return copy([entry(n) for n in range(1000)])


def test_a_whole_copy_holds(thousand: Lines, tmp_path: Path):
    verdict = judged(tmp_path, thousand, key=identity.fingerprint(HUB.public))
    assert verdict == audit.Verdict(1000, origin(HUB.public), HUB.public, 16, 0, None)
    assert judged(tmp_path, thousand, key=HUB.public).fault is None
    assert judged(tmp_path, copy([entry(0)])).entries == 1


def change(lines: Lines, seq: int, how: str) -> tuple[Lines, int]:
    """The copy with one entry changed, and the number that has to be named."""
    rows = rows_of(lines)
    at, other = rows[seq], rows[seq + 1] if seq + 1 < len(rows) else rows[seq - 1]
    match how:
        case "altered":
            return [*lines[:at], lines[at].replace(b'"actor":"a"', b'"actor":"b"'), *lines[at + 1 :]], seq
        case "removed":
            return lines[:at] + lines[at + 1 :], seq if seq < 999 else 960  # the last: nothing after it tells which of its 40
        case "inserted":
            return [*lines[:at], lines[at], *lines[at:]], seq
    swapped = list(lines)
    swapped[at], swapped[other] = lines[other], lines[at]
    return swapped, min(seq, seq if other > at else seq - 1)


HOW = ("altered", "removed", "inserted", "reordered")


def test_each_of_a_thousand_entries_changed_is_named(thousand: Lines, tmp_path: Path):
    """U1, offline."""
    for seq in range(1000):
        how = HOW[seq % 4]
        lines, named = change(thousand, seq, how)
        fault = judged(tmp_path, lines).fault
        assert fault is not None
        assert (fault.entry, fault.kind) == (named, how), (seq, fault)
        assert str(named) in fault.says


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("seq", [0, 1, 2, 63, 64, 65, 997, 998, 999])
def test_every_change_at_the_edges_is_named(thousand: Lines, tmp_path: Path, how: str, seq: int):
    lines, named = change(thousand, seq, how)
    fault = judged(tmp_path, lines).fault
    assert fault is not None
    assert fault[:2] == (named, how)


def remade(texts: Lines, at: int, how: str) -> Lines:
    """A history changed by somebody who also mends numbers and hashes; the notes stay, for only the coordinator can sign."""
    kept = [json.loads(text) for text in texts]
    match how:
        case "altered":
            kept[at] |= {"actor": "b"}
        case "removed":
            del kept[at]
        case "inserted":
            kept.insert(at, dict(kept[at]))
        case "reordered":
            kept[at], kept[at + 1] = kept[at + 1], kept[at]
    return [canonical({**one, "seq": seq}) for seq, one in enumerate(kept)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("at", [0, 70, 130, 197])
def test_a_change_made_to_fit_is_found_between_two_checkpoints(tmp_path: Path, how: str, at: int):
    texts = [entry(n, digest=f"{n}") for n in range(200)]
    notes = iter([line for line in copy(texts) if line.startswith(b'{"note"')])
    lines = [head()]
    for seq, text in enumerate(remade(texts, at, how), 1):
        lines.append(row(text))
        if seq % 64 == 0 or seq == 200:
            lines.append(next(notes))
    lines += notes
    fault = judged(tmp_path, lines).fault
    assert fault is not None
    assert fault.entry == at // 64 * 64
    assert fault.entry <= at < fault.entry + 64
    assert f"{fault.entry} to" in fault.says or fault.kind in ("cut", "removed", "inserted")


@pytest.mark.parametrize(
    ("spoil", "kind", "entry_"),
    [
        (lambda ls: ls[:-1], "cut", 192),
        (lambda ls: [*ls, row(entry(200))], "cut", 200),
        (lambda ls: [*ls[:-1], ls[-1].replace(b"\\n200\\n", b"\\n201\\n")], "forged", 192),
        (lambda ls: [*ls[:-1], b'{"note":5}\n'], "forged", 192),
        (lambda ls: [*ls[:-1], b'{"note":\n'], "forged", 192),
        (lambda ls: [*ls[:5], b"{}\n", *ls[6:]], "altered", 4),
        (lambda ls: [*ls[:5], row(b'{"seq":"x"}'), *ls[6:]], "altered", 4),
        (lambda ls: [*ls[:-1], ls[-1][:40]], "forged", 192),
        (lambda ls: [*ls[:5], ls[5][:40]], "altered", 4),
        (lambda ls: [ls[0], *ls[1:5], note([entry(0)]), *ls[5:]], "inserted", 0),
        (lambda ls: [*ls[:3], note([entry(n) for n in range(9)]), *ls[3:]], "reordered", 2),
    ],
)
def test_a_copy_that_is_cut_or_forged_is_refused(tmp_path: Path, spoil: Callable[[Lines], Lines], kind: str, entry_: int):
    fault = judged(tmp_path, spoil(copy([entry(n) for n in range(200)]))).fault
    assert fault is not None
    assert (fault.kind, fault.entry) == (kind, entry_)


def test_a_copy_that_ends_at_a_checkpoint_is_that_of_an_earlier_day(tmp_path: Path):
    assert judged(tmp_path, copy([entry(n) for n in range(200)])[:-9]).entries == 192  # `seen` tells that it is old, as below


def test_a_copy_by_another_key_is_refused(tmp_path: Path):
    texts = [entry(n) for n in range(10)]
    forged = copy(texts, key=OTHER)
    assert judged(tmp_path, forged).fault is None  # by itself it holds: that is why the fingerprint is compared
    with pytest.raises(IdentityError, match="wanted was"):
        judged(tmp_path, forged, key=identity.fingerprint(HUB.public))
    fault = judged(tmp_path, [head(), *forged[1:]]).fault
    assert fault is not None
    assert fault.kind == "forged"


@pytest.mark.parametrize("first", [b"", b"{}\n", b"[]\n", b"no json\n", b'{"collegium_log":1,"origin":"x","public":"zz"}\n'])
def test_another_file_is_not_a_log(tmp_path: Path, first: bytes):
    with pytest.raises(IdentityError, match="not an export"):
        judged(tmp_path, [first])
    with pytest.raises(NotFound):
        audit.verify(tmp_path / "nowhere")


def test_what_a_hospital_has_seen_is_held_against_it(tmp_path: Path):
    texts = [entry(n) for n in range(100)]
    seen = {size: json.loads(note(texts[:size]))["note"] for size in (1, 40, 64, 100)}
    assert judged(tmp_path, copy(texts), seen=seen).fault is None
    short = judged(tmp_path, copy(texts[:90]), seen=seen).fault
    assert short is not None
    assert (short.kind, short.entry) == ("cut", 90)
    other = [*texts[:30], entry(30, actor="b"), *texts[31:]]
    fork = judged(tmp_path, copy(other), seen=seen).fault
    assert fork is not None
    assert (fork.kind, fork.entry) == ("forked", 39)


def test_a_clock_that_went_back_is_counted(tmp_path: Path):
    texts = [entry(0), entry(1, time=50), entry(2, before=50), entry(3)]
    assert judged(tmp_path, copy(texts)).backwards == 1
