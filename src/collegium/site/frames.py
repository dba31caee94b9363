"""Messages on the pipe between the agent and its worker: JSON, and the bytes that belong to it.

Without NumPy: the agent is the part of Collegium that always runs in a hospital, and stays small enough to read and to keep in
memory.
"""

import json
import os
import struct
from typing import Any, NamedTuple

from collegium.canonical import parsed
from collegium.errors import FrameError

INLINE = 1 << 20  # a vector or a state of at most this many bytes travels inside the message
MAX_MESSAGE = 64 << 20
HEAD = struct.Struct("<IQ")  # on the pipe: bytes of JSON, bytes of payload


class Message(NamedTuple):
    """What came over a pipe."""

    says: dict[str, Any]
    payload: memoryview


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
