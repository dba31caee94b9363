import os

import pytest

from collegium.engine import messages
from collegium.errors import FrameError
from collegium.site import frames


def test_the_form_is_that_of_the_engine():
    value = {"b": [1, "ü", None], "a": {"z": True}}
    assert frames.pack(value, b"xyz") == messages.pack(value, b"xyz")
    with pytest.raises(TypeError, match="no floats"):
        frames.pack({"x": [1.5]})


@pytest.mark.parametrize("body", [b"", b"\x05\x00\x00\x00{}", b"\x02\x00\x00\x00[]", b"\x01\x00\x00\x00{"])
def test_what_is_no_message_is_refused(body):
    with pytest.raises(FrameError):
        frames.unpack(body)


def test_messages_pass_a_pipe_whole_and_its_end_is_known():
    back, to = os.pipe()
    frames.send(to, {"do": "task"}, memoryview(b"vector"))
    frames.send(to, {"do": "end"})
    os.close(to)
    first, second = frames.receive(back), frames.receive(back)
    assert (first.says, bytes(first.payload)) == ({"do": "task"}, b"vector")
    assert second.says == {"do": "end"}
    assert frames.receive(back) is None
    os.close(back)


def test_a_pipe_that_ends_in_a_message_or_lies_about_its_length():
    back, to = os.pipe()
    os.write(to, frames.HEAD.pack(10, 0) + b"{}")
    os.close(to)
    assert frames.receive(back) is None
    os.close(back)
    back, to = os.pipe()
    os.write(to, frames.HEAD.pack(10, 1 << 40))
    with pytest.raises(FrameError, match="at most"):
        frames.receive(back)
    os.close(to)
    os.close(back)
