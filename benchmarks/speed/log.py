"""What the coordinator's log costs: an entry, a proof, what a site is given and checks, an export and its verification.

The log has a million entries in a database as a coordinator's. An append is timed inside a transaction, as rounds write theirs; the
bare figure beside it is an SQLite row of the same bytes, without a tree.
"""

import argparse
import json
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.measure import Row, machine, say, show
from collegium import identity, merkle
from collegium.client import audit
from collegium.coordinator import logbook, store
from collegium.coordinator.logbook import Logbook
from collegium.site.witness import Witness

KEY, SITE = identity.key(b"c" * 32), identity.key(b"s" * 32)
BATCH = 1000  # entries in one transaction while the log grows
ROUND = 11  # entries of a round of eight sites: task, updates, closed, applied
MB = 1e6


def facts(number: int) -> dict[str, Any]:
    """An entry as most are: a site's update."""
    place = [1, number // ROUND, 1, "sum"]
    return {"run": "9d1c0a44e2b7", "place": place, "site": f"site{number % 8}", "digest": f"{number:064x}"}


def grow(kept: store.Store, start: int, count: int) -> float:
    """Append so many entries in one transaction; the seconds that each took, the commit left out."""

    def many(c: Any) -> float:
        begun = time.perf_counter()
        for number in range(start, start + count):
            about = facts(number)
            logbook.append(c, 1_774_000_000 + number, about["site"], "update", **about)
        return (time.perf_counter() - begun) / count

    return kept.write(many)


def bare(folder: Path, count: int) -> float:
    """Seconds for a row of as many bytes, by the driver alone."""
    raw = sqlite3.connect(folder / "bare.db")
    raw.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, text TEXT, nodes BLOB)")
    begun = time.perf_counter()
    for number in range(count):
        raw.execute("INSERT INTO entry VALUES (?, ?, ?)", (number, json.dumps(facts(number)) + "x" * 90, b"n" * 64))
    took = (time.perf_counter() - begun) / count
    raw.close()
    return took


def median(work: Callable[[int], object], count: int) -> float:
    """The median of some calls, in milliseconds."""
    times = []
    for number in range(count):
        begun = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


def rows(size: int) -> Iterator[Row]:
    """All figures of a log that has grown to `size`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store.create(folder)
        kept = store.open_folder(folder)
        try:
            for start in range(0, size, BATCH):
                if start % 100_000 == 0:
                    say(f"log: {start} of {size} entries")
                grow(kept, start, BATCH)
            yield from asked(folder, kept, size)
        finally:
            kept.close()


def asked(folder: Path, kept: store.Store, size: int) -> Iterator[Row]:
    """Figures over a log that is there."""
    row = bare(folder, 20_000) * 1e3
    took = statistics.median(grow(kept, size + n * 100, 100) for n in range(20)) * 1e3
    size += 2000
    yield Row(f"append, log of {size} entries", took, "ms", row, bar="at most 1 ms")
    yield Row(f"the {ROUND} entries of a round of 8 sites", ROUND * took, "ms", ROUND * row)
    book = Logbook(kept, KEY)

    def cold(number: int) -> None:
        book.held.clear()
        book.inclusion(number * 7919 % size, size)

    yield Row("proof that an entry is in it, nothing in memory", median(cold, 200), "ms", bar="at most 5 ms")
    old = lambda number: (book.held.clear(), book.consistency(number * 7919 % size + 1, size))
    yield Row("proof that it goes on from an old size, nothing in memory", median(old, 200), "ms", bar="at most 5 ms")
    yield Row("a site's document: note, two proofs, its entry", median(lambda n: document(book, size, n), 200), "ms", bar="at most 5 ms")
    site = Witness(folder, KEY.public, "site1", SITE.public)
    first = site.ask()
    site.check(book.for_site([]), first)

    def check(number: int) -> None:
        grow(kept, size + number, 1)
        again = site.ask("another run", now=True)
        site.check(book.for_site(**again.document(), site="site1", run="another run"), again)

    yield Row("commit of an entry, document, a site's check and its disk", median(check, 100), "ms")
    yield from copied(folder, book, size)


def document(book: Logbook, size: int, number: int) -> None:
    """What a site is given in a round: it has seen the log as it was a round ago."""
    book.for_site([size - ROUND], [size - 1 - number % 8], site=f"site{number % 8}")


def copied(folder: Path, book: Logbook, size: int) -> Iterator[Row]:
    """An export as a file, and its verification."""
    say("log: writing a copy")
    size, file, begun = book.size(), folder / "log.jsonl", time.perf_counter()
    with file.open("wb") as out:
        out.write(json.dumps({"collegium_log": 1, "origin": book.origin, "public": KEY.public}).encode() + b"\n")
        for start in range(0, size, audit.PAGE):
            texts = book.entries(start, audit.PAGE)
            marks = {int(note.split("\n")[1]): note for note in book.checkpoints(start, start + len(texts))}
            for number, text in enumerate(texts, start + 1):
                out.write(b'{"leaf":"%s","entry":%s}\n' % (merkle.leaf(text.encode()).hex().encode(), text.encode()))
                if number in marks:
                    out.write(json.dumps({"note": marks[number]}).encode() + b"\n")
    yield Row(f"copy of {size} entries, but for the network", time.perf_counter() - begun, "s")
    yield Row("its size", file.stat().st_size / MB, "MB")
    begun = time.perf_counter()
    verdict = audit.verify(file, key=KEY.public)
    took = time.perf_counter() - begun
    if verdict.fault or verdict.entries != size:
        raise RuntimeError(f"the copy does not hold: {verdict}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    yield Row(f"log verify, {size} entries", took, "s", peak_mb=peak, bar="at most 60 s")
    yield Row("the database", (folder / store.FILE).stat().st_size / MB, "MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="a small log, to see that it runs")
    arguments = parser.parse_args()
    say(f"log: on {machine()}")
    show(rows(5000 if arguments.quick else 1_000_000), as_json=arguments.json)


if __name__ == "__main__":
    main()
