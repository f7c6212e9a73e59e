"""Against an independent implementation: the command `secsipidx` (Go), with which Kamailio's own secsipid module signs.

What we sign it accepts, what was changed it refuses; what it signs we verify.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.lab.pki import Hierarchy, Issued
from kamailio_app.passport.claims import Attestation
from kamailio_app.sip import Request
from kamailio_app.sti_as import Signer, sign
from kamailio_app.sti_vs import conclude, examine
from kamailio_app.verdict import Verification

ORIG, DEST = "12155550121", "12155550131"
X5U = "https://cr.example.test/1234/sp.pem"
REQUEST = Request(
    "INVITE",
    f"sip:+{DEST}@term.example.net;user=phone",
    f"sip:+{ORIG}@orig.example.com;user=phone",
    f"sip:+{DEST}@orig.example.com;user=phone",
)


def secsipidx(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = shutil.which("secsipidx")
    if command is None:
        pytest.fail("the command secsipidx is missing: apt-get install secsipidx")
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=30, check=False)


@dataclass(frozen=True)
class Files:
    """A service provider's certificate, and its files in the form that secsipidx reads."""

    hierarchy: Hierarchy
    provider: Issued
    directory: Path

    @property
    def key(self) -> str:
        return str(self._write("key.pem", self.provider.key_pem))

    @property
    def certificate(self) -> str:
        return str(self._write("certificate.pem", self.provider.pem))

    @property
    def public_key(self) -> str:
        public = self.provider.key.public_key()
        return str(self._write("public.pem", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)))

    @property
    def root(self) -> str:
        return str(self._write("root.pem", self.hierarchy.root.pem))

    @property
    def intermediate(self) -> str:
        return str(self._write("intermediate.pem", self.hierarchy.intermediate.pem))

    def identity(self, value: str) -> str:
        return str(self._write("identity.txt", value.encode()))

    def sign(self, attest: Attestation = Attestation.FULL) -> str:
        signer = Signer("sp", X5U, 0, 1 << 40, "", ("1234",), self.provider.key)
        return sign(REQUEST, attest, signer, now=time.time(), origid=str(uuid.uuid4())).identity

    def verify(self, value: str, provider: Issued | None = None) -> Verification:
        now = time.time()
        request = Request(REQUEST.method, REQUEST.request_uri, REQUEST.from_uri, REQUEST.to_uri, identity=(value,))
        examination = examine(request, now=now)
        anchors = TrustAnchors([self.hierarchy.root.certificate])
        credential = validate((provider or self.provider).chain_pem, anchors, now)
        return conclude(examination, dict.fromkeys(examination.needed, credential), now=now)

    def _write(self, name: str, octets: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(octets)
        return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    hierarchy = Hierarchy(time.time())
    return Files(hierarchy, hierarchy.service_provider(), tmp_path)


def _check(files: Files, value: str, *more: str, key: str = "") -> subprocess.CompletedProcess[str]:
    file = files.identity(value)
    return secsipidx("-check", "-fidentity", file, "-fpubkey", key or files.public_key, "-expire", "60", *more)


def _signed_by_secsipidx(files: Files, *more: str, attest: str = "A") -> str:
    names = ("-orig-tn", ORIG, "-dest-tn", DEST, "-attest", attest, "-x5u", X5U, "-fprvkey", files.key)
    signing = secsipidx("-sign-full", *names, *more)
    assert signing.returncode == 0, signing.stderr
    return signing.stdout.strip()


@pytest.mark.parametrize("attest", list(Attestation))
def test_secsipidx_accepts_what_we_sign(files: Files, attest: Attestation) -> None:
    check = _check(files, files.sign(attest))
    assert (check.returncode, check.stdout.strip()) == (0, "ok"), check.stderr


def test_secsipidx_accepts_our_certificate_and_its_path(files: Files) -> None:
    path = ("-cert-verify", "15", "-ca-file", files.root, "-ca-inter", files.intermediate)
    check = _check(files, files.sign(), *path, key=files.certificate)
    assert (check.returncode, check.stdout.strip()) == (0, "ok"), check.stderr


@pytest.mark.parametrize("part", [0, 1, 2])
def test_secsipidx_refuses_what_was_changed(files: Files, part: int) -> None:
    value = files.sign()
    digest, semicolon, parameters = value.partition(";")
    texts = digest.split(".")
    middle = len(texts[part]) // 2
    texts[part] = texts[part][:middle] + ("A" if texts[part][middle] != "A" else "B") + texts[part][middle + 1 :]
    changed = ".".join(texts) + semicolon + parameters
    check = _check(files, changed)
    assert check.returncode != 0
    assert check.stdout.strip() != "ok"
    assert not files.verify(changed).valid


def test_secsipidx_refuses_our_signature_under_another_key(files: Files) -> None:
    value = files.sign()
    other = Files(files.hierarchy, files.hierarchy.service_provider(), files.directory)
    check = _check(files, value, key=other.public_key)
    assert check.returncode != 0


@pytest.mark.parametrize("attest", ["A", "B", "C"])
def test_we_verify_what_secsipidx_signs(files: Files, attest: str) -> None:
    verification = files.verify(_signed_by_secsipidx(files, attest=attest))
    assert verification.token == ""
    passport = verification.verdict.passport
    assert passport is not None
    assert passport.claims.attest == attest


def test_we_refuse_what_secsipidx_signed_with_another_key(files: Files) -> None:
    value = _signed_by_secsipidx(files)
    assert files.verify(value, files.hierarchy.service_provider()).token == "signature_invalid"


def test_both_write_the_same_octets(files: Files) -> None:
    """RFC 8225 9: header and payload for the same call, second and origid."""
    ours = files.sign()
    verified = files.verify(ours).verdict.passport
    assert verified is not None
    theirs = _signed_by_secsipidx(files, "-orig-id", verified.claims.origid, "-iat", str(verified.claims.iat))
    assert ours.split(".")[:2] == theirs.split(".")[:2]
    assert ours.partition(";")[2] == theirs.partition(";")[2]
