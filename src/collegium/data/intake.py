"""A hospital's table on its way into a study: who objected is left out, its columns become variables, names of patients stop it.

>>> from tempfile import TemporaryDirectory
>>> from collegium.data import registry
>>> from collegium.study.manifest import EXAMPLE, read as study_of
>>> with TemporaryDirectory() as name:
...     site = Path(name)
...     _ = (site / "stays.csv").write_text("mrn;geboren;aufnahme;sex;readmitted\\na;3.1.1950;2.1.2020;F;1\\n")
...     (site / "mappings").mkdir()
...     _ = (site / "mappings" / "stays.yaml").write_text("{dates: DD.MM.YYYY, columns: {age: {from: geboren, until: aufnahme}}}")
...     _ = registry.add(site, "stays", site / "stays.csv", patient="mrn")
...     found = named(site, "stays", study_of(EXAMPLE))
>>> found.table["age"], found.table.patient
(array([69.]), array(['a'], dtype='<U1'))
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from collegium.data import files, identifiers, mapping, objections, registry, sources
from collegium.data.files import Found, Load, Odd
from collegium.data.mapped import mapped
from collegium.data.mapping import Mapping as Rules
from collegium.data.place import Place, place_of
from collegium.study.manifest import Study


class Terms(NamedTuple):
    """What the hospital's policy says about a table: who objected, and which columns may be read though they seem to name patients."""

    objections: Path | None = None
    objected: str = ""
    waived: frozenset[str] = frozenset()


OPEN = Terms()
SAMPLE = 50_000  # rows that are looked at for names of patients


def named(folder: Path, name: str, study: Study, terms: Terms = OPEN, *, rules: Rules | None = None) -> Found:
    """What a table of the site holds for a study, through these rules or the mapping of its name. Raises `DataError`, `NotFound`."""
    source, rules = registry.find(folder, name), rules or mapping.of(folder, name)
    return file(source.place, study, patient=source.patient, rules=rules, terms=terms)


def file(where: str | Path | Place, study: Study, *, patient: str = "", rules: Rules | None = None, terms: Terms | None = None) -> Found:
    """The same of a file or another place. Without terms, as in a simulation, nobody asks whether columns name patients.

    Raises `DataError` and `LinkError`.
    """
    place = place_of(where)
    load = partial(sources.load, place)
    return sources.patiently(lambda: taken(load, study, place.label, patient=patient, rules=rules, terms=terms))


def taken(load: Load, study: Study, where: str, *, patient: str = "", rules: Rules | None = None, terms: Terms | None = OPEN) -> Found:
    """The same of anything that gives a header, and batches of the columns asked for. Raises `DataError`."""
    notes, left = dict[str, Odd](), dict[str, int]()
    if terms and (terms.objections or terms.objected):
        who = rules.columns[study.patient].source if rules and study.patient in rules.columns else patient or study.patient
        objected = objections.read(terms.objections) if terms.objections else frozenset()
        load = objections.without(load, left, patient=who, listed=objected, flag=terms.objected)
    if rules:
        load = mapped(load, rules, study.variables, notes)
    found = files.gathered(load, study, where, patient=patient)
    odd = {**found.odd, **{name: wrong for name, wrong in notes.items() if wrong != files.NONE}}
    met = suspects(found, study, rules, terms.waived) if terms else {}
    return found._replace(odd=odd, left_out={reason: count for reason, count in left.items() if count}, suspects=met)


def suspects(found: Found, study: Study, rules: Rules | None, waived: frozenset[str]) -> dict[str, str]:
    """The variables that seem to name patients, and what tells so; those apart that the hospital has waived.

    A variable with listed categories, or one that is yes or no, can hold nothing else; a time between two dates is no date.
    """
    out = {}
    for name, variable in study.variables.items():
        rule = rules.columns.get(name) if rules else None
        column = rule.source if rule and rule.source and not rule.until else ""
        if name in found.absent or variable.categories or variable.kind == "binary" or {name, column} & waived:
            continue
        values = found.table[name][:SAMPLE].tolist()
        met = identifiers.look(name, values) or (identifiers.look(column, values) if column and not (rule and rule.values) else None)
        if met:
            out[name] = f"seems to hold {met.kind} of patients, {met.why}{f' ({column!r} here)' if column and column != name else ''}"
    return out
