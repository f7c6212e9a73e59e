"""What the STI-PA gives, as files: the list of STI-CAs, the CRL, an SPC token; verified first, and then put in the place of a
former one of its kind, never of anything else (ATIS-1000084, RFC 5280 6.3, RFC 9448 6).

The servers fetch list and CRL themselves; files are for hosts that cannot, by [trust] trust_list_file and crl_file.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from kamailio_app.credentials import trust_list
from kamailio_app.credentials.certificate import MALFORMED
from kamailio_app.credentials.crl import Revocations, read_crl
from kamailio_app.credentials.jws import JwsRefused, json_object, read_jws
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.credentials.trust_list import TrustList, read_trust_list
from kamailio_app.errors import StirError, TrustRefused, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.files import PRIVATE, PUBLIC
from kamailio_app.lifecycle.spc_token import look_at_spc_token
from kamailio_app.lifecycle.sti_pa import IssuedToken, StiPa

_MAX_FILE: Final = 64 << 20
_PEM: Final = b"-----BEGIN X509 CRL-----"
_CLOCK: Final = "Compare the clock with `chronyc tracking`; if it is right, show the STI-PA this line."
_ADVICE: Final = {
    "_untrusted": "Compare `sti_pa_ca_file` with the STI-PA's root: staging and production have different ones.",
    "_malformed": "Is `sti_pa_url` its API's host? If so, show the STI-PA this line.",
    "_expired": _CLOCK,
    "_stale": _CLOCK,
    "_rollback": "Another STI-PA than before? Then move the file away, and run the command again.",
}
_ROLLBACKS: Final = ("trust_list_rollback", "crl_rollback")


class KeptList(NamedTuple):
    """The list that is in the file now; `changed`: it was not before."""

    value: TrustList
    changed: bool


class KeptCrl(NamedTuple):
    """The CRL that is in the file now; `changed`: it was not before."""

    value: Revocations
    changed: bool


def keep_list(sti_pa: StiPa, path: Path, now: float) -> KeptList:
    """Errors: those of `StiPa`, `trust_list_*`, `sti_pa_file_foreign`, `file_unreadable`, `file_unwritable`."""
    held = _held(path)
    former = _former_list(path, held)
    text = sti_pa.ca_list()
    with _against(path):
        value = _read_list(sti_pa, text, now, former)
    return KeptList(value, _replace(path, held, text.encode(), PUBLIC))


def keep_crl(sti_pa: StiPa, path: Path, now: float) -> KeptCrl:
    """Errors: those of `StiPa`, `crl_*`, `trust_list_*`, `sti_pa_file_foreign`, `file_unreadable`, `file_unwritable`."""
    held = _held(path)
    former = _former_crl(path, held)
    octets = sti_pa.crl()
    with _against(path):
        value = _read_crl(sti_pa, octets, now, former)
    return KeptCrl(value, _replace(path, held, octets, PUBLIC))


def keep_token(
    sti_pa: StiPa, path: Path, spc: str, authority: TNAuthList, fingerprint: str, *, ca: bool, now: float
) -> IssuedToken:
    """In a file for its owner's eyes only. Errors: those of `StiPa.token`, `sti_pa_file_foreign`, `file_unreadable`,
    `file_unwritable`.
    """
    held = _held(path)
    if held is not None:
        try:
            look_at_spc_token(held.decode("utf-8", "replace"))
        except StirError as error:
            raise failure("sti_pa_file_foreign", f"{path} holds no SPC token") from error
    issued = sti_pa.token(spc, authority, fingerprint, ca=ca, now=now)
    _replace(path, held, f"{issued.token.text}\n".encode(), PRIVATE)
    return issued


# --- Verification ---------------------------------------------------------------------------------------------------


def _read_list(sti_pa: StiPa, text: str, now: float, former: TrustList | None) -> TrustList:
    url = trust_list.signer_url(text)
    return read_trust_list(text, sti_pa.certificate(url) if url else b"", sti_pa.anchors, now, former=former)


def _read_crl(sti_pa: StiPa, octets: bytes, now: float, former: Revocations | None) -> Revocations:
    try:
        return read_crl(octets, sti_pa.anchors, now, former=former)
    except TrustRefused as error:
        if error.token != "crl_untrusted":
            raise
    # As the servers do: who signed the list of STI-CAs may sign the CRL
    signers = _read_list(sti_pa, sti_pa.ca_list(), now, None).signers()
    return read_crl(octets, sti_pa.anchors, now, former=former, signers=signers)


@contextmanager
def _against(path: Path) -> Iterator[None]:
    """It is about this file, not about what a server has in use."""
    try:
        yield
    except TrustRefused as error:
        held = f", which is in {path}" if error.token in _ROLLBACKS else ""
        advice = next((words for end, words in _ADVICE.items() if error.token.endswith(end)), "Show the STI-PA this line.")
        stays = f"{path} stays as it is." if path.exists() else f"{path} was not written."
        raise failure(error.token, f"{error.detail}{held}", f"{advice} {stays}") from error


# --- Files ----------------------------------------------------------------------------------------------------------


def _held(path: Path) -> bytes | None:
    """What the file holds; None if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failure("file_unreadable", f"{path}: {error.strerror}") from error


def _former_list(path: Path, held: bytes | None) -> TrustList | None:
    """As far as a rollback is seen by it. Not verified: it was before it was put there, and its signer may be gone."""
    if held is None:
        return None
    try:
        payload = json_object(read_jws(held.decode("utf-8", "replace"), trust_list.ANSWERS).payload)
    except JwsRefused as error:
        raise failure("sti_pa_file_foreign", f"{path} holds no list of STI-CAs") from error
    sequence = payload.get("sequence")
    if isinstance(sequence, bool) or not isinstance(sequence, int | float):
        raise failure("sti_pa_file_foreign", f"{path} holds no list of STI-CAs")
    return TrustList("", int(sequence), 0, "", "")


def _former_crl(path: Path, held: bytes | None) -> Revocations | None:
    """As `_former_list`."""
    if held is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            crl = x509.load_pem_x509_crl(held) if _PEM in held else x509.load_der_x509_crl(held)
            numbers = [
                extension.value.crl_number for extension in crl.extensions if isinstance(extension.value, x509.CRLNumber)
            ]
            issuer = one_line(crl.issuer.rfc4514_string())
    except MALFORMED as error:
        raise failure("sti_pa_file_foreign", f"{path} holds no CRL") from error
    return Revocations(frozenset(), int(crl.last_update_utc.timestamp()), 0, max(numbers, default=0), issuer)


def _replace(path: Path, held: bytes | None, octets: bytes, mode: int) -> bool:
    """Write beside and rename, so that no reader sees half of it. True if the file changes. Errors: `file_unwritable`."""
    if octets == held:
        return False
    beside = ""
    try:
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
        Path(beside).replace(path)
    except OSError as error:
        if beside:
            with suppress(OSError):
                Path(beside).unlink()
        raise failure("file_unwritable", f"{path}: {error.strerror}") from error
    return True
