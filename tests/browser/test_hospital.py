"""What a data steward and a doctor do in a real browser, from an invitation to estimates, with agents and console as processes.

No test here reads or writes what is behind the pages: it sees what a person sees.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from collegium.site import steward
from tests.browser.chromium import chromium, console, needed
from tests.site.federation import PATIENT, POLICY, Federation, at_work, federated, until

pytestmark = [needed, pytest.mark.network, pytest.mark.slow, pytest.mark.system]
STUDY = PATIENT.replace("sites: {minimum: 2, quorum: 2", "sites: {minimum: 3, quorum: 3").replace(
    "title: Readmission", "title: Back in 30 days"
)
ASKED = POLICY.replace("auto_approve: true\n", "")
PASSPHRASE = "correct horse battery"
PAGES = ("/", "/invitations", "/running", "/models", "/ledger")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Federation]:
    with federated(tmp_path) as found:
        yield found


def test_a_steward_decides_a_study_runs_and_a_doctor_uses_the_model_with_the_network_gone(hub: Federation, tmp_path: Path):
    sites = [hub.site(tmp_path, name, policy=ASKED if name == "leeds" else POLICY) for name in ("leeds", "york", "hull")]
    steward.init(sites[0], PASSPHRASE, cost=1 << 10)
    with console("site console", sites[0]) as link, chromium() as browser, at_work(*sites):
        page = browser.new_page()
        page.goto(link)
        expect(page.get_by_role("heading", name="Today at leeds")).to_be_visible()
        hub.submit(STUDY)
        page.get_by_role("link", name="Read and decide").click(timeout=20_000)  # it comes by itself, on an open page
        expect(page.get_by_text("never", exact=False).first).to_be_visible()
        decide(page)
        page.get_by_role("link", name="Running").click()
        expect(page.get_by_text("finished", exact=True)).to_be_visible(timeout=60_000)
        until(lambda: any((sites[0] / "models").iterdir()))
    hub.stop()
    with console("site console", sites[0]) as link, chromium() as browser:  # agent and coordinator are gone: the cable is pulled
        page = browser.new_page()
        page.goto(link)
        page.get_by_role("link", name="Models").click()
        page.get_by_role("link", name="Back in 30 days").click()
        page.get_by_role("button", name="Estimate").click()
        expect(page.get_by_role("heading", name="Estimates for 60 rows of stays")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download as CSV").click()
        assert len(Path(download.value.path()).read_text().splitlines()) == 61
        page.get_by_role("link", name="Ledger").click()
        expect(page.get_by_text("the record is whole")).to_be_visible()
        expect(page.get_by_text("readable only in the sum").first).to_be_visible()


def decide(page: Page) -> None:
    """The steward's yes: not without the words compared, not with a wrong passphrase."""
    for name in ("hull", "york"):
        page.get_by_label(re.compile(f"^{name}")).check()
    approve = page.get_by_role("button", name="Approve this study")
    page.get_by_label("Passphrase of the data steward").fill("something else")
    approve.click()
    expect(page.get_by_role("heading", name="Approve", exact=True)).to_be_visible()  # the box is not ticked: the form does not go
    page.get_by_label(re.compile("I have compared these words")).check()
    approve.click()
    expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    page.go_back()
    for name in ("hull", "york"):
        page.get_by_label(re.compile(f"^{name}")).check()
    page.get_by_label(re.compile("I have compared these words")).check()
    page.get_by_label("Passphrase of the data steward").fill(PASSPHRASE)
    approve.click()
    expect(page.get_by_text("Approved for the table stays")).to_be_visible()


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site's folder with a finished run, a model, and an invitation that waits."""
    place = tmp_path_factory.mktemp("lived")
    with federated(place) as hub:
        sites = [hub.site(place, name) for name in ("leeds", "york", "hull")]
        with at_work(*sites):
            assert hub.end(hub.submit(STUDY))["status"] == "finished"
            until(lambda: all(any((site / "models").glob("*/line.json")) for site in sites))
            (sites[0] / "policy.yaml").write_text(ASKED)
            steward.init(sites[0], PASSPHRASE, cost=1 << 10)
            run = hub.submit(STUDY.replace("title: Back", "title: Home and back"))
            until(lambda: hub.ask("GET", f"/v1/runs/{run}").get("stewards"))
    return sites[0]


def every(page: Page, base: str) -> Iterator[str]:
    """Each page of the console in turn, an invitation and a model among them."""
    for path in PAGES:
        page.goto(base + path)
        yield path
    for path, link in (("/invitations", "Home and back in 30 days"), ("/models", "Back in 30 days")):
        page.goto(base + path)
        page.get_by_role("link", name=link).click()
        page.wait_for_url(f"**{path}/*")
        page.wait_for_load_state()
        yield link


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_keeps_the_rules_of_accessibility(lived_in: Path, scheme: str):
    with console("site console", lived_in) as link, chromium(color_scheme=scheme) as browser:
        page = browser.new_page()
        page.goto(link)
        for path in every(page, link.partition("/enter")[0]):
            found = Axe().run(page)
            assert found.violations_count == 0, f"{path}: {found.generate_report()}"


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_no_page_is_wider_than_its_window_and_nothing_lies_over_another(lived_in: Path, width: int):
    with console("site console", lived_in) as link, chromium(viewport={"width": width, "height": 900}) as browser:
        page = browser.new_page()
        page.goto(link)
        for path in every(page, link.partition("/enter")[0]):
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            boxes = [box for card in page.locator("main .card").all() if (box := card.bounding_box())]
            boxes = [box for box in boxes if box["height"]]
            for at, one in enumerate(boxes):
                for other in boxes[at + 1 :]:
                    apart = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
                    assert apart or one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1, path


def test_every_page_is_whole_without_scripts_and_by_keyboard(lived_in: Path):
    with console("site console", lived_in) as link, chromium(java_script_enabled=False) as browser:
        page = browser.new_page()
        page.goto(link)
        for path in every(page, link.partition("/enter")[0]):
            assert page.locator("main h1").count() == 1, path
            assert len(page.locator("main").inner_text()) > 60, path
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()


def test_a_console_that_is_started_again_is_said_and_keeps_what_was_typed(lived_in: Path):
    with chromium() as browser:
        with console("site console", lived_in) as link:
            page = browser.new_page()
            page.goto(link)
            page.get_by_role("link", name="Read and decide").click()
            page.get_by_label("Reason").fill("we have to ask our board")
        page.wait_for_timeout(2500)
        expect(page.get_by_label("Reason")).to_have_value("we have to ask our board")
