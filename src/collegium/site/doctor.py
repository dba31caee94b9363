"""Why does this site not reach its coordinator? Every hop is tried in turn, and said in words that an IT desk can act on.

    for check in diagnose(folder, environ=os.environ, version="1"):
        print(check.hop, "ok" if check.ok else check.found, check.fix)

A check that passes and still has a `fix` is a warning.
"""

import email.utils
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from collegium import identity
from collegium.errors import CollegiumError, FrameError, IdentityError, LinkError, NotFound
from collegium.identity import CHUNK, Code, Key
from collegium.site import config
from collegium.site.dial import Dialler, HopError, Proxy, Target, target, tcp, way_out
from collegium.site.link import BYTES, LONG_POLL_S, Link

CLOCK_S = 600  # further apart, and certificates and records get confusing dates
PATIENT_S = 60.0


class Check(NamedTuple):
    """One hop: whether it works, what was found, what was wanted, and what to do."""

    hop: str
    ok: bool
    found: str
    wanted: str
    fix: str = ""


class Way(NamedTuple):
    """What there is to be tried."""

    to: Target
    proxy: Proxy | None
    root: str
    ca_file: str
    coordinator: str  # fingerprint
    key: Key | None
    public: str  # the coordinator's key, where it is known
    version: str


Step = Callable[[Way, dict[str, Any]], Check]


def diagnose(
    where: Path | str,
    *,
    environ: Mapping[str, str],
    version: str,
    wait_s: int = LONG_POLL_S,
    stall_s: float = PATIENT_S,
    now: Callable[[], float] = time.time,
) -> Iterator[Check]:
    """Try every hop from the site in a folder, or from this machine with a join code, and stop at the first that fails."""
    try:
        way, first = start(where, environ, version)
    except CollegiumError as e:
        yield Check("settings", False, str(e), "a site's folder, or a join code", e.hint)
        return
    yield first
    seen: dict[str, Any] = {"wait_s": wait_s, "stall_s": stall_s, "now": now}
    for hop, step in STEPS.items():
        if (hop == "proxy" and way.proxy is None) or (hop in NEED_KEY and way.key is None):
            continue
        try:
            check = step(way, seen)
        except HopError as e:
            check = Check(HOPS.get(e.hop, hop), False, str(e), WANTED.get(e.hop, "an answer of the coordinator"), e.hint)
        except CollegiumError as e:
            check = Check(hop, False, str(e), "an answer of the coordinator", e.hint)
        yield check
        if not check.ok and hop != "clock":
            return


def start(where: Path | str, environ: Mapping[str, str], version: str) -> tuple[Way, Check]:
    """What is known before anything is tried: from the site's folder, or from a join code."""
    if isinstance(where, str) and where.strip().lower().startswith(identity.PREFIX):
        code: Code = identity.read_code(where)
        to = target(code.url)
        way = Way(to, way_out(to, "", environ), "", "", code.coordinator, None, "", version)
        return way, Check("settings", True, f"a join code for {code.url}", "a whole join code")
    settings = config.load(Path(where))
    key, to = config.key_of(settings.folder), target(settings.url)
    print_ = identity.fingerprint(settings.coordinator)
    proxy = way_out(to, settings.proxy, environ)
    way = Way(to, proxy, settings.root(), settings.ca_file, print_, key, settings.coordinator, version)
    return way, Check(
        "settings", True, f"site {settings.site!r} of {settings.federation!r} at {settings.url}", "site.toml, key and root.pem"
    )


def dialler(way: Way, seen: Mapping[str, Any]) -> Dialler:
    """A way to connect, as the agent would, but less patient."""
    return Dialler(
        way.to, way.proxy, root=way.root, ca_file=way.ca_file, stall_s=seen["stall_s"], unchecked=not way.root and way.key is None
    )


def name(way: Way, seen: dict[str, Any]) -> Check:
    """Does DNS know the name? With a proxy, it is the proxy's name that counts here."""
    host = way.proxy.host if way.proxy else way.to.host
    wanted = f"DNS finds {host}"
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except socket.gaierror as e:
        return Check(
            "name", False, f"{host} cannot be resolved: {e.strerror}", wanted, f"ask IT to add {host} to DNS, or check the address"
        )
    return Check("name", True, f"{host} is {', '.join(sorted(found))}", wanted)


def connection(way: Way, seen: dict[str, Any]) -> Check:
    """Does a TCP connection come about?"""
    host, port = (way.proxy.host, way.proxy.port) if way.proxy else (way.to.host, way.to.port)
    tcp(host, port, seen["stall_s"]).close()
    return Check("tcp", True, f"{host}:{port} accepts connections", f"outbound TCP to {host}:{port}")


def proxy(way: Way, seen: dict[str, Any]) -> Check:
    """Does the proxy open a tunnel?"""
    dialler(way, seen).reach().close()
    return Check("proxy", True, f"the proxy {way.proxy} opens a tunnel to {way.to}", f"CONNECT to {way.to} through {way.proxy}")


def tls(way: Way, seen: dict[str, Any]) -> Check:
    """Is TLS the coordinator's own, opened by somebody who is trusted, or neither?"""
    wanted = f"TLS 1.2 or newer with {way.to}"
    if not way.to.secure:
        return Check("tls", True, "plain HTTP on this machine", wanted)
    dial = dialler(way, seen)
    sock = dial.connect()
    try:
        version = sock.version() if isinstance(sock, ssl.SSLSocket) else ""
    finally:
        sock.close()
    if dial.unchecked:
        return Check("tls", True, f"{version}, issued by {dial.issuer()!r}; the join code will tell whether that matters", wanted)
    if dial.opened_by:
        note = f"{version}, but opened on the way by {dial.opened_by!r}; signatures protect what is sent, the proxy can read it"
        return Check("tls", True, note, wanted, f"works as it is; IT may exempt {way.to} from TLS inspection")
    return Check("tls", True, f"{version}, with the coordinator's own certificate", wanted)


def coordinator(way: Way, seen: dict[str, Any]) -> Check:
    """Is it the coordinator who answers, and does its signature come through?"""
    link = Link(dialler(way, seen), None, "", agent=f"collegium/{way.version}")
    wanted = f"the coordinator with fingerprint {way.coordinator[:8]}..., its headers untouched"
    try:
        told = link.identity()
    finally:
        link.close()
    seen["date"], seen["boot"] = link.date, str(told.get("boot", "0"))
    found = identity.fingerprint(str(told["public"]))
    if found != way.coordinator:
        fix = "something answers in its place, or the coordinator was set up anew: ask its operator, then join again"
        return Check("coordinator", False, f"another coordinator answers, with fingerprint {found[:8]}...", wanted, fix)
    return Check("coordinator", True, f"it answers, protocol version {told.get('version')}, and its signature holds", wanted)


def clock(way: Way, seen: dict[str, Any]) -> Check:
    """Are both clocks near each other? Nothing depends on it, but dates in records do."""
    wanted = f"this clock within {CLOCK_S // 60} minutes of the coordinator's"
    there = email.utils.parsedate_to_datetime(seen["date"]).timestamp() if seen.get("date") else None
    if there is None:
        return Check("clock", True, "the coordinator told no time", wanted)
    apart = seen["now"]() - there
    if abs(apart) <= CLOCK_S:
        return Check("clock", True, f"{abs(apart):.0f} s apart", wanted)
    way_off = f"this machine's clock is {spoken(abs(apart))} {'ahead of' if apart > 0 else 'behind'} the coordinator's"
    return Check("clock", True, way_off, wanted, "set it by NTP: the record of what left this site carries its dates")


def spoken(seconds: float) -> str:
    """A length of time in a unit that a person would use."""
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.1f} days"
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"


def signed(way: Way, seen: dict[str, Any]) -> Link:
    """A link with the site's key."""
    link = Link(dialler(way, seen), way.key, way.public, agent=f"collegium/{way.version}")
    link.boot = seen.get("boot", "0")
    return link


def key(way: Way, seen: dict[str, Any]) -> Check:
    """Does the coordinator know this site, and do our signatures come through?"""
    wanted = "a signed request that the coordinator takes"
    link = signed(way, seen)
    try:
        link.work({"run": "", "serving": [], "answer": None, "line": None, "wait_s": 0})
    except IdentityError as e:
        return Check("key", False, str(e), wanted, e.hint or "ask the operator for a new join code and join again")
    finally:
        link.close()
    return Check("key", True, "the coordinator knows this site's key", wanted)


def size(way: Way, seen: dict[str, Any]) -> Check:
    """Do bodies of the size of a chunk pass? The coordinator reads this one, then knows no such run: its word shows that all arrived."""
    wanted = f"requests of {CHUNK >> 20} MiB pass"
    link = signed(way, seen)
    try:
        link.call("PUT", f"/v1/uploads/{'0' * 64}/0", query="run=doctor", body=memoryview(os.urandom(CHUNK)), kind=BYTES)
    except (LinkError, FrameError) as e:
        return Check("size", False, str(e), wanted, f"ask IT to allow request bodies of {2 * CHUNK >> 20} MiB to {way.to}")
    except NotFound:
        pass
    finally:
        link.close()
    return Check("size", True, f"a request of {CHUNK >> 20} MiB arrived", wanted)


def waiting(way: Way, seen: dict[str, Any]) -> Check:
    """May a request wait for its answer, and how long?"""
    wait_s = seen["wait_s"]
    wanted = f"a request may wait {wait_s} s for its answer"
    link, started = signed(way, seen), time.monotonic()
    try:
        offer, _ = link.work({"run": "", "serving": [], "answer": None, "line": None, "wait_s": wait_s})
    except LinkError as e:
        waited = time.monotonic() - started
        note = f"a waiting request was cut after {waited:.0f} s: {e}"
        return Check(
            "waiting", waited >= 2, note, wanted, f"works with shorter waits; ask IT to allow {wait_s + 5} s without traffic to {way.to}"
        )
    finally:
        link.close()
    found = "there is work at once" if offer.get("run") else f"a request waited {time.monotonic() - started:.0f} s"
    return Check("waiting", True, found, wanted)


STEPS: dict[str, Step] = {
    "name": name, "tcp": connection, "proxy": proxy, "tls": tls, "coordinator": coordinator, "clock": clock, "key": key, "size": size,
    "waiting": waiting,
}  # fmt: skip
NEED_KEY = ("key", "size", "waiting")
HOPS = {"http": "coordinator", "content": "coordinator"}
WANTED = {
    "name": "DNS finds the name", "tcp": "an outbound TCP connection", "proxy": "a tunnel through the proxy", "tls": "TLS 1.2 or newer",
    "http": "the coordinator's own answer, with all its headers", "content": "the coordinator's answer, unaltered",
}  # fmt: skip
