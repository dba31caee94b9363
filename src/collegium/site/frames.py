"""A message and its bytes as one body, for requests and for the pipe to the worker.

The same form as `engine.messages.pack`, without NumPy: the agent is the part of Collegium that always runs in a hospital, and
stays small enough to read and to keep in memory.

>>> unpack(pack({"run": "r1"}, b"numbers"))
({'run': 'r1'}, <memory at ...>)
"""

import json
import os
import struct
from typing import Any, NamedTuple

from collegium.errors import FrameError

INLINE = 1 << 20  # a vector or a state of at most this many bytes travels inside the message
MAX_MESSAGE = 64 << 20
HEAD = struct.Struct("<IQ")  # on the pipe: bytes of JSON, bytes of payload


class Message(NamedTuple):
    """What came over a pipe."""

    says: dict[str, Any]
    payload: memoryview


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the bytes that are signed and digested. A float raises `TypeError`."""
    refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def refuse_floats(value: Any) -> None:
    """Floats print differently from one program to the next; signed values are whole numbers and text."""
    if isinstance(value, float):
        raise TypeError(f"{value!r}: signed JSON holds no floats; write a decimal as text")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        refuse_floats(item)


def pack(value: Any, payload: Any = b"") -> bytes:
    """`uint32 length | canonical JSON | payload`."""
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


def send(pipe: int, says: dict[str, Any], payload: Any = b"") -> None:
    """Write one message to a pipe, whole."""
    text = json.dumps(says, separators=(",", ":")).encode()
    for piece in (HEAD.pack(len(text), len(payload)) + text, payload):
        view = memoryview(piece).cast("B")
        while view:
            view = view[os.write(pipe, view) :]


def receive(pipe: int) -> Message | None:
    """The next message of a pipe; None when the other side has gone."""
    head = exactly(pipe, HEAD.size)
    if head is None:
        return None
    text_bytes, payload_bytes = HEAD.unpack(head)
    if text_bytes + payload_bytes > MAX_MESSAGE:
        raise FrameError(f"a message of {text_bytes + payload_bytes} bytes on the pipe, at most {MAX_MESSAGE} are read")
    body = exactly(pipe, text_bytes + payload_bytes)
    return None if body is None else Message(parsed(body[:text_bytes]), body[text_bytes:])


def exactly(pipe: int, count: int) -> memoryview | None:
    """So many bytes of a pipe; None when it ends before."""
    whole = memoryview(bytearray(count))
    at = 0
    while at < count:
        got = os.readv(pipe, [whole[at:]])
        if not got:
            return None
        at += got
    return whole
