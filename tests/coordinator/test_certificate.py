"""The root is the identity key; the server's certificate holds for its hosts and is renewed before its end."""

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from collegium import identity
from collegium.coordinator.certificate import LEAF_DAYS, RENEW_DAYS, ensure

KEY = identity.key(b"k" * 32)
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def leaf(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def shaken(files, root: Path, host: str) -> str:
    """A handshake on loopback with a client that trusts this root only; the TLS version."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(root))
    server.load_cert_chain(files.certificate, files.key)
    one, two = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(one, server_side=True).close()
        except OSError:
            one.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(two, server_hostname=host) as secure:
            return str(secure.version())
    finally:
        two.close()
        thread.join()


def test_a_client_that_pins_the_root_is_satisfied(tmp_path: Path):
    files = ensure(tmp_path, KEY, ["hub.example", "192.0.2.7", "::1"], NOW)
    for host in ("hub.example", "192.0.2.7", "::1"):
        assert shaken(files, files.root, host) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(files, files.root, "other.example")
    (tmp_path / "other").mkdir()
    other = ensure(tmp_path / "other", identity.key(b"o" * 32), ["hub.example"], NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(files, other.root, "hub.example")


def test_the_root_is_the_identity_key_and_the_files_are_private(tmp_path: Path):
    files = ensure(tmp_path, KEY, ["hub.example"], NOW)
    public = leaf(files.root).public_key()
    assert isinstance(public, ed25519.Ed25519PublicKey)
    assert public.public_bytes_raw().hex() == KEY.public
    assert isinstance(leaf(files.certificate).public_key(), ec.EllipticCurvePublicKey)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_it_is_renewed_near_its_end_for_other_hosts_and_after_a_crash_and_the_root_stays(tmp_path: Path):
    files = ensure(tmp_path, KEY, ["hub.example"], NOW)
    root, first = files.root.read_bytes(), files.certificate.read_bytes()
    later = NOW + DAY * (LEAF_DAYS - RENEW_DAYS - 1)
    assert ensure(tmp_path, KEY, ["hub.example"], later).certificate.read_bytes() == first
    assert ensure(tmp_path, KEY, ["hub.example"], later + DAY * 2).certificate.read_bytes() != first
    second = files.certificate.read_bytes()
    assert ensure(tmp_path, KEY, ["hub.example", "localhost"], later).certificate.read_bytes() != second
    assert files.root.read_bytes() == root


def test_killed_between_its_two_files_it_is_made_again(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    files, other = (ensure(tmp_path / name, KEY, ["hub.example"], NOW) for name in ("a", "b"))
    files.key.write_bytes(other.key.read_bytes())
    ensure(tmp_path / "a", KEY, ["hub.example"], NOW)
    assert shaken(files, files.root, "hub.example") == "TLSv1.3"
