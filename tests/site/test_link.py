import threading
import time

import pytest

from collegium import identity
from collegium.errors import ConflictError, IdentityError, LinkError
from collegium.site.dial import Dialler, target
from collegium.site.link import Busy, Link, Stopped, stranger
from tests.site.standin import Standin, serving
from tests.system.network.harness import Faults, Relay, relaying

KEY = identity.key(b"k" * 32)


@pytest.fixture
def there(tmp_path):
    with serving(Standin(tmp_path)) as coordinator:
        coordinator.sites[KEY.public] = "leeds"
        yield coordinator


def link_to(there, **options):
    return Link(Dialler(target(there.url), root=there.root.pem, **options), KEY, there.key.public)


def work(link, **message):
    return link.work({"run": "", "serving": [], "answer": None, "line": None, "wait_s": 0} | message)


def test_the_first_request_learns_the_boot_and_one_connection_serves_all(there):
    link = link_to(there)
    there.work = lambda site, message, payload: ({"site": site}, b"state")
    for _ in range(3):
        answer, state = work(link)
        assert (answer, bytes(state)) == ({"site": "leeds"}, b"state")
    assert len(there.requests) == 4  # one to learn the boot
    assert len(link.idle) == len(link.live) == 1
    assert link.contact > 0
    link.close()


def test_a_restarted_coordinator_and_a_restarted_site_are_followed(there):
    link = link_to(there)
    work(link)
    there.restart("b1")
    work(link)
    again = link_to(there)
    work(again)
    again.counter = 5  # its clock was set back: the counter was used before
    work(again)
    link.close()
    again.close()


@pytest.mark.parametrize("cut", range(1200, 3600, 200))
def test_a_request_is_signed_anew_when_its_connection_dies(there, cut):
    """The coordinator takes a counter once: the same signature on another connection would be refused."""
    with relaying(Relay(there.port)) as relay:
        relay.faults = Faults(cut_down=cut, times=3)
        link = Link(Dialler(target(there.url.replace(str(there.port), str(relay.port))), root=there.root.pem), KEY, there.key.public)
        for _ in range(4):
            link.steadily(lambda: work(link))
        link.close()
    assert relay.connections <= 5


def test_an_error_answer_is_raised_as_what_it_names(there):
    def refuse(site, message, payload):
        raise ConflictError("other bytes", hint="look")

    there.work = refuse
    link = link_to(there)
    with pytest.raises(ConflictError, match="other bytes") as caught:
        work(link)
    assert caught.value.hint == "look"
    there.sites.clear()
    with pytest.raises(IdentityError, match="no site has this key"):
        work(link)
    link.close()


def test_an_answer_by_another_key_is_refused(there):
    link = link_to(there)
    work(link)
    there.key = identity.key(b"x" * 32)
    with pytest.raises((LinkError, IdentityError)):
        work(link)
    link.close()


def test_a_busy_coordinator_is_asked_again_and_trouble_is_told_once_and_when_it_ends(there):
    link, tries, told = link_to(there), [], []
    link.on_trouble = told.append

    def call():
        tries.append(1)
        if len(tries) < 3:
            raise Busy("busy", 0.01)
        return work(link)

    link.steadily(call)
    assert len(tries) == 3
    assert told == ["busy", ""]
    link.close()


def test_a_waiting_request_ends_at_once_when_the_link_is_closed(there):
    there.work = lambda site, message, payload: (time.sleep(5), ({}, b""))[1]
    link, ended = link_to(there), []

    def wait():
        with pytest.raises(Stopped):
            link.steadily(lambda: work(link, wait_s=25))
        ended.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    link.close()
    thread.join()
    assert ended[0] - started < 0.5


def test_a_silent_peer_is_given_up_after_the_stall(there):
    there.work = lambda site, message, payload: (time.sleep(1), ({}, b""))[1]
    link = link_to(there, stall_s=0.3)
    with pytest.raises(LinkError, match="no byte moved"):
        work(link)
    link.close()


def test_a_network_that_cuts_waiting_requests_is_asked_for_shorter_ones(there, monkeypatch):
    link, clock = link_to(there), iter([0.0, 10.0])
    monkeypatch.setattr("collegium.site.link.time.monotonic", lambda: next(clock, 10.0))

    def cut(*_, **__):
        raise stranger(504, {"content-type": "text/html"}, b"<html><title>Gateway Timeout</title>", link.dialler)

    monkeypatch.setattr(link, "call", cut)
    with pytest.raises(LinkError, match="Gateway Timeout"):
        work(link, wait_s=25)
    assert link.patience_s == 8.0


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (403, {"content-type": "text/html", "server": "squid/6"}, b"<html><title>Access denied</title>", "web page titled 'Access denied'"),
        (200, {"content-type": "text/plain"}, b"  <!doctype html>", "a web page"),
        (502, {}, b"", "something (status 502)"),
        (200, {"content-type": "application/json"}, b'{"a": 1}', "without its header `collegium-signature`"),
    ],
)
def test_what_answers_in_place_of_the_coordinator_is_named(status, headers, body, words):
    error = stranger(status, headers, body, Dialler(target("https://hub.example")))
    assert words in str(error)
    assert "IT" in error.hint
