"""What can be named is documented: manifest fields, errors, recipes."""

import re
from pathlib import Path

import pytest

from collegium import errors, recipes
from collegium.study import manifest, schema

PAGES = Path(__file__).parents[1] / "docs" / "reference"


def page(name):
    return (PAGES / name).read_text()


def parts():
    known = [*vars(manifest).values(), *vars(schema).values()]
    return sorted({kind for kind in known if isinstance(kind, type) and issubclass(kind, schema.Part)}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", parts(), ids=lambda kind: kind.__name__)
def test_every_field_of_a_manifest_stands_on_its_page(kind):
    text = page("manifest.md")
    assert [name for name in kind.model_fields if f"`{name}`" not in text and f"`kind: {name}`" not in text] == []


def kinds(kind=errors.CollegiumError):
    return [kind] + [deeper for sub in kind.__subclasses__() if sub.__module__ == errors.__name__ for deeper in kinds(sub)]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_stands_on_its_page_with_its_codes(kind):
    assert f"| `{kind.__name__}` | `{kind.code}` | {kind.exit_code} |" in page("errors.md")
    assert kind.__name__ in errors.__doc__
    assert errors.by_code(kind.code) is kind


def test_an_unknown_code_is_of_a_later_version():
    assert errors.by_code("of_the_future") is errors.CollegiumError


def test_every_recipe_stands_on_its_page():
    assert set(re.findall(r"^\| `(\w+)` \|", page("recipes.md"), re.MULTILINE)) == set(recipes.RECIPES)
