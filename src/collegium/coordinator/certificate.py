"""TLS without an authority: the coordinator's identity key signs a root, the root signs the server's certificate.

A site pins the root when it joins, by way of the fingerprint in its join code; the server's own key can be renewed at any
start without a word to the sites.
"""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collegium.identity import Key, fingerprint

ROOT_DAYS, LEAF_DAYS, RENEW_DAYS = 3650, 397, 60
ROOT, LEAF, LEAF_KEY = "tls-root.pem", "tls.pem", "tls.key"


class Files(NamedTuple):
    """What a TLS server needs: its certificate (the root behind it) and its key; and the root that sites pin."""

    certificate: Path
    key: Path
    root: Path


def ensure(folder: Path, key: Key, hosts: Sequence[str], now: datetime.datetime) -> Files:
    """The certificate for these host names and addresses, made or renewed where it is missing, near its end or for others."""
    files = Files(folder / LEAF, folder / LEAF_KEY, folder / ROOT)
    if not files.root.exists():
        write(files.root, root(key, now).public_bytes(serialization.Encoding.PEM))
    if not holds(files, hosts, now):
        above = x509.load_pem_x509_certificate(files.root.read_bytes())
        private = ec.generate_private_key(ec.SECP256R1())
        certificate = leaf(key, above, private.public_key(), hosts, now)
        write(files.key, private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
        pem = [each.public_bytes(serialization.Encoding.PEM) for each in (certificate, above)]
        write(files.certificate, b"".join(pem))
    return files


def root(key: Key, now: datetime.datetime) -> x509.Certificate:
    """A root certificate of the identity key itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Collegium {fingerprint(key.public)}")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a site's clock may be a little behind
        .not_valid_after(now + datetime.timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.private.public_key()), critical=False)
        .sign(key.private, None)
    )


def leaf(
    key: Key, above: x509.Certificate, public: ec.EllipticCurvePublicKey, hosts: Sequence[str], now: datetime.datetime
) -> x509.Certificate:
    """The server's certificate."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])]))
        .issuer_name(above.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([named(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.private.public_key()), critical=False)
        .sign(key.private, None)
    )


def named(host: str) -> x509.GeneralName:
    """A host as a certificate names it: by address or by name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host.encode("idna").decode())


def holds(files: Files, hosts: Sequence[str], now: datetime.datetime) -> bool:
    """Whether the certificate on the disk serves these hosts for a while yet."""
    if not (files.certificate.exists() and files.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    private = serialization.load_pem_private_key(files.key.read_bytes(), None)
    ours = private.public_key() == certificate.public_key()  # a crash between the two files leaves a stranger's key
    return ours and {named(host) for host in hosts} <= names and certificate.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)


def write(path: Path, content: bytes) -> None:
    """A private file, whole or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.rename(path)
