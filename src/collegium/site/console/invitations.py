"""Studies that ask for this hospital, with all that a data steward has to know, and the steward's yes or no."""

import time
from pathlib import Path
from typing import Any

from collegium.errors import DataError
from collegium.site import approving, briefing, config, invites, policy, steward
from collegium.site.config import Config
from collegium.site.invites import Offer
from collegium.site.policy import Policy
from collegium.study import participants
from collegium.web.app import Ask, Go, Shown

STATES = {
    "waiting": ("warn", "waits for you"), "approved": ("ok", "approved"), "declined": ("bad", "declined"),
    "changed": ("warn", "changed: a new signature is needed"),
}  # fmt: skip


def rules_of(folder: Path) -> tuple[Config, Policy]:
    """The site's settings and rules, as they are now."""
    return config.load(folder), policy.load(folder / "policy.yaml")


def listed(folder: Path, ask: Ask) -> Shown:
    """All invitations, those that wait first."""
    found, rules = rules_of(folder)
    rows: list[dict[str, Any]] = [
        {"study": offer.study, "title": offer.title, "badge": STATES[verdict.state], "came": invites.received(folder, offer.study),
         "says": verdict.says, "open": verdict.state in ("waiting", "changed")}
        for offer, verdict in invites.listed(found, rules)
    ]  # fmt: skip
    rows.sort(key=lambda row: row["came"], reverse=True)
    rows.sort(key=lambda row: not row["open"])
    return Shown("invitations.html", {"rows": rows, "auto": rules.auto_approve})


def shown(folder: Path, ask: Ask) -> Shown:
    """One invitation: what it is for, what it reads, what leaves, who takes part, what protects."""
    found, rules = rules_of(folder)
    offer = invites.load(folder, ask.parts["study"])
    facts = briefing.brief(found, rules, offer)
    return Shown("invitation.html", {
        "it": facts, "state": STATES[facts["state"]], "tables": config.tables(folder), "steward": (folder / steward.PUBLIC).exists(),
        "leaves": briefing.sent(facts), "columns": briefing.reads(facts), "exactly": exactly(offer), "again": briefing.AGAIN,
    })  # fmt: skip


def exactly(offer: Offer) -> str:
    """What a page shows, in a word: the study, and who takes part in it."""
    return f"{offer.study}:{participants.head(offer.entries)}"


def approved(folder: Path, ask: Ask) -> Go:
    """The steward's yes, signed with the steward's key: for what the page has shown and nothing else."""
    found, rules = rules_of(folder)
    offer = invites.load(folder, ask.parts["study"])
    if ask.form.get("shown") != exactly(offer):
        raise DataError("this invitation has changed since it was shown", hint="open it again and read what has changed")
    if ask.form.get("read") != "yes":
        raise DataError("nothing was signed: the box beside the fingerprint is not ticked", hint="go back, compare the words with the lead")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    verified = tuple(ask.many.get("verified", ()))
    made = approving.approval(found, rules, offer, table=ask.form.get("table", ""), verified=verified, at=at)
    invites.approve(folder, offer.study, made, steward.key(folder, ask.form.get("passphrase", "")))
    return Go(f"/invitations/{offer.study}", f"Approved for the table {made.table}. The agent takes part in its runs from now on.")


def declined(folder: Path, ask: Ask) -> Go:
    """The steward's no; what was approved before is taken back."""
    offer, because = invites.load(folder, ask.parts["study"]), " ".join(ask.form.get("because", "").split())
    if not because:
        raise DataError("a reason is wanted: the study's lead is told it", hint="go back and write one")
    invites.decline(folder, offer.study, because[:500], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    return Go(f"/invitations/{offer.study}", "Declined. The lead is told your reason; a run under way is left.")
