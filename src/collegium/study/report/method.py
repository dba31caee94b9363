"""How it was done, what the results do not say, and what the words mean."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version

from collegium.algorithms.compare import REASONS
from collegium.study import manifest
from collegium.study.manifest import Averaging, Cox, Glm, Survival, Trees
from collegium.study.report.document import NOT_MEASURED, Folded, Grid, Pairs, Points, Record, Section, real
from collegium.study.report.paper import paper
from collegium.study.report.spoken import counted, lasting, listed, number, share

FAMILIES = {"gaussian": "linear regression", "binomial": "logistic regression", "poisson": "Poisson regression"}
WORDS = {
    "Hospital": "A site of the study, with the software that works on its rows inside its walls.",
    "Coordinator": "The server that asks the hospitals for updates and adds them. It holds no rows.",
    "Update": "The numbers that one hospital returns in a round, made to be added to those of the others.",
    "Round": "One question to all hospitals, their answers, and the sum.",
    "Alone, together": "A model trained on one hospital's rows only, and the joint model of all hospitals.",
    "Held-out patients": "Patients kept out of training, on whom the finished model is tried. The same ones in every run of a study.",
    "95 % interval": "A range that holds the true figure in about 95 of 100 such studies.",
    "AUROC": "Area under the ROC curve: how often a patient with the outcome is ranked above one without. 0.5 is chance, 1 is always.",
    "Concordance": "How often, of two patients, the one with the higher estimated risk has the event first.",
    "Calibration": "Whether of 100 patients with an estimate of 20 % about 20 have the outcome.",
    "Sensitivity": "Of the patients with the outcome, the share that is marked.",
    "Specificity": "Of the patients without the outcome, the share that is not marked.",
    "PPV, NPV": "Of the marked patients, the share with the outcome; of those not marked, the share without it.",
    "R2": "The share of the differences between patients that a model explains.",
    "Odds ratio": "How many times the odds of the outcome change when a variable grows by one unit.",
    "Rate ratio": "How many times the number of events changes when a variable grows by one unit.",
    "Hazard ratio": "How many times as often the event comes, among those still free of it, when a variable grows by one unit.",
    "Censored": "Followed up to a time without the event: what came later is not known.",
    "At risk": "Still followed, and still free of the event.",
    "Risk set": "Those at risk when somebody has the event, with whom that patient is compared.",
    "Log-rank test": "Whether two or more survival curves differ by more than chance.",
    "p value": "How often chance alone would give a coefficient as far from nought as this one.",
    "Standard deviation": "How far values typically lie from their mean.",
    "Quantile": "The value that a given share of the rows does not exceed; the median is the 50 % quantile.",
    "Secure aggregation": "Masks that let a coordinator read only the sum of the updates.",
    "Differential privacy": "Noise that bounds what anybody can learn about one patient. Not part of this version.",
    "Study digest": "The fingerprint of the study: any change of a word in it gives another.",
}
ONLY: Mapping[str, tuple[str, ...]] = {
    "binary": ("AUROC", "Calibration", "Sensitivity", "Specificity", "PPV, NPV"),
    "multiclass": ("AUROC",),
    "regression": ("R2",),
    "survival": ("Concordance",),
    "binomial": ("Odds ratio", "p value"),
    "poisson": ("Rate ratio", "p value"),
    "gaussian": ("p value",),
    "cox": ("Hazard ratio", "Censored", "At risk", "Risk set", "p value", "Concordance"),
    "survival curves": ("Censored", "At risk", "Log-rank test", "p value", "95 % interval"),
    "statistics": ("Standard deviation", "Quantile"),
    "model": ("Alone, together", "Held-out patients", "95 % interval"),
}


def method(record: Record) -> Section:
    """What was asked of whom, and by which rules."""
    study, facts = record.study, record.facts
    items = [
        ("Method", in_words(record)),
        ("Held out", held_out(record)),
        (
            "Hospitals needed",
            f"{study.sites.minimum} to start, {study.quorum} a round, {lasting(study.sites.deadline_s)} to answer",
        ),
        ("Seed", str(study.seed)),
        *([("First weights", f"brought, BLAKE3 digest {facts['first']}")] if facts.get("first") else []),
        ("Patients told apart by", study.patient or "rows: each row counts as a patient"),
        ("Study lead", study.lead or NOT_MEASURED.replace("measured", "given")),
        ("Study digest", manifest.digest(study)),
        ("Run", str(facts.get("run") or facts.get("id") or NOT_MEASURED.replace("measured", "given"))),
        ("Versions", versions(record)),
        ("Source of the data", str(facts.get("source") or NOT_MEASURED.replace("measured", "given"))),
    ]
    whole = Folded("The study as the hospitals approved it", manifest.text(study))
    text = Folded("For the methods section of a paper", paper(record))
    return Section("method", "How was it done?", [Pairs(items), variables(record), settings(record), text, whole])


def in_words(record: Record) -> str:
    """The method in a sentence."""
    match record.method:
        case Averaging() as m:
            layers = f"a network with hidden layers of {', '.join(map(str, m.hidden))}" if m.hidden else "a model without hidden layers"
            pulled = f", pulled towards the joint model (FedProx, mu {m.mu})" if m.mu else ""
            scaled = ", normalised by steps (FedNova)" if m.normalise else ""
            short = ", weights sent in 16 bits" if m.bits == 16 else ""
            return f"Federated averaging of recipe “{m.recipe}”, {layers}: averaged by rows{pulled}{scaled}{short}."
        case Trees() as m:
            return boosted(m)
        case Glm() as m:
            ridge = f" with a ridge of {m.ridge}" if m.ridge else ""
            return f"{FAMILIES[m.family].capitalize()}{ridge} by Newton steps on sums: the fit that all rows in one table would give."
        case Cox() as m:
            sets = "of all hospitals together, on the study's time grid" if m.risk_sets == "pooled" else "within each hospital"
            return f"Cox's proportional hazards by Newton steps on sums; risk sets {sets}; ties by {m.ties.capitalize()}'s rule."
        case Survival():
            return "Kaplan-Meier curves and log-rank test from counts on a time grid: those of all rows in one table."
    return "Counts and sums over all hospitals. Every row is described, and none is held out."


def boosted(m: Trees) -> str:
    """Boosted trees in a sentence."""
    many = f"{m.trees} steps of {m.parallel} trees side by side" if m.parallel > 1 else f"{m.trees} trees"
    part = [f"{share} of the {what}" for share, what in ((m.rows, "patients"), (m.columns, "variables")) if share < 1]
    some = f", each on {' and '.join(part)}" if part else ""
    held = [f"{name} may only {'raise' if way == 'up' else 'lower'} the estimate" for name, way in m.monotone.items()]
    return (
        f"Boosted trees, at most {many} of depth {m.depth}, learning rate {m.learning_rate}{some}, by sums over bins: the trees that all "
        f"rows in one table would grow.{f' A rise of {listed(held)}.' if held else ''}"
    )


def held_out(record: Record) -> str:
    """Who was kept out of training, by which rule."""
    held = record.study.holding
    if not record.trains:
        return "Nobody: every row is described."
    if held.column:
        return f"The column “{held.column}” says who is for the test and who is for checking during training."
    if not held.test and not held.validation:
        return "Nobody: the fit is made from all rows."
    check = f", {held.validation} more for checking during training" if held.validation else ""
    return f"{held.test} of 10 patients for the test{check}, drawn by a hash of patient and salt “{held.salt}”: the same in every run."


def settings(record: Record) -> Folded:
    """Every setting of the method, defaults written out."""
    chosen = flat(record.method.model_dump(mode="json", exclude_none=True))
    return Folded("Every setting of the method", "\n".join(f"{name}: {value}" for name, value in chosen))


def flat(fields: Mapping[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as one list."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{before}{name}", ", ".join(" × ".join(map(str, one)) if isinstance(one, list) else str(one) for one in value) or "none"
        else:
            yield f"{before}{name}", {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def variables(record: Record) -> Grid:
    """What was asked for, in the words of the study."""
    rows = []
    outcome = record.study.outcome.columns if record.study.outcome else ()
    for name, one in record.study.variables.items():
        between = f"{'–' if one.low is None else one.low} to {'–' if one.high is None else one.high}"
        values = ", ".join(one.categories) or (between if (one.low, one.high) != (None, None) else "any")
        kind = {"number": "number", "category": "category", "binary": "yes/no"}[one.kind] + (f", {one.unit}" if one.unit else "")
        use = "outcome" if name in outcome else "needed" if one.required else "may be missing"
        rows.append([name, one.meaning or "–", kind, values, use])
    return Grid("Variables", ["Variable", "Meaning", "Kind", "Values", "Use"], rows, frozenset({1, 2, 3, 4}))


def versions(record: Record) -> str:
    """What the programs were, as told; this report's own otherwise."""
    told = record.facts.get("versions")
    if isinstance(told, Mapping):
        return ", ".join(f"{name} {version}" for name, version in told.items())
    return str(told) if told else f"Report written by Collegium {version('collegium')}"


def limits(record: Record) -> Section:
    """What these results do not say, filled in from the evidence."""
    points = [
        "This is a result of research. It has not been checked for use in care, and decides about no patient.",
        *trained(record),
        *thin(record),
    ]
    if not record.over:
        points.insert(0, f"The run {record.stands}: results may be missing, and what is here may not be the end.")
    if record.left:
        gone = listed([f"{name} ({why})" for name, why in record.left.items()])
        points.append(f"{counted(len(record.left), 'hospital')} left the run before its end: {gone}.")
    if record.simulated:
        points.append("It is a simulation on one machine. Real hospitals may drop out, be late, or hold data of another kind.")
    points.append("Nobody attacked the updates to find out what they give away: not measured.")
    return Section("limits", "What does it not say?", [Points(points)])


def trained(record: Record) -> Iterator[str]:
    """Limits of models."""
    if not record.trains:
        yield "It describes the patients of these hospitals, who need not be like those of others; it explains nothing."
        return
    yield "Held-out patients come from the same hospitals: how the model does at another hospital is not measured."
    yield "Whether it works equally well for women and men, for young and old, and for other groups is not measured."
    if record.study.exact:
        yield "A coefficient is an association, not a cause; rows with a missing value were left out, which can shift it."
    if not record.quality:
        yield "Nothing is known about patients it never saw: quality on held-out patients is not measured."
    if isinstance(record.method, Trees):
        yield "Sums of a small part of a tree may be of few patients; secure sums hide whose they are, and not that they are few."
    yield "Intervals count patients as independent, and hold for these hospitals, not for hospitals at large."


def thin(record: Record) -> Iterator[str]:
    """Limits that this run's own figures show."""
    counts = {name: int(x) for name, x in record.results.get("compare", {}).get("sites", {}).items()}
    for name, words in REASONS.items():
        if counts.get(name):
            yield f"{counted(counts[name], 'hospital')} {words}: no comparison for {'it' if counts[name] == 1 else 'them'}."
    found = record.quality
    positives, rows = (real(found.get(name)) for name in ("positives", "rows"))
    if positives is not None and rows and min(positives, rows - positives) < 100:
        yield "Fewer than 100 held-out patients have the outcome, or fewer than 100 have not: the figures are rough."
    part = found.get("calibration", {})
    slope, error = real(part.get("slope")), real(part.get("slope_error"))
    if slope is not None and abs(slope - 1) > max(2 * (error or 0), 0.1):
        yield f"The calibration slope is {number(slope, 2)}: estimates need recalibration before anybody acts on them."
    unscored = real(found.get("unscored"))
    if unscored and rows and unscored > 0.05 * (rows + unscored):
        yield f"{share(unscored / (rows + unscored))} of the held-out rows have no outcome or no estimate."


def glossary(record: Record) -> Section:
    """The words of this report."""
    kinds = [
        record.task,
        "survival curves" if isinstance(record.method, Survival) else record.method.kind,
        "model" if record.trains else "",
    ]
    kinds += [record.method.family] if isinstance(record.method, Glm) else []
    used = {word for kind in kinds for word in ONLY.get(kind, ())}
    special = {word for words in ONLY.values() for word in words}
    return Section("words", "What do the words mean?", [Pairs([(w, said) for w, said in WORDS.items() if w in used or w not in special])])
