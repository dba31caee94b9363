"""JSON that gives the same bytes everywhere, because it is signed; and bodies made of it.

>>> unpack(pack({"run": "r1"}, b"numbers"))
({'run': 'r1'}, <memory at ...>)
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

from collegium.errors import FrameError

PLAIN = {str, int, bool, type(None)}


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the bytes that are signed and digested. A float raises `TypeError`."""
    refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def task_digest(task: Mapping[str, Any]) -> str:
    """How the coordinator's log names what a round asks of every site alike; each site makes it from its own task and compares."""
    alike = {name: task[name] for name in ("run", "study", "place", "layout", "state")}
    return digest({"type": "collegium/task/1", **alike})


def refuse_floats(value: Any) -> None:
    """Floats print differently from one program to the next; signed values are whole numbers and text."""
    if isinstance(value, float):
        raise TypeError(f"{value!r}: signed JSON holds no floats; write a decimal as text")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        if type(item) not in PLAIN:  # most are: a call for each would take longer than all the rest
            refuse_floats(item)


def pack(value: Any, payload: Any = b"") -> bytes:
    """A message and the bytes that belong to it as one body: `uint32 length | canonical JSON | payload`."""
    text = canonical(value)
    return b"".join((struct.pack("<I", len(text)), text, payload))


def unpack(body: Any) -> tuple[dict[str, Any], memoryview]:
    """The inverse of `pack`; the payload is a view. Raises `FrameError`."""
    view = memoryview(body)
    if len(view) < 4 or len(view) < 4 + (size := struct.unpack_from("<I", view)[0]):
        raise FrameError(f"a message of {len(view)} bytes is cut short")
    return parsed(view[4 : 4 + size]), view[4 + size :]


def parsed(text: Any) -> dict[str, Any]:
    """A JSON object from bytes. Raises `FrameError`."""
    try:
        value = json.loads(bytes(text))
    except (ValueError, RecursionError) as e:
        raise FrameError(f"a message is not JSON: {e}") from None
    if not isinstance(value, dict):
        raise FrameError(f"a message is a JSON object, found {type(value).__name__}")
    return value
