"""Names cut short."""

import pytest

from collegium.client.names import pick
from collegium.errors import ConflictError, NotFound


def test_a_prefix_is_enough_if_it_is_the_only_one():
    assert pick("ab", ["abc", "xyz"], "run") == "abc"
    assert pick("abc", ["abc", "abcd"], "run") == "abc"
    with pytest.raises(ConflictError, match="may be abc or abd"):
        pick("ab", ["abc", "abd"], "run")
    with pytest.raises(NotFound) as found:
        pick("abd", ["abc"], "run")
    assert found.value.hint == "did you mean 'abc'?"
    with pytest.raises(NotFound) as found:
        pick("x", [], "run")
    assert found.value.hint == "there is no run yet"
