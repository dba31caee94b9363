"""A coordinator of a few lines for the tests of the site: it signs, checks, keeps uploads and blobs, and asks what a test says."""

import datetime
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collegium import identity
from collegium.canonical import pack, unpack
from collegium.errors import CollegiumError, IdentityError, NotFound
from collegium.site.link import PACKED

STATUS = {"identity": 401, "conflict": 409, "not_found": 404, "update": 400, "storage": 507, "not_allowed": 403, "frame": 400}
Work = Callable[[str, dict[str, Any], bytes], tuple[dict[str, Any], bytes]]


class Authority(NamedTuple):
    """A certificate authority made for a test."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, folder: Path, *, days: tuple[int, int] = (-1, 30), host: str = "localhost") -> ssl.SSLContext:
        """A server's TLS with a certificate of this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(host), x509.IPAddress(__import__("ipaddress").ip_address("127.0.0.1"))]
        made = certificate(host, key, self.name, self.key, days=days, names=names)
        file = folder / f"{self.name}-{time.monotonic_ns()}.pem"
        plain = serialization.NoEncryption()
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
            + made.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def certificate(subject: str, key: Any, issuer: str, signer: Any, *, days: tuple[int, int] = (-1, 30), names: Any = ()) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    called = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(subject)).issuer_name(called(issuer)).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


def authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(name, key, certificate(name, key, name, key))


class Standin:
    """What the stand-in has seen and what it is to do."""

    def __init__(self, folder: Path, *, secure: bool = True) -> None:
        self.folder, self.key = folder, identity.key(b"c" * 32)
        self.root = authority("Collegium test root")
        self.boot, self.counters = "b0", identity.Counters("b0")
        self.sites: dict[str, str] = {}  # key -> name
        self.secrets: dict[str, str] = {identity.secret_hash(b"s" * 16): ""}  # -> the key that used it
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.puts = 0
        self.work: Work = lambda site, message, payload: ({}, b"")
        self.requests: list[tuple[str, str]] = []
        self.secure = secure
        self.port = 0

    @property
    def url(self) -> str:
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    def code(self, *, port: int = 0) -> str:
        url = self.url if not port else self.url.replace(str(self.port), str(port))
        return identity.mint(identity.Code(url, identity.fingerprint(self.key.public), b"s" * 16))

    def restart(self, boot: str) -> None:
        self.boot, self.counters = boot, identity.Counters(boot)

    def answer(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str, bytes]:
        """Status, body, content type, and the signature of the request."""
        self.requests.append((method, path))
        if path == "/v1/identity":
            told = {"version": 1, "public": self.key.public, "boot": self.boot, "root": self.root.pem}
            return 200, json.dumps(told).encode(), "application/json", b""
        signed = identity.read_signature(headers)
        try:
            kind = headers.get("content-type", "")
            request = identity.Request(method, path, query, identity.digest(body), kind, identity.fingerprint(self.key.public))
            identity.check_request(signed, request)
            if not self.counters.accept(signed):
                return (
                    401,
                    json.dumps({"error": "boot", "boot": self.boot, "counter": self.counters.seen.get(signed.key, (0, 0))[0]}).encode(),
                    "application/json",
                    signed.signature,
                )
            status, out, of = self.dispatch(method, path, parse_qs(query), signed.key, body)
        except CollegiumError as e:
            status, of = STATUS.get(e.code, 400), "application/json"
            out = json.dumps({"error": e.code, "says": str(e), "hint": e.hint}).encode()
        return status, out, of, signed.signature

    def dispatch(self, method: str, path: str, query: dict[str, list[str]], key: str, body: bytes) -> tuple[int, bytes, str]:
        as_json = "application/json"
        match [method, *path.strip("/").split("/")]:
            case ["POST", "v1", "join"]:
                asked = json.loads(body)
                mark = identity.secret_hash(bytes.fromhex(asked["secret"]))
                if mark not in self.secrets:
                    raise IdentityError("the code is not known or out of date")
                if self.secrets[mark] not in ("", key):
                    raise __import__("collegium.errors", fromlist=["ConflictError"]).ConflictError("used")
                self.secrets[mark], self.sites[key] = key, asked["name"] or "leeds"
                return 200, json.dumps({"site": self.sites[key], "federation": "Test"}).encode(), as_json
            case ["POST", "v1", "work"]:
                if key not in self.sites:
                    raise IdentityError("no site has this key")
                message, payload = unpack(body)
                return 200, pack(*self.work(self.sites[key], message, bytes(payload))), PACKED
            case ["GET", "v1", "uploads", op]:
                return 200, json.dumps({"chunks": sorted(self.uploads.get(op, {}))}).encode(), as_json
            case ["PUT", "v1", "uploads", op, number]:
                if query["run"] == ["doctor"]:
                    raise NotFound("there is no run doctor")
                self.uploads.setdefault(op, {})[int(number)] = body
                self.puts += 1
                return 204, b"", as_json
        raise NotFound(f"nothing at {path}")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    coordinator: Standin
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        name = parts.path.rpartition("/")[2]
        if parts.path.startswith("/v1/blobs/") and name in self.coordinator.blobs:
            self.blob(self.coordinator.blobs[name], headers.get("range", ""))
            return
        status, out, kind, signature = self.coordinator.answer(self.command, parts.path, parts.query, headers, body)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(out)))
        mark = identity.sign_response(self.coordinator.key, status, identity.digest(out), signature)
        self.send_header("collegium-signature", mark)
        self.end_headers()
        self.wfile.write(out)

    def blob(self, whole: bytes, wanted: str) -> None:
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        self.send_response(206 if start else 200)
        self.send_header("content-length", str(len(whole) - start))
        self.end_headers()
        self.wfile.write(whole[start:])

    do_GET = do_POST = do_PUT = handle_any

    def log_message(self, *_: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # connections are cut on purpose


@contextmanager
def serving(coordinator: Standin, *, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[Standin]:
    handler = type("Bound", (Handler,), {"coordinator": coordinator})
    server = Quiet((host, coordinator.port), handler)
    if coordinator.secure:
        made = context or coordinator.root.issue(coordinator.folder)
        server.socket = made.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    coordinator.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield coordinator
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
