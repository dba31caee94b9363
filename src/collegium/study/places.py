"""Where in a YAML file each field stands, so that an error can name its line."""

from typing import Any


def places(node: Any, prefix: str = "") -> dict[str, int]:
    """The line of every key of a composed YAML document, by its path, such as `tables.admissions.columns`."""
    out: dict[str, int] = {}
    for key, value in node.value if node is not None and node.id == "mapping" else ():
        out[f"{prefix}{key.value}"] = key.start_mark.line + 1
        out |= places(value, f"{prefix}{key.value}.")
    return out
