"""What the STI-PA says, as files of one system: its certificates, its list of approved CAs, its CRL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from kamailio_app.lab.pki import Hierarchy


class TrustFiles:
    """`policy`: whose STI-PA it is; at first its own root is approved, and `revoked` are revoked."""

    def __init__(self, directory: Path, policy: Hierarchy, revoked: Sequence[x509.Certificate]) -> None:
        self._directory, self._policy = directory, policy
        self._listed = [policy.root.certificate]
        self._sequence = self._number = 0
        self._revoked = list(revoked)

    def write(self) -> None:
        """All three, for a system that is to be started."""
        # Who signs the CRL stands there as well
        (self._directory / "sti-pa.pem").write_bytes(self._policy.policy_root.pem + self._policy.policy_signer.pem)
        self._write_list()
        self._write_crl()

    def list_ca(self, root: x509.Certificate) -> None:
        self._listed.append(root)
        self._write_list()

    def unlist_ca(self, root: x509.Certificate) -> None:
        self._listed.remove(root)
        self._write_list()

    def break_list(self) -> None:
        """A list that somebody else has signed, who would approve of nobody."""
        stranger = Hierarchy(self._policy.now, "Unknown")
        text = stranger.trust_list([stranger.root.certificate], self._sequence + 1, bring_signer=True)
        self._put("ca-list.jws", text.encode())

    def revoke(self, certificate: x509.Certificate) -> None:
        self._revoked.append(certificate)
        self._write_crl()

    def _write_list(self) -> None:
        self._sequence += 1
        self._put("ca-list.jws", self._policy.trust_list(self._listed, self._sequence, bring_signer=True).encode())

    def _write_crl(self) -> None:
        self._number += 1
        self._put("sti.crl", self._policy.crl(self._revoked, number=self._number))

    def _put(self, name: str, octets: bytes) -> None:
        """At once: it may be read at any time."""
        new = self._directory / f"{name}.new"
        new.write_bytes(octets)
        new.replace(self._directory / name)
