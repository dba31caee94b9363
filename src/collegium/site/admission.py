"""Whether a run may be here: the steward's approval and the site's policy, asked again whenever either has changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium.errors import CollegiumError, IdentityError, PolicyRefusal
from collegium.site import invites, policy
from collegium.site.config import Config, tables


class Left(Exception):
    """This site leaves the run: with a code, and a sentence that may be told."""

    def __init__(self, code: str, says: str, detail: str = "") -> None:
        super().__init__(detail or says)
        self.code, self.says = code, says


class Admission:
    """What was decided here about one offer. `check` reads the files again only when they have changed."""

    def __init__(self, config: Config, offer: dict[str, Any]) -> None:
        self.config, self.offer, self.study = config, offer, str(offer["study"])
        self.manifest: dict[str, Any] = offer["manifest"]
        self.policy, self.table, self.rows = policy.Policy(Path()), "", 0
        self.verdict = invites.Verdict("waiting")  # with each participant's key: the steward's word, or the lead's under auto_approve
        self.seen = invites.UNSEEN

    def check(self) -> None:
        """Raise `Left` where the approval does not hold, or the policy does not allow what the study asks of these rows."""
        changed = invites.stamps(self.config.folder, self.study)
        if changed == self.seen and not self.rows:
            return
        try:
            if changed != self.seen:
                self.policy = policy.load(self.config.folder / "policy.yaml")
                self.approved()
                policy.check(self.policy, self.manifest, self.table)
            policy.check_rows(self.policy, self.manifest, self.table, self.rows)
        except PolicyRefusal as e:
            raise Left("refused", str(e), f"{e} {e.hint}".strip()) from None
        except IdentityError as e:
            raise Left("identity", str(e), f"{e}; way out: {e.hint}" if e.hint else "") from None
        except CollegiumError as e:
            raise Left("refused", "this site's policy cannot be read, so nothing may run", f"{e} {e.hint}".strip()) from None
        self.seen = changed

    def approved(self) -> None:
        """Take participants and table from the steward's approval. Raises `PolicyRefusal` if there is none that holds."""
        verdict = invites.judge(self.config, invites.offer_of(self.offer), self.policy)
        if verdict.state != "approved":
            says = verdict.says if verdict.state == "declined" else "this hospital's data steward has not approved the study as it is now"
            raise PolicyRefusal(
                says, hint="" if verdict.state == "declined" else f"({verdict.says}); collegium invite show {self.study[:8]}"
            )
        self.verdict = verdict
        self.table = verdict.table or policy.chosen(self.policy, self.manifest, tables(self.config.folder))

    def vouch(self, among: Mapping[str, str]) -> None:
        """Raise `IdentityError` unless this site may make a sum with these: enough of them are known to its steward."""
        invites.refuse_surrounded(self.policy, self.verdict, among, self.config.site)
