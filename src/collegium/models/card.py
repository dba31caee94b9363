"""The card of a trained model: what it is for, whom it was trained on, how good it is, and what nobody has measured.

    >>> from collegium.study.manifest import EXAMPLE, read
    >>> made = card(read(EXAMPLE), {"fit": {"rounds": np.array(20)}}, sites=3)
    >>> made["trained_on"]["sites"], made["quality"]["headline"]
    (3, 'Not measured.')

A card is filled in from the manifest and from what the run added up, so it cannot say more than was measured. `markdown` is
the same card for people; both lie in the model's folder.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from collegium.algorithms.compare import Figure, sentence, sheet
from collegium.algorithms.features import names, references
from collegium.algorithms.forest import importance
from collegium.algorithms.glm import table_of
from collegium.algorithms.metrics import METRICS
from collegium.study.manifest import Averaging, Cox, Glm, Study, Trees, digest
from collegium.study.plan import column
from collegium.tree import Tree

FORMAT = 1
NOT_MEASURED = "Not measured"
NOT_FOR = (
    "Research use only: not a medical device. Not for a decision that no person makes, not for patients unlike those it was "
    "trained on, and not for any purpose but the one above."
)
UNKNOWN = (
    "at hospitals that took no part in training",
    "for groups of patients apart, such as women and men or the old and the young",
    "on patients of later years",
    "under attacks that try to find out who was in the training data",
)


def card(study: Study, results: Mapping[str, Tree], *, sites: int, created: str = "", first: str | None = None) -> dict[str, Any]:
    """The card as JSON-ready values; `results` are those of the run by stage, `created` a date in words.

    `first` is the digest of the weights that were brought and training began from; empty if they were drawn from the seed,
    None if nobody told.
    """
    return {
        "format": FORMAT,
        "title": study.title,
        "purpose": study.purpose,
        "not_for": NOT_FOR,
        "lead": study.lead,
        "created": created,
        "model": kind(study),
        "output": output(study),
        "trained_on": {"sites": sites, "rows": rows(results), "rounds": number(results.get("fit", {}).get("rounds"))},
        "first_weights": first,
        "quality": quality(results),
        "coefficients": coefficients(study, results),
        "importance": importances(study, results),
        "limits": limits(study, results, sites),
        "inputs": [entry(study, name) for name in study.features],
        "privacy": "Each hospital sent sums only; no row left it. No noise was added to the sums.",
        "versions": {"collegium": version("collegium"), "study": digest(study)},
        "files": {},
    }


def kind(study: Study) -> str:
    """What sort of model it is, in a few words."""
    if isinstance(study.method, Glm):
        return f"generalised linear model, {study.method.family}"
    if isinstance(study.method, Trees):
        return f"boosted trees of depth {study.method.depth} at most, grown from summed histograms"
    if isinstance(study.method, Cox):
        return f"proportional hazards (Cox), risk sets {'of all hospitals' if study.method.risk_sets == 'pooled' else 'of each hospital'}"
    if not isinstance(study.method, Averaging):
        return study.method.kind
    task = study.outcome.task if study.outcome else "regression"
    plain = "linear regression" if task == "regression" else "logistic regression"
    shape = f"network with hidden layers of {', '.join(map(str, study.method.hidden))}" if study.method.hidden else plain
    return f"{shape} (recipe {study.method.recipe}), trained by federated averaging"


def output(study: Study) -> str:
    """What the model says of a patient."""
    outcome = study.outcome
    if outcome and isinstance(study.method, Cox):
        unit = study.variables[outcome.time].unit
        if study.method.horizons:
            return f"the risk of {outcome.event} by {', '.join(map(str, study.method.horizons))}{f' {unit}' if unit else ''}"
        return f"the hazard of {outcome.event}, relative to that of the mean patient"
    if outcome is None or outcome.task == "survival":
        return "a risk score"
    target = study.variables[outcome.target]
    if outcome.task == "regression":
        return f"an estimate of {outcome.target}{f' in {target.unit}' if target.unit else ''}"
    if outcome.task == "multiclass":
        return f"the probability of each {outcome.target}: {', '.join(target.categories)}"
    return f"the probability that {outcome.target} is {target.categories[1] if target.categories else '1'}"


def rows(results: Mapping[str, Tree]) -> int | None:
    """How many rows the model learned from, as the stage that prepared the features counted them."""
    prepared = results.get("features", {})
    if len(found := np.asarray(prepared.get("numbers", {}).get("n", ()))):
        return int(found[0]) + int(np.asarray(prepared["numbers"]["missing"])[0])
    for one in prepared.get("categories", {}).values():
        return int(np.asarray(one["counts"]).sum() + np.asarray(one["other"]) + np.asarray(one["missing"]))
    return None


def quality(results: Mapping[str, Tree]) -> dict[str, Any]:
    """How good the model is on patients it never saw; figures are value, low, high."""
    found = results.get("compare")
    if not found:
        return {"headline": f"{NOT_MEASURED}.", "metric": "", "lines": [], "more": {}}
    pooled = found["pooled"]
    more = {name: number(pooled[name]) for name in ("brier", "log_loss", "rmse", "mae", "accuracy", "rows", "patients") if name in pooled}
    slopes = pooled.get("calibration", {})
    more |= {f"calibration {name}": number(slopes[name]) for name in ("intercept", "slope") if name in slopes}
    lines = [
        {"name": line.name, "alone": figure(line.alone), "joint": figure(line.joint), "gain": figure(line.gain), "note": line.note}
        for line in sheet(found)
    ]
    return {"headline": sentence(found), "metric": METRICS[int(found["task"])], "lines": lines, "more": more}


def coefficients(study: Study, results: Mapping[str, Tree]) -> list[dict[str, Any]]:
    """The rows of an exact fit; none for other methods."""
    fit = results.get("fit", {})
    if not study.exact or "coef" not in fit or "features" not in results:
        return []
    columns = [column(name, study.variables[name]) for name in study.features]
    called, dropped = names(columns, results["features"]), references(columns, results["features"])
    found = [{**row._asdict(), "reference": row.reference} for row in table_of(fit, called, dropped)]
    return [{name: number(value) if isinstance(value, float) else value for name, value in row.items()} for row in found]


def importances(study: Study, results: Mapping[str, Tree]) -> list[dict[str, Any]]:
    """Which inputs boosted trees ask, and what each adds; none for other methods."""
    if not isinstance(study.method, Trees) or "fit" not in results:
        return []
    found = importance([column(name, study.variables[name]) for name in study.features], results["fit"])
    return [{"name": name, "share": number(share), "splits": splits} for name, share, splits in found]


def limits(study: Study, results: Mapping[str, Tree], sites: int) -> list[str]:
    """What to know before use; what was not measured is said, never left blank."""
    out = [f"Learned at {sites} hospitals; nothing is known of others."] if sites else []
    found = results.get("compare", {})
    left = {name: int(count) for name, count in found.get("sites", {}).items()}
    if left.get("alone_better"):
        out.append(f"At {left['alone_better']} of {left['compared']} hospitals that could be compared, a model of its own was better.")
    if "slope" not in found.get("pooled", {}).get("calibration", found.get("pooled", {})):
        out.append(f"Whether predicted values come true (calibration): {NOT_MEASURED}.")
    if study.exact:
        out.append("It says nothing of a patient of whom an input is missing.")
    elif isinstance(study.method, Trees):
        out.append("A missing value goes the way that was best for training patients without one, which may be few.")
    else:
        out.append("A missing number counts as the mean of all hospitals' training patients.")
    return [*out, *(f"How good it is {what}: {NOT_MEASURED}." for what in UNKNOWN)]


def entry(study: Study, name: str) -> dict[str, Any]:
    """One input as the hospital that uses the model must give it."""
    found = study.variables[name].model_dump(mode="json", exclude_defaults=True)
    return {"name": name, "kind": study.variables[name].kind, **found}


def number(value: Any) -> float | int | None:
    """A figure of a result as JSON: six significant digits."""
    if value is None:
        return None
    plain = np.asarray(value).item()
    return plain if isinstance(plain, int) else float(f"{plain:.6g}")


def figure(found: Figure | None) -> list[float] | None:
    """Value, low and high."""
    return None if found is None else [float(f"{x:.6g}") for x in found]


# For people -----------------------------------------------------------------------------------------------------------------


def markdown(card: Mapping[str, Any]) -> str:
    """The card as a page."""
    trained, quality = card["trained_on"], card["quality"]
    parts = [
        f"# {line(card['title'])}",
        line(card["purpose"]),
        f"**What it gives:** {line(card['output'])}.  \n**What it is:** {line(card['model'])}.",
        f"## Not for\n\n{card['not_for']}",
        f"## Trained on\n\n{said(trained['sites'])} hospitals, {said(trained['rows'])} rows, {said(trained['rounds'])} rounds."
        f"{began(card)}",
        f"## How good it is\n\n{quality['headline']}",
        figures(quality),
        "\n".join(f"- {name}: {said(value)}" for name, value in quality["more"].items()),
        coefficient_table(card["coefficients"]),
        importance_table(card.get("importance", ())),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in card["limits"]),
        "## Inputs\n\n" + grid(("input", "kind", "unit", "range or categories", "meaning"), [asked(one) for one in card["inputs"]]),
        f"## Privacy\n\n{card['privacy']}",
        "## Versions and files\n\n" + "\n".join(f"- {name}: `{value}`" for name, value in {**card["versions"], **card["files"]}.items()),
        "## Use it\n\nOn a computer of the hospital; nothing is sent:\n\n```\ncollegium model use FOLDER --data FILE\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def began(card: Mapping[str, Any]) -> str:
    """Whose weights training began from, where it began from any: what those had learned is in the model too."""
    first = card.get("first_weights")
    return f" Training began from weights that were brought, BLAKE3 digest `{first}`." if first else ""


def figures(quality: Mapping[str, Any]) -> str:
    """The comparison sheet."""
    shown = [(one["name"], *(interval(one[name]) for name in ("alone", "joint", "gain")), one["note"]) for one in quality["lines"]]
    metric = quality["metric"]
    return grid(("held-out patients", f"{metric}, alone", f"{metric}, together", "gain (95 % interval)", ""), shown) if shown else ""


def coefficient_table(found: Sequence[Mapping[str, Any]]) -> str:
    """Coefficients with their intervals, and ratios where the model has them."""
    if not found:
        return ""
    shown = []
    for one in found:
        ends = (one["low"], one["high"])
        between = interval([one["coef"], *ends]) if None not in ends else "reference" if one.get("reference") else ""
        shown.append((one["name"], said(one["coef"]), between, said(one["p"], "-"), said(one["ratio"], "-")))
    return "## Coefficients\n\n" + grid(("column", "coefficient", "95 % interval", "p", "ratio"), shown)


def importance_table(found: Sequence[Mapping[str, Any]]) -> str:
    """What the trees ask, the most important first."""
    shown = [(one["name"], f"{100 * one['share']:.1f} %", str(one["splits"])) for one in found if one["splits"]]
    return "## What it goes by\n\n" + grid(("input", "share of the gain", "splits"), shown) if shown else ""


def asked(one: Mapping[str, Any]) -> tuple[str, ...]:
    """One input as a row of the table."""
    low, high = one.get("low"), one.get("high")
    span = f"{low if low is not None else '...'} to {high if high is not None else '...'}" if low is not None or high is not None else ""
    name = one["name"] + ("" if one.get("required", True) else " (may be absent)")
    return name, one["kind"], one.get("unit", ""), span or ", ".join(one.get("categories", ())), one.get("meaning", "")


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    shown = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in shown)


def interval(found: Sequence[float] | None) -> str:
    """A figure with its interval."""
    return "" if found is None else f"{found[0]:.3g} ({found[1]:.3g} to {found[2]:.3g})"


def said(value: Any, otherwise: str = NOT_MEASURED.lower()) -> str:
    """A number for people, or that there is none."""
    return otherwise if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def line(text: Any) -> str:
    """Text on one line, in which nothing is taken for HTML."""
    return " ".join(str(text).split()).replace("<", "&lt;")
