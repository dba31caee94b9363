"""`collegium invite`: what the studies that ask for this hospital want, and its data steward's yes or no."""

import time
from collections.abc import Mapping
from typing import Any

import click

from collegium.cli import secret, settings
from collegium.cli.shell import Screen, columns, command
from collegium.client.draft import said
from collegium.client.names import pick
from collegium.errors import ConflictError

FOLDER = click.Option(["--folder"], metavar="FOLDER", help="the site's folder; else the one this user joined last")
STUDY = click.Argument(["study"])
STATES = {
    "waiting": "waits for you", "approved": "approved", "declined": "declined",
    "changed": "changed: what was approved no longer holds, a new signature is needed",
}  # fmt: skip


def opened(folder: str | None, study: str = "") -> tuple[Any, Any, Any]:
    """The site's settings and rules, and the invitation meant: by digest, its first letters, or its title."""
    from collegium.site import config, invites, policy

    where = settings.folder("site", folder)
    found, rules = config.load(where), policy.load(where / "policy.yaml")
    if not study:
        return found, rules, None
    titles = {digest: invites.load(where, digest).title for digest in invites.studies(where)}
    titled = [digest for digest, title in titles.items() if title == study]
    if len(titled) > 1:
        raise ConflictError(f"{len(titled)} invitations have this title", hint=f"name one: {', '.join(d[:12] for d in titled)}")
    return found, rules, invites.load(where, titled[0] if titled else pick(study, titles, "invitation"))


def listed(screen: Screen, folder: str | None) -> None:
    """List the studies that ask for this hospital, and what was said to each."""
    from collegium.site import invites

    found, rules, _ = opened(folder)
    rows = [
        {"study": o.study, "title": o.title, "state": v.state, "says": v.says, "received": invites.received(found.folder, o.study)}
        for o, v in invites.listed(found, rules)
    ]  # fmt: skip
    table = screen.table([(r["study"][:12], r["title"], r["state"], r["received"]) for r in rows], ("study", "title", "state", "came"))
    note = "\nEvery study runs that keeps policy.yaml's other rules: auto_approve is set." if rules.auto_approve else ""
    empty = "No study has asked for this hospital yet; the agent writes an invitation down when one does."
    screen.show({"invitations": rows, "auto_approve": rules.auto_approve}, (table if rows else empty) + note)


def shown(screen: Screen, study: str, arrays: bool, folder: str | None) -> None:
    """Show what a study wants: its purpose, the columns it reads, what leaves and how often, who takes part, what protects it.

    STUDY is a digest, its first letters, or a title. The words are to be compared by telephone: the study's with its lead, each
    partner's with that hospital's steward.
    """
    from collegium.site import briefing
    from collegium.study import manifest

    found, rules, offer = opened(folder, study)
    facts = briefing.brief(found, rules, offer)
    screen.show(facts, told(screen, facts, said(manifest.read(offer.manifest)), arrays))


def told(screen: Screen, facts: Mapping[str, Any], study: Mapping[str, Any], arrays: bool) -> str:
    """An invitation, for people."""
    from collegium.site import briefing

    state = STATES[facts["state"]] + (f" ({facts['says']})" if facts["state"] in ("declined", "changed") else "")
    lead, cost, safe = facts["lead"], facts["cost"], facts["protections"]
    head = [
        ("state", state), ("came", facts["received"]), ("lead", f"{lead['name'] or 'not named'}; key {lead['fingerprint']}"),
        *((name, value) for name, value in study.items() if name != "title"),
    ]  # fmt: skip
    who = [(p["site"], p["fingerprint"], "this hospital" if p["here"] else p["verified"] or "no") for p in facts["participants"]]
    parts = [
        f"{facts['title']}\n{facts['purpose']}", columns(head),
        f"Reads of the table {facts['policy']['table'] or '(none is open to it)'}:\n"
        + screen.table(briefing.reads(facts), ("column", "use", "kind", "unit", "allowed", "code", "meaning")),
        "Leaves this hospital, at most:\n"
        + screen.table(briefing.sent(facts), ("step", "numbers a round", "rounds", "bytes in all", "what they are"))
        + "\nNever: rows, names, dates, images.",
        *([every(screen, facts)] if arrays else ["Every array with its shape and bits: add --arrays."]),
        "Takes part:\n" + screen.table(who, ("hospital", "fingerprint, to compare by phone", "verified"))
        + f"\n{facts['verified']} verified; at least {facts['must_be_verified']} must be when you approve.",
        columns([("secure sum", safe["secure_sum_says"]), ("differential privacy", safe["differential_privacy"])]),
        f"Cost: at most {briefing.many(cost['rounds'])} rounds, {briefing.many(cost['bytes'])} bytes out of this hospital.\n"
        f"{briefing.AGAIN}",
        *changed(facts["before"]), *against(facts["policy"]),
        f"Fingerprint of the study, to compare with its lead by phone:\n  {facts['fingerprint']}\n  ({facts['study']})",
        f"Then: collegium invite approve {facts['study'][:8]} --verified HOSPITAL ...\n"
        f"  or: collegium invite decline {facts['study'][:8]} --because REASON",
    ]  # fmt: skip
    return "\n\n".join(parts)


def every(screen: Screen, facts: Mapping[str, Any]) -> str:
    """All arrays."""
    rows = [
        (step["step"], array["name"], " x ".join(map(str, array["shape"])) or "1", array["bits"])
        for step in facts["leaves"] for array in step["arrays"]
    ]  # fmt: skip
    return screen.table(rows, ("step", "array", "shape", "bits an entry"))


def changed(before: Mapping[str, Any] | None) -> list[str]:
    """What is new since the version that was approved."""
    if before is None:
        return []
    lines = "\n".join(f"  {line}" for line in before["changes"])
    return [f"Changed since the version that was approved {before['approved']} ({before['study'][:12]}):\n{lines}"]


def against(rules: Mapping[str, Any]) -> list[str]:
    """What the policy says against it."""
    way = f"\n  {rules['way_out']}" if rules["way_out"] else ""
    return [f"policy.yaml says no, so it could not run even if it were approved:\n  {rules['refuses']}{way}"] if rules["refuses"] else []


def approved(
    screen: Screen, study: str, table: str, verified: tuple[str, ...], verified_all: bool, passphrase_file: str | None, folder: str | None
) -> None:  # fmt: skip
    """Approve a study with the steward's key: what `collegium invite show` says, and nothing else.

    Name with --verified each partner whose fingerprint you have compared with that hospital; partners that you verified for an
    earlier study stay so. A running agent takes part within a second. If the manifest changes, or a participant is replaced, the
    approval no longer holds. For scripts the variable COLLEGIUM_STEWARD_PASSPHRASE holds the passphrase.
    """
    from collegium.site import approving, invites, steward
    from collegium.words import words

    found, rules, offer = opened(folder, study)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    partners = None if verified_all else verified
    made = approving.approval(found, rules, offer, table=table, verified=partners, at=at)
    screen.note(f"{offer.title}: {words(offer.study)}")
    key = steward.key(found.folder, secret.passphrase(passphrase_file, "Passphrase of the steward's key"))
    invites.approve(found.folder, offer.study, made, key)
    known = ", ".join(made.verified) or "none"
    text = (
        f"{offer.title} is approved for the table {made.table}. Verified partners: {known}.\nThe agent takes part in its runs from now on."
    )
    screen.show({"study": offer.study, "title": offer.title, **made._asdict()}, text)


def refused(screen: Screen, study: str, because: str, folder: str | None) -> None:
    """Decline a study; its lead is told the reason. An approval given before is taken back, and a run under way is left."""
    from collegium.site import invites

    found, _, offer = opened(folder, study)
    invites.decline(found.folder, offer.study, because, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    screen.show({"study": offer.study, "title": offer.title, "because": because}, f"{offer.title} is declined: {because}")


list_invites = command("list", listed, FOLDER)
show = command("show", shown, STUDY, click.Option(["--arrays"], is_flag=True, help="every array, with shape and bits"), FOLDER)
approve = command(
    "approve",
    approved,
    STUDY,
    click.Option(["--table"], default="", metavar="NAME", help="the table it may read; else the first that the policy opens to it"),
    click.Option(["--verified"], multiple=True, metavar="SITE", help="a partner whose fingerprint you compared; once for each"),
    click.Option(["--verified-all"], is_flag=True, help="you compared the fingerprints of all partners"),
    click.Option(["--passphrase-file"], type=click.Path(exists=True, dir_okay=False), help="a file whose first line is the passphrase"),
    FOLDER,
)
decline = command(
    "decline", refused, STUDY, click.Option(["--because"], required=True, metavar="REASON", help="why, for the study's lead"), FOLDER
)
