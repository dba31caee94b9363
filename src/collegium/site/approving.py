"""From a steward's yes to an approval that may be signed: for what, with which partners known to be real, on which table."""

import difflib
from collections.abc import Collection, Mapping

from collegium.errors import NotFound, PolicyRefusal
from collegium.site import invites, policy
from collegium.site.config import Config, tables
from collegium.site.invites import Approval, Offer
from collegium.site.policy import Policy
from collegium.study import participants


def approval(config: Config, rules: Policy, offer: Offer, *, table: str, verified: Collection[str] | None, at: str) -> Approval:
    """What the steward is about to sign; `verified` names the partners whose fingerprints were compared, None all of them.

    Partners that were verified for an earlier study, with the same key, need not be named again. Raises `PolicyRefusal` where
    the policy says no, or too few partners are verified; `IdentityError` for an offer that nobody could approve.
    """
    invites.judge(config, offer, rules)
    pins = offer.sites()
    reads = table_of(config, rules, offer, table)
    policy.check(rules, offer.manifest, reads)
    before = invites.verified_before(config)
    named = {name for name in pins if name != config.site} if verified is None else {partner(name, pins, config) for name in verified}
    marked = sorted(named | {name for name, key in pins.items() if key in before and name != config.site})
    group = offer.cohort(pins, config.site)
    need = invites.needed(rules, group)
    refuse_strangers(offer, need, invites.partners(marked, group, config.site), len(group) - 1, rules)
    head = participants.head(offer.entries)
    return Approval(config.coordinator, offer.lead, len(offer.entries), head, tuple(marked), need, reads, at)


def table_of(config: Config, rules: Policy, offer: Offer, named: str) -> str:
    """The table that the study may read: the one that the steward names, else the first that the policy opens to it."""
    known = tables(config.folder)
    if named and named not in known:
        raise NotFound(f"there is no table {named!r} here", hint=f"there are: {', '.join(known) or 'none; collegium data add NAME PLACE'}")
    return named or policy.chosen(rules, offer.manifest, known)


def partner(name: str, pins: Mapping[str, str], config: Config) -> str:
    """A participant by name. Raises `NotFound`."""
    if name in pins and name != config.site:
        return name
    near = difflib.get_close_matches(name, pins, 1)
    others = ", ".join(site for site in pins if site != config.site) or "none"
    hint = f"did you mean {near[0]!r}?" if near and near[0] != name else f"this site's partners are: {others}"
    raise NotFound(f"no partner {name!r} takes part in this study", hint=hint)


def refuse_strangers(offer: Offer, need: int, marked: Collection[str], others: int, rules: Policy) -> None:
    """Raise `PolicyRefusal` where more partners must be known to be real."""
    if len(marked) >= need:
        return
    where = rules.at("min_verified") if rules.min_verified is not None else "so many are needed that no coordinator can make up the rest"
    says = f"{need} of the {others} other participants of {offer.title!r} must be verified, {len(marked)} are ({where})"
    if need > others:
        raise PolicyRefusal(says, hint="the study has too few participants for this rule: ask its lead for more, or lower min_verified")
    short = offer.study[:8]
    raise PolicyRefusal(
        says,
        hint=f"call them, compare the words that `collegium invite show {short}` prints, then name each with --verified SITE",
    )
