"""Invitations as a data steward sees and decides them in a browser."""

import re
from pathlib import Path

import pytest

from collegium.site import console, invites
from collegium.study import participants
from tests.site.stewarded import LEAD, NOW, PASSPHRASE, STUDY, Home
from tests.web.browser import Browser

PATH = f"/invitations/{STUDY}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path)
    invites.record(tmp_path, found.offer(), NOW)
    return found


@pytest.fixture
def browser(home: Home) -> Browser:
    found = Browser(lambda links: console.application(home.folder, "leeds", links))
    found.enter()
    return found


def shown(page: str) -> str:
    """What the form says that the steward has read."""
    return re.search(r'name="shown" value="([^"]+)"', page)[1]  # type: ignore[index]


def yes(browser: Browser, **fields: object) -> str:
    given = {"shown": shown(browser.see(PATH)), "read": "yes", "passphrase": PASSPHRASE, "verified": ["hull", "york"]}
    return browser.send(f"{PATH}/approve", **(given | fields)).text


def test_an_invitation_says_all_that_has_to_be_known(browser: Browser, home: Home):
    assert "asks for this hospital" in browser.see("/")
    assert PATH in browser.see("/invitations")
    page = browser.see(PATH)
    for told in ("Thirty-day readmission", "readmitted", "outcome", "hull", "york", "Secure sum", "Never leave", "2 must be", "stays"):
        assert told in page, told
    assert ">1<" in page  # in the menu: one waits


def test_a_yes_is_signed_with_the_stewards_key(browser: Browser, home: Home):
    page = yes(browser)
    assert "Approved for the table stays" in page
    assert home.state()[0] == "approved"
    assert "Withdraw" in page
    assert "Nothing waits for anybody here" in browser.see("/")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"passphrase": "wrong"}, "passphrase"),
        ({"verified": ["hull"]}, "must be verified"),
        ({"read": ""}, "not ticked"),
        ({"shown": "another"}, "has changed since it was shown"),
        ({"table": "nothing"}, "there is no table"),
    ],
)
def test_a_yes_that_does_not_hold_signs_nothing(browser: Browser, home: Home, change: dict[str, object], says: str):
    assert says in yes(browser, **change)
    assert home.state()[0] == "waiting"


def test_a_yes_is_not_for_a_hospital_that_came_in_since(browser: Browser, home: Home):
    before = shown(browser.see(PATH))
    more = participants.appended(home.list, STUDY, LEAD, {"kent": "cd" * 32})
    invites.record(home.folder, home.offer(more), NOW)
    assert "has changed since it was shown" in yes(browser, shown=before)
    assert home.state(home.offer(more))[0] == "waiting"


def test_a_no_takes_a_reason_and_takes_back_what_was_approved(browser: Browser, home: Home):
    assert "a reason is wanted" in browser.send(f"{PATH}/decline", because="  ").text
    yes(browser)
    page = browser.send(f"{PATH}/decline", because="not  our question").text
    assert "Declined" in page
    assert home.state() == ("declined", "this hospital's data steward declined the study: not our question")


def test_what_changed_since_the_last_yes_is_named(browser: Browser, home: Home):
    home.approve()
    offer = home.another(method={"kind": "averaging", "recipe": "tabular", "rounds": 90})
    invites.record(home.folder, offer, NOW)
    page = browser.see(f"/invitations/{offer.study}")
    assert "Changed since it was approved" in page
    assert "90" in page


def test_a_hospital_without_a_steward_and_rules_that_say_no_are_said(browser: Browser, home: Home):
    (home.folder / "steward.pub").unlink()
    (home.folder / "policy.yaml").write_text("level: 1\nrecipes: []\ntables: {stays: {columns: '*', min_rows: 10}}\n")
    page = browser.see(PATH)
    assert "collegium site steward init" in page
    assert "could not run even if it were approved" in page


def test_where_nobody_is_asked_it_is_said(browser: Browser, home: Home):
    (home.folder / "policy.yaml").write_text("level: 1\nrecipes: '*'\nauto_approve: true\ntables: {stays: {columns: '*', min_rows: 10}}\n")
    assert "auto_approve" in browser.see("/invitations")


@pytest.mark.parametrize("study", ["0" * 64, "..", "%2e%2e%2fstate", "x" * 3000])
def test_an_invitation_that_is_not_here_is_a_page(browser: Browser, study: str):
    found = browser.ask("GET", f"/invitations/{study}")
    assert found.status_code in (404, 409, 200)
    assert "<h1>" in found.text
