"""Certificates and TNAuthLists: any octets end in a credential or a refusal, and only what a CA signed is a credential."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

from kamailio_app.credentials.credential import Credential, validate
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList, decode, encode
from kamailio_app.errors import UnsupportedCredential
from kamailio_app.lab.pki import ServiceProvider

from .support import NOW, PROPERTY, anchors, attempt, credential, hierarchy, provider


def _validate(octets: bytes, now: float = NOW) -> Credential | None:
    try:
        return validate(octets, anchors(), now)
    except UnsupportedCredential:
        return None


PEM = provider().chain_pem
DER = provider().certificate.public_bytes(Encoding.DER)
ISSUER_DER = hierarchy().intermediate.certificate.public_bytes(Encoding.DER)


@st.composite
def _mutations(draw: st.DrawFn, original: bytes) -> bytes:
    octets = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(original))) % (len(octets) + 1)
        end = min(len(octets), start + draw(st.integers(1, 6)))
        match draw(st.sampled_from(["set", "flip", "delete", "insert", "duplicate", "truncate"])):
            case "set" if start < len(octets):
                octets[start] = draw(st.sampled_from([0, 1, 2, 5, 0x13, 0x16, 0x30, 0x31, 0x7F, 0x80, 0x84, 0xFF]))
            case "flip" if start < len(octets):
                octets[start] ^= 1 << draw(st.integers(0, 7))
            case "delete":
                del octets[start:end]
            case "insert":
                octets[start:start] = draw(st.binary(min_size=1, max_size=6))
            case "duplicate":
                octets[end:end] = octets[start:end]
            case "truncate":
                del octets[start:]
    return bytes(octets)


@PROPERTY
@given(st.binary() | st.binary().map(lambda tail: PEM + tail) | st.binary().map(lambda head: head + PEM))
def test_any_octets_are_a_credential_or_refused(octets: bytes) -> None:
    held = _validate(octets)
    assert held is None or held == credential()


@PROPERTY
@given(_mutations(DER))
def test_mutated_certificate_is_refused_and_never_raises(der: bytes) -> None:
    pem = _as_pem(der)
    held = _validate(pem + hierarchy().intermediate.pem)
    assert held is None or held == credential()
    assert _validate(der) is None


@PROPERTY
@given(_mutations(ISSUER_DER))
def test_mutated_issuer_changes_nothing_or_breaks_the_path(der: bytes) -> None:
    held = _validate(provider().pem + _as_pem(der))
    assert held is None or held == credential()


@PROPERTY
@given(_mutations(PEM))
def test_mutated_file_is_the_same_credential_or_refused(pem: bytes) -> None:
    held = _validate(pem)
    assert held is None or held == credential()


@PROPERTY
@given(st.integers(-(1 << 33), 1 << 33))
def test_credential_is_held_within_its_validity_only(offset: int) -> None:
    now = NOW + offset
    if not 0 <= now < 253402300800:
        return
    held = _validate(PEM, now)
    assert (held is not None) is (credential().not_before <= now < credential().not_after)


def _as_pem(der: bytes) -> bytes:
    from base64 import encodebytes

    return b"-----BEGIN CERTIFICATE-----\n" + encodebytes(der) + b"-----END CERTIFICATE-----\n"


# --- TNAuthList ---------------------------------------------------------------------------------------------------


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def _integer(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _spc(text: str) -> bytes:
    return _tlv(0xA0, _tlv(0x16, text.encode()))


def _range(start: str, count: int) -> bytes:
    return _tlv(0xA1, _tlv(0x30, _tlv(0x16, start.encode()) + _integer(count)))


def _one(text: str) -> bytes:
    return _tlv(0xA2, _tlv(0x16, text.encode()))


SPC = st.from_regex(r"[0-9A-Z]{1,16}", fullmatch=True)
NUMBER = st.from_regex(r"[0-9#*]{1,15}", fullmatch=True)
START = st.from_regex(r"[0-9]{1,15}", fullmatch=True)


@st.composite
def _ranges(draw: st.DrawFn) -> TelephoneNumberRange:
    start = draw(START.filter(lambda text: int(text) + 2 < 10 ** len(text)))
    return TelephoneNumberRange(start, draw(st.integers(2, 10 ** len(start) - int(start) - 1)))


VALUES = st.builds(
    TNAuthList,
    st.lists(SPC, max_size=12).map(tuple),
    st.lists(_ranges(), max_size=12).map(tuple),
    st.lists(NUMBER, max_size=12).map(tuple),
).filter(any)

LOOSE_ENTRY = st.one_of(
    st.builds(_spc, SPC | st.text("0aZ-", max_size=17)),
    st.builds(_range, START | NUMBER, st.integers(-2, 300) | st.integers(0, 1 << 70)),
    st.builds(_one, NUMBER | st.text("0#a+", max_size=17)),
    st.binary(max_size=8),
)


@PROPERTY
@given(VALUES)
def test_every_list_is_written_and_read_to_the_same(value: TNAuthList) -> None:
    der = encode(value)
    assert decode(der) == value
    entries = [_spc(spc) for spc in value.spcs]
    entries += [_range(span.start, span.count) for span in value.ranges]
    entries += [_one(tn) for tn in value.numbers]
    assert der == _tlv(0x30, b"".join(entries))


def _in_order_of_kind(entries: list[bytes]) -> list[bytes]:
    """Stable, by the tag: provider codes, ranges, numbers."""
    return [entry for tag in range(256) for entry in entries if entry[:1] == bytes([tag])]


@PROPERTY
@given(st.lists(LOOSE_ENTRY, max_size=4), st.sampled_from([b"", b"", b"", b"\0"]))
@example([_range("121", (1 << 30000) - 1)], b"")
def test_what_is_read_is_written_to_the_same_octets(entries: list[bytes], tail: bytes) -> None:
    """Entries are kept by kind: the octets are the same once the entries are in the order of their kinds."""
    der = _tlv(0x30, b"".join(entries)) + tail
    value, token = attempt(decode, der)
    if value is None:
        assert token == "tnauthlist_malformed"
        return
    assert encode(value) == _tlv(0x30, b"".join(_in_order_of_kind(entries)))


@PROPERTY
@given(st.binary() | _mutations(encode(TNAuthList(("1234",), (TelephoneNumberRange("1215", 100),), ("911",)))))
def test_any_octets_are_a_list_or_malformed(der: bytes) -> None:
    value, token = attempt(decode, der)
    if value is None:
        assert token == "tnauthlist_malformed"
        return
    assert any(value)
    assert decode(encode(value)) == value


@PROPERTY
@given(_ranges(), st.integers(-3, 3), st.booleans())
def test_range_covers_exactly_its_numbers(span: TelephoneNumberRange, step: int, upper: bool) -> None:
    number = int(span.start) + (span.count - 1 if upper else 0) + step
    tn = str(number).rjust(len(span.start), "0")
    inside = int(span.start) <= number < int(span.start) + span.count
    assert TNAuthList(ranges=(span,)).covers(tn) is inside


@PROPERTY
@given(st.binary(max_size=40))
def test_certificate_with_any_tnauthlist_is_held_or_refused(der: bytes) -> None:
    chain = hierarchy().service_provider(ServiceProvider(tnauthlist=der)).chain_pem
    held = _validate(chain)
    value, _ = attempt(decode, der)
    assert (held.tnauthlist if held else None) == value


def test_mutations_are_not_all_alike() -> None:
    """The properties above mean something: the unchanged chain is a credential."""
    assert _validate(PEM) == credential()
    assert _validate(_as_pem(DER) + _as_pem(ISSUER_DER)) == credential()
    with pytest.raises(UnsupportedCredential):
        validate(_as_pem(DER), anchors(), NOW)
