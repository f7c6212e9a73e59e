"""What comes after a certificate request where there is no ACME: one list of steps, for all commands that make requests."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from kamailio_app.grammar import one_line

_WHOSE: Final = (
    "the fingerprint is that of this request's key. An STI-CA at which a key of yours is registered wants",
    "that one's, and other STI-CAs theirs: your STI-CA says which. Another: --key FILE or --fingerprint TEXT",
)


class Requested(NamedTuple):
    """A request that was made. `pair` is its NAME, empty for a key elsewhere; `fingerprint`: its key's; `delegate`: it asks for
    numbers, and no SPC token goes with it (RFC 9060).
    """

    pair: str
    key_file: Path
    request_file: Path
    fingerprint: str
    delegate: bool = False


def steps(made: Requested) -> Iterator[str]:
    """From the request to signed calls, numbered."""
    key, request, chain = (_quoted(each) for each in (made.key_file, made.request_file, made.key_file.with_suffix(".pem")))
    number = 1
    yield "Next:"
    if made.delegate:
        yield f"  {number}  give {request}, and never the key, to who has the numbers: his CA certifies delegates (RFC 9060)"
    else:
        yield f'  {number}  shakenctl sti-pa token --out spc.token --fingerprint "{made.fingerprint}"'
        yield "       an SPC token, which the STI-CA asks for:"
        yield from (f"       {line}" for line in _WHOSE)
        number += 1
        yield f"  {number}  give {request} and the token, and never the key, to your STI-CA"
    number += 1
    if not made.pair and made.delegate:
        yield f"       and put the chain that comes back, its own certificate first, into {chain}"
        yield f"  {number}  shakenctl inspect {key} {chain}"
        yield "       whether they belong together, and what is wrong with them"
        yield f"  {number + 1}  put the chain where public_cert_url says, then key and chain into certificate_dir, and reload"
        return
    yield "       and put the chain that comes back, its own certificate first, into chain.pem"
    name = made.pair or one_line(made.key_file.stem)
    yield f"  {number}  shakenctl acme install {shlex.quote(name)} chain.pem{'' if made.pair else f' --key {key}'}"
    yield "       whether it fits, and what is wrong with it"
    yield f"  {number + 1}  shakenctl publish advance"
    yield "       publishes it, and signs with it when strangers can fetch it"


def _quoted(path: Path) -> str:
    return one_line(shlex.quote(str(path)))
