"""Certificates that come by hand, from an STI-CA without ACME: a request to send, and the chain that comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.issued import check_issued, looked_at
from kamailio_app.lifecycle.keys import read_key, write_key
from kamailio_app.lifecycle.pairs import Pending
from kamailio_app.lifecycle.request import (
    CrlPoint,
    Request,
    certificate_request,
    read_request,
    request_pem,
    requested_authority,
)
from kamailio_app.runtime.provider import ProviderRules

Make = Callable[[EllipticCurvePrivateKey], Request]

_MAX_FILE: Final = 1 << 16


def request(provider: ProviderRules, name: str, now: float, crl: CrlPoint | None = None) -> Pending:
    """A pair with a key and a request for the provider's code.

    Errors: `option_invalid` without spc, those of `begin` and `certificate_request`.
    """
    if not provider.spc:
        raise failure("option_invalid", "[provider] spc is empty")
    make = partial(
        certificate_request,
        organization=provider.name,
        country=provider.country,
        authority=TNAuthList((provider.spc,)),
        crl=crl,
    )
    return begin(provider.state_dir, name, make, provider.spc, now)[0]


def begin(state_dir: Path, name: str, make: Make, spc: str, now: float) -> tuple[Pending, Request]:
    """A pair with a key and the request that is made of it, for this code or, empty, for none. The timer leaves it alone.

    Errors: `file_exists` if there is a request or a certificate, those of `pairs.begin` and `make`.
    """
    pair = pairs.place(state_dir, name)
    if pair.state != "requested" or pair.request_file.exists():
        raise failure("file_exists", pair.chain_file.name if pair.state != "requested" else pair.request_file.name)
    # Before there is a key, or the timer could order for it
    record = pairs.recall(state_dir, name)
    pairs.remember(state_dir, name, replace(record, by_hand=True, spc=spc, asked=int(now)))
    pair = pairs.begin(state_dir, name)
    made = make(read_key(pair.key_file))
    pairs.keep_request(pair, request_pem(made))
    return pair, made


def install(
    provider: ProviderRules,
    name: str,
    chain_file: Path,
    key: EllipticCurvePrivateKey | None = None,
    *,
    anchors: TrustAnchors,
    now: float,
) -> tuple[Pending, tuple[str, ...]]:
    """Put a chain beside its key, and say what is remarkable about it. `key`: one that is not among the pairs yet.

    Nothing is written but what fits. Errors: `pair_unknown`, `key_exists` if the pair has another key, `file_exists`,
    `file_unreadable`, `issued_mismatch`, `issued_unfit`.
    """
    try:
        with chain_file.open("rb") as file:
            chain = file.read(_MAX_FILE)
    except OSError as error:
        raise failure("file_unreadable", f"{chain_file}: {error.strerror}") from error
    ours = key
    try:
        pair = pairs.find(provider.state_dir, name)
    except StirError:
        if ours is None:
            raise
    else:
        if pair.state != "requested":
            raise failure("file_exists", pair.chain_file.name)
        held = read_key(pair.key_file)
        if ours is not None and held.public_key() != ours.public_key():
            raise failure("key_exists", pair.key_file.name)
        ours = held
    try:
        checked = check_issued(chain, ours.public_key(), _authority(provider, name), anchors, now)
    except StirError as error:
        raise looked_at(error, chain_file) from error
    _add(provider.state_dir, name, ours)
    return pairs.keep_chain(provider.state_dir, name, checked.chain_pem), checked.findings


def _authority(provider: ProviderRules, name: str) -> TNAuthList | None:
    """What was asked for: by the pair's own request, else the provider's code; None if neither is known."""
    try:
        return requested_authority(read_request(pairs.find(provider.state_dir, name).request_file.read_bytes()))
    except (OSError, StirError):
        return TNAuthList((provider.spc,)) if provider.spc else None


def _add(state_dir: Path, name: str, key: EllipticCurvePrivateKey) -> None:
    pair = pairs.place(state_dir, name)
    if not pair.key_file.exists():
        write_key(pair.key_file, key)
