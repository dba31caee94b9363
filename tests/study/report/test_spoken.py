import math

import pytest

from collegium.study.report.spoken import about, chance, counted, digits, lasting, listed, number, share, signed, size, spread

ODD = [None, math.nan, math.inf, -math.inf, "text", {}]


@pytest.mark.parametrize("say", [number, digits, about, share, chance, lasting, size])
@pytest.mark.parametrize("value", ODD)
def test_what_is_no_number_was_not_measured(say, value):
    assert say(value) == "Not measured"


def test_numbers_of_every_size_stay_short():
    for power in range(-12, 13):
        assert len(digits(1.2345 * 10.0**power)) <= 17
        assert len(number(-1.2345 * 10.0**power)) <= 22


def test_a_small_number_is_not_nought():
    assert number(0.0004) == "0.00040"
    assert number(3e-12) == "3.0e\N{MINUS SIGN}12"
    assert number(0.0) == "0.000"


def test_intervals():
    assert spread((0.5, 0.5, 0.5)) == "0.500"
    assert spread((0.5, -math.inf, math.inf)) == "0.500 (\N{MINUS SIGN}∞ to ∞)"
    assert spread((math.nan, 0.1, 0.2)) == "Not measured"
    assert signed(-0.0001, 2) == "0.00"


def test_patients_are_rounded_down():
    assert [about(n) for n in (0, 9, 10, 99, 100, 1234, 99_999)] == ["none", "fewer than 10", "10+", "90+", "100+", "1,230+", "99,900+"]


def test_sentences():
    assert counted(2, "box", "boxes") == "2 boxes"
    assert listed([]) == "none"
    assert listed(["a"]) == "a"
    assert listed([str(at) for at in range(20)]) == "0, 1, 2, 3, 4, 5, 6 and 13 more"
    assert size(-1) == lasting(-1) == "Not measured"
