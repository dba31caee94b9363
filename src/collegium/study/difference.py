"""What changed between two versions of a study, for whoever approved the first and is asked for the second.

>>> changes({"title": "A", "rounds": 20, "tables": ["x"]}, {"title": "A", "rounds": 50, "tables": ["x", "y"]})
['rounds: was 20, is 50', 'tables.2: new, y']
"""

from collections.abc import Mapping
from typing import Any


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for each field that differs between two manifests, written as JSON, in the order of their names."""
    before, after = flat(old), flat(new)
    out = []
    for name in sorted(before.keys() | after.keys()):
        was, now = said(before.get(name)), said(after.get(name))
        if was != now:
            told = f"new, {now}" if name not in before else f"gone, was {was}" if name not in after else f"was {was}, is {now}"
            out.append(f"{name}: {told}")
    return out


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every field by its path; the items of a list by their number."""
    inner: Any = value.items() if isinstance(value, Mapping) else enumerate(value, 1) if isinstance(value, list | tuple) else None
    if inner is None:
        return {path: value}
    found: dict[str, Any] = {}
    for name, item in inner:
        found |= flat(item, f"{path}.{name}" if path else str(name))
    return found or {path: value}


def said(value: Any) -> str:
    """A value for people; one that is empty says nothing."""
    return (
        {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value) if value not in (None, "", [], {}, ()) else "nothing"
    )
