"""Certificates and TNAuthLists: any octets end in a credential or a refusal, and only what a CA signed is a credential."""

from __future__ import annotations

from time import perf_counter

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

from kamailio_app.credentials import constraints
from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.credential import Credential, TrustAnchors, validate
from kamailio_app.credentials.crl import Revocations, read_crl
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList, decode, encode
from kamailio_app.credentials.trust_list import TrustList, read_trust_list, signer_url
from kamailio_app.errors import UnsupportedCredential
from kamailio_app.lab.pki import ServiceProvider

from .support import NOW, PROPERTY, anchors, any_text, attempt, credential, hierarchy, provider


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
    assert (held is not None) is (credential().not_before <= now <= credential().not_after)


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


# --- What a CA or STI-PA signed, whatever it is ---------------------------------------------------------------------

POLICY = TrustAnchors([hierarchy().policy_root.certificate])
POLICY_SIGNER = hierarchy().policy_signer
CRL = x509.load_pem_x509_crl(hierarchy().crl([provider().certificate, hierarchy().intermediate.certificate]))
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")


def _signed(tbs: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    signature = key.sign(tbs, ec.ECDSA(SHA256()))
    return _tlv(0x30, tbs + _ECDSA_WITH_SHA256 + _tlv(0x03, b"\0" + signature))


@PROPERTY
@given(_mutations(provider().certificate.tbs_certificate_bytes))
def test_whatever_an_issuer_signs_is_a_credential_or_refused(tbs: bytes) -> None:
    """An issuer may be hostile: a delegate has its own CA."""
    der = _signed(tbs, hierarchy().intermediate.key)
    held = _validate(_as_pem(der) + hierarchy().intermediate.pem)
    assert held is None or len(held.identifiers) == 2


@PROPERTY
@given(_mutations(hierarchy().intermediate.certificate.tbs_certificate_bytes))
def test_whatever_a_root_signs_is_an_issuer_or_refused(tbs: bytes) -> None:
    held = _validate(provider().pem + _as_pem(_signed(tbs, hierarchy().root.key)))
    assert held is None or held.tnauthlist == credential().tnauthlist


@PROPERTY
@given(_mutations(CRL.tbs_certlist_bytes))
def test_whatever_the_sti_pa_signs_is_a_list_or_refused(tbs: bytes) -> None:
    der = _signed(tbs, POLICY_SIGNER.key)
    held, token = attempt(read_crl, der, POLICY, NOW, signers=[POLICY_SIGNER.certificate])
    if held is None:
        assert token in {"crl_malformed", "crl_untrusted", "crl_stale"}
    else:
        assert Revocations.from_text(held.to_text()) == held


@PROPERTY
@given(st.binary() | _mutations(CRL.public_bytes(Encoding.DER)) | _mutations(CRL.public_bytes(Encoding.PEM)))
def test_any_octets_are_the_list_or_refused(octets: bytes) -> None:
    held, token = attempt(read_crl, octets, POLICY, NOW, signers=[POLICY_SIGNER.certificate])
    good = read_crl(CRL.public_bytes(Encoding.DER), POLICY, NOW, signers=[POLICY_SIGNER.certificate])
    assert held == good or (held is None and token in {"crl_malformed", "crl_untrusted"})


JWS = hierarchy().trust_list()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "version": JSON,
        "sequence": JSON | st.integers(0, 9),
        "exp": JSON | st.just(NOW + 60),
        "trustList": JSON | st.just([hierarchy().root.pem.decode()]),
        "certList": JSON,
    },
)


@PROPERTY
@given(PAYLOADS)
def test_whatever_payload_the_sti_pa_signs_is_a_trust_list_or_refused(payload: dict[str, object]) -> None:
    text = hierarchy().trust_list(**{"version": "1.0", **payload})  # type: ignore[arg-type]
    held, token = attempt(read_trust_list, text, POLICY_SIGNER.pem, POLICY, NOW)
    if held is None:
        assert token in {"trust_list_malformed", "trust_list_expired"}
    else:
        assert TrustList.from_text(held.to_text()) == held


@PROPERTY
@given(
    any_text([*JWS.split("."), ".", "{", "}", '"caList":', '"payload":', '"protected":', '"signature":', '"', ",", "[", "]"])
)
def test_any_text_is_a_trust_list_or_refused(text: str) -> None:
    held, token = attempt(read_trust_list, text, POLICY_SIGNER.pem, POLICY, NOW)
    assert held is not None or token in {"trust_list_malformed", "trust_list_signature"}
    url, refusal = attempt(signer_url, text)
    assert url is not None or refusal == "trust_list_malformed"


CONSTRAINTS = st.builds(
    ClaimConstraints,
    st.frozensets(st.text("abc/", max_size=4), max_size=3),
    st.lists(
        st.tuples(st.text("abc", max_size=4), st.frozensets(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3)),
        max_size=3,
    ).map(tuple),
    st.frozensets(st.text("abc/", max_size=4), max_size=3),
).filter(lambda value: bool(value.must_include or value.permitted or value.must_exclude))


@PROPERTY
@given(CONSTRAINTS)
def test_constraints_are_written_and_read_to_the_same(value: ClaimConstraints) -> None:
    assert constraints.decode(constraints.encode(value, enhanced=True), enhanced=True) == value


@PROPERTY
@given(st.binary() | CONSTRAINTS.map(lambda value: constraints.encode(value, enhanced=True)).flatmap(_mutations), st.booleans())
def test_any_octets_are_constraints_or_malformed(der: bytes, enhanced: bool) -> None:
    value, token = attempt(constraints.decode, der, enhanced)
    assert token in {"", "constraints_malformed"}
    if value is not None:
        assert attempt(value.check, {"iat": 1, "orig": {}, "dest": {}, "a": [1.5], "b": "x"})[1] in {"", "claim_not_permitted"}


# --- Size -----------------------------------------------------------------------------------------------------------


def _with_serial(tbs: bytes, serial: bytes) -> bytes:
    """The certificate's content with another INTEGER behind its version."""
    assert (tbs[1], tbs[4:9]) == (0x82, bytes.fromhex("a003020102"))
    return _tlv(0x30, tbs[4:9] + _tlv(0x02, serial) + tbs[11 + tbs[10] :])


HUGE = [
    b"\x30\x80" * 500_000,
    b"\x30\x84\x7f\xff\xff\xff" * 100_000,
    bytes(1_000_000),
    b"-----BEGIN CERTIFICATE-----\n" * 40_000,
    b"-----BEGIN X509 CRL-----\n" * 40_000,
    PEM * 1000,
    _as_pem(DER[: len(DER) // 2]) * 1000,
    CRL.public_bytes(Encoding.PEM)[:-30] + b"A" * 1_000_000,
    _signed(_with_serial(provider().certificate.tbs_certificate_bytes, b"\x7f" * 1_000_000), hierarchy().intermediate.key),
]


@pytest.mark.parametrize("octets", HUGE, ids=range(len(HUGE)))
def test_a_megabyte_of_anything_ends_soon(octets: bytes) -> None:
    began = perf_counter()
    assert _validate(octets) is None
    assert _validate(octets + hierarchy().intermediate.pem) is None
    assert attempt(read_crl, octets, POLICY, NOW, signers=[POLICY_SIGNER.certificate])[1] == "crl_malformed"
    assert perf_counter() - began < 5


@pytest.mark.parametrize(
    ("serial", "taken"),
    [(b"\x7f" * 5000, False), (b"\x7f" * 21, True), (b"\x7f" * 20, True), (b"\x00", True), (b"\x81", False)],
    ids=["5000 octets", "21 octets", "20 octets", "zero", "negative"],
)
def test_serial_number_of_any_size_is_part_of_the_identifier(serial: bytes, taken: bool) -> None:
    """What the path lets pass; the profile has a finding for the second and the fourth."""
    tbs = _with_serial(provider().certificate.tbs_certificate_bytes, serial)
    held = _validate(_as_pem(_signed(tbs, hierarchy().intermediate.key)) + hierarchy().intermediate.pem)
    assert (held is not None) is taken
    if held is not None:
        assert held.identifiers[0].endswith(f" {int.from_bytes(serial):x}")
        assert bool(held.findings) is (len(serial) != 20)


@pytest.mark.parametrize("piece", ["{", '{"caList":', ".", "A", "[", " ", "\ud800"])
def test_a_megabyte_of_text_is_no_trust_list(piece: str) -> None:
    began = perf_counter()
    text = piece * (1_000_000 // len(piece))
    assert attempt(read_trust_list, text, POLICY_SIGNER.pem, POLICY, NOW)[1] == "trust_list_malformed"
    assert perf_counter() - began < 5
