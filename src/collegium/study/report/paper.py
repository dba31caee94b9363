"""The methods section of a paper, as far as a manifest can write it: plain sentences to be pasted and mended by the authors."""

from collections.abc import Iterator
from importlib.metadata import version

from collegium.study import manifest
from collegium.study.manifest import Averaging, Cox, Glm, Statistics, Survival
from collegium.study.report.document import Record
from collegium.study.report.spoken import counted, listed

MODELS = {"gaussian": "Linear", "binomial": "Logistic", "poisson": "Poisson"}
RATIOS = {"binomial": "Odds ratios", "poisson": "Rate ratios", "gaussian": "Coefficients"}
ERRORS = {
    "model": "",
    "patient": ", with standard errors from a sandwich estimator clustered by patient",
    "site": ", with standard errors from a sandwich estimator clustered by hospital",
}


def paper(record: Record) -> str:
    """What was done, in the past tense, from the manifest alone but for the number of hospitals."""
    parts = (setting(record), analysis(record), sums(record), tools(record))
    return "\n\n".join(" ".join(part) for part in parts)


def setting(record: Record) -> Iterator[str]:
    """Who, what and whom."""
    study = record.study
    many = counted(record.sites, "hospital") if record.sites else f"at least {counted(study.sites.minimum, 'hospital')}"
    yield f"Patients of {many} were studied without pooling their records."
    if study.outcome and study.outcome.task == "survival":
        time = study.variables[study.outcome.time]
        yield f"The outcome was the time ({study.outcome.time}{f', in {time.unit}' if time.unit else ''}) to {study.outcome.event};"
        yield (
            f"follow-up was considered up to {time.high}{f' {time.unit}' if time.unit else ''}." if time.high else "no limit was set to it."
        )
    elif study.outcome:
        one = study.variables[study.outcome.target]
        yield f"The outcome was {study.outcome.target}{f' ({one.meaning})' if one.meaning else ''}."
    if study.features:
        yield f"Variables considered were {listed(list(study.features), 40)}."
    if study.parted:
        yield f"Patients were {'stratified' if study.exact else 'compared'} by {study.parted}."


def analysis(record: Record) -> Iterator[str]:
    """The model and the tests."""
    match record.method:
        case Cox() as how:
            yield f"Hazard ratios were estimated by Cox proportional hazards regression with {how.ties.capitalize()}'s treatment of ties."
            yield from hazards(how)
            yield "Proportionality was examined by score tests of an interaction with time, transformed by the Kaplan-Meier estimate."
            yield "The baseline hazard is Breslow's."
        case Survival() as how:
            yield f"Survival was estimated by the Kaplan-Meier method on a time grid of cells of {how.grid}, with log-log 95% intervals."
            if how.by:
                yield "Groups were compared by the log-rank test, of all patients and stratified by hospital."
            yield "Restricted mean survival times are given with Greenwood-type standard errors."
            yield f"No estimate was released where fewer than {how.fewest} patients remained at risk."
        case Glm() as how:
            yield f"{MODELS[how.family]} regression was fitted by maximum likelihood{ERRORS[how.errors]}."
            yield f"{RATIOS[how.family]} are given with Wald 95% intervals."
            yield "The model was compared with one without variables by a likelihood-ratio test."
        case Averaging() as how:
            yield f"A model (recipe {how.recipe}) was trained by federated averaging over at most {counted(how.rounds, 'round')}."
        case Statistics():
            yield "Variables were described by counts, means, standard deviations and quantiles."
    if record.study.exact:
        yield "Records with a missing variable were left out."
    if getattr(record.method, "ridge", 0):
        yield f"Coefficients were shrunk by a ridge penalty of {record.method.ridge}."  # type: ignore[union-attr]  # it has one
    held = record.study.holding
    if held.test and not held.column:
        yield f"{counted(held.test, 'tenth')} of the patients, chosen by a salted hash, were held out and used for evaluation only."


def hazards(how: Cox) -> Iterator[str]:
    """Whom a patient with an event was compared with."""
    if how.risk_sets == "site":
        yield "The analysis was stratified by hospital: risk sets hold patients of the same hospital only."
        return
    yield f"Risk sets were formed over all hospitals on a common time grid of cells of {how.grid}"
    yield "." if how.fewest == 1 else f"joined until at least {how.fewest} patients had the event in each interval."


def sums(record: Record) -> Iterator[str]:
    """How the hospitals worked together."""
    yield "Computations were federated: each hospital evaluated its own records behind its walls and sent sums only,"
    yield "and the totals over hospitals were those that pooled records would have given."
    if record.study.secure:
        yield "Sums were masked (secure aggregation), so that the coordinating server could read the total but no hospital's part."
    else:
        yield "The coordinating server could read each hospital's sums."
    yield "No noise was added."


def tools(record: Record) -> Iterator[str]:
    """With what, and which study exactly."""
    yield f"Analyses used Collegium {version('collegium')}; the study's manifest has the SHA-256 digest {manifest.digest(record.study)}."
