"""What a data steward has to know of an invitation before saying yes or no, as facts that a page and a terminal both show.

Everything here is worked out from what was signed: the manifest, the lead's list, the policy. Nothing is taken from the
coordinator's word.
"""

from collections.abc import Mapping
from typing import Any

from collegium import identity
from collegium.errors import IdentityError, PolicyRefusal, StorageError, StudyError
from collegium.privacy import secagg
from collegium.site import invites, policy
from collegium.site.config import Config, tables
from collegium.site.invites import Offer
from collegium.site.policy import Policy
from collegium.study import manifest, outflow
from collegium.study.difference import changes
from collegium.study.manifest import Study
from collegium.words import words

Facts = dict[str, Any]
AGAIN = "A round that is asked again, because hospitals were missing or numbers outgrew their range, is sent once more."
UNMASKED = "off: the coordinator sees this hospital's update while it adds it to the others'"


def brief(config: Config, rules: Policy, offer: Offer) -> Facts:
    """Everything about one invitation. Raises `StudyError` for a manifest of a newer release."""
    study = manifest.read(offer.manifest)
    try:
        pins, verdict = offer.sites(), invites.judge(config, offer, rules)
    except IdentityError as e:
        pins, verdict = offer.sites(), invites.Verdict("changed", str(e))
    group = offer.cohort(pins, config.site)
    who = participants(config, offer, pins)
    sent = outflow.steps(study, sites=max(len(pins), study.sites.minimum))
    return {
        "study": offer.study, "fingerprint": words(offer.study), "state": verdict.state, "says": verdict.says,
        "received": invites.received(config.folder, offer.study), "title": study.title, "purpose": study.purpose,
        "lead": {"name": study.lead, "key": offer.lead, "fingerprint": words(identity.fingerprint(offer.lead))},
        "columns": columns(study), "leaves": [leaving(step) for step in sent], "participants": who,
        "must_be_verified": invites.needed(rules, group),
        "verified": sum(one["verified"] != "" for one in who), "protections": protections(offer, study, pins, group),
        "cost": {"rounds": sum(step.rounds for step in sent), "bytes": outflow.added([step.whole for step in sent])},
        "policy": refusal(config, rules, offer), "before": former(config, offer),
    }  # fmt: skip


def columns(study: Study) -> list[Facts]:
    """Every column that would be read, and what for."""
    aims = set(study.outcome.columns) if study.outcome else set()
    found = [
        {"name": name, "use": "outcome" if name in aims else "input", "meaning": v.meaning, "kind": v.kind,
         "unit": v.unit, "code": v.code, "allowed": v.allowed, "required": v.required}
        for name, v in study.variables.items()
    ]  # fmt: skip
    others = [(study.patient, "tells patients apart; is not sent"), (study.holding.column, "says who is held out; is not sent")]
    nothing = {"meaning": "", "kind": "", "unit": "", "code": "", "allowed": "", "required": True}
    return found + [{"name": name, "use": use, **nothing} for name, use in others if name]


def leaving(step: outflow.Step) -> Facts:
    """One step of the study, as it leaves."""
    return {
        "step": step.name, "holds": step.held, "rounds": step.rounds, "numbers": step.numbers, "bytes": step.whole,
        "arrays": [{"name": a.name, "shape": list(a.shape), "bits": a.bits} for a in step.arrays],
    }  # fmt: skip


def participants(config: Config, offer: Offer, pins: Mapping[str, str]) -> list[Facts]:
    """Each participant with its fingerprint in words, and when the steward compared it, if ever."""
    known = invites.verified_before(config)
    return [
        {"site": site, "key": key, "fingerprint": words(identity.fingerprint(key)), "here": site == config.site,
         "verified": "" if site == config.site else known.get(key, "")}
        for site, key in pins.items()
    ]  # fmt: skip


def protections(offer: Offer, study: Study, pins: Mapping[str, str], group: Mapping[str, str]) -> Facts:
    """What hides this hospital's part from the others, in words, if all participants take part; and why, where it is off.

    `group` are those of the participants whose sum this hospital's part goes into.
    """
    because, hidden = study.privacy.because.strip(), study.secure
    says = f"{UNMASKED}. The reason given: {because}" if because else UNMASKED
    if hidden:
        try:
            cut = len(secagg.cohorts(offer.study, pins, largest=study.privacy.cohort))
            badge = secagg.badge(secagg.agreed(offer.manifest, offer.study, group, of=len(pins)), cut)
            checked = "; its sites check each sum" if study.privacy.verified else ""
            says = f"on: {badge}{checked}" + (f". It is noted: {because}" if because else "")
        except StudyError as e:
            says = f"on, and no run can begin yet: {e}"
    return {"secure_sum": hidden, "secure_sum_says": says, "differential_privacy": "none: no noise is added"}


def refusal(config: Config, rules: Policy, offer: Offer) -> Facts:
    """The table that would be read, and what the policy says against it."""
    table = policy.chosen(rules, offer.manifest, tables(config.folder))
    try:
        policy.check(rules, offer.manifest, table)
    except PolicyRefusal as e:
        return {"table": table, "refuses": str(e), "way_out": e.hint}
    return {"table": table, "refuses": "", "way_out": ""}


def former(config: Config, offer: Offer) -> Facts | None:
    """What changed since the last version of this study (the same title, the same lead) that the steward approved; None for a first."""
    found: tuple[str, Offer] | None = None
    for study in invites.studies(config.folder):
        try:
            other, approval = invites.load(config.folder, study), invites.approval_of(config.folder, study)
        except (IdentityError, StorageError):
            continue
        if study == offer.study or approval is None or (other.title, other.lead) != (offer.title, offer.lead):
            continue
        if found is None or approval.at > found[0]:
            found = approval.at, other
    if found is None:
        return None
    return {"study": found[1].study, "approved": found[0], "changes": changes(found[1].manifest, offer.manifest)}


def reads(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The columns that would be read as rows for people: name, use, kind, unit, what is allowed, code, meaning."""
    uses = [one["use"] if one["required"] else f"{one['use']}, may be absent" for one in facts["columns"]]
    rest = ("kind", "unit", "allowed", "code", "meaning")
    return [(one["name"], use, *(one[name] for name in rest)) for one, use in zip(facts["columns"], uses, strict=True)]


def sent(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What would leave as rows for people: step, numbers a round, rounds, bytes in all, what they are."""
    return [(one["step"], *(many(one[name]) for name in ("numbers", "rounds", "bytes")), one["holds"]) for one in facts["leaves"]]


def many(count: int | None) -> str:
    """A number of things, which for a step that depends on an unusable one cannot be told."""
    return "?" if count is None else f"{count:,}"
