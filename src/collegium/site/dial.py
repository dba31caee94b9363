"""Reaching the coordinator through a hospital's network: name, address, proxy, TLS; each hop that fails is named.

TLS first trusts the root that the site pinned when it joined, and that root alone. Where a hospital's proxy opens TLS, the
certificate is another: then the system's authorities and the site's own `ca_file` are asked, the proxy's issuer is noted, and
the signatures on every request and response protect the content.
"""

import base64
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from collegium.errors import LinkError

STALL_S = 60.0  # a connection on which no byte moves for so long is given up
CONNECT_S = 15.0  # one address; a name may have several
EXPIRED, NOT_YET = 10, 9  # OpenSSL's codes


class HopError(LinkError):
    """A hop on the way to the coordinator failed: `hop` is one of name, tcp, proxy, tls, http, content."""

    def __init__(self, hop: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.hop = hop


class Target(NamedTuple):
    """Where the coordinator listens."""

    secure: bool
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Proxy:
    """The hospital's way out. Its password never shows in a message or a log."""

    host: str
    port: int
    credentials: str = ""  # "name:password"

    def __repr__(self) -> str:
        return f"{self.host}:{self.port}"

    __str__ = __repr__


def target(url: str) -> Target:
    """The parts of the coordinator's address; plain HTTP is for tests on one machine. Raises `LinkError`."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    local = host in ("localhost", "::1") or host.startswith("127.")
    if not host or parts.scheme not in ("https", "http") or (parts.scheme == "http" and not local):
        raise HopError("name", f"the coordinator's address is {url[:80]!r}; wanted https://name:port")
    return Target(parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80))


def proxy_of(text: str) -> Proxy:
    """A proxy from `http://name:password@host:port`. Raises `LinkError`, without repeating the password."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        host, port = parts.hostname or "", parts.port or 3128
    except ValueError:
        host, port = "", 0
    if not host or parts.scheme != "http":
        shown = re.sub(r"//[^@]*@", "//...@", text)[:80]
        raise HopError("proxy", f"the proxy is {shown!r}; wanted http://name:password@host:port, name and password only where needed")
    known = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return Proxy(host, port, known)


def way_out(to: Target, configured: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy to use: the one of `site.toml`, else HTTPS_PROXY unless NO_PROXY excepts this host; `none` means no proxy."""
    if configured:
        return None if configured == "none" else proxy_of(configured)
    text = environ.get("HTTPS_PROXY") or environ.get("https_proxy") or environ.get("ALL_PROXY") or environ.get("all_proxy") or ""
    return proxy_of(text) if text and not excepted(to, environ.get("NO_PROXY") or environ.get("no_proxy") or "") else None


def excepted(to: Target, no_proxy: str) -> bool:
    """Whether NO_PROXY lists this host, a domain it belongs to, or everything."""
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        name, _, port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if port and port != str(to.port):
            continue
        domain = name.removeprefix("*").lstrip(".")
        if entry == "*" or (domain and (to.host.lower() == domain or to.host.lower().endswith("." + domain))):
            return True
    return False


@dataclass
class Dialler:
    """Makes connections to one coordinator; remembers which trust worked, and who opens TLS on the way."""

    to: Target
    proxy: Proxy | None = None
    root: str = ""  # the pinned root, PEM
    ca_file: str = ""
    stall_s: float = STALL_S
    unchecked: bool = False  # only while joining: the join code's fingerprint says who answers
    opened_by: str = ""  # the issuer of a certificate that is not the coordinator's own
    pinned: bool = True

    def __post_init__(self) -> None:
        self.contexts: dict[str, ssl.SSLContext] = {}

    def connect(self) -> socket.socket:
        """A connection that carries HTTP to the coordinator. Raises `HopError`."""
        if not self.to.secure:
            return self.reach()
        if self.unchecked:
            return self.secured("unchecked")
        if self.root and self.pinned:
            try:
                sock = self.secured("pinned")
            except ssl.SSLCertVerificationError as e:
                if e.verify_code in (EXPIRED, NOT_YET):
                    raise outdated(self.to, e) from None
            else:
                self.opened_by = ""
                return sock
        return self.by_authority()

    def by_authority(self) -> socket.socket:
        """TLS by a certificate that somebody else issued: a proxy that opens TLS, or a public authority."""
        try:
            sock = self.secured("system")
        except ssl.SSLCertVerificationError as e:
            self.pinned = True
            if e.verify_code in (EXPIRED, NOT_YET):
                raise outdated(self.to, e) from None
            raise HopError(
                "tls",
                f"the certificate that came for {self.to} was issued by {self.issuer()!r}, which this site does not trust"
                f" ({e.verify_message})",
                hint="a proxy opens TLS: ask IT for its CA certificate and name the file as ca_file in site.toml, or have this address"
                " exempted from TLS inspection",
            ) from None
        self.pinned = False  # asked first from now on; a pinned certificate is tried again when this one fails
        self.opened_by = issued_by(sock.getpeercert() or {})
        return sock

    def secured(self, trust: str) -> ssl.SSLSocket:
        """TLS over the way out, judged by one kind of trust."""
        raw = self.reach()
        try:
            return self.context(trust).wrap_socket(raw, server_hostname=self.to.host)
        except ssl.SSLCertVerificationError:
            raw.close()
            raise
        except (OSError, ValueError) as e:
            raw.close()
            raise handshake(self.to, e) from None

    def context(self, trust: str) -> ssl.SSLContext:
        """What is trusted: `pinned`, the coordinator's root alone; `system`, the authorities; `unchecked`, anyone."""
        if trust in self.contexts:
            return self.contexts[trust]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if trust == "system":
            context.load_default_certs()
            if self.ca_file:
                load_ca(context, self.ca_file)
        else:
            context.check_hostname = False  # only the coordinator has certificates of its root, whatever name it is reached by
            if trust == "pinned":
                context.load_verify_locations(cadata=self.root)
            else:
                context.verify_mode = ssl.CERT_NONE
        self.contexts[trust] = context
        return context

    def issuer(self) -> str:
        """Who issued the certificate that is shown, trusted or not."""
        try:
            with self.secured("unchecked") as sock:
                shown = sock.getpeercert(binary_form=True) or b""
        except (LinkError, OSError):
            return "unknown"
        from cryptography import x509  # local: read only when TLS has failed

        return common_name(x509.load_der_x509_certificate(shown).issuer.rfc4514_string())

    def reach(self) -> socket.socket:
        """A TCP connection to the coordinator, through the proxy if there is one."""
        if self.proxy is None:
            return tcp(self.to.host, self.to.port, self.stall_s)
        try:
            sock = tcp(self.proxy.host, self.proxy.port, self.stall_s)
        except HopError as e:
            raise HopError("proxy", f"the proxy {self.proxy}: {e}", hint="check the proxy's address in site.toml or HTTPS_PROXY") from None
        try:
            tunnel(sock, self.proxy, self.to)
        except BaseException:
            sock.close()
            raise
        return sock


def tcp(host: str, port: int, stall_s: float) -> socket.socket:
    """A TCP connection to the first address of `host` that answers. Raises `HopError`."""
    try:
        sock = socket.create_connection((host, port), timeout=min(CONNECT_S, stall_s))
    except socket.gaierror as e:
        raise HopError("name", f"the name {host!r} cannot be resolved: {e.strerror}", hint="ask IT whether DNS knows it") from None
    except TimeoutError:
        raise HopError("tcp", f"{host}:{port} does not answer", hint=f"ask IT to allow outbound TCP to {host}:{port}") from None
    except ConnectionRefusedError:
        raise HopError(
            "tcp", f"{host}:{port} refuses connections", hint="is the coordinator running, and is the port right? A firewall may refuse too"
        ) from None
    except OSError as e:
        raise HopError("tcp", f"{host}:{port} cannot be reached: {e.strerror or e}", hint=f"ask IT to allow TCP to {host}:{port}") from None
    sock.settimeout(stall_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def tunnel(sock: socket.socket, proxy: Proxy, to: Target) -> None:
    """Ask the proxy for a tunnel (HTTP CONNECT). Raises `HopError`."""
    host = f"[{to.host}]:{to.port}" if ":" in to.host else str(to)
    known = base64.b64encode(proxy.credentials.encode()).decode()
    login = f"Proxy-Authorization: Basic {known}\r\n" if proxy.credentials else ""
    head = b""
    try:
        sock.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{login}\r\n".encode())
        while b"\r\n\r\n" not in head and len(head) < 1 << 16:
            piece = sock.recv(1)  # one at a time: what follows the head belongs to TLS
            if not piece:
                break
            head += piece
    except OSError as e:
        raise HopError("proxy", f"the proxy {proxy} broke off: {e.strerror or e}") from None
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ?([^\r\n]*)", head)
    status, said = (int(found[1]), found[2].decode("latin-1")) if found else (0, "")
    if status == 200:
        return
    if status == 407:
        known_how = "refused the name and password of site.toml" if proxy.credentials else "asks for a name and a password"
        raise HopError("proxy", f"the proxy {proxy} {known_how} (407)", hint="set proxy = 'http://name:password@host:port' in site.toml")
    found_text = f"status {status} {said!r}" if status else "no HTTP answer"
    raise HopError("proxy", f"the proxy {proxy} gave {found_text} to CONNECT {host}", hint=f"ask IT to allow CONNECT to {host}")


def load_ca(context: ssl.SSLContext, path: str) -> None:
    """Trust the authorities of a file. Raises `LinkError`."""
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as e:
        raise HopError(
            "tls", f"ca_file {path!r} cannot be read as certificates: {e}", hint="it must be a PEM file of CA certificates"
        ) from None


def handshake(to: Target, error: Exception) -> HopError:
    """Why TLS did not come about, in words."""
    reason = str(getattr(error, "reason", "") or error)
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason:
        return HopError(
            "tls", f"{to} does not speak TLS", hint="something else answers there, often a proxy's page: check address and port"
        )
    if "PROTOCOL" in reason or "UNSUPPORTED" in reason:
        return HopError("tls", f"{to} offers only an old TLS ({reason}), wanted 1.2 or newer", hint="ask IT to update what ends TLS there")
    if isinstance(error, TimeoutError):
        return HopError("tls", f"{to} accepted the connection but TLS got no answer", hint="a firewall may drop TLS to this address")
    return HopError("tls", f"TLS with {to} broke off: {reason}", hint="a firewall or proxy may cut TLS to this address: ask IT to allow it")


def outdated(to: Target, error: ssl.SSLCertVerificationError) -> HopError:
    """A certificate outside its time."""
    when = "has expired" if error.verify_code == EXPIRED else "is not valid yet"
    return HopError("tls", f"the certificate of {to} {when}", hint="check this machine's clock; else the coordinator's must be renewed")


def issued_by(certificate: Mapping[str, object]) -> str:
    """The issuer's name in a certificate that was checked."""
    parts = [pair for group in certificate.get("issuer", ()) for pair in group]  # type: ignore[attr-defined]  # ssl gives object
    names = dict(parts)
    return str(names.get("commonName") or names.get("organizationName") or "unknown")


def common_name(text: str) -> str:
    """The CN of a name written as in RFC 4514, or all of it."""
    found = re.search(r"CN=((?:\\.|[^,])+)", text)
    return found[1].replace("\\", "") if found else text
