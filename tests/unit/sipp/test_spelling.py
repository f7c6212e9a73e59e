"""Claims that no TOML file could hold are signed as they stand; chains are served in the form that was asked for."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator

import jwt
import pytest

from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.lab.network import CALLED, CALLER, Network
from tests.sipp.suite.certificates import Certificates
from tests.sipp.suite.identity import SPELLINGS, Recipe, headers
from tests.unit.sipp.test_identity import token_of

GOOD = ("deterministic", "spaced", "reversed")
MALFORMED = ("twice", "array", "not-a-number", "nested", "not-utf-8", "rest")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Certificates]]:
    with Network(tmp_path_factory.mktemp("network")) as network:
        yield network, Certificates(network)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spelling_is_inside_a_good_signature(lab: tuple[Network, Certificates], spelling: str) -> None:
    (line,) = headers((Recipe(spelling=spelling),), *lab, CALLER, CALLED)
    assert token_of(lab, line) == (
        "" if spelling in GOOD else "passport_malformed" if spelling in MALFORMED else "claim_malformed"
    )
    key = lab[0].provider.certificate.public_key()
    jwt.PyJWS().decode(line.partition(": ")[2].partition(";")[0], key, algorithms=["ES256"])  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["fresh", "words-around", "crlf", "issuer-first"])
def test_chain_is_the_same_in_every_form(lab: tuple[Network, Certificates], form: str) -> None:
    network, certificates = lab
    octets = network.repository.chains[certificates.x5u(form, "good").rpartition("/")[2]]
    assert (octets == certificates["good"].chain_pem) == (form == "fresh")
    found = validate(octets, TrustAnchors([network.hierarchy.root.certificate]), network.now)
    assert found.tnauthlist.spcs == ("1234",)


def test_url_of_the_good_certificate_for_whoever_signs(lab: tuple[Network, Certificates]) -> None:
    (line,) = headers((Recipe(certificate="other-provider", x5u="good"),), *lab, CALLER, CALLED)
    assert token_of(lab, line) == "signature_invalid"


def test_served_as_a_file_whatever_the_query(lab: tuple[Network, Certificates]) -> None:
    """What must not be fetched is there: a verifier that fetched it would find the call good."""
    network = lab[0]
    context = ssl.create_default_context(cafile=str(network.ca_file))
    with urllib.request.urlopen(lab[1].x5u("query", "good"), context=context, timeout=5) as answer:
        assert answer.read() == lab[1]["good"].chain_pem
