"""The least that a round can cost: processes that swap the same bytes over bare sockets, with TLS or without.

No HTTP, no signature, no disk, no sum: one process sends every site the state and takes every site's update, in Python's own
`socket` and `ssl`. What Collegium costs beyond this is what a ratio in these benchmarks says.
"""

import datetime
import multiprocessing
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.measure import MIB

SMALL = 1 << 20  # messages up to this size are sent to one site after another; larger ones to all at once, by threads


def rounds(sites: int, down: int, up: int, count: int, *, tls: bool) -> list[float]:
    """Seconds that each of `count` rounds took, in which each of `sites` processes gets `down` bytes and returns `up`."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=sites) as listener:
        pem = certificate(Path(folder)) if tls else None
        context = multiprocessing.get_context("fork")
        arguments = (int(listener.getsockname()[1]), down, up, count, pem)
        children = [context.Process(target=site, args=arguments, daemon=True) for _ in range(sites)]
        for child in children:
            child.start()
        try:
            return serve([accepted(listener, pem) for _ in children], down, up, count)
        finally:
            for child in children:
                child.join(timeout=10)
                child.terminate()


def serve(socks: list[socket.socket], down: int, up: int, count: int) -> list[float]:
    """The coordinator's half."""
    out = memoryview(bytearray(down))
    into = [memoryview(bytearray(min(up, MIB))) for _ in socks]
    with ThreadPoolExecutor(len(socks)) as pool:
        each: Callable[..., Iterable[None]] = map if max(down, up) <= SMALL else pool.map
        times = []
        for _ in range(count + 1):
            start = time.perf_counter()
            list(each(lambda sock: send(sock, out), socks))
            list(each(lambda sock, buffer: receive(sock, up, buffer), socks, into))
            times.append(time.perf_counter() - start)
    for sock in socks:
        sock.close()
    return times[1:]  # the first round warms up


def site(port: int, down: int, up: int, count: int, pem: Path | None) -> None:
    """A site's half, in a process of its own."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if pem:
        context = ssl.create_default_context(cafile=str(pem))
        context.check_hostname = False
        sock = context.wrap_socket(sock)
    into, out = memoryview(bytearray(min(down, MIB))), memoryview(bytearray(up))
    for _ in range(count + 1):
        receive(sock, down, into)
        send(sock, out)
    sock.close()


def accepted(listener: socket.socket, pem: Path | None) -> socket.socket:
    """The next site's connection."""
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if pem is None:
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context.wrap_socket(sock, server_side=True)


def send(sock: socket.socket, out: memoryview) -> None:
    """Send it all, a MiB at a time."""
    for at in range(0, len(out), MIB):
        sock.sendall(out[at : at + MIB])


def receive(sock: socket.socket, nbytes: int, buffer: memoryview) -> None:
    """Receive so many bytes and forget them."""
    while nbytes:
        count = sock.recv_into(buffer[: min(nbytes, len(buffer))])
        if not count:
            raise ConnectionError("the other side has gone")
        nbytes -= count


def certificate(folder: Path) -> Path:
    """A key and its self-made certificate, in one PEM file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "bare.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path
