"""What a study needs to know about each variable, in words that a hospital and a machine both read."""

from decimal import Decimal
from typing import Any, Literal

import pydantic
from pydantic import Field, model_validator


class Part(pydantic.BaseModel, extra="forbid", frozen=True):
    """A piece of a manifest: unknown fields are refused, and it never changes once read."""


class Variable(Part):
    """One column of the study, by its meaning; a site maps its own column to it.

    `number` is in `unit`, as UCUM or everyday words have it; `category` holds text, of the listed `categories` or, if none are
    listed, any; `binary` is 0 or 1 (or two texts, the second of `categories` counting as 1). `code` is the variable in a code
    system, such as LOINC 2160-0, or the system that its categories are codes of, such as ICD-10-GM.
    """

    kind: Literal["number", "category", "binary"]
    meaning: str = Field(default="", max_length=2000)
    unit: str = Field(default="", max_length=100)
    code: str = Field(default="", max_length=200)
    low: Decimal | None = None
    high: Decimal | None = None
    categories: tuple[str, ...] = ()
    required: bool = True

    @model_validator(mode="after")
    def consistent(self) -> "Variable":
        if self.kind == "number" and self.categories:
            raise ValueError("a number has no categories: make it a category, or remove them")
        if self.kind != "number" and (self.low is not None or self.high is not None or self.unit):
            raise ValueError("only a number has a unit and a range")
        if self.kind == "binary" and len(self.categories) not in (0, 2):
            raise ValueError(f"a binary variable lists no or two categories, found {len(self.categories)}")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("a category stands twice")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        return self

    @property
    def allowed(self) -> str:
        """Which values it may have, in words."""
        if self.kind != "number":
            return ", ".join(self.categories) or ("0 or 1" if self.kind == "binary" else "any text")
        if self.low is not None and self.high is not None:
            return f"{self.low} to {self.high}"
        return f"{self.low} and above" if self.low is not None else f"{self.high} and below" if self.high is not None else "any number"


class Outcome(Part):
    """What is to be estimated: one variable, or a time and an event for survival."""

    task: Literal["binary", "multiclass", "regression", "survival"]
    target: str = ""
    time: str = ""
    event: str = ""

    @model_validator(mode="after")
    def consistent(self) -> "Outcome":
        survival = self.task == "survival"
        if survival != bool(self.time and self.event) or survival == bool(self.target):
            raise ValueError("survival names `time` and `event`; every other task names `target`")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.time, self.event) if self.task == "survival" else (self.target,)


class HeldOut(Part):
    """Who is kept out of training: tenths of the patients by a salted hash, the same in every run; or a column of the table.

    With `column`, its texts "test" and "validation" say so and everything else is for training.
    """

    salt: str = "collegium"
    test: int = Field(default=2, ge=0, le=5)
    validation: int = Field(default=1, ge=0, le=3)
    column: str = ""


def decimal(value: Any) -> Decimal:
    """A number of a YAML file as the decimal that was written there, not its nearest binary fraction."""
    return Decimal(str(value))
