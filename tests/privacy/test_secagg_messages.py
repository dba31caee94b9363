"""Messages survive JSON; what is not of their form is refused at the door."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.errors import FrameError
from collegium.privacy.secagg import Advert
from collegium.privacy.secagg_messages import (
    Adverts,
    Ask,
    Begin,
    Bundles,
    Complaint,
    Quorum,
    Ready,
    Reveal,
    Signature,
    Survivors,
    Upload,
    document,
    message_of,
)  # fmt: skip

D, S = "ab" * 32, "cd" * 64
MESSAGES = [
    Begin(1, ("a", "ü")), Advert("{}", S), Adverts(1, (Advert("{}", S), Advert("[]", S))), Bundles(1, {"a": "00", "b": ""}), Ready(1),
    Complaint(1, "ü"), Ask(1, 0, D, ("a", "b")), Upload(1, 0, D), Survivors(1, 0, ("a",), "root"), Signature(1, 0, S),
    Quorum(1, 0, {"a": S}), Reveal(1, 0, {"a": "00" * 33}, {}),
]  # fmt: skip

each = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)


@each
def test_a_message_survives_json(message):
    assert message_of(json.loads(json.dumps(document(message)))) == message


@each
def test_a_field_too_few_or_too_many_is_refused(message):
    said = document(message)
    for wrong in ({**said, "more": 1}, dict(list(said.items())[:-1]), {**said, "kind": "other"}):
        with pytest.raises(FrameError, match="not a message of the secure sum"):
            message_of(wrong)


@each
@given(
    value=st.sampled_from(
        [None, -1, 1.0, True, 1 << 31, [], [1], {"a": 1}, {"a": "zz"}, "zz", "0", "AB" * 32, "\ud800", ["\ud800"], [["a"]]]
    )
)
def test_a_field_of_another_form_is_refused(message, value):
    said = document(message)
    for name in list(said)[1:]:
        if name == "text" and value in ("zz", "0", "AB" * 32):
            continue
        if (name in ("sites", "roster", "survivors", "adverts") and value == []) or (
            name in ("root", "about") and isinstance(value, str) and value != "\ud800"
        ):
            continue
        with pytest.raises(FrameError, match=f"field {name!r} is not of its form"):
            message_of({**said, name: value})


@pytest.mark.parametrize("wrong", [None, [], "begin", {"kind": ["begin"]}])
def test_what_is_no_object_is_no_message(wrong):
    with pytest.raises(FrameError):
        message_of(wrong)
