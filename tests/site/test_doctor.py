import re
import time

import pytest

from collegium.site.doctor import Check, diagnose
from collegium.site.enrol import join
from tests.site.standin import Handler, Standin, authority, serving
from tests.system.network.harness import ConnectProxy, PageProxy, Relay, relaying


@pytest.fixture
def there(tmp_path):
    with serving(Standin(tmp_path)) as coordinator:
        yield coordinator


@pytest.fixture
def home(there, tmp_path):
    join(tmp_path / "leeds", there.code(), name="leeds", version="0", environ={})
    return tmp_path / "leeds"


def look(where, **environ):
    return list(diagnose(where, environ=environ, version="0", wait_s=0, stall_s=3))


def rewrite(home, old, new):
    text = (home / "site.toml").read_text()
    (home / "site.toml").write_text(text.replace(old, new) if old in text else f"{text}\n{new}")


def test_all_is_well(home):
    checks = look(home)
    assert all(check.ok and not check.fix for check in checks), checks
    assert [check.hop for check in checks] == ["settings", "name", "tcp", "tls", "coordinator", "clock", "key", "size", "waiting"]
    assert "TLSv1.3, with the coordinator's own certificate" in checks[3].found


def test_a_join_code_can_be_tried_before_joining(there):
    checks = look(there.code())
    assert all(check.ok for check in checks)
    assert [check.hop for check in checks][-2:] == ["coordinator", "clock"]


def failing(checks) -> Check:
    assert all(check.ok for check in checks[:-1])
    assert not checks[-1].ok
    return checks[-1]


def test_settings_name_and_port_are_named(there, home, tmp_path):
    assert failing(look(tmp_path / "nowhere")).hop == "settings"
    rewrite(home, there.url, "https://no-such-host.invalid")
    assert failing(look(home))[:2] == ("name", False)
    rewrite(home, "https://no-such-host.invalid", "https://127.0.0.1:1")
    assert "refuses connections" in failing(look(home)).found


def test_the_proxy_and_its_password_are_named(there, home):
    proxy = ConnectProxy(there.port)
    proxy.credentials = "anna:secret"
    with relaying(proxy):
        bad = failing(look(home, HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}"))
        assert (bad.hop, "407" in bad.found) == ("proxy", True)
        assert all(check.ok for check in look(home, HTTPS_PROXY=f"http://anna:secret@127.0.0.1:{proxy.port}"))
    assert failing(look(home, HTTPS_PROXY="http://127.0.0.1:1")).hop in ("tcp", "proxy")


def test_a_proxy_that_opens_tls_is_named_with_and_without_its_ca(there, home, tmp_path):
    hospital = authority("St Elsewhere CA")
    client = __import__("ssl").create_default_context(cadata=there.root.pem)
    with relaying(Relay(there.port, outer=hospital.issue(tmp_path), inner=client)) as relay:
        rewrite(home, f":{there.port}", f":{relay.port}")
        bad = failing(look(home))
        assert (bad.hop, "'St Elsewhere CA'" in bad.found, "ca_file" in bad.fix) == ("tls", True, True)
        (tmp_path / "ca.pem").write_text(hospital.pem)
        text = (home / "site.toml").read_text().replace("[network]", f"[network]\nca_file = '{tmp_path / 'ca.pem'}'")
        (home / "site.toml").write_text(text)
        checks = look(home)
        assert all(check.ok for check in checks), checks
        assert "opened on the way by 'St Elsewhere CA'" in checks[3].found


def test_a_page_and_a_stripped_header_are_named(there, home, monkeypatch):
    with relaying(PageProxy(there.port, outer=there.root.issue(there.folder))) as relay:
        rewrite(home, f":{there.port}", f":{relay.port}")
        bad = failing(look(home))
        assert "a web page titled 'Access denied' (status 403, from gateway)" in bad.found
        rewrite(home, f":{relay.port}", f":{there.port}")
    monkeypatch.setattr(Handler, "send_header", stripped(Handler.send_header, "collegium-signature"))
    bad = failing(look(home))
    assert bad.hop == "coordinator"
    assert "strips headers" in bad.fix


def stripped(send, name):
    return lambda self, key, value: None if key == name else send(self, key, value)


def test_signatures_that_do_not_arrive_are_named(there, home, monkeypatch):
    real = there.answer
    drop = lambda m, p, q, headers, b: real(m, p, q, {k: v for k, v in headers.items() if k != "signature"}, b)
    monkeypatch.setattr(there, "answer", drop)
    bad = failing(look(home))
    assert bad.hop in ("key", "coordinator")


def test_another_coordinator_and_an_unknown_key_are_named(there, home):
    there.sites.clear()
    assert failing(look(home)).hop == "key"
    there.key = __import__("collegium.identity", fromlist=["key"]).key(b"e" * 32)
    bad = failing(look(home))
    assert (bad.hop, "another coordinator" in bad.found) == ("coordinator", True)


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_is_off_by_a_day_is_a_warning(home, days):
    found = diagnose(home, environ={}, version="0", wait_s=0, now=lambda: time.time() + days * 86400)
    checks = {check.hop: check for check in found}
    assert checks["clock"].ok
    assert "24.0 hours " + ("ahead of" if days > 0 else "behind") in checks["clock"].found
    assert "NTP" in checks["clock"].fix
    assert checks["waiting"].ok


def test_a_limit_on_size_and_a_cut_of_waiting_requests_are_named(there, home, monkeypatch):
    there.work = lambda site, message, payload: (time.sleep(message["wait_s"] and 9), ({}, b""))[1]
    checks = list(diagnose(home, environ={}, version="0", wait_s=20, stall_s=2.5))
    assert re.search(r"cut after [23] s", checks[-1].found)
    assert checks[-1].ok
    assert "ask IT to allow 25 s" in checks[-1].fix
    monkeypatch.setattr("collegium.site.transfer.CHUNK", 4 << 20)
    real = Handler.handle_any

    def limited(self):
        if int(self.headers.get("content-length", 0)) > 1 << 20:
            self.send_response(413)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", "0")
            self.end_headers()
            self.close_connection = True
            return
        real(self)

    monkeypatch.setattr(Handler, "do_PUT", limited)
    bad = failing(look(home))
    assert (bad.hop, "8 MiB" in bad.fix) == ("size", True)
