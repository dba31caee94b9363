"""What a researcher without commands does in a real browser, from an empty federation's question to its result."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.chromium import chromium, console, needed
from tests.site.federation import Federation, at_work, federated

pytestmark = [needed, pytest.mark.network, pytest.mark.slow, pytest.mark.system]
NAMES = ("leeds", "york", "hull")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Federation]:
    with federated(tmp_path) as found:
        yield found


def fits(page: Page, what: str) -> None:
    """The page keeps the rules of accessibility, and is no wider than its window."""
    page.wait_for_load_state()
    found = Axe().run(page)
    assert found.violations_count == 0, f"{what}: {found.generate_report()}"
    for width in (320, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{what}, {width} pixels"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_question_becomes_a_study_that_runs_and_a_result_in_words(hub: Federation, tmp_path: Path, scheme: str):
    sites = [hub.site(tmp_path, name, 120) for name in NAMES]
    with console("console", hub.folder) as link, chromium(color_scheme=scheme) as browser, at_work(*sites):
        page = browser.new_page()
        page.goto(link)
        expect(page.get_by_text("3 hospitals have joined, and there is no study yet")).to_be_visible()
        fits(page, "today")
        page.get_by_role("link", name="Hospitals").click()
        expect(page.get_by_text("leeds", exact=True)).to_be_visible()
        fits(page, "hospitals")
        page.get_by_role("link", name="New study").click()
        fits(page, "new study")
        page.get_by_label("In a few words").fill("Who comes back within 30 days?")
        page.get_by_label("What the result is for").fill("To plan visits after discharge.")
        page.get_by_label("A file on this machine with such columns").fill(str(tmp_path / "leeds.csv"))
        page.get_by_label("The column that names the patient").fill("patient_id")
        page.get_by_role("button", name="Make a draft").click()
        expect(page.get_by_role("heading", name="What it asks of a hospital")).to_be_visible()
        fits(page, "draft")
        page.get_by_role("button", name="Submit and start").click()
        expect(page.get_by_text("Read these words")).to_be_visible()
        fits(page, "run")
        page.get_by_text("finished", exact=True).wait_for(timeout=120_000)  # it comes by itself, on an open page
        page.reload()
        expect(page.get_by_text("Working together").first).to_be_visible()
        fits(page, "results")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the report").click()
        assert "Who comes back" in Path(download.value.path()).read_text()
        page.get_by_role("link", name="Studies").first.click()
        fits(page, "studies")
