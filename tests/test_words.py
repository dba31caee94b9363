"""A fingerprint in words: every byte has its own, and no two can be taken for each other."""

import hashlib
import itertools

import pytest

from collegium.words import LIST, words


def distance(one: str, other: str) -> int:
    """How many letters must be changed, put in or taken out."""
    row = [*range(len(other) + 1)]
    for i, a in enumerate(one, 1):
        last, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(last[j - 1] + (a != b), last[j] + 1, row[-1] + 1))
    return row[-1]


def test_there_is_a_word_for_each_byte_and_no_two_are_alike():
    assert len(LIST) == 256
    assert all(word.isascii() and word.isalpha() and word.islower() and 3 <= len(word) <= 8 for word in LIST)
    assert len({word[:4] for word in LIST}) == 256
    assert all(distance(a, b) > 1 for a, b in itertools.combinations(LIST, 2))


def test_the_list_never_changes():
    """Two hospitals with different releases must read the same words to each other."""
    digest = hashlib.sha256(" ".join(LIST).encode()).hexdigest()
    assert digest == "3fcf842487eedf15e4196472cba222bf69b7c4dc0dce1474588114dbc436bec4"


def test_the_same_fingerprint_gives_the_same_words_and_another_gives_others():
    found = words("0123456789abcdef" * 2)
    assert found == words("0123456789abcdef")
    assert len(found.split()) == 8
    assert [LIST.index(word) for word in found.split()] == [*bytes.fromhex("0123456789abcdef")]
    assert words("0123456789abcdee") != found
    assert words("ff" * 16, 2) == "zone zone"


def test_a_fingerprint_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="8 words need 8 bytes, the fingerprint has 2"):
        words("abcd")
