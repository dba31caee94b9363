"""What stands around every page: who is let in, which forms are taken, what no page may load."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from collegium.errors import DataError, NotFound
from collegium.web.app import COOKIE, FORM_BYTES, HEADERS, Ask, File, Go, Look, Shown, build
from tests.web.browser import Browser

TRICK = '<script>alert("x")</script>'


def told(ask: Ask) -> Shown:
    return Shown("trouble.html", {"title": ask.parts.get("name", "T"), "says": ask.query.get("q", TRICK), "hint": ""})


def taken(ask: Ask) -> Go:
    return Go("/page", f"{ask.form['a']} {ask.many['a']}")


def raises(error: Exception) -> Any:
    def page(ask: Ask) -> Shown:
        raise error

    return page


PAGES = {
    ("GET", "/"): told, ("GET", "/page"): told, ("GET", "/named/{name}"): told, ("POST", "/send"): taken,
    ("GET", "/file"): lambda ask: File("a.csv", b"x,y\n"), ("GET", "/gone"): raises(NotFound("no such thing", hint="look elsewhere")),
    ("GET", "/bad"): raises(DataError(f"a value {TRICK}", hint="mend it")),
}  # fmt: skip
LOOK = Look("Test", "Inside a test", (("/", "Start"), ("/page", "Page")), "collegium.web", lambda: {"/page": 3})


def made() -> Browser:
    return Browser(lambda links: build(PAGES, LOOK, links))


@pytest.fixture
def browser() -> Browser:
    found = made()
    assert found.enter().status_code == 303
    return found


def test_a_link_lets_one_browser_in_and_the_next_one_is_said():
    browser = made()
    assert browser.ask("GET", "/").status_code == 403
    link = browser.said[-1]
    found = browser.enter()
    assert (found.status_code, found.headers["location"]) == (303, "/")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} < set(found.headers["set-cookie"].split("; "))
    assert browser.ask("GET", "/").status_code == 200
    browser.jar = httpx.Cookies()
    assert "used before" in browser.ask("GET", link).text
    assert browser.ask("GET", "/").status_code == 403
    assert len(browser.said) == 2
    assert browser.enter().status_code == 303


@pytest.mark.parametrize("cookie", ["", "x", "collegium-console=; =;;", f"{COOKIE}=wrong", "a" * 5000])
def test_no_page_is_shown_without_the_right_cookie(cookie: str):
    browser = made()
    for path in ("/", "/page", "/file", "/bad", "/nothing"):
        found = browser.ask("GET", path, headers={"cookie": cookie})
        assert found.status_code == 403, path
        assert "not let in" in found.text
    assert browser.ask("POST", "/send", content="a=1", headers={"cookie": cookie}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8471", "192.168.1.4:8471", "", "[::2]:8471"])
def test_a_name_that_another_site_has_made_point_here_is_not_answered(browser: Browser, host: str):
    found = browser.ask("GET", "/", headers={"host": host})
    assert found.status_code == 421
    assert "127.0.0.1" in found.text


@pytest.mark.parametrize("host", ["127.0.0.1:8471", "localhost:8471", "[::1]:8471", "localhost"])
def test_this_machine_is_answered_by_each_of_its_names(browser: Browser, host: str):
    assert browser.ask("GET", "/look.css", headers={"host": host}).status_code == 200


def test_a_form_is_taken_once_and_leads_on(browser: Browser):
    found = browser.ask("POST", "/send", content=browser.form(a="1") + b"&a=2")
    assert found.status_code == 303
    page = browser.ask("GET", found.headers["location"])
    assert "2 [&#39;1&#39;, &#39;2&#39;]" in page.text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda b: {"content": b.form(a="1"), "headers": {"origin": "http://evil.example"}}, 403),
        (lambda b: {"content": b.form(a="1"), "headers": {"origin": "null"}}, 403),
        (lambda b: {"content": b"a=1"}, 400),
        (lambda b: {"content": b"a=1&token="}, 400),
        (lambda b: {"content": b"a=1&token=" + b"0" * 64}, 400),
        (lambda b: {"content": b.form(a="x" * FORM_BYTES)}, 400),
        (lambda b: {"content": b"\xff\x00%%%"}, 400),
    ],
)
def test_a_form_of_another_page_or_of_another_time_changes_nothing(browser: Browser, change: Any, status: int):
    found = browser.ask("POST", "/send", **change(browser))
    assert found.status_code == status
    assert "location" not in found.headers


def test_a_form_of_this_very_page_is_taken_under_each_name_of_this_machine(browser: Browser):
    for host in ("127.0.0.1:8471", "localhost:8471"):
        sent = {"origin": f"http://{host}", "host": host, "cookie": f"{COOKIE}={browser.links.session}"}
        assert browser.ask("POST", "/send", content=browser.form(a="1"), headers=sent).status_code == 303


def test_errors_are_pages_in_their_own_words(browser: Browser):
    gone, bad, nothing, wrong = (browser.ask(*what) for what in (("GET", "/gone"), ("GET", "/bad"), ("GET", "/n"), ("DELETE", "/page")))
    assert (gone.status_code, bad.status_code, nothing.status_code, wrong.status_code) == (404, 409, 404, 405)
    assert "look elsewhere" in gone.text
    assert "mend it" in bad.text
    assert TRICK not in bad.text
    assert "There is no such page" in nothing.text


def test_whatever_is_shown_is_escaped(browser: Browser):
    for found in (browser.ask("GET", "/"), browser.ask("GET", f"/named/{TRICK}"), browser.ask("GET", "/page", params={"done": TRICK})):
        assert "<script>" not in found.text.replace('<script type="module" src="/static/live.js">', "")
        assert "&lt;script&gt;" in found.text


def test_every_answer_carries_the_headers_and_no_page_loads_anything_from_elsewhere(browser: Browser):
    paths = ("/", "/page", "/bad", "/n", "/look.css", "/static/app.css", "/static/live.js", "/static/other", "/enter", "/file")
    for path in paths:
        found = browser.ask("GET", path)
        assert HEADERS.items() <= dict(found.headers).items(), path
        assert not re.search(r"(?:src|href|url)[=(]\s*[\"']?(?:https?:)?//", found.text), path
        assert not re.search(r"\son\w+=|style=", found.text), path
    policy: Mapping[str, str] = dict(part.split(" ", 1) for part in HEADERS["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert not any("unsafe" in value for value in policy.values())


def test_a_page_that_has_not_changed_is_not_sent_again(browser: Browser):
    found = browser.ask("GET", "/page")
    again = browser.ask("GET", "/page", headers={"if-none-match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert browser.ask("GET", "/page?q=other", headers={"if-none-match": found.headers["etag"]}).status_code == 200


def test_the_menu_says_where_one_is_and_what_waits(browser: Browser):
    page = browser.ask("GET", "/page").text
    assert re.findall(r'<a href="([^"]+)" aria-current="page">', page) == ["/page"]
    assert ">3<" in page
    assert re.findall(r'<a href="([^"]+)" aria-current="page">', browser.ask("GET", "/").text) == ["/"]


def test_a_file_is_kept_and_not_shown(browser: Browser):
    found = browser.ask("GET", "/file")
    assert found.headers["content-disposition"] == 'attachment; filename="a.csv"'
    assert found.content == b"x,y\n"
