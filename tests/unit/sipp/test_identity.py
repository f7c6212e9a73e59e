"""Identity headers from recipes: each deviation is the one that was asked for, and the rest is good."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.credentials.x5u import X5uRules
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.lab.network import CALLED, CALLER, Network
from kamailio_app.sip import Request
from kamailio_app.sti_vs import VerificationRules, conclude, examine
from tests.sipp.suite.certificates import CERTIFICATES, Certificates, NotPublishedError
from tests.sipp.suite.identity import FROZEN, TAMPERINGS, Recipe, headers


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Certificates]]:
    with Network(tmp_path_factory.mktemp("network")) as network:
        yield network, Certificates(network)


def made(lab: tuple[Network, Certificates], recipe: Recipe) -> str:
    (line,) = headers((recipe,), *lab, CALLER, CALLED)
    return line.partition(": ")[2]


def token_of(lab: tuple[Network, Certificates], *lines: str) -> str:
    """The token by which our verification service refuses it; "" if it is good."""
    network = lab[0]
    now = time.time()
    values = tuple(line.partition(": ")[2] for line in lines)
    request = Request("INVITE", f"sip:{CALLED}@x", f"sip:{CALLER}@x", f"sip:{CALLED}@x", identity=values)
    rules = VerificationRules(x5u=X5uRules(frozenset({network.repository.port})))
    examination = examine(request, rules, now=now)
    anchors = TrustAnchors([network.hierarchy.root.certificate])
    credentials: dict[str, Any] = {}
    for url in examination.needed:
        path = url.rpartition("/")[2]
        try:
            credentials[url] = validate(network.repository.chains[path], anchors, now)
        except StirError as error:
            credentials[url] = error
    return conclude(examination, credentials, now=now).token


def parts(value: str) -> tuple[dict[str, Any], dict[str, Any]]:
    jose, claims, _ = value.partition(";")[0].split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) for text in (jose, claims)]
    return decoded[0], decoded[1]


def test_recipe_without_deviation_is_good(lab: tuple[Network, Certificates]) -> None:
    assert token_of(lab, *headers((Recipe(),), *lab, CALLER, CALLED)) == ""


@pytest.mark.parametrize(
    ("recipe", "token"),
    [
        (Recipe(age=120), "iat_stale"),
        (Recipe(age=-120), "iat_in_future"),
        (Recipe(caller="+12155550199"), "orig_mismatch"),
        (Recipe(called=("+12155550199",)), "dest_mismatch"),
        (Recipe(called=("+12155550199", CALLED)), ""),
        (Recipe(attest="D"), "attest_invalid"),
        (Recipe(certificate="stranger"), "credential_untrusted"),
        (Recipe(certificate="expired"), "credential_expired"),
        (Recipe(certificate="not-yet-valid"), "credential_not_yet_valid"),
        (Recipe(certificate="p384"), "credential_key_unsupported"),
        (Recipe(certificate="no-digital-signature"), "credential_usage_forbidden"),
        (Recipe(certificate="ca"), "credential_usage_forbidden"),
        (Recipe(certificate="without-issuers"), "credential_untrusted"),
        (Recipe(certificate="without-tnauthlist"), "tnauthlist_missing"),
        (Recipe(certificate="malformed-tnauthlist"), "tnauthlist_malformed"),
        (Recipe(certificate="other-number"), "tn_not_authorized"),
        (Recipe(certificate="other-range"), "tn_not_authorized"),
        (Recipe(certificate="own-number"), ""),
        (Recipe(certificate="own-range"), ""),
        (Recipe(certificate="other-provider"), ""),
        (Recipe(certificate="delegate"), ""),
        (Recipe(x5u="fresh"), ""),
        (Recipe(claims={"iat": "now"}), "claim_malformed"),
        (Recipe(claims={"extra": 1}), ""),
        (Recipe(claims_without=("origid",)), "claim_missing"),
        (Recipe(jose={"typ": "JWT"}), "typ_unsupported"),
        (Recipe(jose={"alg": "none"}, parameters=";info=<{x5u}>;ppt=shaken", tamper=("zero-signature",)), "alg_unsupported"),
        (Recipe(jose={"alg": "HS256"}, parameters=";info=<{x5u}>;ppt=shaken"), "alg_unsupported"),
        (Recipe(jose_without=("x5u",)), "jose_header_incomplete"),
        (Recipe(spelling="spaced"), ""),
        (Recipe(spelling="reversed"), ""),
        (Recipe(parameters=';ppt="shaken" ; alg="ES256";info=<{x5u}>'), ""),
        (Recipe(parameters=";alg=ES256;ppt=shaken"), "info_missing"),
        (Recipe(parameters=";info=<https://other.example/x.pem>;ppt=shaken"), "info_mismatch"),
        (Recipe(raw="nonsense"), "identity_malformed"),
        (Recipe(tamper=("signature",)), "signature_invalid"),
        (Recipe(tamper=("payload",)), "signature_invalid"),
        (Recipe(tamper=("header",)), "signature_invalid"),
        (Recipe(attest="C", tamper=("attest",)), "signature_invalid"),
        (Recipe(tamper=("compact",)), "compact_form_unsupported"),
        (Recipe(tamper=("der-signature",)), "signature_invalid"),
        (Recipe(tamper=("large",)), "identity_too_large"),
        (Recipe(maker="secsipidx"), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_deviation_gets_its_token(lab: tuple[Network, Certificates], recipe: Recipe, token: str) -> None:
    assert not token or token in FAILURES
    assert token_of(lab, f"Identity: {made(lab, recipe)}") == token


@pytest.mark.parametrize("name", [name for name in TAMPERINGS if name != "folded"])
def test_every_tampering_makes_it_bad(lab: tuple[Network, Certificates], name: str) -> None:
    recipe = Recipe(attest="C", tamper=(name,))
    assert token_of(lab, f"Identity: {made(lab, recipe)}")


@pytest.mark.parametrize("name", CERTIFICATES)
def test_signature_is_by_the_key_of_the_certificate_that_was_named(lab: tuple[Network, Certificates], name: str) -> None:
    value = made(lab, Recipe(certificate=name, claims={"note": "x"}))
    found = lab[1].find(parts(value)[0]["x5u"])
    assert found is not None
    assert found[0] == name
    if name != "p384":  # PyJWT's ES256 is P-256
        jwt.decode(
            value.partition(";")[0],
            found[1].public_key(),  # type: ignore[arg-type]
            algorithms=["ES256"],
            options={"verify_iat": False, "verify_aud": False},
        )


def test_members_are_set_and_left_out(lab: tuple[Network, Certificates]) -> None:
    value = made(lab, Recipe(origid="o-1", claims={"dest": {"uri": ["sip:a@b"]}}, claims_without=("iat",), jose={"ppt": "div"}))
    jose, claims = parts(value)
    assert jose["ppt"] == "div"
    assert claims == {"attest": "A", "dest": {"uri": ["sip:a@b"]}, "orig": {"tn": CALLER[1:]}, "origid": "o-1"}


def test_frozen_value_is_the_file(lab: tuple[Network, Certificates]) -> None:
    assert made(lab, Recipe(frozen="full")) == (FROZEN / "full.identity").read_text().strip()


def test_header_field_by_name_number_and_comma(lab: tuple[Network, Certificates]) -> None:
    recipes = (Recipe(raw="a", times=2), Recipe(raw="b", name="y"), Recipe(raw="c", joined=True))
    assert headers(recipes, *lab, CALLER, CALLED) == ["Identity: a", "Identity: a", "y: b, c"]


def test_each_failing_url_is_a_new_one(lab: tuple[Network, Certificates]) -> None:
    """A failure that the system remembers would be no fetch."""
    certificates = lab[1]
    for kind in ("fresh", "missing", "large", "closed", "silent"):
        assert certificates.x5u(kind, "good") != certificates.x5u(kind, "good")
    assert certificates.x5u("chain", "good") == certificates.url("good")


def test_repository_elsewhere(lab: tuple[Network, Certificates], tmp_path: Path) -> None:
    certificates = Certificates(lab[0], lambda path: f"https://cr.example/{path}", tmp_path, elsewhere=True)
    assert certificates.x5u("chain", "expired") == "https://cr.example/expired.pem"
    assert (tmp_path / "expired.pem").read_bytes() == certificates["expired"].chain_pem
    with pytest.raises(NotPublishedError, match="slow"):
        certificates.x5u("slow", "good")


def test_passport_of_another_type_has_that_type_s_claims(lab: tuple[Network, Certificates]) -> None:
    value = made(lab, Recipe(ppt="div", div="+12155550140", called=("+12155550131",)))
    jose, claims = parts(value)
    assert jose["ppt"] == "div"
    assert claims["div"] == {"tn": "12155550140"}
    assert sorted(claims) == ["dest", "div", "iat", "orig"]
    assert value.endswith(";alg=ES256;ppt=div")
    _jose, claims = parts(made(lab, Recipe(ppt="rcd", claims={"rcd": {"nam": "Bank"}})))
    assert sorted(claims) == ["dest", "iat", "orig", "rcd"]


def test_header_that_is_sent_again_is_the_same(lab: tuple[Network, Certificates]) -> None:
    kept: dict[str, str] = {}

    def values(*recipes: Recipe) -> list[str]:
        return headers(recipes, *lab, CALLER, CALLED, made=kept)

    first = values(Recipe(again="a"))
    assert values(Recipe(again="a", tamper=("signature",))) == first
    assert values(Recipe(again="b")) != first
    assert values(Recipe()) != values(Recipe())


def test_repository_misbehaves_at_a_url_that_stays(lab: tuple[Network, Certificates]) -> None:
    network, certificates = lab
    url = certificates.kept("lane", "good")
    path = url.rpartition("/")[2]
    certificates.misbehave("lane", "good", "slow")
    assert network.repository.answers[path].delay
    assert network.repository.answers[path].body == network.provider.chain_pem
    assert certificates.kept("lane", "good") == url
    certificates.withdraw("lane", "good")
    assert network.repository.answers[path].status == 404
    certificates.publish_again("lane", "good")
    assert path not in network.repository.answers
