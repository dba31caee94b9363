"""Studies ready to run: one readable file a question, all with the same sections. Never loaded by the coordinator.

    >>> sorted(RECIPES)
    ['readmission', 'tabular']

Neither this package nor a recipe's template needs a training library; `learner` loads the one it needs.
"""

from importlib import import_module
from types import ModuleType

from collegium.algorithms.averaging import Learner
from collegium.errors import StudyError
from collegium.study.manifest import Averaging, Study
from collegium.table import Table

# A manifest names a recipe and never brings one: what is not in this table does not run.
RECIPES = {
    "readmission": "collegium.recipes.readmission",
    "tabular": "collegium.recipes.tabular",
}


def find(name: str) -> ModuleType:
    """The module of a recipe: `learner(study)`, `clean(study, table)`, `template()`. Raises `StudyError` listing what is installed."""
    if name not in RECIPES:
        raise StudyError(
            f"there is no recipe {name!r}; installed are {', '.join(sorted(RECIPES))}", hint="mend method.recipe in the manifest"
        )
    return import_module(RECIPES[name])


def cleaned(study: Study, table: Table) -> tuple[Table, dict[str, int]]:
    """The rows that the study's recipe is about, and how many it leaves out for each reason; all of them where it names none.

    For the raw table, before checks. Raises `StudyError` for an unknown recipe, or a study that breaks its rules.
    """
    name = getattr(study.method, "recipe", "")
    return find(name).clean(study, table) if name else (table, {})


def learner(study: Study) -> Learner:
    """How a site trains and scores the study's model. Raises `StudyError` for an unknown recipe or a missing library."""
    if not isinstance(study.method, Averaging):
        raise StudyError(f"method {study.method.kind!r} has no recipe: only averaging trains at the sites")
    try:
        made: Learner = find(study.method.recipe).learner(study)
    except ModuleNotFoundError as e:
        raise StudyError(
            f"recipe {study.method.recipe!r} needs {e.name}, which is not installed here", hint="pip install 'collegium[deep]'"
        ) from None
    return made
