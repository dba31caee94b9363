"""Collegium: hospitals train one model together, and no record leaves home.

The public names, grouped by who uses them. Each is loaded on first use, so that `import collegium` costs nothing.

>>> import collegium
>>> len(collegium.Table({"age": [61.0, 47.0]}))
2
"""

from importlib import import_module
from typing import TYPE_CHECKING

NAMES = {
    # researchers: try a study or a model on one machine, then run the study at the hospitals
    "CoxPH": "collegium.client.survival",
    "KaplanMeier": "collegium.client.survival",
    "GradientBoostingClassifier": "collegium.client.estimators",
    "GradientBoostingRegressor": "collegium.client.estimators",
    "LinearRegression": "collegium.client.estimators",
    "LogisticRegression": "collegium.client.estimators",
    "MLPClassifier": "collegium.client.estimators",
    "MLPRegressor": "collegium.client.estimators",
    "PoissonRegression": "collegium.client.estimators",
    "connect": "collegium.client.connect",
    "simulate": "collegium.client.simulate",
    # data managers: bring a hospital's rows
    "Table": "collegium.table",
    # who writes algorithms: three pure functions and a sum
    "Algorithm": "collegium.algorithms.algorithm",
    "adaptive": "collegium.algorithms.optimizers",
    "averaging": "collegium.algorithms.averaging",
    "sgd": "collegium.algorithms.optimizers",
    # everyone: what can go wrong, and the way out
    "CollegiumError": "collegium.errors",
    "PolicyRefusal": "collegium.errors",
}

__all__ = sorted(NAMES)

if TYPE_CHECKING:  # the same names for type checkers, which run nothing; a test holds the two together
    from collegium.algorithms.algorithm import Algorithm as Algorithm
    from collegium.algorithms.averaging import averaging as averaging
    from collegium.algorithms.optimizers import adaptive as adaptive
    from collegium.algorithms.optimizers import sgd as sgd
    from collegium.client.connect import connect as connect
    from collegium.client.estimators import GradientBoostingClassifier as GradientBoostingClassifier
    from collegium.client.estimators import GradientBoostingRegressor as GradientBoostingRegressor
    from collegium.client.estimators import LinearRegression as LinearRegression
    from collegium.client.estimators import LogisticRegression as LogisticRegression
    from collegium.client.estimators import MLPClassifier as MLPClassifier
    from collegium.client.estimators import MLPRegressor as MLPRegressor
    from collegium.client.estimators import PoissonRegression as PoissonRegression
    from collegium.client.simulate import simulate as simulate
    from collegium.client.survival import CoxPH as CoxPH
    from collegium.client.survival import KaplanMeier as KaplanMeier
    from collegium.errors import CollegiumError as CollegiumError
    from collegium.errors import PolicyRefusal as PolicyRefusal
    from collegium.table import Table as Table

    __version__: str
else:

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return import_module("importlib.metadata").version("collegium")
        if name not in NAMES:
            raise AttributeError(f"module 'collegium' has no attribute {name!r}; it offers {', '.join(__all__)}")
        value = globals()[name] = getattr(import_module(NAMES[name]), name)
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
