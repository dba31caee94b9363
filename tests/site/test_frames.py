import os

import pytest

from collegium.errors import FrameError
from collegium.site import frames


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
