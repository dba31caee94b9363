"""A federation cut into cohorts, as agents live it: over HTTPS, each with a worker process, their sums checked."""

from pathlib import Path

import pytest

from collegium.site import state
from tests.site.federation import PATIENT, at_work, federated, until

pytestmark = [pytest.mark.network, pytest.mark.slow]
NINE = tuple(f"site{k}" for k in range(9))
PLAIN = PATIENT.replace("sites: {minimum: 2, quorum: 2", "sites: {minimum: 3, quorum: 9")
WHOLE = PLAIN + "privacy: {secure_aggregation: off, because: to compare}\n"
CUT = PLAIN + "privacy: {cohort: 8, verified: true, because: to see how a large federation is cut}\n"


def test_nine_agents_in_two_cohorts_end_with_the_bytes_of_one_plain_sum(tmp_path: Path):
    with federated(tmp_path / "made") as hub:
        sites = [hub.site(tmp_path, name) for name in NINE]
        models = []
        with at_work(*sites):
            for text in (WHOLE, CUT):
                run = hub.submit(text)
                assert hub.end(run, 120)["status"] == "finished"
                until(lambda run=run: all((site / "models" / run / "line.json").exists() for site in sites))
                models.append((sites[0] / "models" / run / "results.safetensors").read_bytes())
        assert models[0] == models[1]
        assert not any(state.status(site)["trouble"] for site in sites)
