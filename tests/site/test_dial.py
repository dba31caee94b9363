import re

import pytest

from collegium.errors import LinkError
from collegium.site.dial import Dialler, Proxy, excepted, proxy_of, target, way_out
from tests.site.standin import Standin, authority, serving
from tests.system.network.harness import ConnectProxy, relaying


@pytest.fixture
def there(tmp_path):
    with serving(Standin(tmp_path)) as coordinator:
        yield coordinator


def test_the_pinned_root_is_enough_whatever_the_name(there):
    dialler = Dialler(target(there.url), root=there.root.pem)
    dialler.connect().close()
    assert dialler.opened_by == ""


def test_a_proxy_that_opens_tls_is_named_and_let_through_with_its_ca(tmp_path):
    hospital = authority("St Elsewhere Proxy CA")
    own = Standin(tmp_path)
    with serving(own, context=hospital.issue(tmp_path)):
        dialler = Dialler(target(own.url), root=own.root.pem)
        with pytest.raises(LinkError, match="issued by 'St Elsewhere Proxy CA', which this site does not trust") as caught:
            dialler.connect()
        assert "ca_file" in caught.value.hint
        (tmp_path / "ca.pem").write_text(hospital.pem)
        trusting = Dialler(target(own.url), root=own.root.pem, ca_file=str(tmp_path / "ca.pem"))
        trusting.connect().close()
        trusting.connect().close()
        assert trusting.opened_by == "St Elsewhere Proxy CA"


def test_the_pinned_root_is_tried_again_when_the_proxy_is_gone(there, tmp_path):
    hospital = authority("Proxy CA")
    (tmp_path / "ca.pem").write_text(hospital.pem)
    dialler = Dialler(target(there.url), root=there.root.pem, ca_file=str(tmp_path / "ca.pem"), pinned=False)
    with pytest.raises(LinkError):
        dialler.connect()
    dialler.connect().close()


def test_a_certificate_out_of_its_time_is_said_to_be_so(tmp_path):
    old = Standin(tmp_path)
    with serving(old, context=old.root.issue(tmp_path, days=(-9, -1))), pytest.raises(LinkError, match="has expired"):
        Dialler(target(old.url), root=old.root.pem).connect()


def test_a_peer_without_tls_is_said_to_be_so(tmp_path):
    plain = Standin(tmp_path, secure=False)
    with serving(plain), pytest.raises(LinkError, match=r"does not speak TLS|broke off"):
        Dialler(target(plain.url.replace("http:", "https:"))).connect()


@pytest.mark.parametrize(
    ("url", "hop", "words"),
    [
        ("https://no-such-host.invalid", "name", "cannot be resolved"),
        ("https://127.0.0.1:1", "tcp", "refuses connections"),
    ],
)
def test_the_hop_that_fails_is_named(url, hop, words):
    with pytest.raises(LinkError, match=words) as caught:
        Dialler(target(url)).connect()
    assert caught.value.hop == hop


@pytest.mark.parametrize("url", ["hub.example", "http://hub.example", "ftp://x", "https://:80", "https://h:port"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(LinkError, match="wanted https://name:port"):
        target(url)


def test_a_proxy_with_a_password(there):
    proxy = ConnectProxy(there.port)
    proxy.credentials = "anna:se:cret"
    with relaying(proxy):
        to = target(there.url)
        Dialler(to, proxy_of(f"http://anna:se%3Acret@127.0.0.1:{proxy.port}"), root=there.root.pem).connect().close()
        with pytest.raises(LinkError, match=r"asks for a name and a password \(407\)"):
            Dialler(to, proxy_of(f"127.0.0.1:{proxy.port}"), root=there.root.pem).connect()
        with pytest.raises(LinkError, match="refused the name and password") as caught:
            Dialler(to, proxy_of(f"http://anna:wrong@127.0.0.1:{proxy.port}"), root=there.root.pem).connect()
        assert "wrong" not in str(caught.value) + caught.value.hint


def test_a_proxy_that_gives_a_page_or_nothing(there):
    proxy = ConnectProxy(there.port)
    proxy.page = b"HTTP/1.1 403 Forbidden by policy\r\nContent-Length: 0\r\n\r\n"
    to = target(there.url)
    with relaying(proxy), pytest.raises(LinkError, match="status 403 'Forbidden by policy'") as caught:
        Dialler(to, Proxy("127.0.0.1", proxy.port)).connect()
    assert f"CONNECT to 127.0.0.1:{there.port}" in caught.value.hint
    with pytest.raises(LinkError, match=r"the proxy 127\.0\.0\.1:1: "):
        Dialler(to, Proxy("127.0.0.1", 1)).connect()


def test_the_way_out_is_the_sites_own_setting_or_the_environment():
    to = target("https://hub.example.org:8443")
    env = {"HTTPS_PROXY": "http://proxy:8080"}
    assert way_out(to, "", {}) is None
    assert way_out(to, "", env) == Proxy("proxy", 8080)
    assert way_out(to, "http://a:b@other:1", env) == Proxy("other", 1, "a:b")
    assert way_out(to, "none", env) is None
    assert way_out(to, "", env | {"NO_PROXY": "localhost, .example.org"}) is None


@pytest.mark.parametrize(
    ("no_proxy", "out"),
    [("*", True), ("example.org", True), ("*.example.org", True), ("hub.example.org:8443", True), ("hub.example.org:1", False),
     ("ample.org", False), ("", False)],
)  # fmt: skip
def test_no_proxy(no_proxy, out):
    assert excepted(target("https://hub.example.org:8443"), no_proxy) is out


def test_a_proxys_password_shows_nowhere():
    proxy = proxy_of("http://anna:secret@proxy:3128")
    assert not re.search("anna|secret", f"{proxy} {proxy!r} {Dialler(target('https://h'), proxy)!r}")
    with pytest.raises(LinkError) as caught:
        proxy_of("ftp://anna:secret@proxy")
    assert "secret" not in str(caught.value)
