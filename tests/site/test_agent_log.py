"""What agents do with the coordinator's log, over HTTPS: they vouch for one history, and answer nothing to who changes it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from collegium import identity, merkle
from collegium.canonical import canonical
from collegium.coordinator import store as stores
from collegium.coordinator.logbook import Logbook, marked
from collegium.site import state, witness
from tests.site.federation import PATIENT, Federation, at_work, until

pytestmark = [pytest.mark.network, pytest.mark.slow]
MASKED = PATIENT.replace("sites: {minimum: 2, quorum: 2", "sites: {minimum: 3, quorum: 3, deadline_s: 20")
PLAIN = PATIENT.replace("sites: {minimum: 2, quorum: 2", "sites: {minimum: 3, quorum: 2, deadline_s: 20")
PLAIN += "privacy: {secure_aggregation: off, because: a test}\n"
NAMES = ("leeds", "york", "hull")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Federation]:
    made = Federation(tmp_path / "made")
    made.start()
    yield made
    made.operator.close()
    made.stop()


def rewritten(folder: Path, change: Callable[[int, dict[str, Any]], dict[str, Any]]) -> None:
    """Change entries of a coordinator's log, and make all its hashes fit again."""
    store, nodes = stores.open_folder(folder), dict[tuple[int, int], bytes]()

    def anew(c: Any) -> None:
        for seq, entry in list(c.execute(text("SELECT seq, text FROM entry ORDER BY seq"))):
            other = canonical(change(seq, json.loads(entry)))
            made = merkle.completed(merkle.leaf(other), seq, lambda *at: nodes[at])
            nodes.update({(level, seq >> level): node for level, node in enumerate(made)})
            c.execute(text("UPDATE entry SET text = :t, nodes = :n WHERE seq = :s"), {"t": other.decode(), "n": b"".join(made), "s": seq})

    store.write(anew)
    store.close()


def test_the_root_that_all_sites_sign_in_a_secure_sum_is_one_that_the_log_had(hub: Federation, tmp_path: Path):
    """A sum opens when t sites have signed the same statement, so whoever is told another root opens nothing."""
    sites, roots = [hub.site(tmp_path, name) for name in NAMES], set[str]()

    def over() -> bool:
        live = hub.server.config.app.runs.live.get(run)
        if live and "round" in live.secure.each[0].machine.rows:
            roots.add(live.secure.each[0].machine.round.get("root", ""))
        return live is None

    with at_work(*sites):
        run = hub.submit(MASKED)
        until(over, 60, 0.001)
        assert hub.end(run)["status"] == "finished"
        until(lambda: all((site / "models" / run / "line.json").exists() for site in sites))
    hub.stop()
    store, nodes, marks = stores.open_folder(hub.folder), dict[tuple[int, int], bytes](), set[str]()
    for seq, entry in enumerate(Logbook(store, hub.key).entries(0, 1000)):
        made = merkle.completed(merkle.leaf(entry.encode()), seq, lambda *at: nodes[at])
        nodes.update({(level, seq >> level): node for level, node in enumerate(made)})
        marks.add(marked(seq + 1, merkle.root(lambda *at: nodes[at], seq + 1)))
    store.close()
    assert len(roots - {""}) > 3
    assert roots - {""} <= marks
    assert all(0 < max(witness.remembered(site)) <= seq + 1 for site in sites)


@pytest.mark.parametrize("study", [MASKED, PLAIN], ids=["masked", "plain"])
@pytest.mark.parametrize("how", ["rewritten", "restored from a backup"])
def test_a_coordinator_that_changes_its_log_gets_no_answer_any_more(hub: Federation, tmp_path: Path, study: str, how: str):
    sites = [hub.site(tmp_path, name) for name in NAMES]
    hub.stop()
    shutil.copytree(hub.folder, tmp_path / "backup")
    hub.start()
    with at_work(*sites):
        run = hub.submit(study)
        assert hub.end(run)["status"] == "finished"
        until(lambda: all((site / "models" / run / "line.json").exists() for site in sites))
    sums = [state.status(site)["left"]["sums"] for site in sites]
    hub.stop()
    if how == "rewritten":
        rewritten(hub.folder, lambda seq, entry: entry | ({"site": "kent"} if seq == 1 else {}))
    else:
        shutil.rmtree(hub.folder)
        shutil.copytree(tmp_path / "backup", hub.folder)
    hub.start()
    with at_work(*sites):
        again = hub.submit(study.replace("title: Readmission", "title: Another"))
        until(lambda: hub.ask("GET", f"/v1/runs/{again}")["status"] == "paused")
        until(lambda: all("answers nothing more" in state.status(site)["trouble"] for site in sites))
    for site, before in zip(sites, sums, strict=True):
        assert state.status(site)["left"]["sums"] == before
        evidence = json.loads((site / "state" / "log-evidence-1.json").read_text())
        origin, public = f"collegium.log/{identity.fingerprint(hub.key.public)}", hub.key.public
        assert len({merkle.opened(note, origin, public, identity.verify) for note in evidence["signed"]}) == 2
    with at_work(*sites):  # over restarts too
        until(lambda: all("answers nothing more" in state.status(site)["trouble"] for site in sites))
