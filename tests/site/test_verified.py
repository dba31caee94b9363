"""Sums that sites check, over HTTPS: a coordinator that alters one, or keeps it back, is found by every site of it and named."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import pytest

from collegium.coordinator import driver, transition
from collegium.coordinator.blobs import Frame
from collegium.privacy import tags
from collegium.site import state
from tests.site.federation import PATIENT, Federation, at_work, federated, until

pytestmark = [pytest.mark.network, pytest.mark.slow]
MASKED = PATIENT.replace("sites: {minimum: 2, quorum: 2", "sites: {minimum: 3, quorum: 3, deadline_s: 20")
VERIFIED = MASKED + "privacy: {verified: true}\n"
NAMES = ("leeds", "york", "hull")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Federation]:
    with federated(tmp_path / "made") as made:
        yield made


def model(site: Path, run: str) -> bytes:
    return (site / "models" / run / "results.safetensors").read_bytes()


def test_an_honest_sum_is_believed_and_checking_it_changes_no_digit(hub: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sites, held, honest = [hub.site(tmp_path, name) for name in NAMES], list[bool](), tags.holds

    def watched(*asked: Any) -> bool:
        held.append(honest(*asked))
        return held[-1]

    with at_work(*sites):
        plain = hub.submit(MASKED)
        assert hub.end(plain)["status"] == "finished"
        monkeypatch.setattr(tags, "holds", watched)
        checked = hub.submit(VERIFIED)
        assert hub.end(checked)["status"] == "finished"
        until(lambda: all((site / "models" / run / "line.json").exists() for site in sites for run in (plain, checked)))
    rounds = [each for each in hub.ask("GET", f"/v1/runs/{checked}")["rounds"] if each["status"] == "applied"]
    assert held == [True] * (3 * len(rounds))
    assert model(sites[0], checked) == model(sites[0], plain)
    assert not any(state.status(site)["trouble"] for site in sites)


def altered(how: str, found: bytes, layout: Any) -> bytes:
    """A sum as a coordinator might alter it: one word, or all of them and the tags in proportion."""
    words = np.frombuffer(bytearray(found), "<i8").copy()
    if how == "scaled":
        words[: layout.regions[0][1] // 8] *= 3
    else:
        words[0] += 1
    return words.tobytes()


@pytest.mark.parametrize("how", ["one word", "scaled"])
def test_a_coordinator_that_alters_a_sum_is_named_by_every_site(hub: Federation, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch):
    sites, honest = [hub.site(tmp_path, name) for name in NAMES], transition.total

    def lying(means: Any, live: Any, *asked: Any) -> Any:
        read, layout = honest(means, live, *asked), live.kept.run.layout
        if live.place[:3] != (1, 1, 1) or live.place.phase != "sum":
            return read
        whole = altered(how, read(0, layout.nbytes), layout)
        return lambda at, count: whole[at : at + count]

    monkeypatch.setattr(transition, "total", lying)
    with at_work(*sites):
        run = hub.submit(VERIFIED)
        until(lambda: hub.ask("GET", f"/v1/runs/{run}")["status"] == "paused", 90)
        until(lambda: len(hub.ask("GET", f"/v1/runs/{run}")["left"]) == 3, 90)
    for says in hub.ask("GET", f"/v1/runs/{run}")["left"].values():
        assert says == "the coordinator altered the sum of stage 2, round 1: it is not that of the 3 vectors that were sent"


@pytest.mark.parametrize("how", ["altered", "kept back"])
def test_a_lie_about_the_last_sum_is_found_when_the_run_is_over(hub: Federation, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch):
    sites, honest = [hub.site(tmp_path, name) for name in NAMES], driver.following

    def lying(means: Any, live: Any, counted: Any) -> Any:
        after = honest(means, live, counted)
        if not after.results or how == "kept back":
            return after if not after.results else after._replace(shown=())
        (shown,) = after.shown
        body = altered("one word", shown.frame.body, live.kept.run.layout)
        return after._replace(shown=(shown._replace(frame=Frame(blake3.blake3(body).hexdigest(), len(body), body)),))

    monkeypatch.setattr(driver, "following", lying)
    with at_work(*sites):
        run = hub.submit(VERIFIED)
        assert hub.end(run)["status"] == "finished"
        says = "the coordinator altered the sum" if how == "altered" else "the coordinator goes on without showing the sum"
        until(lambda: all(said(site, run).startswith(says) for site in sites), 90)
    assert not any((site / "models" / run).exists() for site in sites)


def said(site: Path, run: str) -> str:
    """What troubles a site about a run."""
    return str(state.last(site).get("runs", {}).get(run, {}).get("trouble", ""))
