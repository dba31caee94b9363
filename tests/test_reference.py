"""What can be named is documented: manifest fields, errors, recipes, endpoints, settings."""

import re
from pathlib import Path

import pytest

from collegium import recipes
from collegium.coordinator import auth
from collegium.site import config, policy
from collegium.study import manifest, schema
from tests.test_errors import kinds

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


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_stands_on_its_page_with_its_codes(kind):
    assert f"| `{kind.__name__}` | `{kind.code}` | {kind.exit_code} |" in page("errors.md")


def test_every_recipe_stands_on_its_page():
    assert set(re.findall(r"^\| `(\w+)` \|", page("recipes.md"), re.MULTILINE)) == set(recipes.RECIPES)


def test_every_endpoint_stands_on_its_page():
    text = re.sub(r"\?[\w=&]*", "", page("protocol.md"))
    asked = {(method, path): (f"`{method} {path}`", f"`/{path.rsplit('/', 1)[1]}`") for method, path in auth.RULES}
    called = [route for route, forms in asked.items() if not any(form in text for form in forms)]
    assert called == []


def test_every_setting_of_a_site_stands_on_its_page():
    text = page("site-settings.md")
    settings = [f"{section}.{name}".lstrip(".") for section, names in config.FIELDS.items() for name in names]
    assert [name for name in [*settings, *policy.RULES, *policy.TABLE_RULES] if f"`{name}`" not in text] == []
