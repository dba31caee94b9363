"""JSON that is signed, and bodies made of it."""

import pytest

from collegium import canonical as C
from collegium.errors import FrameError


def test_canonical_json_is_the_same_for_the_same_values_and_holds_no_floats():
    assert C.canonical({"b": 1, "a": ["é", None, True]}) == '{"a":["é",null,true],"b":1}'.encode()
    with pytest.raises(TypeError, match=r"0\.5: signed JSON holds no floats"):
        C.canonical({"a": [{"b": 0.5}]})


def test_a_body_carries_a_message_and_its_bytes():
    value, payload = C.unpack(C.pack({"a": 1}, b"\x00\x01"))
    assert value == {"a": 1}
    assert bytes(payload) == b"\x00\x01"
    short, wrong = [b"", b"\x00", b"\xff\xff\xff\xff{}", b"\x05\x00\x00\x00{}"], [b"{", b"{]", b"[]"]
    for broken in [*short, *(bytes([len(text), 0, 0, 0]) + text for text in wrong)]:
        with pytest.raises(FrameError):
            C.unpack(broken)
