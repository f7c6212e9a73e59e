"""The CA behind acme2certifier in its test: it certifies what a request asks for, TNAuthList and all. Loaded by acme2certifier,
in its own virtual environment; its own OpenSSL handler leaves a request's TNAuthList out.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from kamailio_app.lab.pki import Hierarchy, Issued
from kamailio_app.lifecycle.request import read_request, requested_authority


class CAhandler:
    """The methods that acme2certifier calls."""

    def __init__(self, _debug: object = None, logger: object = None) -> None:
        self.logger = logger

    def __enter__(self) -> CAhandler:
        return self

    def __exit__(self, *_arguments: object) -> None:
        """Nothing to close."""

    def handler_check(self) -> None:
        """No complaints."""

    def enroll(self, csr: str) -> tuple[str | None, str | None, str | None, str | None]:
        """Error, chain in PEM, certificate in base64, what to ask for later."""
        text = csr.replace("-", "+").replace("_", "/").rstrip("=")
        request = read_request(b64decode(text + "=" * (-len(text) % 4)))
        key, authority = request.public_key(), requested_authority(request)
        assert isinstance(key, EllipticCurvePublicKey)
        assert authority is not None
        points = [each.value for each in request.extensions if isinstance(each.value, x509.CRLDistributionPoints)]
        chain = _hierarchy().certify(key, request.subject, authority, points=points[0] if points else None)
        pem = "".join(each.public_bytes(Encoding.PEM).decode() for each in chain)
        return None, pem, b64encode(chain[0].public_bytes(Encoding.DER)).decode(), None

    def revoke(self, _cert: str, _reason: str, _date: str) -> tuple[int, None, None]:
        return 200, None, None


def _hierarchy() -> Hierarchy:
    """With the issuing CA whose files the test has written."""
    directory = Path(os.environ["STIRSHAKEN_TEST_CA"])
    key = load_pem_private_key((directory / "ca.key").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    hierarchy = Hierarchy(float(os.environ["STIRSHAKEN_TEST_NOW"]))
    hierarchy.intermediate = Issued(certificate, key)
    return hierarchy
