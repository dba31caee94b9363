"""Models that read like scikit-learn's, fitted to many hospitals' tables at once; nobody's rows are joined.

    >>> rng = np.random.default_rng(0)
    >>> def hospital(rows):
    ...     age = rng.normal(60, 10, rows)
    ...     return {"age": age, "ill": (rng.random(rows) < 1 / (1 + np.exp(-(age - 60) / 8))).astype(int)}
    >>> model = LogisticRegression().fit({"north": hospital(300), "south": hospital(200)}, y="ill")
    >>> model.coef_.shape, model.predict({"age": [35.0, 85.0]})
    ((1,), array([0, 1]))

The fit runs in this process, through the same stages and sums as at real hospitals; `study(sites, y)` is the manifest to
submit for the real thing. Arrays work as well: `fit(X, y)` is a federation of one site.
"""

import inspect
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from collegium.algorithms.columns import texts
from collegium.client import propose, tables
from collegium.client.arrays import InputError, columns, federation, unfitted
from collegium.client.results import Results
from collegium.client.simulate import drafted, simulate
from collegium.errors import DataError
from collegium.models.predict import MISSING, RARE, UNKNOWN
from collegium.study.manifest import Study
from collegium.study.schema import Variable
from collegium.table import Table

Self = TypeVar("Self", bound="Estimator")


class Estimator:
    """What all of them share: parameters by name, `fit`, `predict`, `score`. The one base class, because scikit-learn's contract is one."""

    task: ClassVar[Literal["classifier", "regressor"]] = "regressor"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self: Self, **params: Any) -> Self:
        """Change parameters; an unknown name is refused."""
        known = self.get_params()
        if strange := sorted(params.keys() - known.keys()):
            raise ValueError(f"{type(self).__name__} has no parameter {strange[0]!r}; it has {', '.join(known)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def method(self) -> dict[str, Any]:
        """The manifest's `method`."""
        raise NotImplementedError

    def fields(self) -> dict[str, Any]:
        """What else the manifest says: who is held out, the seed."""
        return {}

    def study(self, sites: Mapping[str, Any], y: str) -> Study:
        """The study that `fit` would run, ready to submit to real hospitals whose columns are called the same."""
        if not sites:
            raise DataError("there is no site to fit", hint="give a mapping of names to tables: fit({'north': ..., 'south': ...}, y='...')")
        if not y:
            raise DataError("which column is the outcome?", hint="name it: y='...'")
        read = {name: tables.table(source, name=f"site {name!r}") for name, source in sites.items()}
        for name, rows in read.items():
            if y not in rows:
                raise DataError(f"site {name!r}: there is no column {y!r}; the table has {', '.join(rows.columns)}", hint="mend `y`")
        whole = tables.together(read.values())
        tell_left_out(read, whole, y)
        self.classes_ = classes(whole, y) if self.task == "classifier" else np.zeros(0)
        if self.method()["kind"] == "glm" and len(self.classes_) > 2:
            says = f"column {y!r} has {len(self.classes_)} classes. Only binary classification is supported by {type(self).__name__}"
            raise InputError(says, hint="MLPClassifier(hidden=()) takes more of them")
        aim = aim_of(self.classes_, y) if self.task == "classifier" else Variable(kind="number")
        return propose.study(whole, target=y, outcome=aim, method=self.method(), **self.fields())

    def fit(self: Self, sites: Any, y: Any = None, *, patient: str = "") -> Self:
        """Fit to a mapping of sites to tables, where `y` names the outcome's column; or to `X` and `y`, as one site.

        `patient` names the column that says whom a row belongs to.
        """
        named, target = federation(sites, y, of_class=self.task == "classifier")
        study, ready = drafted(self, named, target, patient)
        found = simulate(study, ready, pooled=False)
        self.results_, self.study_ = found, study
        self.feature_names_in_ = np.array([n for n in next(iter(ready.values())).columns if n != target], dtype=object)
        self.n_features_in_, self.sites_ = len(self.feature_names_in_), list(named)
        self.settle(found)
        return self

    def settle(self, found: Results) -> None:
        """The fitted attributes of this kind of model."""
        self.params_ = found.params
        self.n_iter_ = int(found.trees["fit"]["rounds"])

    def scored(self, x: Any) -> np.ndarray:
        """A probability, class probabilities or a value for each row."""
        if not hasattr(self, "results_"):
            raise unfitted(type(self).__name__)
        model, rows = self.results_.model, columns(x, list(self.feature_names_in_), type(self).__name__)
        found = model.predict(rows)
        none = np.isnan(found if found.ndim == 1 else found[:, 0])
        for one in model.remarks(rows):
            if one.says in (UNKNOWN, RARE) or (one.says == MISSING and none.any()):
                warn_of(one.column, one.says, int(one.where.sum()), int((one.where & none).sum()))
        return found

    def predict(self, X: Any) -> np.ndarray:
        """A class or a value for each row; NaN, or "" among classes that are text, where the model has no answer."""
        found = self.scored(X)
        if self.task == "regressor":
            return found
        at = found.argmax(1) if found.ndim > 1 else (found >= 0.5).astype(int)
        said, none = np.asarray(self.classes_[at]), np.isnan(found if found.ndim == 1 else found[:, 0])
        return np.where(none, "" if said.dtype.kind == "U" else np.nan, said) if none.any() else said

    def score(self, X: Any, y: Any) -> float:
        """Accuracy of a classifier, R2 of a regressor, as scikit-learn has them; `y` may name a column of `X`."""
        truth = np.asarray(tables.table(X)[y] if isinstance(y, str) else getattr(y, "to_numpy", lambda: y)())
        said = self.predict(X)
        if self.task == "classifier":
            return float(np.mean(said.astype(np.str_) == truth.astype(said.dtype).astype(np.str_)))
        truth = truth.astype(np.float64)
        return float(1 - np.square(truth - said).sum() / np.square(truth - truth.mean()).sum())

    def __repr__(self) -> str:
        signature = inspect.signature(type(self)).parameters
        changed = {k: v for k, v in self.get_params().items() if v != signature[k].default}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"

    def __sklearn_tags__(self) -> Any:
        kinds = import_module("sklearn.utils")  # only scikit-learn itself asks
        many, counts = self.method()["kind"] != "glm", self.method().get("family") == "poisson"
        of_class, of_number = (kinds.ClassifierTags(multi_class=many), None) if self.task == "classifier" else (None, kinds.RegressorTags())
        target, given = kinds.TargetTags(required=True, positive_only=counts), kinds.InputTags(allow_nan=True, string=True)
        return kinds.Tags(self.task, target, classifier_tags=of_class, regressor_tags=of_number, input_tags=given)


class Classifier(Estimator):
    """What tells classes apart."""

    task: ClassVar[Literal["classifier", "regressor"]] = "classifier"

    def predict_proba(self, X: Any) -> np.ndarray:
        """A probability for each row and class, in the order of `classes_`."""
        found = self.scored(X)
        return found if found.ndim > 1 else np.column_stack([1 - found, found])


class Regression:
    """What the three generalised linear models share: the exact pooled fit with standard errors, from sums."""

    def __init__(self, *, ridge: float = 0.0, rounds: int = 50, standardise: bool = False, held_out: int = 0) -> None:
        self.ridge, self.rounds, self.standardise, self.held_out = ridge, rounds, standardise, held_out

    family: ClassVar[str] = "gaussian"

    def method(self) -> dict[str, Any]:
        """The manifest's `method`."""
        return {"kind": "glm", "family": self.family, "ridge": str(self.ridge), "rounds": self.rounds, "standardise": self.standardise}

    def fields(self) -> dict[str, Any]:
        """`held_out` tenths of the patients judge the fit; by default it describes all of them."""
        return {"held_out": {"test": self.held_out, "validation": 0}}

    def settle(self, found: Results) -> None:
        """`coef_`, `intercept_`, and what a statistician asks for: `se_`, `pvalues_`, `conf_int_`, `names_`, `summary_`."""
        fit = {name: np.asarray(value) for name, value in found.trees["fit"].items() if name != "params"}
        self.intercept_, self.coef_ = float(fit["coef"][0]), fit["coef"][1:]
        self.names_, self.summary_ = found.encoded, found.coefficients
        self.se_, self.pvalues_, self.conf_int_ = fit["se"], fit["p"], np.column_stack([fit["low"], fit["high"]])
        self.n_iter_ = int(fit["rounds"])


class LogisticRegression(Regression, Classifier):
    """Yes or no: the maximum-likelihood fit on all sites' rows, with standard errors; `ridge` shrinks it."""

    family = "binomial"


class LinearRegression(Regression, Estimator):
    """A number: the least-squares fit on all sites' rows, with standard errors."""


class PoissonRegression(Regression, Estimator):
    """A count: the maximum-likelihood fit with a log link, with standard errors."""

    family = "poisson"


class Network:
    """What the two small neural networks share: federated averaging of layers."""

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = (16,),
        rounds: int = 50,
        lr: float = 0.1,
        batch: int = 32,
        epochs: int = 1,
        patience: int = 0,
        mu: float = 0.0,
        held_out: int = 2,
        seed: int = 1,
    ) -> None:
        self.hidden, self.rounds, self.lr, self.batch, self.epochs = hidden, rounds, lr, batch, epochs
        self.patience, self.mu, self.held_out, self.seed = patience, mu, held_out, seed

    def method(self) -> dict[str, Any]:
        """The manifest's `method`."""
        local = {"lr": str(self.lr), "batch": self.batch, "epochs": self.epochs}
        rest = {"hidden": list(self.hidden), "rounds": self.rounds, "patience": self.patience, "mu": str(self.mu)}
        return {"kind": "averaging", "recipe": "tabular", "local": local, **rest}

    def fields(self) -> dict[str, Any]:
        """`held_out` tenths of the patients judge the model; one more tells when to stop, if `patience` asks for it."""
        return {"held_out": {"test": self.held_out, "validation": 1 if self.patience else 0}, "seed": self.seed}


class MLPClassifier(Network, Classifier):
    """Two or more classes by a small neural network; `hidden=()` makes it logistic regression by gradient steps."""


class MLPRegressor(Network, Estimator):
    """A number by a small neural network."""


class Boosting:
    """What the two kinds of boosted trees share: the trees that all rows in one table would grow, from summed histograms."""

    def __init__(
        self,
        *,
        trees: int = 100,
        depth: int = 4,
        learning_rate: float = 0.1,
        parallel: int = 1,
        bins: int = 32,
        least: int = 20,
        l2: float = 1.0,
        rows: float = 1.0,
        columns: float = 1.0,
        patience: int = 0,
        monotone: Mapping[str, str] | None = None,
        held_out: int = 2,
        seed: int = 1,
    ) -> None:
        self.trees, self.depth, self.learning_rate, self.parallel = trees, depth, learning_rate, parallel
        self.bins, self.least, self.l2, self.rows, self.columns = bins, least, l2, rows, columns
        self.patience, self.monotone, self.held_out, self.seed = patience, monotone, held_out, seed

    def method(self) -> dict[str, Any]:
        """The manifest's `method`."""
        whole = {"trees": self.trees, "depth": self.depth, "parallel": self.parallel, "bins": self.bins, "least": self.least}
        shares = {"learning_rate": str(self.learning_rate), "l2": str(self.l2), "rows": str(self.rows), "columns": str(self.columns)}
        return {"kind": "trees", **whole, **shares, "patience": self.patience, "monotone": dict(self.monotone or {})}

    def fields(self) -> dict[str, Any]:
        """`held_out` tenths of the patients judge the model; one more tells when to stop, if `patience` asks for it."""
        return {"held_out": {"test": self.held_out, "validation": 1 if self.patience else 0}, "seed": self.seed}

    def settle(self, found: Results) -> None:
        """`feature_importances_` in the order of `feature_names_in_`, and `n_estimators_`, the steps that were kept."""
        self.params_, self.n_iter_ = found.params, int(found.trees["fit"]["rounds"])
        shares = {name: share for name, share, _ in found.importance}
        names: Any = getattr(self, "feature_names_in_", ())
        self.feature_importances_ = np.array([shares.get(name, 0.0) for name in names])
        self.n_estimators_ = len(found.params["feature"])


class GradientBoostingClassifier(Boosting, Classifier):
    """Two or more classes by boosted trees."""


class GradientBoostingRegressor(Boosting, Estimator):
    """A number by boosted trees."""


def classes(whole: Table, y: str) -> np.ndarray:
    """The classes that the sites' rows hold, sorted."""
    values = np.asarray(whole[y])
    if values.dtype.kind == "f":
        found = np.unique(values[~np.isnan(values)])
        return found.astype(np.int64) if (found == np.rint(found)).all() else found
    return np.unique(values[values != ""])


def aim_of(found: np.ndarray, y: str) -> Variable:
    """The outcome as a variable of a manifest."""
    if len(found) < 2:
        raise InputError(f"column {y!r}, the outcome, has {len(found) or 'no'} class; two or more can be told apart")
    if len(found) == 2:
        return Variable(kind="binary", categories=() if set(found.tolist()) == {0, 1} else tuple(map(str, found.tolist())))
    return Variable(kind="category", categories=tuple(map(str, found.tolist())))


def warn_of(column: str, says: str, rows: int, without: int) -> None:
    """Tell the caller in what some rows are unlike the training patients; how many, never their values."""
    if rows:
        answer = f"; {without} of them without an estimate (NaN)" if without else ""
        warnings.warn(f"column {column!r} {says} in {rows} row{'s' * (rows != 1)}{answer}", UserWarning, stacklevel=tables.beyond())


def tell_left_out(sites: Mapping[str, Table], whole: Table, y: str) -> None:
    """Tell the caller which columns are no predictors, and why."""
    for name in dict.fromkeys(name for rows in sites.values() for name in rows.columns):
        lacking = [site for site, rows in sites.items() if name not in rows]
        note = f"site {lacking[0]!r} has no such column" if lacking else ""
        if not lacking and name != y:
            one = propose.seen(np.asarray(whole[name]), name, outcome=False)
            note = "" if one.variable else one.note
            rare = rare_rows(whole, name, one.variable)
            if rare:
                says = f"column {name!r} holds rare categories in {rare} row{'s' * (rare != 1)}; they count as missing"
                warnings.warn(says, UserWarning, stacklevel=tables.beyond())
        if note:
            warnings.warn(f"column {name!r} is left out: {note}", UserWarning, stacklevel=tables.beyond())


def rare_rows(whole: Table, name: str, variable: Variable | None) -> int:
    """How many rows hold a category that the study does not list."""
    if variable is None or variable.kind != "category":
        return 0
    return int((~np.isin(texts(whole, name), ["", *variable.categories])).sum())
