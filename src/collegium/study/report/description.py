"""Who the patients are: table one, histograms, cross tables and correlations, with small groups hidden."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from collegium.charts import Table, histogram, written
from collegium.study.manifest import Statistics
from collegium.study.report.cells import FEWEST, HIDDEN, WHY, hidden, shown
from collegium.study.report.document import NOT_MEASURED, Block, Drawing, Grid, Record, Say, Section
from collegium.study.report.drawn import drawing
from collegium.study.report.spoken import about, digits, share

WIDEST = 12  # variables of a correlation table; of more, only the strongest pairs are listed
PAIRS = 30


def description(record: Record, method: Statistics) -> Section:
    """Everything that the statistics of a study found."""
    title, found = "Who are the patients?", record.results
    if "counts" not in found:
        return Section("description", title, [Say(f"{NOT_MEASURED}: the run {record.stands}, and nothing was counted.")])
    rows, patients = (int(found["counts"][name]) for name in ("rows", "patients"))
    said = f"All hospitals together have {about(patients)} patients in {about(rows)} rows. A patient of two hospitals counts twice."
    blocks: list[Block] = [Say(said)]
    blocks += [measured(record, method, rows)] if "moments" in found or "quantiles" in found else []
    blocks += [grouped(record, rows)] if "categories" in found or binaries(record) else []
    blocks += [chart(record, name, found["histograms"][name]) for name in found.get("histograms", {})]
    blocks += [crossed(record, a, b) for a, b in method.cross if f"cross {a} {b}" in found]
    blocks += [related(record)] if "correlations" in found else []
    return Section("description", title, blocks)


def kinds(record: Record, *wanted: str) -> list[str]:
    """The variables of some kinds, in the order that the stages have them."""
    return [name for name, variable in sorted(record.study.variables.items()) if variable.kind in wanted]


def binaries(record: Record) -> list[str]:
    """Yes/no variables whose share is known."""
    return kinds(record, "binary") if "moments" in record.results else []


def titled(record: Record, name: str) -> str:
    """A variable with its unit."""
    unit = record.study.variables[name].unit
    return f"{name} ({unit})" if unit else name


def measured(record: Record, method: Statistics, rows: int) -> Grid:
    """Numbers: mean, spread and quantiles; nothing of a variable that fewer than ten rows have."""
    moments, quantiles = record.results.get("moments"), record.results.get("quantiles")
    values, numbers = kinds(record, "number", "binary"), kinds(record, "number")
    head = [
        "Variable",
        "Mean",
        "Standard deviation",
        *(f"{share(float(q), 1).replace('.0', '')} quantile" for q in method.quantiles),
        "Missing",
    ]
    out = []
    for at, name in enumerate(numbers):
        place = values.index(name)
        source, here = (moments, place) if moments is not None else (quantiles, at)
        n, missing = (int(np.asarray((source or {})[part])[here]) for part in ("n", "missing"))
        few = n < FEWEST
        means = [HIDDEN if few else digits(moments[part][place]) for part in ("mean", "sd")] if moments is not None else [NOT_MEASURED] * 2
        cut = np.asarray(quantiles["value"])[at].tolist() if quantiles is not None else [None] * len(method.quantiles)
        out.append([titled(record, name), *means, *(HIDDEN if few else digits(q) for q in cut), absent(n, missing)])
    return Grid("Numbers", head, out, note=f"A quantile of 50 % is the median: half of the rows are at or below it. {WHY}")


def absent(n: int, missing: int) -> str:
    """How many rows lack a value, unless that or its complement is a small group."""
    secret = hidden(np.array([n, missing]))
    return shown(missing, bool(secret[1]), n + missing)


def grouped(record: Record, rows: int) -> Grid:
    """Categories and yes/no variables: how many rows each value has."""
    out: list[list[str]] = []
    for name in kinds(record, "category", "binary"):
        if groups := counts(record, name):
            secret = hidden(np.array([count for _, count in groups]))
            out += [[f"{name}: {value}", shown(n, bool(s), rows)] for (value, n), s in zip(groups, secret.tolist(), strict=True)]
    return Grid("Categories", ["Group", "Rows (share of all)"], out, note=WHY)


def counts(record: Record, name: str) -> list[tuple[str, int]]:
    """The groups of one variable, `missing` last: together they are all rows."""
    variable, found = record.study.variables[name], record.results
    if variable.kind == "binary":
        if name not in binaries(record):
            return []
        at = kinds(record, "number", "binary").index(name)
        n, missing = (int(np.asarray(found["moments"][part])[at]) for part in ("n", "missing"))
        yes = round(float(np.asarray(found["moments"]["mean"])[at]) * n)
        no_name, yes_name = variable.categories or ("no", "yes")
        return [(no_name, n - yes), (yes_name, yes), ("missing", missing)]
    one = found.get("categories", {}).get("categories", {}).get(name)
    if one is None:
        return []
    kept = [(int(k), int(n)) for k, n in zip(np.asarray(one["kept"]), np.asarray(one["counts"]), strict=True) if k >= 0]
    groups = [(variable.categories[k] if variable.categories else f"code group {k}", n) for k, n in kept]
    rare = [level for k, level in enumerate(variable.categories) if k not in {place for place, _ in kept}]
    other = f"other ({', '.join(rare)} among them)" if 0 < len(rare) <= 6 else "other"
    return [*groups, *([(other, int(one["other"]))] if rare or int(one["other"]) else []), ("missing", int(one["missing"]))]


def chart(record: Record, name: str, found: Mapping[str, Any]) -> Drawing:
    """How often each value of a number occurs; empty ends are cut off."""
    edges, inside = np.asarray(found["edges"], float), np.asarray(found["counts"], np.int64)
    outside = np.array([int(found["below"]), int(found["above"]), int(found["missing"])])
    secret = hidden(np.concatenate([inside, outside]))
    full = np.flatnonzero(inside)
    first, last = (int(full[0]), int(full[-1]) + 1) if len(full) else (0, len(inside))
    kept = [None if s else float(n) for n, s in zip(inside[first:last].tolist(), secret[first:last].tolist(), strict=True)]
    sides = edges[first : last + 1].tolist()
    cells = [
        [f"{digits(a)} to {digits(b)}", HIDDEN if n is None else written(n, 0)] for a, b, n in zip(sides, sides[1:], kept, strict=False)
    ]
    beyond = [shown(int(n), bool(s)) for n, s in zip(outside.tolist(), secret[len(inside) :].tolist(), strict=True)]
    cells += [[where, said] for where, said in zip(("Below the range", "Above the range", "Missing"), beyond, strict=True)]
    note = "A gap is a hidden or empty group." if any(n is None for n in kept) else ""
    variable = record.study.variables[name]
    title = f"{name}: {variable.meaning}" if variable.meaning else name
    table, unit = Table(["Values", "Rows"], cells), variable.unit
    return drawing(histogram, sides, kept, title=title, numbers=table, note=note, half=True, x_label=unit, y_label="Rows")


def crossed(record: Record, a: str, b: str) -> Grid:
    """How often each group of one variable meets each of another."""
    found = record.results[f"cross {a} {b}"]
    table = np.asarray(found["counts"], np.int64)
    secret = hidden(table)
    down, across = ([*record.study.variables[name].categories, "other"] for name in (a, b))
    if not (table[-1].any() or secret[-1].any()):
        table, secret, down = table[:-1], secret[:-1], down[:-1]
    if not (table[:, -1].any() or secret[:, -1].any()):
        table, secret, across = table[:, :-1], secret[:, :-1], across[:-1]
    rows = [
        [level, *(shown(int(n), bool(s)) for n, s in zip(line, mask, strict=True))]
        for level, line, mask in zip(down, table, secret, strict=True)
    ]
    missing = int(found["missing"])
    lost = f" {about(missing)[0].upper()}{about(missing)[1:]} rows lack one or both." if missing else ""
    return Grid(f"{a} (down) and {b} (across)", [a, *across], rows, note=f"Rows in each pair of groups. {WHY}{lost}")


def related(record: Record) -> Grid:
    """Which numbers rise and fall together."""
    names, found = kinds(record, "number", "binary"), record.results["correlations"]
    r, n = np.asarray(found["correlation"], float), np.asarray(found["n"], np.int64)
    note = "Pearson's correlation: 1 and −1 are a straight line, 0 is none. Pairs that fewer than 10 rows have are hidden."
    if len(names) <= WIDEST:
        rows = [
            [one, *(HIDDEN if n[at, to] < FEWEST else "1" if at == to else written(r[at, to], 2) for to in range(len(names)))]
            for at, one in enumerate(names)
        ]
        return Grid("Correlations", ["Variable", *names], rows, note=note)
    pairs = sorted(((at, to) for at in range(len(names)) for to in range(at) if n[at, to] >= FEWEST), key=lambda p: -abs(r[p]))[:PAIRS]
    cells = [[f"{names[to]} and {names[at]}", written(r[at, to], 2), about(n[at, to])] for at, to in pairs]
    return Grid(f"The {PAIRS} strongest correlations", ["Variables", "Correlation", "Rows that have both"], cells, note=note)
