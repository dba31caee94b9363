"""A whole study on one machine: the stages, the sums and the bytes of a real federation, without the network.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> def hospital(rows):
...     age = rng.normal(60, 10, rows)
...     return {"age": age, "ill": (rng.random(rows) < 1 / (1 + np.exp(-(age - 60) / 8))).astype(float)}
>>> study = {"title": "Age", "purpose": "An example.", "method": {"kind": "glm"}, "held_out": {"test": 3},
...          "variables": {"age": {"kind": "number"}, "ill": {"kind": "binary"}}, "outcome": {"task": "binary", "target": "ill"}}
>>> found = simulate(study, {"north": hospital(300), "south": hospital(200)})
>>> [row.name for row in found.coefficients], [line.name for line in found.sheet]
(['intercept', 'age'], ['Mean over hospitals', 'All held-out patients together', 'north', 'south'])
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from collegium import tree as T
from collegium.algorithms.averaging import Learner
from collegium.algorithms.columns import texts
from collegium.client import first as starts
from collegium.client.results import Figure, Results
from collegium.client.tables import table, together
from collegium.engine.run import Run, Stage
from collegium.errors import CollegiumError, DataError, NotFound
from collegium.simulation.local import walk
from collegium.simulation.secure import Sums
from collegium.study import manifest
from collegium.study.manifest import Averaging, Study, Trees
from collegium.study.plan import rows, stages
from collegium.study.schema import HeldOut
from collegium.table import Table

NONE: Mapping[str, str] = MappingProxyType({})
JUDGES = HeldOut(test=2, validation=0)  # tenths of the patients


class Estimator(Protocol):
    """What `simulate` needs of an estimator: the study that its `fit` would run."""

    def study(self, sites: Mapping[str, Table], y: str) -> Study: ...


def simulate(
    study: "Study | Estimator | Mapping[str, Any] | str | os.PathLike[str]",
    sites: Mapping[str, Any],
    *,
    y: str = "",
    patient: str = "",
    mappings: "Mapping[str, str | os.PathLike[str]]" = NONE,
    pooled: bool = True,
    secure: bool = False,
    seed: int | None = None,
    first: "str | os.PathLike[str]" = "",
    watch: Callable[[Run, Stage], object] = lambda run, stage: None,  # told of every step
) -> Results:
    """Run a study, or what an estimator would fit to the outcome `y`, over the sites' tables.

    `sites` maps a site's name to a dict of columns, a data frame, a `Table` or a path; `mappings` names the file that says what
    the columns of a site's path are called and measured in there. The results hold every site's own
    line and, with `pooled`, what one site holding all rows would have reached; neither exists in a real federation unless
    the sites publish it. Without held-out patients there is nothing to compare: of an estimator that holds nobody out, two
    tenths are held out here. `seed` replaces the study's; `first` is a model's folder, or a
    safetensors file, whose weights training begins from. `watch` is told of every step.

    With `secure` every sum is made under masks, by the machines that hospitals and a coordinator run: the results are the same
    bytes, and `results.run["secure"]` says what the masks cost. The pooled model's training is never masked.
    """
    if not sites:
        raise DataError("there is no site to simulate", hint="give a mapping of names to tables")
    chosen = reading(study)
    if not isinstance(chosen, Study):
        drawn, sites = drafted(chosen, sites, y, patient)
        chosen = judged(drawn)
    if strange := sorted(set(mappings) - set(sites)):
        raise DataError(f"a mapping is given for {strange[0]!r}, which is not among the sites {', '.join(sites)}")
    tables = {name: rows_of(name, source, chosen, patient or chosen.patient, mappings.get(name, "")) for name, source in sites.items()}
    if seed is not None:
        chosen = chosen.model_copy(update={"seed": seed})
    brought = starts.first(first, chosen) if first else None
    try:
        return run(chosen, tables, brought, pooled=pooled, secure=secure, watch=watch)
    except CollegiumError as e:
        own = f"column {chosen.outcome.target!r}" if chosen.outcome else ""
        if not (own and "column 'y'" in str(e)):
            raise
        raise type(e)(str(e).replace("column 'y'", own), hint=e.hint) from None  # the stages know the outcome as y


def drafted(estimator: Estimator, sites: Mapping[str, Any], y: str, patient: str = "") -> tuple[Study, dict[str, Table]]:
    """The study that an estimator fits to the sites' tables, and the tables with the outcome as that study writes it.

    From here on it goes the way of every study: checked and cleaned at each site before anything is computed.
    """
    ready = {name: table(source, patient=patient, name=f"site {name!r}") for name, source in sites.items()}
    study = estimator.study(ready, y)
    return study, {name: labelled(rows, y, study) for name, rows in ready.items()}


def labelled(t: Table, target: str, study: Study) -> Table:
    """The table with its outcome as the manifest writes it: codes such as 1 and 2 become text."""
    return t.with_columns(**{target: texts(t, target)}) if study.variables[target].categories else t


def judged(study: Study) -> Study:
    """An estimator's study with somebody held out to judge it."""
    return study if study.holding.test else study.model_copy(update={"held_out": JUDGES})


def reading(study: "Study | Estimator | Mapping[str, Any] | str | os.PathLike[str]") -> "Study | Estimator":
    """A study from a manifest's mapping, its text or its path; a study or an estimator as it is."""
    if isinstance(study, os.PathLike) or (isinstance(study, str) and "\n" not in study):
        try:
            return manifest.read(Path(study).read_text())
        except OSError as e:
            raise NotFound(f"the study {str(study)!r} cannot be read: {e.strerror}", hint="check the path of the manifest") from None
    return manifest.read(study) if isinstance(study, Mapping | str) else study


def rows_of(name: str, source: Any, study: Study, patient: str, mapping: "str | os.PathLike[str]" = "") -> Table:
    """A site's table, checked and read as the site itself would, through its mapping if it is a file that has one."""
    from collegium import recipes  # local: whoever only asks for help waits for neither connectors nor recipes
    from collegium.data import files, intake, quality
    from collegium.data.mapping import load

    try:
        if isinstance(source, str | os.PathLike):
            found = intake.file(Path(source), study, patient=patient, rules=load(Path(mapping)) if mapping else None)
        else:
            found = files.parsed(table(source, patient=patient, name=f"site {name!r}"), study)
        rows, left = recipes.cleaned(study, found.table)
        return quality.passed(found._replace(table=rows, left_out=left), study)[0]
    except DataError as e:
        raise DataError(f"site {name!r}: {e}", hint=e.hint) from None


def run(
    study: Study, tables: Mapping[str, Table], brought: starts.First | None,
    *, pooled: bool, secure: bool, watch: Callable[[Run, Stage], object],
) -> Results:  # fmt: skip
    """The study over tables whose columns are the study's variables; first weights may be brought for it."""
    plan, given = stages(study, learner(study)), brought.given if brought else {}
    ready = {name: named(name, study, found) for name, found in tables.items()}
    figures: list[dict[str, Any]] = []

    def tell(now: Run) -> None:
        figures.extend(progress(now, plan))
        watch(now, plan[now.place.stage])

    sums = masked(study, plan, [*ready]) if secure else None
    end, memory = walk(plan, ready, given=given, seed=study.seed, watch=tell, secure=sums)
    lines = {name: kept["compare"]["line"] for name, kept in memory.items() if "line" in kept.get("compare", {})}
    reached = reach(study, ready, given) if pooled and len(ready) > 1 and lines else {}
    document = {"status": "finished", "sites": [*tables], "study": manifest.digest(study), "figures": figures, "simulated": True}
    document |= {"first": brought.digest if brought else "", **({"secure": sums.document()} if sums else {})}
    found = {name: tree for name, tree in end.results.items() if name not in given}
    return Results(study, found, lines, reached, document)


def masked(study: Study, plan: list[Stage], names: list[str]) -> Sums:
    """The secure sums of these sites, as the manifest wants them."""
    chosen = study.privacy
    return Sums(
        manifest.digest(study), plan, names, curious=chosen.curious, rounds=chosen.epoch, largest=chosen.cohort, verified=chosen.verified
    )


def named(name: str, study: Study, found: Table) -> Table:
    """A site's rows as the stages use them; an error says which site."""
    try:
        return rows(study, found)
    except DataError as e:
        raise DataError(f"site {name!r}: {e}", hint=e.hint) from None


def learner(study: Study) -> Learner | None:
    """The recipe's training, for a study that trains."""
    if not isinstance(study.method, Averaging):
        return None
    from collegium import recipes  # local: a fit without a training library needs none

    return recipes.learner(study)


def progress(now: Run, plan: list[Stage]) -> list[dict[str, Any]]:
    """The figures of the round that just closed, if it has any."""
    found = {name: float(value) for name, value in T.flatten(now.state.get("progress", {})).items()}
    where = {"stage": plan[now.place.stage].name, "round": now.place.round - (0 if now.over else 1)}
    return [where | found] if found and now.place.phase == "sum" else []


def reach(study: Study, ready: Mapping[str, Table], given: Mapping[str, T.Tree]) -> dict[str, Figure]:
    """What the same study reaches on one site that holds everybody's training rows, measured on each site's held-out rows.

    The judge is the study's own last stage, given the pooled model in place of the joint one; the training alone that comes
    with it is cut to one round, because nobody looks at it.
    """
    plan = stages(study, learner(study))
    end, _ = walk([stage for stage in plan if stage.name != "compare"], {"pooled": together(ready.values())}, given=given, seed=study.seed)
    once = {"trees" if isinstance(study.method, Trees) else "rounds": 1}
    short = study.model_copy(update={"method": study.method.model_copy(update=once)})
    judge = [stage for stage in stages(short, learner(short)) if stage.name == "compare"]
    _, memory = walk(judge, ready, given=end.results, seed=study.seed)
    lines = {name: kept["compare"].get("line", {}) for name, kept in memory.items()}
    return {name: figure(line) for name, line in lines.items() if "joint" in line}


def figure(line: T.Tree) -> Figure:
    """The joint model's figure of a site's line."""
    return float(line["joint"]), float(line["joint_low"]), float(line["joint_high"])
