"""Messages: round trips, versions, and what signed JSON may hold."""

import json

import pytest

from collegium.canonical import canonical
from collegium.engine import messages as M
from collegium.engine.messages import Answer, Place, Task
from collegium.errors import FrameError
from collegium.privacy.ring import Layout, Leaf

LAYOUT = Layout((Leaf("rows", "int64", ()), Leaf("w", "float32", (2, 3), -20)), 4)
TASK = Task("run1", "ab" * 32, Place(1, 7, 1, "sum"), LAYOUT, "cd" * 32, 120, Place(1, 6, 2, "sum"))
ANSWER = Answer("run1", Place(0, 1, 1, "range"), digest="ef" * 32, nbytes=48)


def through_json(message):
    return json.loads(canonical(M.document(message)))


def test_messages_come_back_as_they_were():
    assert M.task_of(through_json(TASK)) == TASK
    assert M.answer_of(through_json(ANSWER)) == ANSWER
    failed = Answer("run1", Place(0, 1, 1, "sum"), failure="data", says="no column 'age'", final=True)
    assert M.answer_of(through_json(failed)) == failed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 2 came, this Collegium speaks 1"),
        ({"surprise": 1}, "'surprise' is missing or not known"),
        ({"place": [0, 1, 1, "guess"]}, "a place is"),
        ({"place": [0, -1, 1, "sum"]}, "a place is"),
    ],
)
def test_other_messages_are_refused_by_name(change, says):
    with pytest.raises(FrameError, match=says):
        M.answer_of(through_json(ANSWER) | change)


def test_a_message_that_is_no_object_is_refused():
    with pytest.raises(FrameError, match="version 'list' came"):
        M.task_of([])


def test_places_read_well_and_sort_in_time():
    assert str(Place(0, 3, 1, "sum")) == "stage 1, round 3"
    assert str(Place(1, 3, 2, "range")) == "stage 2, round 3 (ranging), attempt 2"
    assert sorted([Place(1, 1, 1, "sum"), Place(0, 9, 1, "sum"), Place(1, 1, 1, "range")])[0] == Place(0, 9, 1, "sum")
