"""The tree of errors: codes that machines can rely on."""

import pytest

from collegium import errors


def kinds(kind=errors.CollegiumError):
    return [kind] + [deeper for sub in kind.__subclasses__() if sub.__module__ == errors.__name__ for deeper in kinds(sub)]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_is_drawn_in_the_tree_and_found_by_its_code(kind):
    assert kind.__name__ in errors.__doc__
    assert errors.by_code(kind.code) is kind


def test_codes_are_each_one_s_own_and_exit_codes_are_those_of_the_command_line():
    assert len({kind.code for kind in kinds()}) == len(kinds())
    assert {kind.exit_code for kind in kinds()} <= {1, 2, 4, 5, 6, 7, 8}


def test_an_error_carries_its_way_out():
    assert errors.DataError("no column 'age'", hint="map it").hint == "map it"
    assert errors.DataError("no column 'age'").hint == ""


def test_an_unknown_code_is_of_a_later_version():
    assert errors.by_code("of_the_future") is errors.CollegiumError
