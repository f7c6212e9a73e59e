"""A certificate revocation list, looked at: whose, of when, what it revokes, and whether it would be used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cryptography import x509

from kamailio_app.credentials.certificate import MALFORMED, seen_instead
from kamailio_app.credentials.crl import read_crl
from kamailio_app.errors import StirError, failure
from kamailio_app.lifecycle.inspection_content import Content, Finding, moment, name_in_words
from kamailio_app.lifecycle.inspection_trust import Trusted

CRL: Final = "CRL"
_PEM: Final = b"-----BEGIN X509 CRL-----"
_MALFORMED: Final = "crl_malformed"


def _indirect(crl: x509.CertificateRevocationList) -> bool:
    return any(each.value.indirect_crl for each in crl.extensions if isinstance(each.value, x509.IssuingDistributionPoint))


def _number(crl: x509.CertificateRevocationList) -> int | None:
    return next((each.value.crl_number for each in crl.extensions if isinstance(each.value, x509.CRLNumber)), None)


def _entries(crl: x509.CertificateRevocationList) -> list[dict[str, Any]]:
    """RFC 5280 5.3.3: an entry that names no issuer has the one of the entry before; the first has the CRL's."""
    return list(_each_entry(crl))


def _each_entry(crl: x509.CertificateRevocationList) -> Iterator[dict[str, Any]]:
    issuer = name_in_words(crl.issuer)
    for entry in crl:
        reason = ""
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CertificateIssuer):
                issuer = ", ".join(name_in_words(name) for name in extension.value.get_values_for_type(x509.DirectoryName))
            elif isinstance(extension.value, x509.CRLReason):
                reason = extension.value.reason.value
        told = {"serial": f"{entry.serial_number:x}", "issuer": issuer, "date": moment(entry.revocation_date_utc)}
        yield told | ({"reason": reason} if reason else {})


_PARTS: Final[Mapping[str, Callable[[x509.CertificateRevocationList], Any]]] = {
    "issuer": lambda each: name_in_words(each.issuer),
    "number": _number,
    "this_update": lambda each: moment(each.last_update_utc),
    "next_update": lambda each: moment(each.next_update_utc) if each.next_update_utc else None,
    "indirect": _indirect,
    "signature": lambda each: each.signature_algorithm_oid._name,
    "revoked": len,
    "entries": _entries,
}


def look_at_crl(octets: bytes, trust: Trusted, now: float) -> Content:
    """In PEM or DER. Errors: `crl_malformed`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            crl = x509.load_pem_x509_crl(octets) if _PEM in octets else x509.load_der_x509_crl(octets)
    except MALFORMED as error:
        raise failure(_MALFORMED, seen_instead(octets, "CRL", b"X509 CRL")) from error
    content = Content(CRL)
    content.fields |= content.read(_PARTS, crl, _MALFORMED)
    if not len(trust.sti_pa):
        content.fields["verdict"] = "not checked"
        content.remarks.append("the settings do not name the STI-PA's roots: set [trust] sti_pa_ca_file")
        return content
    try:
        read_crl(octets, trust.sti_pa, now, signers=trust.signers)
        content.fields["verdict"] = "good: signed for the STI-PA, and current"
    except StirError as error:
        content.fields["verdict"] = f"not used: {error.token}"
        content.add(Finding.of(error))
    return content
