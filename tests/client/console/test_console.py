"""The researcher's pages over a real coordinator: a study from its question to its results, as a browser asks for them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.client import console, draft
from collegium.client.console import drafts, runs, today
from collegium.client.network import Network
from collegium.study import manifest
from tests.site.federation import PATIENT, POLICY, Federation, at_work, federated, until
from tests.web.browser import Browser

pytestmark = [pytest.mark.network, pytest.mark.slow]
NAMES = ("leeds", "york", "hull")
STUDY = PATIENT.replace("sites: {minimum: 2, quorum: 2", "sites: {minimum: 3, quorum: 3").replace(
    "title: Readmission", 'title: "Back <b>soon</b>"'
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federated(tmp_path_factory.mktemp("console")) as found:
        yield found


@pytest.fixture(scope="module")
def sites(hub: Federation) -> list[Path]:
    return [hub.site(hub.folder.parent, name, 90) for name in NAMES]


@pytest.fixture
def browser(hub: Federation) -> Browser:
    found = Browser(lambda links: console.application(Network(hub.operator), "Test", links))
    found.enter()
    return found


def test_an_empty_federation_says_how_to_begin(tmp_path: Path):
    with federated(tmp_path) as empty:
        browser = Browser(lambda links: console.application(Network(empty.operator), "Test", links))
        browser.enter()
        assert "No hospital has joined yet" in browser.see("/")
        assert "No study has run yet" in browser.see("/studies")
        page = browser.send("/sites", name="lindenhof").text
        assert re.search(r"collegium site join [\w-]+", page)
        assert "is not shown again" in page
        assert "a name for the hospital is wanted" in browser.send("/sites", name=" ").text


def test_hospitals_are_known_by_their_words(browser: Browser, sites: list[Path]):
    page = browser.see("/sites")
    assert all(name in page for name in NAMES)
    assert "Fingerprint, to compare by phone" in page


def test_a_draft_of_a_files_columns_is_checked_mended_and_started(browser: Browser, sites: list[Path], hub: Federation):
    rows = hub.folder.parent / "leeds.csv"
    page = browser.send(
        "/new", title="Who comes <back>?", purpose="To plan visits.", file=str(rows), target="readmitted", patient="patient_id"
    )
    text = manifested(page.text)
    study = manifest.read(text)
    assert (study.title, study.purpose, study.features, study.patient) == (
        "Who comes <back>?",
        "To plan visits.",
        ("age", "sex"),
        "patient_id",
    )
    assert "Nobody can read one hospital" in page.text
    wrong = browser.send("/new/check", manifest=text.replace("rounds: 50", "rounds: none")).text
    assert "method.averaging.rounds" in wrong
    assert "Submit and start" not in wrong
    mended = text.replace("rounds: 50", "rounds: 3")
    digest = manifest.digest(manifest.read(mended))
    assert "Submit and start" in browser.send("/new/start", manifest=mended, digest="another", site=list(NAMES)).text  # read it first
    assert "wants at least 3" in browser.send("/new/start", manifest=mended, digest=digest, site=["leeds"]).text
    with at_work(*sites):
        page = browser.send("/new/start", manifest=mended, digest=digest, site=list(NAMES)).text
        assert "Read these words" in page
        run = re.search(r"Run (\w+) ·", page)[1]  # type: ignore[index]
        assert hub.end(run, 240)["status"] == "finished"
    done = browser.see(f"/studies/{run}")
    assert "Who comes &lt;back&gt;?" in done
    for told in ("Working together", "Download the report", "took part", 'id="privacy"', "<svg"):
        assert told in done, told


def manifested(page: str) -> str:
    """The text of a draft in its page."""
    import html

    return html.unescape(re.search(r'<textarea id="manifest"[^>]*>(.*?)</textarea>', page, re.DOTALL)[1])  # type: ignore[index]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"file": "/no/such/file.csv"}, "there is no file"),
        ({"file": "{rows}", "target": "nothing"}, "there is no column"),
        ({"template": "nothing"}, "nothing"),
    ],
)
def test_a_draft_that_cannot_be_made_says_why(browser: Browser, sites: list[Path], hub: Federation, fields: dict[str, str], says: str):
    given = {name: value.format(rows=hub.folder.parent / "leeds.csv") for name, value in fields.items()}
    page = browser.send("/new", title="T", purpose="P", **given)
    assert says in page.text
    assert page.status_code in (404, 409)


def test_a_template_becomes_a_draft(browser: Browser, sites: list[Path]):
    text = manifested(browser.send("/new", title="Mine", purpose="Ours", template="readmission").text)
    assert manifest.read(text).title == "Mine"
    assert manifest.read(manifested(browser.send("/new", title="Mine", purpose="Ours", kind="cox").text)).method.kind == "cox"


def test_every_kind_of_answer_can_be_chosen_in_words():
    assert set(drafts.KINDS) == set(draft.KINDS)


def test_a_run_is_followed_paused_resumed_and_stopped(browser: Browser, sites: list[Path], hub: Federation):
    (sites[0] / "policy.yaml").write_text(POLICY.replace("auto_approve: true\n", ""))
    with at_work(*sites):
        run = hub.submit(STUDY)
        until(lambda: hub.ask("GET", f"/v1/runs/{run}").get("stewards") == ["leeds"])
        home = browser.see("/")
        assert "waits for the data steward of leeds" in home
        assert "Back &lt;b&gt;soon&lt;/b&gt;" in home
        page = browser.see(f"/studies/{run}")
        assert "waits for its data steward" in page
        assert "Stop study" in page
        assert "Let it go on" in browser.send(f"/studies/{run}/pause").text
        assert "is paused" in browser.see("/")
        assert "It goes on" in browser.send(f"/studies/{run}/resume").text
        assert "What it has learned is kept" in browser.send(f"/studies/{run}/stop").text
    page = browser.see(f"/studies/{run}")
    assert "stopped" in page
    assert "Stop study" not in page
    assert run in browser.see("/studies")
    file = browser.ask("GET", f"/studies/{run}/report.html")
    assert file.headers["content-disposition"].endswith(f'"report-{run}.html"')
    assert "was stopped" in file.text
    assert browser.ask("GET", f"/studies/{run}/results.json").status_code == 409
    (sites[0] / "policy.yaml").write_text(POLICY)


def test_figures_are_there_for_programs_and_a_run_that_is_not_is_said(browser: Browser, sites: list[Path], hub: Federation):
    with at_work(*sites):
        run = hub.submit(STUDY.replace("Back", "Home"))
        assert hub.end(run, 240)["status"] == "finished"
    found = json.loads(browser.ask("GET", f"/studies/{run}/results.json").text)
    assert found["run"]["run"] == run
    assert found["coefficients"]
    assert browser.ask("GET", "/studies/nothing").status_code == 404


def test_a_coordinator_that_is_down_is_a_page(tmp_path: Path):
    with federated(tmp_path) as hub:
        network = Network(hub.called())
    browser = Browser(lambda links: console.application(network, "Test", links))
    browser.enter()
    found = browser.ask("GET", "/")
    assert found.status_code == 409
    assert "That did not work" in found.text


def test_every_state_has_its_tone():
    status = {"sites": ["a", "b", "c"], "left": {"a": "why"}, "waiting": ["b"], "stewards": [], "answered": ["c"], "status": "running"}
    assert runs.hospitals(status) == [("a", "left: why", "warn"), ("b", "computes", "run"), ("c", "has answered", "ok")]
    assert set(today.BADGES) == {"finished", "running", "paused", "stopped", "failed"}
    assert {method for method, _ in console.PAGES} == {"GET", "POST"}
