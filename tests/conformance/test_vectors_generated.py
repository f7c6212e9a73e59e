"""Every synthetic vector of tests/vectors/generated against the token this product answers with.

The manifest's own expectation is ATIS-1000082's or a strict reading; ours follows RFC 8224 6.2.2. Where they differ the
row says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

import pytest

from kamailio_app import sti_vs
from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import Credential, TrustAnchors, validate
from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED, PASSED, StirError
from kamailio_app.sti_vs import VerificationRules
from kamailio_app.verdict import Verification

from .support import GENERATED, INVITE, NOW, X5U, identity, read, replace, text, unb64

MANIFEST = {row["file"]: row for row in json.loads((GENERATED / "manifest.json").read_text())}


@dataclass(frozen=True)
class Case:
    """`chain` is the file behind the PASSporT's x5u, `info` what the Identity header names (the x5u unless given)."""

    file: str
    token: str = "valid"
    chain: str = "chain_leaf1234.pem"
    called: str = "+12155550131"
    info: str = ""
    note: str = ""


CASES = [
    Case("01_good_A.jwt"),
    Case("02_good_B.jwt"),
    Case("03_good_C.jwt"),
    Case("04_good_multi_dest.jwt"),
    Case("04_good_multi_dest.jwt", called="+12155550132", note="the second entry is as good as the first"),
    Case("05_good_unsorted_json.jwt"),
    Case("06_good_json_whitespace.jwt"),
    Case("07_good_extra_claim.jwt"),
    Case("08_good_dest_uri.jwt", called="alice"),
    Case("08_good_dest_uri.jwt", "dest_mismatch", note="the number called is not in dest"),
    Case("09_stale.jwt", "iat_stale"),
    Case("10_future.jwt", "iat_in_future"),
    Case("11_iat_string.jwt", "claim_malformed"),
    Case("12_iat_float.jwt", "claim_malformed"),
    Case("13_dest_tn_string.jwt", "claim_malformed"),
    Case("14_orig_array.jwt", "claim_malformed"),
    Case("15_plus_in_tn.jwt", note="manifest: 438 if strict; we canonicalise both sides (RFC 8224 8.3)"),
    Case("16_orig_mismatch.jwt", "orig_mismatch"),
    Case("17_dest_mismatch.jwt", "dest_mismatch"),
    Case("18_attest_D.jwt", "attest_invalid"),
    Case("19_attest_lower.jwt", "attest_invalid"),
    Case("20_missing_attest.jwt", "claim_missing"),
    Case("21_missing_dest.jwt", "claim_missing"),
    Case("22_missing_iat.jwt", "claim_missing"),
    Case("23_missing_orig.jwt", "claim_missing"),
    Case("24_missing_origid.jwt", "claim_missing"),
    Case("30_header_missing_ppt.jwt", "jose_header_incomplete", note="ATIS-1000082 E9 436; the header field says shaken: 438"),
    Case(
        "31_header_missing_typ.jwt",
        "jose_header_incomplete",
        note="ATIS-1000082 E9 436; RFC 8224 6.2.2: no valid PASSporT, 438",
    ),
    Case("32_header_missing_alg.jwt", "jose_header_incomplete", note="ATIS-1000082 E9 436; 438 as above"),
    Case("33_header_missing_x5u.jwt", "jose_header_incomplete", info=X5U, note="ATIS-1000082 E9 436; 438 as above"),
    Case("34_typ_JWT.jwt", "typ_unsupported", note="ATIS-1000082 E11 437; 437 is for credentials: 438"),
    Case("35_alg_none.jwt", "identity_malformed", note="437; an empty signature already breaks the grammar of digest: 438"),
    Case("36_alg_HS256_pubkey.jwt", "alg_unsupported", note="437; refused before any key is looked at: 438"),
    Case("37_alg_ES384_p384.jwt", "alg_unsupported", chain="cert_leaf_p384.pem", note="437; 438 as above"),
    Case("38_ppt_foo.jwt", "ppt_mismatch", note="the header field says shaken, the PASSporT foo"),
    Case("39_x5u_mismatch.jwt", "info_mismatch", info=X5U, note="ATIS-1000082 E10 436; nothing was fetched: 438"),
    Case("40_bad_signature.jwt", "signature_invalid"),
    Case("41_tampered_payload.jwt", "signature_invalid"),
    Case("42_der_signature.jwt", "signature_invalid"),
    Case("43_high_s_malleated.jwt", note="(r, n-s) is a valid ECDSA signature too"),
    Case("44_padded_base64.jwt", "identity_malformed"),
    Case("45_std_base64_alphabet.jwt", "identity_malformed"),
    Case("46_zero_signature.jwt", "signature_invalid"),
    Case("47_truncated.jwt", "identity_malformed"),
    Case("48_four_parts.jwt", "identity_malformed"),
    Case("49_dup_claim.jwt", "passport_malformed"),
    Case("50_signed_by_evil.jwt", "credential_untrusted", chain="chain_evil.pem"),
    Case("51_revoked.jwt", chain="chain_revoked.pem", note="manifest: 437 by the CRL; revocation is not checked"),
    Case("52_same_serial_other_issuer.jwt", chain="chain_leaf5678.pem"),
    Case("53_x5u_http.jwt", "x5u_refused"),
    Case("54_x5u_query.jwt", "x5u_refused"),
    Case("55_x5u_userinfo.jwt", "x5u_refused"),
    Case("56_x5u_port.jwt", "x5u_refused"),
    Case("57_x5u_loopback.jwt", "x5u_refused"),
    Case("70_shaken_with_rcd.jwt", note="rcd and crn ride as extra claims"),
]


@dataclass(frozen=True)
class Extension:
    """A PASSporT of another type, next to 01_good_A and whatever else the call needs. `token` is of its own header."""

    file: str
    token: str = "valid"
    chain: str = "chain_leaf5678.pem"
    called: str = "+12155550131"
    beside: tuple[str, ...] = ("01_good_A.jwt",)
    call: str = "valid"
    caller: str = "+12155550121"
    resource_priority: tuple[str, ...] = ()
    priority: str | None = None
    signers: tuple[str, ...] = ("5678",)
    note: str = ""


OWN_CHAIN, OWN_X5U = "chain_leaf1234.pem", X5U
EXTENSIONS = [
    Extension("60_div_1.jwt", called="+12155550140"),
    Extension("61_div_2.jwt", called="+12155550150", beside=("60_div_1.jwt", "01_good_A.jwt")),
    Extension("62_div_broken_link.jwt", "div_mismatch", called="+12155550150", call="div_mismatch"),
    Extension("63_div_orig_changed.jwt", "orig_mismatch", called="+12155550140", call="div_mismatch"),
    Extension("64_div_with_opt.jwt", "claim_malformed", called="+12155550140", call="div_mismatch"),
    Extension(
        "65_divo.jwt", "ppt_unsupported", called="+12155550140", call="dest_mismatch", note="div-o is not for SIP (RFC 8946 5)"
    ),
    Extension("66_rph_ets.jwt", resource_priority=("ets.0, wps.0",)),
    Extension("66_rph_ets.jwt", "rph_mismatch", resource_priority=("ets.0",), note="wps.0 is signed and not there"),
    Extension(
        "66_rph_ets.jwt",
        "rph_not_authorized",
        resource_priority=("ets.0, wps.0",),
        signers=(),
        note="its signer is not among those configured",
    ),
    Extension("67_rph_911.jwt", called="911", beside=(), call="ppt_unsupported", resource_priority=("esnet.1",)),
    Extension(
        "68_rph_callback.jwt",
        caller="911",
        called="+12155550121",
        beside=(),
        call="ppt_unsupported",
        resource_priority=("esnet.0",),
        priority="psap-callback",
    ),
    Extension(
        "68_rph_callback.jwt",
        "rph_mismatch",
        caller="911",
        called="+12155550121",
        beside=(),
        call="ppt_unsupported",
        resource_priority=("esnet.0",),
        note="Priority is not what was signed",
    ),
    Extension("69_rcd_nam.jwt", chain=OWN_CHAIN),
    Extension("71_rcd_jcd_digest.jwt", chain=OWN_CHAIN),
    Extension("72_utf8_nam.jwt", chain=OWN_CHAIN),
    Extension("73_base_full.jwt", "ppt_unsupported", chain=OWN_CHAIN, note="base PASSporTs are ignored: only shaken attests"),
]

# No PASSporTs: a trust list and SPC tokens of the STI-PA are never in an Identity header
OTHER_TOKENS = {
    "80_pa_trustlist.jwt",
    "81_pa_trustlist_rollback.jwt",
    "82_pa_trustlist_expired.jwt",
    "83_spc_token_9448.jwt",
    "84_spc_token_legacy.jwt",
}


@cache
def _anchors() -> TrustAnchors:
    return TrustAnchors(parse_chain(read("generated/cert_root.pem")))


def _credential(chain: str) -> Credential | StirError:
    try:
        return validate(read(f"generated/{chain}"), _anchors(), NOW)
    except StirError as error:
        return error


def _verify(field: str, chain: str = "chain_leaf1234.pem", called: str = "+12155550131") -> Verification:
    uri = f"sip:{called}@example.com"
    request = replace(INVITE, to_uri=uri, request_uri=uri, identity=(field,))
    examination = sti_vs.examine(request, now=NOW)
    return sti_vs.conclude(examination, dict.fromkeys(examination.needed, _credential(chain)), now=NOW)


def _own_x5u(passport: str) -> str:
    return str(json.loads(unb64(passport.partition(".")[0])).get("x5u", ""))


def _expected_code(expectation: str) -> int:
    return 0 if expectation.startswith("pass") else int(expectation[:3])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}-{case.token}")
def test_shaken_vector_gets_its_token(case: Case) -> None:
    """RFC 8224 6.2, RFC 8588: the outcome, and the verstat that goes with it."""
    passport = text(f"generated/{case.file}")
    info = case.info or _own_x5u(passport)
    verification = _verify(identity(passport, f";info=<{info}>;alg=ES256;ppt=shaken"), case.chain, case.called)
    assert (verification.token or "valid") == case.token
    assert verification.verstat == (PASSED if case.token == "valid" else FAILURES[case.token].verstat)


def test_our_answer_differs_from_the_manifest_only_where_a_note_says_so() -> None:
    """Rows without a note answer with the manifest's SIP code."""
    for case in CASES:
        ours = 0 if case.token == "valid" else FAILURES[case.token].error.code
        agrees = ours == _expected_code(MANIFEST[case.file]["expect"])
        assert agrees or case.note, case.file


def test_only_a_wrong_credential_or_signature_is_a_failed_validation() -> None:
    """ATIS-1000082 E17 and E18: TN-Validation-Failed needs cryptography to have spoken."""
    failed = {case.token for case in CASES if case.token != "valid" and FAILURES[case.token].verstat == FAILED}
    assert failed == {"credential_untrusted", "signature_invalid"}
    assert FAILURES["x5u_refused"].verstat == NOT_VALIDATED


def _field(file: str) -> str:
    """The Identity value of a vector, with the type that its own header has."""
    passport = text(f"generated/{file}")
    ppt = json.loads(unb64(passport.partition(".")[0])).get("ppt", "")
    return identity(passport, f";info=<{_own_x5u(passport)}>;alg=ES256{f';ppt={ppt}' if ppt else ''}")


def _verify_extension(case: Extension) -> Verification:
    uri = f"sip:{case.called}@example.com"
    request = replace(
        INVITE,
        from_uri=f"sip:{case.caller}@example.com",
        to_uri=uri,
        request_uri=uri,
        identity=tuple(_field(file) for file in (case.file, *case.beside)),
        resource_priority=case.resource_priority,
        priority=case.priority,
    )
    examination = sti_vs.examine(request, VerificationRules(rph_signers=frozenset(case.signers)), now=NOW)
    chains = {OWN_X5U: OWN_CHAIN, _own_x5u(text(f"generated/{case.file}")): case.chain}
    return sti_vs.conclude(examination, {url: _credential(chains[url]) for url in examination.needed}, now=NOW)


@pytest.mark.parametrize("case", EXTENSIONS, ids=lambda case: f"{case.file}-{case.token}")
def test_vector_of_another_type_gets_its_token(case: Extension) -> None:
    """RFC 8946 4.2, RFC 8443 4.2, RFC 9027, RFC 9795: the header's own verdict, and the call's."""
    verification = _verify_extension(case)
    error = verification.verdicts[0].error
    assert (error.token if error else "valid") == case.token
    assert (verification.token or "valid") == case.call


def test_other_types_differ_from_the_manifest_only_where_a_note_says_so() -> None:
    for case in EXTENSIONS:
        expected = MANIFEST[case.file]["expect"]
        assert case.note or (case.token == "valid") == expected.startswith("pass"), case.file


def test_what_the_vectors_of_other_types_tell() -> None:
    """RFC 8946 4.2: who diverted; RFC 8443: the priority; RFC 9795: the name in UTF-8, the jCard whose digest is right."""
    told = {case.file: _verify_extension(case) for case in reversed(EXTENSIONS)}
    assert told["60_div_1.jwt"].diversions == ("12155550131",)
    assert told["61_div_2.jwt"].diversions == ("12155550131", "12155550140")
    assert told["66_rph_ets.jwt"].rph == ("ets.0", "wps.0")
    assert told["68_rph_callback.jwt"].rph == ("esnet.0",)
    names = [told[file].rcd for file in ("69_rcd_nam.jwt", "71_rcd_jcd_digest.jwt", "72_utf8_nam.jwt")]
    assert [rcd.nam for rcd in names if rcd] == ["James Bond", "Q Branch", "Café Zoë"]
    assert '"Q Branch"' in (names[1].jcd if names[1] else "")


def test_rich_call_data_in_a_shaken_vector_is_told() -> None:
    """RFC 9795: in a shaken PASSporT."""
    rcd = _verify(_field("70_shaken_with_rcd.jwt")).rcd
    assert rcd is not None
    assert (rcd.nam, rcd.apn, rcd.crn) == ("Example Clinic", "12155550199", "Appointment reminder")


def test_compact_base_passport_is_ignored() -> None:
    """RFC 8224 6.2 step 1: compact form without ppt."""
    field = text("generated/73_base_compact.hdr").removeprefix("Identity: ")
    assert _verify(field).token == "ppt_unsupported"


def test_good_header_next_to_an_ignored_one_decides() -> None:
    """RFC 8224 6.2.1: one valid header suffices."""
    fields = [
        identity(text("generated/60_div_1.jwt"), ";info=<https://cr.example.test/5678/chain_leaf5678.pem>;alg=ES256;ppt=div"),
        identity(text("generated/01_good_A.jwt")),
    ]
    assert _verify(",".join(fields)).valid


def test_every_vector_of_the_manifest_is_judged() -> None:
    assert {case.file for case in CASES} | {case.file for case in EXTENSIONS} | OTHER_TOKENS == MANIFEST.keys()


# Line number in the file -> outcome
VARIANTS = {
    1: "valid",
    2: "valid",  # ppt quoted
    3: "valid",  # info last
    4: "valid",  # spaces around the semicolons
    5: "valid",  # no alg: ES256
    6: "valid",  # an unknown parameter
    7: "info_malformed",  # info without angle brackets
    8: "valid",  # names in capitals
    9: "valid",  # no ppt: the PASSporT's own
}


@pytest.mark.parametrize(("line", "expected"), VARIANTS.items())
def test_identity_variant_seen_on_the_wire(line: int, expected: str) -> None:
    """RFC 8224 4: forms of the field that other implementations send."""
    lines = text("generated/01_identity_variants.txt").splitlines()
    assert len(lines) == len(VARIANTS)
    assert (_verify(lines[line - 1]).token or "valid") == expected


def test_8588_example_signed_with_the_8946_key_is_stale_by_now() -> None:
    """RFC 8588 6 with erratum 6656: the payload is accepted, its time has passed."""
    passport = text("generated/rfc8588_s6_fixed_signed_with_8946key.jwt")
    assert _verify(identity(passport, f";info=<{_own_x5u(passport)}>;ppt=shaken")).token == "iat_stale"


# Chain file -> outcome of validation against cert_root.pem
CHAINS = {
    "chain_leaf1234.pem": "valid",
    "chain_leaf5678.pem": "valid",
    "chain_revoked.pem": "valid",  # revocation is not checked
    "chain_with_root.pem": "valid",
    "chain_wrong_order.pem": "valid",  # turned round: the first that is no CA is the signer's
    "chain_evil.pem": "credential_untrusted",
    "cert_leaf1234.pem": "credential_untrusted",  # the intermediate is missing
    "cert_leaf1234_expired.pem": "credential_expired",
    "cert_leaf1234_future.pem": "credential_not_yet_valid",
    "cert_leaf_no_tnauthlist.pem": "tnauthlist_missing",
    "cert_leaf_bad_tnauthlist.pem": "tnauthlist_malformed",
    "cert_leaf_p384.pem": "credential_key_unsupported",
    "cert_evil_selfsigned.pem": "credential_untrusted",
    "cert_inter.pem": "credential_usage_forbidden",  # keyUsage without digitalSignature
    "cert_root.pem": "credential_usage_forbidden",
    "cert_pa_signer.pem": "tnauthlist_missing",  # a signer of CRLs
}


@pytest.mark.parametrize(("file", "expected"), CHAINS.items())
def test_chain_file_gets_its_token(file: str, expected: str) -> None:
    """RFC 8224 6.2 steps 3 and 4, RFC 8226: what each file is worth as a credential."""
    credential = _credential(file)
    assert (credential.token if isinstance(credential, StirError) else "valid") == expected


def test_delegate_certificate_covers_its_numbers_and_no_others() -> None:
    """RFC 8226 9, standards DC-2: a range of a hundred and one more number."""
    chain = read("generated/cert_leaf_delegate_range.pem") + read("generated/cert_inter.pem")
    authority = validate(chain, _anchors(), NOW).tnauthlist
    inside = ("12155550000", "12155550099", "12155551212")
    outside = ("12155549999", "12155550100", "12155551213", "1215555000", "121555500000")
    assert [authority.covers(number) for number in inside] == [True] * 3
    assert [authority.covers(number) for number in outside] == [False] * 5
