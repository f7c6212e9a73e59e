"""What an edge makes of a certificate, part by part."""

from __future__ import annotations

import pytest
from cryptography import x509

from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.credential import Credential, TrustAnchors, validate
from kamailio_app.credentials.crl import Revocations, check_revocation, read_crl
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.explain.explanation import Header
from kamailio_app.explain.judge import NO_ROOTS, Edge
from kamailio_app.explain.steps import State
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider

from ..builders import DAY, NOW, ORIG, X5U, evil, hierarchy, identity, issue, pem, provider
from .support import edge, step, told, wrong


def explained(
    issued: Issued, text: str = "", chain: bytes | None = None, now: float = NOW, **more: object
) -> tuple[str, Header]:
    """The token of a call that this certificate signed now, and its header."""
    at = edge(text, {X5U: issued.chain_pem if chain is None else chain}, **more)  # type: ignore[arg-type]
    found = told(identity(claims={"iat": int(now)}, key=issued.key), at=at, now=now)
    assert_agrees(at, issued.chain_pem if chain is None else chain, now)
    return found.token, found.headers[0]


def assert_agrees(at: Edge, chain: bytes, now: float) -> None:
    """The outcome is the one of `credentials`, asked in another way."""
    expected = ""
    try:
        credential = validate(chain, at.anchors, now, strict=at.settings.strict_profile)
        check_revocation(credential, at.revocations, now, hard=at.settings.trust.hard)
    except StirError as error:
        expected = error.token
    outcome = at.judged(X5U, now).outcome
    assert (outcome.token if isinstance(outcome, StirError) else "") == expected


def certificate(**deviation: object) -> Issued:
    return hierarchy().service_provider(ServiceProvider(**deviation))  # type: ignore[arg-type]


def revocations(*revoked: x509.Certificate) -> Revocations:
    roots = TrustAnchors([hierarchy().policy_root.certificate])
    return read_crl(hierarchy().crl(revoked), roots, NOW, signers=[hierarchy().policy_signer.certificate])


def test_good_certificate_is_shown_with_its_names_times_and_numbers() -> None:
    token, header = explained(provider())
    assert token == ""
    assert step(header, "certificate at hand").words == f"a file, {len(provider().chain_pem)} octets"
    assert " < " in step(header, "certificate readable").words
    assert step(header, "validity").words.startswith("from 2023-11-14T21:13:20Z to ")
    assert step(header, "chain").words.endswith("one of 1 trust anchors")
    assert step(header, "number covered").words == f"{ORIG}: TNAuthList SPC 1234"
    assert step(header, "claims permitted").words == "the certificate sets no limits"


def test_what_is_no_certificate_ends_there() -> None:
    token, header = explained(provider(), chain=b"<html>")
    assert token == "credential_malformed"
    assert wrong(header) == [("certificate readable", "credential_malformed", False)]
    assert step(header, "signature").state is State.NOT_REACHED


def test_unreachable_repository_is_shown_with_its_reason() -> None:
    found = told(at=edge(chains={X5U: failure("x5u_http_status", "404")}))
    assert found.token == "x5u_http_status"
    assert wrong(found.headers[0]) == [("certificate at hand", "x5u_http_status", False)]
    assert step(found.headers[0], "certificate at hand").words == "fetched now: 404"
    assert step(found.headers[0], "chain").state is State.NOT_REACHED


def test_certificate_that_may_not_sign_is_looked_into_further() -> None:
    token, header = explained(certificate(with_tnauthlist=False))
    assert token == "tnauthlist_missing"
    assert wrong(header) == [("signer's certificate", "tnauthlist_missing", False)]
    assert step(header, "chain").words == "to one of 1 trust anchors"
    token, header = explained(evil().service_provider(ServiceProvider(with_tnauthlist=False)))
    assert wrong(header) == [("signer's certificate", "tnauthlist_missing", False), ("chain", "credential_untrusted", True)]


def test_untrusted_certificate_may_have_signed_all_the_same() -> None:
    token, header = explained(evil().service_provider())
    assert token == "credential_untrusted"
    assert wrong(header) == [("chain", "credential_untrusted", False)]
    assert step(header, "signature").state is State.PASSED
    assert step(header, "signature").further


def test_expired_certificate_is_looked_at_as_of_its_last_moment() -> None:
    issued = certificate(not_before=NOW - 1800, not_after=NOW - 600)
    token, header = explained(issued)
    assert token == "credential_expired"
    assert wrong(header)[0] == ("validity", "credential_expired", False)
    assert "when it was valid" in step(header, "chain").words
    assert ("valid at iat", "credential_expired", True) in wrong(header)


def test_certificate_of_tomorrow_is_not_yet_valid() -> None:
    token, header = explained(certificate(not_before=NOW + DAY, not_after=NOW + 2 * DAY))
    assert token == "credential_not_yet_valid"
    assert ("validity", "credential_not_yet_valid", False) in wrong(header)


def test_certificate_younger_than_the_passport_was_not_valid_at_iat() -> None:
    issued = certificate(not_before=NOW - 10)
    found = told(identity(claims={"iat": NOW - 30}, key=issued.key), at=edge(chains={X5U: issued.chain_pem}))
    assert found.token == "credential_not_yet_valid"
    assert wrong(found.headers[0]) == [("valid at iat", "credential_not_yet_valid", False)]


def test_expired_issuer_fails_the_chain() -> None:
    issuer = issue(hierarchy().root, x509.BasicConstraints(True, None), not_before=NOW - 3 * DAY, not_after=NOW - DAY)
    issued = hierarchy().service_provider(ServiceProvider(), issuer)
    token, header = explained(issued)
    assert token == "credential_expired"
    assert wrong(header)[0] == ("chain", "credential_expired", False)


def test_delegate_with_more_than_its_issuer_has_fails_the_chain() -> None:
    issuer = certificate(tnauthlist=TNAuthList(numbers=("12155550100",)), ca=True)
    issued = hierarchy().service_provider(ServiceProvider(tnauthlist=TNAuthList(numbers=(ORIG,))), issuer)
    token, header = explained(issued)
    assert token == "credential_untrusted"
    assert wrong(header) == [("chain", "credential_untrusted", False)]
    assert step(header, "chain").words.startswith("delegated more than the issuer has")


def test_constraints_are_shown_where_they_fail() -> None:
    limits = ClaimConstraints(permitted=(("attest", frozenset({"B"})),))
    token, header = explained(certificate(constraints=limits))
    assert token == "claim_not_permitted"
    assert wrong(header) == [("claims permitted", "claim_not_permitted", False)]
    token, header = explained(certificate(constraints=ClaimConstraints(must_include=frozenset({"attest"}))))
    assert token == ""
    assert step(header, "claims permitted").words == "within the certificate's JWTClaimConstraints"
    token, header = explained(certificate(constraints=b"\x30\x00"))
    assert token == "constraints_malformed"
    assert wrong(header) == [("constraints readable", "constraints_malformed", False)]


def test_number_that_is_not_covered_is_shown_beside_those_that_are() -> None:
    token, header = explained(certificate(tnauthlist=TNAuthList(numbers=("12155550100",))))
    assert token == "tn_not_authorized"
    assert step(header, "number covered").words == f"{ORIG}: TNAuthList 12155550100"
    assert wrong(header) == [("number covered", "tn_not_authorized", False)]


def test_profile_counts_where_it_is_strict() -> None:
    odd = certificate(common_name="Not SHAKEN")
    token, header = explained(odd)
    assert token == ""
    assert step(header, "profile").words.startswith("not held against it")
    token, header = explained(odd, '[verification]\ncertificate_profile = "strict"')
    assert token == "credential_profile"
    assert wrong(header) == [("profile", "credential_profile", False)]


def test_revoked_certificate_is_shown_with_the_list() -> None:
    token, header = explained(provider(), revocations=revocations(provider().certificate))
    assert token == "credential_revoked"
    assert wrong(header) == [("revocation", "credential_revoked", False)]
    token, header = explained(provider(), revocations=revocations())
    assert token == ""
    assert step(header, "revocation").words.startswith("in none of 0 entries of CRL 1, which is good until ")


@pytest.mark.parametrize("revoked", [0, 1])
def test_path_without_a_revoked_issuer_goes_before_one_with_as_on_an_edge(revoked: int) -> None:
    roots = [hierarchy().root, Hierarchy(NOW, "Other").root]
    first = issue(roots[0], x509.BasicConstraints(True, None), name="CA")
    crossed = [first, issue(roots[1], x509.BasicConstraints(True, None), name="CA", key=first.key)]
    signer = hierarchy().service_provider(ServiceProvider(), first)
    octets = pem(signer.certificate, *(each.certificate for each in crossed))
    trust = TrustAnchors([root.certificate for root in roots])
    at = edge("", {X5U: octets}, revocations(crossed[revoked].certificate), trust)
    found = told(identity(key=signer.key), at=at)
    assert (found.token, found.further) == ("", ())


def test_missing_list_counts_where_the_settings_are_hard() -> None:
    hard = '[trust]\ncrl_url = "https://pa.example.test/crl"\nsti_pa_ca_file = "pa.pem"\ncrl_failure = "hard"'
    token, header = explained(provider(), hard)
    assert token == "revocation_unknown"
    assert wrong(header) == [("revocation", "revocation_unknown", False)]


def test_without_roots_nothing_is_decided_and_nobody_accused() -> None:
    found = told(at=edge(trust=TrustAnchors(())))
    (header,) = found.headers
    assert (found.undecided, found.valid, found.token) == (True, False, "credential_not_at_hand")
    assert (step(header, "chain").state, step(header, "chain").words) == (State.NOT_LOOKED_AT, NO_ROOTS)
    # The signature needs none
    assert step(header, "signature").state is State.PASSED
    assert wrong(header) == []


def test_certificate_that_is_wrong_in_itself_is_wrong_without_roots() -> None:
    expired = hierarchy().service_provider(ServiceProvider(not_before=NOW - 3 * DAY, not_after=NOW - DAY))
    found = told(at=edge(chains={X5U: expired.chain_pem}, trust=TrustAnchors(())))
    assert (found.undecided, found.token) == (False, "credential_expired")


def test_certificate_is_judged_once_for_a_moment() -> None:
    at = edge()
    assert at.judged(X5U, NOW).outcome is at.judged(X5U, NOW).outcome
    assert isinstance(at.judged(X5U, NOW).outcome, Credential)
