"""Tokens that standards and other implementations published: their signatures, their octets, and ours for the same input."""

from __future__ import annotations

import json

import pytest

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, fitness, validate
from kamailio_app.errors import StirError, failure
from kamailio_app.identity import parse_identity, split_values
from kamailio_app.passport import es256
from kamailio_app.passport.claims import Attestation, shaken_claims
from kamailio_app.passport.encoding import canonical_json, from_base64url, json_object
from kamailio_app.passport.passport import JoseHeader, jose_header
from kamailio_app.sip import Request, format_date
from kamailio_app.sti_vs import VerificationRules, conclude, examine

from .support import (
    INVITE,
    NOW,
    ORIGID,
    X5U,
    parts,
    private_key,
    public_key,
    read,
    replace,
    sign,
    signature_holds,
    signer,
    text,
)


def _holds(token: str, key_file: str) -> bool:
    """The product's own ES256 over the octets as they stand in the token."""
    signing_input, _, signature = token.rpartition(".")
    return es256.verify(signing_input.encode(), from_base64url(signature), public_key(key_file))


SIGNATURES = [
    ("rfc/rfc8225_s7_1.jwt", "rfc/rfc8225_appA2_public.pem", True),
    ("rfc/rfc8225_appA.jwt", "rfc/rfc8225_appA2_public.pem", False),  # the RFC's own mistake: no published key fits
    ("rfc/rfc8946_s3_div.jwt", "rfc/rfc8946_appA_public.pem", True),
    ("rfc/rfc8946_s4_div.jwt", "rfc/rfc8946_appA_public.pem", True),
    ("rfc/rfc8946_s5_divo.jwt", "rfc/rfc8946_appA_public.pem", True),
    ("rfc/rfc8946_s5_opt_inner.jwt", "rfc/rfc8946_appA_public.pem", True),
    ("generated/rfc8588_s6_fixed_signed_with_8946key.jwt", "rfc/rfc8946_appA_public.pem", True),
    ("opensips/09_stale_iat.jwt", "opensips/leaf_SPC1001.pem", True),
    ("opensips/12_header_without_ppt.jwt", "opensips/leaf_SPC1001.pem", True),
    ("freeswitch/token_1.jwt", "freeswitch/www_cert.pem", True),
    ("freeswitch/token_2.jwt", "freeswitch/www_cert.pem", True),
    ("cgrates/token_1.jwt", "cgrates/stir_pubkey.pem", True),
    ("cgrates/token_2.jwt", "cgrates/stir_pubkey.pem", False),  # orig was changed, the signature was not
    ("cgrates/token_3.jwt", "cgrates/libsessions_key.pem", True),
    ("libstirshaken/passport_1.jwt", "libstirshaken/sp.pem", True),
    ("libstirshaken/passport_2.jwt", "libstirshaken/sp.pem", True),
    ("libstirshaken/token_1.jwt", "libstirshaken/sp.pem", True),
    ("libstirshaken/token_2.jwt", "libstirshaken/sp.pem", True),
    ("libstirshaken/token_3.jwt", "libstirshaken/sp.pem", True),
    ("libstirshaken/spc_token.jwt", "libstirshaken/pa.pem", True),
]


@pytest.mark.parametrize(("file", "key", "holds"), SIGNATURES)
def test_published_signature_is_judged_over_the_octets_received(file: str, key: str, holds: bool) -> None:
    """RFC 8225 6, RFC 7518 3.4: ES256 over header and payload as they were received."""
    assert _holds(text(file), key) is holds
    assert signature_holds(text(file), public_key(key)) is holds


@pytest.mark.parametrize(("file", "key"), [row[:2] for row in SIGNATURES if row[2]])
def test_published_signature_fails_for_any_other_octets(file: str, key: str) -> None:
    """RFC 8225 6: one changed character of header or payload undoes the signature."""
    token = text(file)
    for position in (0, token.index("."), token.index(".") + 1, token.rindex(".") - 1):
        changed = token[:position] + ("x" if token[position] != "x" else "y") + token[position + 1 :]
        assert not _holds(changed, key)


# --- RFC 8224, RFC 8225 -------------------------------------------------------------------------------------------


def test_8225_section_9_1_is_reproduced_octet_for_octet() -> None:
    """RFC 8225 9.1: the deterministic JSON of the example, 277 octets."""
    octets = read("rfc/rfc8225_s9_1.payload.json")
    assert len(octets) == 277
    shuffled = dict(reversed(json.loads(octets).items()))
    assert canonical_json(shuffled) == octets


def test_8225_section_7_1_payload_is_reproduced_octet_for_octet() -> None:
    """RFC 8225 9: what was signed in the example is our deterministic JSON, too."""
    _header, payload, _signature = text("rfc/rfc8225_s7_1.jwt").split(".")
    assert canonical_json(json_object(from_base64url(payload))) == from_base64url(payload)
    assert from_base64url(payload) == read("rfc/rfc8225_s7_1.payload.json").strip()


def test_8225_section_7_1_header_is_reproduced_octet_for_octet() -> None:
    """RFC 8225 4: a base PASSporT's header has no ppt."""
    token = text("rfc/rfc8225_s7_1.jwt")
    header = jose_header(token.partition(".")[0])
    assert header == JoseHeader("ES256", None, "passport", "https://cert.example.org/passport.cer")
    assert header.text() == token.partition(".")[0]


@pytest.mark.parametrize(
    ("file", "compact", "info", "ppt"),
    [
        ("rfc/rfc8224_s4_1_1_full.hdr", False, "https://biloxi.example.org/biloxi.cert", None),
        ("rfc/rfc8224_s4_1_1_compact.hdr", True, "https://biloxi.example.org/biloxi.cert", None),
        ("rfc/rfc8224_s5_1_compact.hdr", True, "https://cert.example.org/passport.cer", None),
        ("rfc/rfc8946_s4_div.hdr", False, "https://www.example.com/cert.cer", "div"),
        ("rfc/rfc8946_s5_divo.hdr", False, "https://www.example.com/cert.cer", "div-o"),
        ("rfc/rfc8443_s4_1_rph.hdr", False, "https://www.example.org/cert.cer", "rph"),
        ("opensips/09_stale_iat.hdr", False, "https://certs.example.org/cert.pem", "shaken"),
        ("generated/73_base_compact.hdr", True, X5U, None),
    ],
)
def test_published_identity_header_is_read(file: str, compact: bool, info: str, ppt: str | None) -> None:
    """RFC 8224 4: digest, info and ppt of printed header fields; the quotes around ppt are no part of it."""
    (value,) = split_values(text(file).partition(":")[2])
    identity = parse_identity(value)
    assert (identity.compact, identity.parameters.info, identity.parameters.ppt) == (compact, info, ppt)


@pytest.mark.parametrize(
    "file",
    ["rfc/rfc8224_s4_1_1_full.hdr", "rfc/rfc8224_s5_1_compact.hdr", "rfc/rfc8946_s4_div.hdr", "rfc/rfc8443_s4_1_rph.hdr"],
)
def test_example_of_a_type_we_do_not_verify_is_ignored(file: str) -> None:
    """RFC 8224 6.2 step 1: base, div and rph PASSporTs are not shaken."""
    request = replace(INVITE, identity=(text(file).partition(":")[2],))
    examination = examine(request, now=NOW)
    assert examination.needed == ()
    assert conclude(examination, {}, now=NOW).token == "ppt_unsupported"


# --- RFC 8588 -----------------------------------------------------------------------------------------------------


def test_8588_section_6_payload_is_read_and_reproduced() -> None:
    """RFC 8588 6 with erratum 6656: iat is a number."""
    octets = read("rfc/rfc8588_s6.payload.derived_iatfixed.json")
    claims = shaken_claims(json_object(octets))
    assert claims.attest is Attestation.FULL
    assert claims.iat == 1443208345
    assert canonical_json(claims.members()) == octets


def test_8588_section_6_payload_as_printed_is_refused() -> None:
    """RFC 8588 6 before erratum 6656: iat is a string, RFC 8225 5.1.1 wants a number."""
    with pytest.raises(StirError) as caught:
        shaken_claims(json_object(read("rfc/rfc8588_s6.payload.derived_rfcform.json")))
    assert caught.value.token == "claim_malformed"


def test_8588_section_6_header_is_reproduced() -> None:
    """RFC 8588 6: alg, ppt, typ, x5u in that order."""
    octets = read("rfc/rfc8588_s6.header.derived.json")
    header = JoseHeader(**json.loads(octets))
    assert from_base64url(header.text()) == octets


# --- RFC 9410 -----------------------------------------------------------------------------------------------------


def test_9410_ppi_is_the_compact_form_of_the_value() -> None:
    """RFC 9410 5: ppi carries ".." and the signature, as the RFC's own example does."""
    full = text("rfc/rfc8224_s4_1_1_full.hdr").partition(":")[2].strip()
    compact = parse_identity(full).in_compact_form()
    assert compact.compact
    assert f'ppi="{compact.digest}"' in text("rfc/rfc9410_reason_examples.hdr")


@pytest.mark.parametrize(("token", "line"), [("x5u_unreachable", 0), ("identity_malformed", 4)])
def test_9410_cause_and_text_are_those_of_the_failure_table(token: str, line: int) -> None:
    """RFC 9410 5: cause and text are code and reason phrase of RFC 8224 6.2.2."""
    example = text("rfc/rfc9410_reason_examples.hdr").splitlines()[line]
    error = failure(token)
    assert example.startswith(f'Reason: STIR ;cause={error.code} ;text="{error.phrase}"')


# --- Other implementations ----------------------------------------------------------------------------------------

OPENSIPS = Request(
    "INVITE",
    "sip:+33987654321@gw.example;user=phone",
    "sip:+33612345678@gw.example;user=phone",
    "sip:+33987654321@gw.example;user=phone",
    identity=(text("opensips/09_stale_iat.hdr").partition(":")[2].strip(),),
    date=format_date(1687444148),
)


def _opensips_outcome(now: float, rules: VerificationRules = VerificationRules()) -> str:  # noqa: B008
    anchors = TrustAnchors(parse_chain(read("opensips/ca-cert.pem")))
    examination = examine(OPENSIPS, rules, now=now)
    credentials = {url: validate(read("opensips/leaf_SPC1001.pem"), anchors, now) for url in examination.needed}
    return conclude(examination, credentials, now=now).token or "valid"


def test_opensips_call_is_valid_at_its_time() -> None:
    """RFC 8224 6.2: a call of the OpenSIPS test suite, with its certificate and its CA, at the second it was signed."""
    assert _opensips_outcome(1687444148) == "valid"
    assert _opensips_outcome(1687444148 + 60, VerificationRules(ignore_sip_date_header=False)) == "valid"


def test_opensips_call_is_stale_a_minute_later() -> None:
    """RFC 8224 6.2 step 4: what the OpenSIPS test expects of it."""
    assert _opensips_outcome(1687444148 + 61) == "iat_stale"


def test_opensips_header_without_ppt_is_no_shaken_passport() -> None:
    """RFC 8588 3: ppt belongs into the PASSporT; the French profile answers 436 here."""
    parameters = ";info=<https://certs.example.org/cert.pem>;alg=ES256;ppt=shaken"
    request = replace(OPENSIPS, identity=(text("opensips/12_header_without_ppt.jwt") + parameters,))
    assert conclude(examine(request, now=1688650743), {}, now=1688650743).token == "jose_header_incomplete"


FOREIGN_CLAIMS = {
    "freeswitch/token_1.jwt": "valid",
    "cgrates/token_1.jwt": "valid",
    "libstirshaken/token_1.jwt": "valid",
    "libstirshaken/token_3.jwt": "valid",  # "Alice" as tn: well-formed JSON, matches no number later
    "libstirshaken/passport_1.jwt": "claim_malformed",  # orig and dest are JSON inside a string
    "libstirshaken/spc_token.jwt": "claim_missing",  # no PASSporT
}


@pytest.mark.parametrize(("file", "expected"), FOREIGN_CLAIMS.items())
def test_claims_of_other_implementations(file: str, expected: str) -> None:
    """RFC 8225 5.2.1: orig and dest are objects."""
    payload = json_object(from_base64url(text(file).split(".")[1]))
    if expected == "valid":
        assert canonical_json(shaken_claims(payload).members()) == from_base64url(text(file).split(".")[1])
    else:
        with pytest.raises(StirError) as caught:
            shaken_claims(payload)
        assert caught.value.token == expected


@pytest.mark.parametrize("file", ["libstirshaken/sp.pem", "libstirshaken/wrongsp.pem"])
def test_libstirshaken_certificate_has_no_tnauthlist_in_it(file: str) -> None:
    """RFC 8226 9: the extension of these certificates is a bare IA5String with a URI."""
    with pytest.raises(StirError) as caught:
        fitness(parse_chain(read(file))[0])
    assert caught.value.token == "tnauthlist_malformed"


@pytest.mark.parametrize("file", ["freeswitch/www_cert.pem", "cgrates/stir_cert.pem"])
def test_ca_certificate_as_signer_is_refused(file: str) -> None:
    """RFC 9060 4: the certificates of these test suites are CAs."""
    with pytest.raises(StirError) as caught:
        fitness(parse_chain(read(file))[0])
    assert caught.value.token == "credential_usage_forbidden"


# --- Worked octets: the first vector, step by step ----------------------------------------------------------------

HEADER_TEXT = (
    "eyJhbGciOiJFUzI1NiIsInBwdCI6InNoYWtlbiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jci5leGFtcGxlLnRlc3QvMTIzNC9jaGFpbl9s"
    "ZWFmMTIzNC5wZW0ifQ"
)
PAYLOAD_TEXT = (
    "eyJhdHRlc3QiOiJBIiwiZGVzdCI6eyJ0biI6WyIxMjE1NTU1MDEzMSJdfSwiaWF0IjoxNzAwMDAwMDAwLCJvcmlnIjp7InRuIjoiMTIxNTU1NTAxMjEifSwi"
    "b3JpZ2lkIjoiMTIzZTQ1NjctZTg5Yi0xMmQzLWE0NTYtNDI2NjU1NDQwMDAwIn0"
)
R = 0x91350D48F36125FF085572A2E057A20C9E5740D792DE92559C7A0892DDF7D87D
S = 0x1093C566B0C8745844F957E115FC8BFE23331A854EE6371837B522DF207BD26A


def test_our_header_and_payload_are_the_worked_ones() -> None:
    """RFC 8225 9: same request, same second, same origid: the same octets."""
    signed = sign(signer_=signer(private_key("generated/key_leaf1234.pem")), now=1700000000.9)
    passport, _, parameters = signed.identity.partition(";")
    header, payload, _signature = passport.split(".")
    assert (header, payload) == (HEADER_TEXT, PAYLOAD_TEXT)
    assert parameters == f"info=<{X5U}>;alg=ES256;ppt=shaken"
    assert signed.date == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_our_signature_over_them_holds_for_the_published_key() -> None:
    """RFC 7518 3.4: r and s, 32 octets each; random or deterministic makes no difference to the verifier."""
    signed = sign(signer_=signer(private_key("generated/key_leaf1234.pem")), now=1700000000)
    assert len(parts(signed.identity)[2]) == 64
    assert signature_holds(signed.identity.partition(";")[0], public_key("generated/cert_leaf1234.pem"))


def test_worked_rfc6979_signature_holds() -> None:
    """RFC 6979: the deterministic signature given for the key, and its negative twin, both verify."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    key = public_key("generated/cert_leaf1234.pem")
    signing_input = f"{HEADER_TEXT}.{PAYLOAD_TEXT}".encode()
    assert es256.verify(signing_input, R.to_bytes(32, "big") + S.to_bytes(32, "big"), key)
    assert es256.verify(signing_input, R.to_bytes(32, "big") + (order - S).to_bytes(32, "big"), key)
    assert not es256.verify(signing_input, S.to_bytes(32, "big") + R.to_bytes(32, "big"), key)
    assert text("generated/01_good_A.jwt").startswith(f"{HEADER_TEXT}.{PAYLOAD_TEXT}.")
    assert ORIGID in str(parts(text("generated/01_good_A.jwt"))[1])
