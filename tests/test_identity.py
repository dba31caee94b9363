"""Keys, join codes and signatures: every altered part is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import identity as I
from collegium.errors import IdentityError

SITE, COORDINATOR, STRANGER = (I.key(bytes([n]) * 32) for n in (1, 2, 3))
REQUEST = I.Request("POST", "/v1/work", "a=1", I.digest(b"body"), "application/json", I.fingerprint(COORDINATOR.public))


def headers(counter=7, boot="ab12"):
    return I.sign_request(SITE, REQUEST, boot=boot, counter=counter, now=1_800_000_000)


def test_a_signed_request_holds():
    signed = I.read_signature(headers())
    I.check_request(signed, REQUEST)
    assert (signed.key, signed.boot, signed.counter) == (SITE.public, "ab12", 7)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"path": "/v1/other"},
        {"query": "a=2"},
        {"body_digest": I.digest(b"bodx")},
        {"content_type": "text/plain"},
        {"coordinator": I.fingerprint(STRANGER.public)},
    ],
)
def test_each_covered_part_is_covered(change):
    with pytest.raises(IdentityError, match="does not hold"):
        I.check_request(I.read_signature(headers()), REQUEST._replace(**change))


@pytest.mark.parametrize(
    "alter",
    [
        lambda h: h | {"signature-input": h["signature-input"].replace("ab12.7", "ab12.8")},
        lambda h: h | {"signature-input": h["signature-input"].replace(SITE.public, STRANGER.public)},
        lambda h: h | {"signature-input": h["signature-input"].replace("created=18", "created=19")},
    ],
)
def test_altered_parameters_do_not_verify(alter):
    with pytest.raises(IdentityError, match="does not hold"):
        I.check_request(I.read_signature(alter(headers())), REQUEST)


@pytest.mark.parametrize(
    "alter",
    [
        lambda h: {},
        lambda h: {k: v for k, v in h.items() if k != "signature"},
        lambda h: h | {"signature": "c=:AAAA:"},
        lambda h: h | {"signature-input": h["signature-input"].replace("ed25519", "hmac-sha256")},
        lambda h: h | {"signature-input": h["signature-input"].replace('"@path" ', "")},
        lambda h: h | {"signature-input": h["signature-input"].replace('"@path"', '"@method"')},
        lambda h: h | {"signature-input": h["signature-input"].replace("collegium1", "other")},
        lambda h: h | {"signature-input": h["signature-input"] + ";extra=1"},
    ],
)
def test_missing_or_strange_signatures_are_unreadable(alter):
    with pytest.raises(IdentityError, match="no readable signature"):
        I.read_signature(alter(headers()))


def test_a_response_belongs_to_its_request():
    signature = I.read_signature(headers()).signature
    header = I.sign_response(COORDINATOR, 200, I.digest(b"answer"), signature)
    I.check_response(COORDINATOR.public, header, 200, I.digest(b"answer"), signature)
    for public, text, status, body, to in [
        (STRANGER.public, header, 200, b"answer", signature),
        (COORDINATOR.public, header, 404, b"answer", signature),
        (COORDINATOR.public, header, 200, b"altered", signature),
        (COORDINATOR.public, header, 200, b"answer", bytes(64)),
        (COORDINATOR.public, "", 200, b"answer", signature),
        (COORDINATOR.public, "not base64!", 200, b"answer", signature),
    ]:
        with pytest.raises(IdentityError, match="not signed by the coordinator"):
            I.check_response(public, text, status, I.digest(body), to)


def test_wrong_public_keys_verify_nothing():
    assert not I.verify("zz", bytes(64), b"")
    assert not I.verify("00", bytes(64), b"")


CODE = I.Code("https://hub.example:8443", I.fingerprint(COORDINATOR.public), bytes(range(16)))


def test_a_join_code_is_read_through_spaces_line_breaks_and_capitals():
    code = I.mint(CODE)
    assert I.read_code(f"  {code[:30]}\n {code[30:].upper()} ") == CODE


@given(st.data())
def test_any_slip_of_the_pen_is_noticed(data):
    code = I.mint(CODE)
    at = data.draw(st.integers(len(I.PREFIX), len(code) - 2))  # the last letter holds padding bits
    other = data.draw(st.sampled_from([c for c in "abcdefghijklmnopqrstuvwxyz234567" if c != code[at]]))
    with pytest.raises(IdentityError, match="damaged"):
        I.read_code(code[:at] + other + code[at + 1 :])


@pytest.mark.parametrize(
    ("text", "says"), [("", "starts with"), ("abc", "starts with"), (I.PREFIX, "damaged"), (I.PREFIX + "a1!", "damaged")]
)
def test_other_texts_are_not_join_codes(text, says):
    with pytest.raises(IdentityError, match=says):
        I.read_code(text)


def test_the_secret_is_stored_as_a_hash():
    assert I.secret_hash(CODE.secret) != I.secret_hash(bytes(16))
    assert CODE.secret.hex() not in I.secret_hash(CODE.secret)


def signed(counter, boot="b", key="k"):
    return I.Signed(key, boot, counter, b"", "")


@given(st.lists(st.integers(1, 3 * I.WINDOW), max_size=60))
def test_no_counter_is_accepted_twice(counters):
    guard, accepted = I.Counters("b"), []
    for counter in counters:
        if guard.accept(signed(counter)):
            accepted.append(counter)
    assert len(set(accepted)) == len(accepted)
    fresh = [c for at, c in enumerate(counters) if c not in counters[:at] and c > max(counters[:at], default=0) - I.WINDOW]
    assert accepted == fresh


def test_another_boot_is_refused_and_keys_count_apart():
    guard = I.Counters("b")
    assert not guard.accept(signed(1, boot="a"))
    assert guard.accept(signed(1))
    assert guard.accept(signed(1, key="other"))
