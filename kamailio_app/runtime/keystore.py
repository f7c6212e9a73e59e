"""The keys that sign: pairs NAME.key and NAME.pem in one directory, checked before use (RFC 8224 6.1, AS-13).

A private key is never in a log line, an exception text or a repr. A pair that is refused leaves the one of the same name
that was in use in use. Which of them signs a call, and from when on, is `choice`'s business.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import check_validity, fitness
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.choice import sharing
from kamailio_app.sti_as import Signer

# Others: nothing. The group may read (Kamailio's own), not write.
FORBIDDEN_MODE: Final = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
_MAX_FILE: Final = 1 << 20
_UNTIMELY: Final = ("certificate_expired", "certificate_not_yet_valid")
# It stands in the x5u URL
_NAME: Final = re.compile(r"[A-Za-z0-9._\-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pair:
    """The texts of NAME.key and NAME.pem."""

    key: bytes = field(repr=False)
    chain: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """The pairs by name, ready for use and as texts; and what was refused: (name, error).

    Pairs whose time is over or still to come are among them, and those of several providers with one key: `choice` lets none of
    these sign, in every process alike, and can say why. `kept`: refused, and the former pair of that name stays in use.
    """

    signers: Mapping[str, Signer] = field(default_factory=dict)
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    refused: tuple[tuple[str, StirError], ...] = ()
    kept: frozenset[str] = frozenset()


NOTHING: Final = Loaded()


def load_signers(directory: Path, public_cert_url: str, now: float, in_use: Loaded = NOTHING) -> Loaded:
    """Read every pair. Refusals are in the result, also `key_shared`; a directory that is not there holds no pairs."""
    signers: dict[str, Signer] = {}
    pairs: dict[str, Pair] = {}
    refused: list[tuple[str, StirError]] = []
    kept: set[str] = set()
    if not public_cert_url:
        in_use = NOTHING  # nothing is to be signed: no pair is kept for want of a better one
    try:
        names = sorted({path.stem for path in directory.iterdir() if path.suffix in (".key", ".pem")})
    except FileNotFoundError:
        names = []
    except OSError as error:
        # Not to be read now says nothing about the pairs: all in use stay
        why = failure("pair_unreadable", str(error))
        return replace(in_use, refused=((directory.name, why),), kept=frozenset(in_use.signers))
    for name in names:
        former = (in_use.signers[name], in_use.pairs[name]) if name in in_use.signers else None
        entry, refusal = _entry(directory, name, public_cert_url, now, former)
        if refusal is not None:
            refused.append((name, refusal))
            if entry is former is not None:
                kept.add(name)
        if entry is not None:
            signers[name], pairs[name] = entry
    refused += [(name, failure("key_shared", detail)) for name, detail in sharing(signers).items()]
    return Loaded(signers, pairs, tuple(refused), frozenset(kept))


def _entry(
    directory: Path, name: str, public_cert_url: str, now: float, former: tuple[Signer, Pair] | None
) -> tuple[tuple[Signer, Pair] | None, StirError | None]:
    """What goes by that name from now on, and what was refused."""
    try:
        # NAME.pem alone may be anything, the trust anchors for example; a key is never alone
        if former is None and not _exists(directory / f"{name}.key"):
            return None, None
        pair = read_pair(directory, name)
        return (make_signer(name, pair, public_cert_url, now), pair), None
    except StirError as error:
        refusal = error
    if refusal.token not in _UNTIMELY:
        return former, refusal
    untimely = make_signer(name, pair, public_cert_url, None), pair
    if refusal.token == "certificate_expired":
        return former or untimely, refusal
    # It may wait for its time, but not in the place of one that signs
    if former is not None and former[0].not_before <= now < former[0].not_after:
        return former, refusal
    return untimely, None


def read_pair(directory: Path, name: str) -> Pair:
    """Read one pair. Errors: `pair_incomplete`, `pair_unreadable`, `key_permissions`."""
    return Pair(_read(directory / f"{name}.key", FORBIDDEN_MODE), _read(directory / f"{name}.pem"))


def make_signer(name: str, pair: Pair, public_cert_url: str, now: float | None) -> Signer:
    """Check a pair and make it ready for use. `now` is None for one that was looked at before.

    Errors: `key_malformed`, `key_curve_unsupported`, `key_mismatch`, `certificate_malformed`, `certificate_expired`,
    `certificate_not_yet_valid`, `certificate_unfit`, `public_cert_url_missing`.
    """
    if not public_cert_url:
        raise failure("public_cert_url_missing")
    if not _NAME.fullmatch(name):
        raise failure("certificate_unfit", "its name does not fit into a URL")
    key = private_key(f"{name}.key", pair.key)
    try:
        certificate = parse_chain(pair.chain)[0]
    except StirError as error:
        raise failure("certificate_malformed", error.detail) from error
    try:
        public_key, authority = fitness(certificate)
    except StirError as error:
        raise failure("certificate_unfit", str(error)) from error
    if public_key.public_numbers() != key.public_key().public_numbers():
        raise failure("key_mismatch", f"{name}.key and {name}.pem")
    if now is not None:
        try:
            check_validity(certificate, now)
        except StirError as error:
            raise failure(error.token.replace("credential", "certificate"), error.detail) from error
    return Signer(
        name=name,
        x5u=public_cert_url.replace("{name}", name),
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        spcs=authority.spcs,
        key=key,
        authority=authority,
    )


def private_key(file: str, octets: bytes, passphrase: bytes | None = None) -> EllipticCurvePrivateKey:
    """The key in the octets of a PEM file of that name. Errors: `key_malformed`, `key_curve_unsupported`."""
    try:
        key = load_pem_private_key(octets, passphrase)
    except TypeError as error:
        raise failure("key_malformed", f"{file} is {'encrypted' if passphrase is None else 'not encrypted'}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # The library's text could quote the file
        raise failure("key_malformed", file if passphrase is None else f"{file}, or not its passphrase") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise failure("key_curve_unsupported", file)
    return key


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise failure("pair_unreadable", f"{path.name}: {error.strerror}") from error


def _read(path: Path, forbidden: int = 0) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & forbidden:
                raise failure("key_permissions", f"{path.name} has mode {stat.S_IMODE(mode):o}")
            return file.read(_MAX_FILE)
    except FileNotFoundError as error:
        raise failure("pair_incomplete", f"{path.name} is missing") from error
    except OSError as error:
        raise failure("pair_unreadable", f"{path.name}: {error.strerror}") from error
