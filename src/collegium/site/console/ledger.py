"""What has left this hospital, message by message, and whether the record is whole."""

from pathlib import Path
from typing import Any

from collegium.errors import IdentityError
from collegium.site import ledger, state
from collegium.web.app import Ask, File, Shown

MOST = 200  # entries on a page; the file has all


def path(folder: Path) -> Path:
    """Where the record lies."""
    return folder / "state" / "ledger.jsonl"


def page(folder: Path, ask: Ask) -> Shown:
    """The newest entries, and the sums over all of them."""
    found, broken, count, titles = list[dict[str, Any]](), "", 0, titled(folder)
    totals: dict[str, list[int]] = {}
    try:
        for entry in ledger.entries(path(folder)):
            count += 1
            if entry["what"] == "sum":
                total = totals.setdefault(entry["run"], [0, 0, 0])
                total[0], total[1], total[2] = total[0] + 1, total[1] + int(entry["bytes"]), total[2] + bool(entry.get("masked"))
            found = [*found, entry][-MOST:] if entry["what"] != "form" else found
    except IdentityError as e:
        broken = f"{e}: {e.hint}"
    runs = [(titles.get(run, run), run, *total) for run, total in reversed(totals.items())]
    return Shown("ledger.html", {
        "runs": runs, "rows": [row(entry, titles) for entry in reversed(found)], "broken": broken, "count": count, "most": MOST,
    })  # fmt: skip


def titled(folder: Path) -> dict[str, str]:
    """The titles of the runs that the agent knows."""
    return {run: str(facts.get("title") or run) for run, facts in state.last(folder).get("runs", {}).items()}


def row(entry: dict[str, Any], titles: dict[str, str]) -> tuple[str, ...]:
    """An entry in words: when, of which study, what, how large."""
    run, place = str(entry.get("run", "")), entry.get("place") or []
    where = f"round {place[1]}{' (how large the numbers are)' if place[3] == 'range' else ''}" if len(place) == 4 else ""
    match entry["what"]:
        case "sum":
            hidden = "masked: readable only in the sum of all hospitals" if entry.get("masked") else "not masked"
            return (
                str(entry["time"]),
                titles.get(run, run),
                f"numbers to be added up, {where}; {hidden}",
                f"{int(entry['bytes']):,} bytes",
            )
        case "line":
            return (str(entry["time"]), titles.get(run, run), "this hospital's own line of results, which its policy publishes", "")
        case "failure":
            return (str(entry["time"]), titles.get(run, run), f"no numbers, but why not: {entry.get('says', '')}", "")
        case other:
            return (str(entry["time"]), titles.get(run, run), str(other), "")


def export(folder: Path, ask: Ask) -> File:
    """The whole record as it lies on the disk, for a copy elsewhere."""
    found = path(folder)
    return File("ledger.jsonl", found.read_bytes() if found.exists() else b"", "application/jsonl")
