"""Every vector explained: the token that `tests/conformance` expects, where it is expected, and nothing else before it."""

from __future__ import annotations

import pytest

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.explain.explanation import Explanation, completed, explain
from kamailio_app.explain.judge import Edge, Found
from kamailio_app.explain.steps import State
from kamailio_app.sip import Request
from kamailio_app.tn import NumberPlan

from ...conformance import test_vectors_certificates as certificates
from ...conformance import test_vectors_generated as generated
from ...conformance.support import GENERATED, INVITE, NOW, identity, read, replace, text
from ...conformance.test_vectors_published import FOREIGN_CLAIMS, OPENSIPS
from .support import settings

EXTENSION_SETTINGS = "[verification]\nrph_signers = [{}]"


def explained(
    call: Request, chains: dict[str, str], rules: str = "", now: float = NOW, root: str = "cert_root.pem"
) -> Explanation:
    anchors = TrustAnchors(parse_chain(read(root if "/" in root else f"generated/{root}")))

    def find(url: str) -> Found:
        path = chains.get(url, chains.get("*", ""))
        return Found(read(path if "/" in path else f"generated/{path}"), words=path)

    found = explain(call, Edge(settings(rules), anchors, None, find), now)
    for header in found.headers:
        first = next((step for step in header.steps if step.token), None)
        assert (first.token if first else "") == header.token
        assert all(step.check != "verification" for step in header.steps)
    return found


@pytest.mark.parametrize("case", generated.CASES, ids=lambda case: f"{case.file}-{case.token}")
def test_shaken_vector_is_explained_with_its_token(case: generated.Case) -> None:
    passport = text(f"generated/{case.file}")
    info = case.info or generated._own_x5u(passport)
    uri = f"sip:{case.called}@example.com"
    call = replace(INVITE, to_uri=uri, request_uri=uri, identity=(identity(passport, f";info=<{info}>;alg=ES256;ppt=shaken"),))
    found = explained(call, {"*": case.chain})
    assert (found.token or "valid") == case.token
    assert found.headers[0].token == found.token


@pytest.mark.parametrize("case", generated.EXTENSIONS, ids=lambda case: f"{case.file}-{case.token}")
def test_vector_of_another_type_is_explained_with_its_token(case: generated.Extension) -> None:
    uri = f"sip:{case.called}@example.com"
    call = replace(
        INVITE,
        from_uri=f"sip:{case.caller}@example.com",
        to_uri=uri,
        request_uri=uri,
        identity=tuple(generated._field(file) for file in (case.file, *case.beside)),
        resource_priority=case.resource_priority,
        priority=case.priority,
    )
    chains = {
        generated.OWN_X5U: generated.OWN_CHAIN,
        generated._own_x5u(text(f"generated/{case.file}")): case.chain,
        "*": case.chain,
    }
    found = explained(call, chains, EXTENSION_SETTINGS.format(", ".join(f'"{spc}"' for spc in case.signers)))
    assert (found.headers[0].token or "valid") == case.token
    assert (found.token or "valid") == case.call


@pytest.mark.parametrize(("line", "expected"), generated.VARIANTS.items())
def test_variant_seen_on_the_wire_is_explained_with_its_token(line: int, expected: str) -> None:
    field = text("generated/01_identity_variants.txt").splitlines()[line - 1].removeprefix("Identity: ")
    found = explained(replace(INVITE, identity=(field,)), {"*": "chain_leaf1234.pem"})
    assert (found.token or "valid") == expected


@pytest.mark.parametrize(("chain", "expected"), generated.CHAINS.items())
def test_chain_is_explained_with_its_token(chain: str, expected: str) -> None:
    call = replace(INVITE, identity=(identity(text("generated/01_good_A.jwt")),))
    found = explained(call, {"*": chain})
    outcomes = {step.token for header in found.headers for step in header.steps if step.token}
    # The others' keys did not sign it
    assert found.token == expected or (expected == "valid" and outcomes <= {"signature_invalid"})


@pytest.mark.parametrize(("age", "expected"), [(0, ""), (60, ""), (61, "iat_stale"), (-61, "iat_in_future")])
def test_call_of_opensips_is_explained_with_its_token(age: int, expected: str) -> None:
    found = explained(OPENSIPS, {"*": "opensips/leaf_SPC1001.pem"}, now=1687444148 + age, root="opensips/ca-cert.pem")
    assert found.token == expected
    assert found.further == ()


@pytest.mark.parametrize(
    "file",
    ["rfc/rfc8224_s4_1_1_full.hdr", "rfc/rfc8224_s5_1_compact.hdr", "rfc/rfc8946_s4_div.hdr", "rfc/rfc8443_s4_1_rph.hdr"],
)
def test_example_of_an_rfc_is_explained(file: str) -> None:
    field = text(file).partition(":")[2].strip()
    found = explained(replace(INVITE, identity=(field,)), {"*": "chain_leaf1234.pem"})
    assert found.token == "ppt_unsupported"


@pytest.mark.parametrize(("file", "expected"), FOREIGN_CLAIMS.items())
def test_claims_of_other_implementations_are_explained_with_their_token(file: str, expected: str) -> None:
    call = Request("INVITE", "", "", "", identity=(f"{text(file)};info=<https://cr.example.test/x.pem>",))
    call, assumed = completed(call, NumberPlan())
    found = explain(call, Edge(settings(), TrustAnchors(()), None, lambda _url: Found()), NOW, assumed=assumed)
    (step,) = [step for step in found.headers[0].steps if step.check == "claims"]
    assert (step.token or "valid") == expected


@pytest.mark.parametrize("chain", certificates.CHAINS, ids=lambda chain: chain.spc)
def test_chain_of_a_real_repository_is_explained_with_its_token(chain: certificates.Chain) -> None:
    octets = read(f"stici_real/{chain.file}")
    now = certificates._middle(parse_chain(octets))
    edge = Edge(settings(), certificates._observed("roots"), None, lambda _url: Found(octets, words="x"))
    call = replace(INVITE, identity=(identity(text("generated/01_good_A.jwt")),))
    steps = {step.check: step for step in explain(call, edge, now).headers[0].steps}
    assert steps["chain"].token == ("" if chain.complete else "credential_untrusted")
    assert steps["signer's certificate"].words == f"P-256, may sign, TNAuthList SPC {chain.spc}"
    assert steps["number covered"].state is State.PASSED
    assert steps["signature"].token == "signature_invalid"


def test_every_vector_of_the_manifest_is_here() -> None:
    here = {case.file for case in generated.CASES} | {case.file for case in generated.EXTENSIONS}
    assert here | generated.OTHER_TOKENS == generated.MANIFEST.keys()
    assert GENERATED.is_dir()
