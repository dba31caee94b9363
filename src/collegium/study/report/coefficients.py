"""What goes with the outcome: the coefficients of an exact fit, with intervals and p values, and as a chart."""

from typing import Any

import numpy as np

from collegium.algorithms.features import Level, levels, references
from collegium.algorithms.glm import Row as Fitted
from collegium.algorithms.glm import table_of
from collegium.charts import Estimate, Row, forest, written
from collegium.charts import numbers as as_table
from collegium.study.manifest import Cox, Glm
from collegium.study.plan import column
from collegium.study.report.cells import hidden, shown
from collegium.study.report.document import Block, Drawing, Grid, Record, Say, Section, real
from collegium.study.report.drawn import drawing
from collegium.study.report.spoken import chance, counted, digits, ended, number

INTERCEPT = "Intercept"
MOST = 40  # coefficients in the chart
RATIO = {"binomial": "Odds ratio", "poisson": "Rate ratio", "cox": "Hazard ratio"}
FEW_CLUSTERS = 30  # hospitals below which errors clustered by hospital are too small
MEANING = {
    "binomial": "An odds ratio above 1 goes with the outcome, below 1 against it; all other variables are held equal.",
    "poisson": "A rate ratio of 2 goes with twice as many events; all other variables are held equal.",
    "cox": "A hazard ratio of 2 goes with twice as many events among those still free of it, at any time; all others are held equal.",
    "gaussian": "A coefficient says by how much the outcome changes when the variable grows by one unit; all others are held equal.",
}


def family(method: Glm | Cox) -> str:
    """What kind of coefficients a fit has."""
    return method.family if isinstance(method, Glm) else method.kind


def coefficients(record: Record, method: Glm | Cox) -> Section:
    """The section of an exact fit."""
    title = "What goes with the outcome?"
    if "fit" not in record.results or "features" not in record.results:
        return Section("coefficients", title, [Say(f"Not measured: the run {record.stands}, and the fit was not finished.")])
    chosen, dropped = named(record)
    rows = table_of(record.results["fit"], ["" for _ in chosen], dropped)
    lead = int(record.results["fit"]["intercept"])
    labels = [*([INTERCEPT] * lead), *(label(record, level, method) for level in chosen)]
    drawn = [(row, name) for row, name in zip(rows[lead:], labels[lead:], strict=True) if not row.reference]
    blocks: list[Block] = [Say(f"{MEANING[family(method)]} It is an association: it does not say that one causes the other.")]
    blocks += [Say("The fit did not settle within its rounds: do not use these figures.", "warning")] if not settled(record) else []
    blocks += chart(method, [row for row, _ in drawn], [name for _, name in drawn])
    blocks.append(table(method, rows, labels))
    blocks += [Say(f"Compared with: {'; '.join(said(chosen[at]) for at in dropped)}.", "note")] if dropped else []
    blocks += [Say(said, "note") for said in [errors(record, method)] if said]
    blocks += [whole(record), *proportional(record)]
    return Section("coefficients", title, blocks)


def errors(record: Record, method: Glm | Cox) -> str:
    """Whose rows the errors take to belong together; nothing where every row counts for itself."""
    many = int(record.results["fit"].get("clusters", 0))
    if not many or not isinstance(method, Glm):
        return ""
    if method.errors == "patient":
        return f"Errors allow for rows of one patient being alike (sandwich over {written(many, 0)} patients)."
    few = " With so few, such errors come out too small: read the intervals as the least there can be." if many < FEW_CLUSTERS else ""
    return f"Errors allow for patients of one hospital being alike (sandwich over {written(many, 0)} hospitals).{few}"


def settled(record: Record) -> bool:
    """Whether the Newton steps came to rest."""
    return bool(real(record.results["fit"].get("converged", 1)))


def named(record: Record) -> tuple[list[Level], list[int]]:
    """All levels, and the places of those that the others of a category are compared with."""
    columns = [column(name, record.study.variables[name]) for name in record.study.features]
    return levels(columns, record.results["features"]), references(columns, record.results["features"])


def said(level: Level) -> str:
    """A level of a category, or that it is missing."""
    inside = level.name.removeprefix(f"{level.column.name}=")
    return level.name if inside == level.name else f"{level.column.name}: {inside}"


def label(record: Record, level: Level, method: Glm | Cox) -> str:
    """What a coefficient belongs to, and for what change of it."""
    variable = record.study.variables[level.column.name]
    if level.place is not None:
        return said(level)
    if variable.kind == "binary":
        return f"{level.name}: {variable.categories[1] if variable.categories else 'yes'}"
    if method.standardise:
        return f"{level.name} (per standard deviation)"
    return f"{level.name} (per {variable.unit or 'unit'})"


def table(method: Glm | Cox, rows: list[Fitted], labels: list[str]) -> Grid:
    """Every coefficient; as a ratio too where that is how it is read."""
    ratio = RATIO.get(family(method))
    head = ["Variable", *([f"{ratio} (95 % interval)"] if ratio else []), "Coefficient (95 % interval)", "Standard error", "p"]
    cells = []
    for name, row in zip(labels, rows, strict=True):
        if row.reference:
            cells.append([name, *(["1 (reference)"] if ratio else []), "0 (reference)", "–", "–"])
            continue
        odds = interval(row.ratio, row.ratio_low, row.ratio_high) if name != INTERCEPT else "–"
        ratios = [odds] if ratio else []
        cells.append([name, *ratios, interval(row.coef, row.low, row.high), number(row.se), chance(row.p)])
    note = "A ratio is the exponential of its coefficient. Intervals and p values are Wald's, of two sides." if ratio else ""
    return Grid("Coefficients", head, cells, note=note)


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A coefficient or ratio with its limits; small ones keep two digits."""
    ends = [number(x) if x is not None and np.isfinite(x) else ended(x if x is not None else np.nan, 3) for x in (value, low, high)]
    return f"{ends[0]} ({ends[1]} to {ends[2]})"


def chart(method: Glm | Cox, rows: list[Fitted], labels: list[str]) -> list[Drawing]:
    """Ratios on a logarithmic axis; plain coefficients only where they are all in the same unit."""
    ratio = RATIO.get(family(method))
    if not rows or not (ratio or method.standardise):
        return []
    strongest = sorted(range(len(rows)), key=lambda at: -abs(rows[at].z or 0.0))[:MOST]
    drawn = []
    for at in sorted(strongest):
        row = rows[at]
        found = Estimate(row.ratio, row.ratio_low, row.ratio_high) if ratio else Estimate(row.coef, row.low, row.high)
        drawn.append(Row(labels[at], None, found))
    note = f"Shown are the {MOST} that stand out most from chance; the table has all." if len(rows) > MOST else ""
    note = f"Lines are 95 % intervals; one that crosses the dotted line may be chance. {note}".strip()
    title = f"{ratio or 'Coefficient'} of each variable"
    sides = ("less likely", "more likely") if family(method) == "binomial" else ("lower", "higher")
    numbers = as_table(drawn, head={"label": "Variable", "together": f"{ratio or 'Coefficient'} (95 % interval)"})
    options: dict[str, Any] = {
        "log": bool(ratio),
        "reference": 1.0 if ratio else 0.0,
        "sides": sides,
        "ends": ends(drawn) if ratio else None,
    }
    return [drawing(forest, drawn, title=title, numbers=numbers, note=note, x_label=ratio or "Coefficient", **options)]


def ends(rows: list[Row]) -> tuple[float, float] | None:
    """Where the axis is cut when one wild interval would press all others into a line."""
    found = [value for row in rows if row.together for value in row.together if value is not None and value > 0]
    low, high = min([1.0, *found]), max([1.0, *found])
    return (max(low / 1.1, 0.01), min(high * 1.1, 100.0)) if low < 0.01 or high > 100 else None


def whole(record: Record) -> Grid:
    """The fit as a whole."""
    fit, hazards = record.results["fit"], isinstance(record.method, Cox)
    rows = [
        ["Rows used", written(int(fit["n"]), 0), "Rows with every variable known; rows with a missing value are left out at the hospital."]
    ]
    if hazards:
        secret = hidden(np.array([int(fit["events"]), int(fit["n"]) - int(fit["events"])]))
        rows.append(["Events", shown(int(fit["events"]), bool(secret[0])), "Rows in which the event was seen; the others are censored."])
    rows.append(["Log-likelihood", number(fit["loglik"], 2), "How well the fit describes these rows; for comparing fits of the same rows."])
    rows.append(["AIC", number(fit["aic"], 2), "The same, with a price for each variable: lower is better."])
    if "test" in fit:
        ratio = fit["test"]
        value = f"{number(ratio['chi2'], 2)}, p {chance(ratio['p'])}"
        said = f"Whether all variables together say anything ({counted(int(ratio['df']), 'degree')} of freedom)."
        rows.append(["Likelihood-ratio test", value, said])
    if one := record.results.get("concordance", {}).get("concordance"):
        meaning = "How often the patient with the higher risk has the event first, in the rows that made the fit: new patients fare worse."
        rows.append(
            ["Concordance", number(one["value"]), f"{meaning} Counting in groups can have moved it by at most {number(one['error'])}."]
        )
    if not hazards:
        rows.append(
            ["Dispersion", digits(fit["dispersion"]), "The variance around the fit; 1 by assumption unless the outcome is a number."]
        )
    rows.append(["Rounds", written(int(fit["rounds"]), 0), "Each a sum over all hospitals: one finds the scales, the others are Newton's."])
    rows.append(["Settled", "yes" if settled(record) else "no", "Whether the last step was too small to matter."])
    return Grid("The fit as a whole", ["Figure", "Value", "What it says"], rows, frozenset({2}))


def proportional(record: Record) -> list[Grid]:
    """Whether hazard ratios are the same early and late."""
    found = record.results["fit"].get("proportional")
    if found is None:
        return []
    chosen, dropped = named(record)
    called = [said(level) for at, level in enumerate(chosen) if at not in dropped]
    pairs = zip(called, np.asarray(found["chi2"]).tolist(), np.asarray(found["p"]).tolist(), strict=True)
    rows = [[name, number(chi2, 2), "1", chance(p)] for name, chi2, p in pairs]
    rows.append(["All together", number(found["all_chi2"], 2), written(int(found["df"]), 0), chance(found["all_p"])])
    note = "A small p says that a hazard ratio is not the same early and late: the one figure given for it is then an average over time."
    return [Grid("Are hazards proportional?", ["Variable", "Chi-squared", "df", "p"], rows, note=note)]
