"""A hospital's own pages, on a folder in which an agent has worked: today, running work, models and their use, the ledger."""

import datetime
import json
from pathlib import Path

import pytest

from collegium.site import config, console, state
from collegium.site.console import ledger, models, today
from tests.site.federation import PATIENT, at_work, federated, until
from tests.web.browser import Browser

pytestmark = [pytest.mark.network, pytest.mark.slow]
STUDY = PATIENT.replace("title: Readmission", 'title: "Readmission <b>now</b>"')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that took part in a study."""
    place = tmp_path_factory.mktemp("console")
    with federated(place) as hub:
        sites = [hub.site(place, name) for name in ("leeds", "york")]
        with at_work(*sites):
            run = hub.submit(STUDY)
            assert hub.end(run)["status"] == "finished"
            until(lambda: all((site / "models" / run / "line.json").exists() for site in sites))
            until(lambda: state.status(sites[0])["runs"].get(run, {}).get("status") == "finished")
    return sites[0]


@pytest.fixture
def browser(folder: Path) -> Browser:
    found = Browser(lambda links: console.application(folder, config.load(folder).site, links))
    found.enter()
    return found


def test_today_says_what_this_machine_is_and_what_is_missing(browser: Browser):
    page = browser.see("/")
    for told in ("Inside leeds", "Nothing waits for anybody here", "not running", "collegium site steward init", "less than a minute ago"):
        assert told in page, told
    assert "<b>now</b>" not in page


def test_work_is_paused_and_let_go_on(browser: Browser, folder: Path):
    assert "Readmission &lt;b&gt;now&lt;/b&gt;" in browser.see("/running")
    assert "Other hospitals go on" in browser.send("/pause").text
    assert state.paused(folder)
    assert "paused by somebody of this hospital" in browser.see("/")
    assert "goes on" in browser.send("/resume").text
    assert not state.paused(folder)


def test_a_model_is_read_and_used_on_our_patients_without_a_network(browser: Browser, folder: Path):
    run = next((folder / "models").iterdir()).name
    assert f"/models/{run}" in browser.see("/models")
    card = browser.see(f"/models/{run}")
    for told in ("research use only", "Not for:", "age", "years", "stays"):
        assert told in card, told
    page = browser.send(f"/models/{run}/use", table="stays", **{"as": "page"}).text
    assert "Estimates for 60 rows of stays" in page
    assert "leeds0" in page
    file = browser.ask("POST", f"/models/{run}/use", content=browser.form(table="stays", **{"as": "csv"}))
    lines = file.text.splitlines()
    assert lines[0].startswith("row,patient_id,probability")
    assert len(lines) == 61


def test_a_model_is_used_on_a_file_and_what_it_lacks_is_said(browser: Browser, folder: Path, tmp_path: Path):
    run = next((folder / "models").iterdir()).name
    (tmp_path / "ward.csv").write_text("mrn,age,sex\na,70,F\nb,950,M\n")
    page = browser.send(f"/models/{run}/use", file=str(tmp_path / "ward.csv"), patient="mrn").text
    assert "Estimates for 2 rows of ward.csv" in page
    assert "1 rows have a note" in page
    (tmp_path / "ward.csv").write_text("mrn,sex\na,F\n")
    assert "there is no column &#39;age&#39;" in browser.send(f"/models/{run}/use", file=str(tmp_path / "ward.csv")).text
    assert "no table was named" in browser.send(f"/models/{run}/use").text
    assert browser.send(f"/models/{run}/use", table="nothing").status_code == 404
    assert browser.send(f"/models/{run}/use", file="/no/such/file.csv").status_code in (404, 409)


@pytest.mark.parametrize("name", ["..", "nothing", ".", "%2e%2e", "a" * 300])
def test_a_model_that_is_not_here_is_said(browser: Browser, name: str):
    found = browser.ask("GET", f"/models/{name}")
    assert found.status_code in (200, 404)
    assert found.status_code == 404 or "Models of this hospital" in found.text or "Today at" in found.text


def test_the_ledger_shows_each_message_and_whether_the_record_is_whole(browser: Browser, folder: Path):
    page = browser.see("/ledger")
    for told in ("the record is whole", "numbers to be added up, round 1", "how large the numbers are", "not masked"):
        assert told in page, told
    path = folder / "state" / "ledger.jsonl"
    assert browser.ask("GET", "/ledger.jsonl").content == path.read_bytes()
    whole = path.read_bytes()
    try:
        first, rest = whole.split(b"\n", 1)
        path.write_bytes(json.dumps(json.loads(first) | {"bytes": 1}).encode() + b"\n" + rest)
        assert "do not trust" in browser.see("/ledger")
    finally:
        path.write_bytes(whole)


def test_a_long_list_is_cut_and_the_file_has_all(browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "SHOWN", 3)
    monkeypatch.setattr(ledger, "MOST", 1)
    run = next((folder / "models").iterdir()).name
    page = browser.send(f"/models/{run}/use", table="stays", **{"as": "page"}).text
    assert "The first 3 are shown" in page
    assert browser.see("/ledger").count("numbers to be added up") == 1


def test_how_long_ago_is_said_in_words():
    now = datetime.datetime.now(datetime.UTC)
    said = {0: "less than a minute ago", 61: "1 minute ago", 7300: "2 hours ago", 90_000: "1 day ago", -50: "less than a minute ago"}
    for seconds, words in said.items():
        assert today.ago((now - datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")) == words
    assert today.ago("") == "never"


def test_every_page_of_the_menu_and_every_form_has_its_page(browser: Browser):
    for path, _ in console.MENU:
        assert "<h1>" in browser.see(path)
    forms = {path for method, path in console.PAGES if method == "POST"}
    assert forms == {
        "/pause", "/resume", "/invitations/{study}/approve", "/invitations/{study}/decline", "/models/{run}/use",
    }  # fmt: skip
