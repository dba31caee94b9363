import subprocess
import sys

import pytest

from collegium import recipes
from collegium.errors import StudyError
from collegium.study import manifest


def test_importing_the_recipes_loads_no_training_library():
    code = "import sys, collegium.recipes as r; [r.find(name).template() for name in r.RECIPES]; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_every_recipe_has_the_same_sections_and_a_template_that_runs(name: str):
    module = recipes.find(name)
    for section in ("Question", "Data", "Model", "Training", "Defaults", "Try it"):
        assert f"\n{section}" in module.__doc__, f"{name} says nothing of {section!r}"
    study = manifest.read(module.template())
    assert study.method.recipe == name
    assert {"train", "loss", "score"} == set(module.learner(study)._fields)


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_a_template_explains_every_variable(name: str):
    for column, variable in manifest.read(recipes.find(name).template()).variables.items():
        assert variable.meaning, f"{name}: {column} has no meaning"
        assert variable.unit or variable.kind != "number", f"{name}: {column} has no unit"


def test_an_unknown_recipe_names_those_installed():
    with pytest.raises(StudyError, match=r"no recipe 'tabula'; installed are readmission, tabular"):
        recipes.find("tabula")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # what an import finds where PyTorch is not installed
    for name in ("dense", "training"):
        monkeypatch.delitem(sys.modules, f"collegium.recipes.{name}", raising=False)
        monkeypatch.delattr(recipes, name, raising=False)
    with pytest.raises(StudyError, match="recipe 'tabular' needs torch") as caught:
        recipes.learner(manifest.read(manifest.EXAMPLE))
    assert "collegium[deep]" in caught.value.hint


def test_a_method_without_rounds_of_training_has_no_recipe():
    fit = manifest.read(manifest.EXAMPLE).model_dump() | {"method": {"kind": "glm"}}
    with pytest.raises(StudyError, match="method 'glm' has no recipe"):
        recipes.learner(manifest.read(fit))
