"""A database that goes away is asked again, and a source that is in error is not."""

import pytest

from collegium.data import sources
from collegium.errors import DataError, LinkError


def test_it_is_asked_again_until_it_answers():
    left = [LinkError("gone"), LinkError("gone")]

    def read() -> str:
        if left:
            raise left.pop()
        return "rows"

    assert sources.patiently(read, (0.0, 0.0, 0.0)) == "rows"


def test_the_last_error_is_told():
    asked = []

    def read() -> None:
        asked.append(1)
        raise LinkError(f"gone {len(asked)}")

    with pytest.raises(LinkError, match="gone 3"):
        sources.patiently(read, (0.0, 0.0))


def test_an_error_of_the_data_is_told_at_once():
    asked = []

    def read() -> None:
        asked.append(1)
        raise DataError("no such column")

    with pytest.raises(DataError):
        sources.patiently(read, (0.0, 0.0))
    assert asked == [1]
