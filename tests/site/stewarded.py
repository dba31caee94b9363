"""A site's folder with a data steward and a study that asks for it: what the tests of invitations share."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from collegium import identity
from collegium.canonical import canonical
from collegium.site import config, invites, steward
from collegium.site.config import Config
from collegium.site.invites import Approval, Offer
from collegium.site.policy import load
from collegium.study import manifest, participants
from collegium.study.participants import Entry

MANIFEST = json.loads(manifest.signed(manifest.read(manifest.EXAMPLE)))
STUDY = hashlib.sha256(canonical(MANIFEST)).hexdigest()
LEAD, HUB, PASSPHRASE = identity.key(b"l" * 32), "ab" * 32, "four made up words"
OTHERS = {name: identity.key(name.encode().ljust(32, b".")).public for name in ("hull", "york")}
NOW = "2026-11-21T10:00:00Z"


RULES = """level: 1
recipes: "*"
tables:
  stays: {columns: "*", min_rows: 10}
"""


def document(
    entries: list[Entry], study: str = STUDY, lead: str = LEAD.public, fields: Mapping[str, Any] = MANIFEST
) -> dict[str, Any]:  # fmt: skip
    """An offer as the coordinator sends it."""
    return {"run": "r", "study": study, "manifest": fields, "lead": lead, "participants": participants.as_document(entries)}


class Home:
    """A site's folder with a steward."""

    def __init__(self, folder: Path) -> None:
        (folder / "policy.yaml").write_text(RULES)
        (folder / "data.json").write_text('{"version": 1, "tables": {"stays": {}}}')
        self.folder, self.rules = folder, load(folder / "policy.yaml")
        self.config = Config(folder, "https://h", HUB, "leeds", "Test")
        config.save(self.config)
        self.mine = config.make_key(folder).public
        steward.init(folder, PASSPHRASE, cost=1 << 10)
        self.key = steward.key(folder, PASSPHRASE)
        self.list = participants.signed(STUDY, LEAD, {"leeds": self.mine, **OTHERS})

    def offer(self, entries: list[Entry] | None = None, **how: Any) -> Offer:
        return invites.offer_of(document(self.list if entries is None else entries, **how))

    def approval(self, offer: Offer | None = None, **changes: Any) -> Approval:
        offer = offer or self.offer()
        made = Approval(HUB, offer.lead, len(offer.entries), participants.head(offer.entries), ("hull", "york"), 2, "stays", NOW)
        return made._replace(**changes)

    def approve(self, offer: Offer | None = None, **changes: Any) -> None:
        offer = offer or self.offer()
        invites.record(self.folder, offer, NOW)
        invites.approve(self.folder, offer.study, self.approval(offer, **changes), self.key)

    def state(self, offer: Offer | None = None, **rules: Any) -> tuple[str, str]:
        found = invites.judge(self.config, offer or self.offer(), replace(self.rules, **rules))
        return found.state, found.says

    def another(self, **changes: Any) -> Offer:
        """Another version of the study, by the same lead, with the same sites."""
        fields = json.loads(manifest.signed(manifest.read({**MANIFEST, **changes})))
        digest = hashlib.sha256(canonical(fields)).hexdigest()
        return self.offer(participants.signed(digest, LEAD, {"leeds": self.mine, **OTHERS}), study=digest, fields=fields)
