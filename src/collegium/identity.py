"""Who is speaking: Ed25519 keys, join codes, and signatures on every request and response.

Requests are signed (RFC 9421, with a content digest after RFC 9530), not tied to TLS: the signature survives a hospital proxy
that opens TLS, and tells when such a proxy alters a byte. A join code carries the address of the coordinator, the fingerprint
of its key and a one-time secret, so that nobody in between can put another coordinator in its place.

A request's nonce is `BOOT.COUNTER`: the coordinator draws BOOT at every start, the signer counts up. A counter is accepted
once, so a replay is refused without trusting anybody's clock and without a table of nonces. Pure: entropy and time come in.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from collegium.errors import IdentityError

PREFIX = "cgj1."
TAG = "collegium1"
COMPONENTS = ("@method", "@path", "@query", "content-digest", "content-type", "collegium-coordinator")
WINDOW = 1024  # requests of one key that may overtake each other


@dataclass(frozen=True)
class Key:
    """A private signing key; `public` is its 32 public bytes in hex, the name by which others know it."""

    private: Ed25519PrivateKey
    public: str

    def sign(self, message: bytes) -> bytes:
        """64 bytes that only this key can make."""
        return self.private.sign(message)


def key(seed: bytes) -> Key:
    """The key made from 32 secret random bytes, which are also how it is stored."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return Key(private, private.public_key().public_bytes_raw().hex())


def verify(public: str, signature: bytes, message: bytes) -> bool:
    """Whether `signature` on `message` was made by the key whose public bytes are `public` (hex)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(public: str) -> str:
    """A short name for a public key: 16 bytes of its SHA-256, in hex."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:32]


class Code(NamedTuple):
    """What a join code says."""

    url: str
    coordinator: str  # fingerprint of the coordinator's key
    secret: bytes  # 16 bytes, used once


def mint(code: Code) -> str:
    """The join code as one line to paste.

    >>> code = Code("https://hub.example:8443", "ab" * 16, b"s" * 16)
    >>> read_code(mint(code)) == code
    True
    """
    body = bytes([1]) + bytes.fromhex(code.coordinator) + code.secret + code.url.encode()
    body += hashlib.sha256(body).digest()[:4]
    return PREFIX + base64.b32encode(body).decode().rstrip("=").lower()


def read_code(text: str) -> Code:
    """The parts of a join code; a slip of the pen is told from a code of a newer release. Raises `IdentityError`."""
    cleaned = "".join(text.split()).lower()
    if not cleaned.startswith(PREFIX):
        raise IdentityError(f"a join code starts with {PREFIX!r}, found {cleaned[:8]!r}", hint="paste the whole line of the invitation")
    letters = cleaned.removeprefix(PREFIX).upper()
    try:
        body = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError:
        body = b""
    if len(body) < 38 or hashlib.sha256(body[:-4]).digest()[:4] != body[-4:]:
        raise IdentityError("the join code is damaged or cut short: its checksum does not hold", hint="copy it again, whole")
    if body[0] != 1:
        raise IdentityError(f"the join code is of version {body[0]}, this Collegium reads 1", hint="install a newer Collegium at this site")
    return Code(body[33:-4].decode(), body[1:17].hex(), body[17:33])


def secret_hash(secret: bytes) -> str:
    """How a coordinator stores a join code's secret."""
    return hashlib.sha256(b"collegium/join/1" + secret).hexdigest()


def digest(body: bytes | bytearray | memoryview) -> str:
    """BLAKE3 of some bytes, in hex: the name of a blob, an update, a chunk."""
    return blake3.blake3(body).hexdigest()


CHUNK = 4 << 20  # bytes of a large vector that are sent, digested and sent again as one


def vector_digest(chunks: Iterable[str]) -> str:
    """The digest of a vector that is sent in chunks: of its chunks' digests, so that every byte is hashed once on each side."""
    return digest("".join(chunks).encode())


class Chunks:
    """The digests of a vector's chunks, found while it is written from its start to its end.

    >>> chunks = Chunks()
    >>> chunks.update(b"num")
    >>> chunks.update(b"bers")
    >>> chunks.digests == [digest(b"numbers")]
    True
    """

    def __init__(self) -> None:
        self.running, self.nbytes, self.done = blake3.blake3(), 0, list[str]()

    def update(self, piece: bytes | memoryview) -> None:
        """The next bytes, as many as there are."""
        view = memoryview(piece)
        while view:
            part = view[: CHUNK - self.nbytes % CHUNK]
            self.running.update(part)
            self.nbytes, view = self.nbytes + len(part), view[len(part) :]
            if self.nbytes % CHUNK == 0:
                self.done.append(self.running.hexdigest())
                self.running.reset()

    @property
    def digests(self) -> list[str]:
        """One for each chunk; the last may be shorter."""
        return [*self.done, self.running.hexdigest()] if self.nbytes % CHUNK else list(self.done)


class Request(NamedTuple):
    """The parts of a request that a signature covers; `path` and `query` as they stand in the request line."""

    method: str
    path: str
    query: str
    body_digest: str  # hex
    content_type: str
    coordinator: str  # fingerprint of the coordinator that the sender means


class Signed(NamedTuple):
    """What the signature headers of a request say."""

    key: str  # public key, hex
    boot: str
    counter: int
    signature: bytes
    parameters: str


def sign_request(signer: Key, request: Request, *, boot: str, counter: int, now: int) -> dict[str, str]:
    """The headers to send with a request."""
    covered = " ".join(f'"{name}"' for name in COMPONENTS)
    parameters = f'({covered});created={now};nonce="{boot}.{counter}";keyid="{signer.public}";alg="ed25519";tag="{TAG}"'
    signature = signer.sign(request_base(request, parameters))
    return {
        "content-digest": f"blake3=:{base64.b64encode(bytes.fromhex(request.body_digest)).decode()}:",
        "collegium-coordinator": request.coordinator,
        "signature-input": f"c={parameters}",
        "signature": f"c=:{base64.b64encode(signature).decode()}:",
    }


def request_base(request: Request, parameters: str) -> bytes:
    """The bytes that are signed (RFC 9421, section 2.5)."""
    values = (
        request.method, request.path, f"?{request.query}",
        f"blake3=:{base64.b64encode(bytes.fromhex(request.body_digest)).decode()}:", request.content_type, request.coordinator,
    )  # fmt: skip
    lines = [f'"{name}": {value}' for name, value in zip(COMPONENTS, values, strict=True)]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode()


PARAMETERS = re.compile(
    r"c=(\((?:\"[@a-z-]+\" ?){6}\);created=\d{1,12};nonce=\"([0-9a-f]{1,32})\.(\d{1,19})\";keyid=\"([0-9a-f]{64})\";"
    rf"alg=\"ed25519\";tag=\"{TAG}\")"
)


def read_signature(headers: Mapping[str, str]) -> Signed:
    """The signature headers of a request, not yet verified. Raises `IdentityError`."""
    found = PARAMETERS.fullmatch(headers.get("signature-input", ""))
    value = re.fullmatch(r"c=:([A-Za-z0-9+/]{86}==):", headers.get("signature", ""))
    if not found or not value or not found[1].startswith("(" + " ".join(f'"{name}"' for name in COMPONENTS) + ")"):
        raise IdentityError(
            "the request carries no readable signature", hint="a proxy may strip `Signature` headers: ask IT to pass them on this address"
        )
    return Signed(found[4], found[2], int(found[3]), base64.b64decode(value[1]), found[1])


def check_request(signed: Signed, request: Request) -> None:
    """Raise `IdentityError` unless the signature holds for exactly this request."""
    if not verify(signed.key, signed.signature, request_base(request, signed.parameters)):
        raise IdentityError("the request's signature does not hold: it was altered on the way, or the key is another")


def sign_response(signer: Key, status: int, body_digest: str, request_signature: bytes) -> str:
    """The `collegium-signature` header of a response: bound to its status, its body and the request it answers."""
    return base64.b64encode(signer.sign(response_base(status, body_digest, request_signature))).decode()


def check_response(public: str, header: str, status: int, body_digest: str, request_signature: bytes) -> None:
    """Raise `IdentityError` unless the response is the coordinator's own answer to this very request."""
    try:
        signature = base64.b64decode(header, validate=True)
    except ValueError:
        signature = b""
    if not verify(public, signature, response_base(status, body_digest, request_signature)):
        raise IdentityError("the response was not signed by the coordinator of this site's join code: something answered in its place")


def response_base(status: int, body_digest: str, request_signature: bytes) -> bytes:
    """The bytes a coordinator signs in a response."""
    return b"\n".join([b"collegium/response/1", str(status).encode(), body_digest.encode(), request_signature.hex().encode()])


@dataclass
class Counters:
    """Which request counters have been used since this boot: each is accepted once, in any order within a window."""

    boot: str
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)  # key -> (highest, bits of the window below it)

    def accept(self, signed: Signed) -> bool:
        """True the first time; False for a replay, an older boot or a counter too far behind."""
        if signed.boot != self.boot:
            return False
        highest, bits = self.seen.get(signed.key, (0, 0))
        ahead = signed.counter - highest
        if ahead > 0:
            self.seen[signed.key] = signed.counter, ((bits << ahead) | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
            return True
        if -ahead >= WINDOW or bits >> -ahead & 1:
            return False
        self.seen[signed.key] = highest, bits | 1 << -ahead
        return True
