"""Pieces of a manifest that are used alone."""

import pydantic
import pytest

from collegium.study.schema import HeldOut, Outcome, Variable, decimal


def test_parts_never_change_and_know_their_fields():
    variable = Variable(kind="number")
    with pytest.raises(pydantic.ValidationError):
        variable.kind = "category"
    with pytest.raises(pydantic.ValidationError):
        HeldOut(tests=1)


def test_an_outcome_knows_its_columns():
    assert Outcome(task="binary", target="died").columns == ("died",)
    assert Outcome(task="survival", time="days", event="died").columns == ("days", "died")


def test_a_decimal_is_what_was_written():
    assert str(decimal(0.1)) == "0.1"
