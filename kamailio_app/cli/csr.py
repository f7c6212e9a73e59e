"""`shakenctl csr`: certificate requests of keys of one's own, and for delegates."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from kamailio_app.cli.key import passphrase, passphrase_option
from kamailio_app.cli.known import settings_if_any
from kamailio_app.cli.manual import Requested, steps
from kamailio_app.cli.output import emit, failures, json_option, settings_option
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import by_hand, pairs
from kamailio_app.lifecycle.by_hand import Make
from kamailio_app.lifecycle.files import write_new
from kamailio_app.lifecycle.inspection_content import authority_in_words
from kamailio_app.lifecycle.keys import fingerprint, new_key, read_key
from kamailio_app.lifecycle.request import CrlPoint, Request, certificate_request, request_pem, subject_in_words
from kamailio_app.runtime.settings import Settings

_RANGE: Final = re.compile(r"([0-9]{1,15})\+([0-9]{1,15})", re.ASCII)


class _Made(NamedTuple):
    """`pair` is empty where the key is somewhere of its owner's choice."""

    pair: str
    key_file: Path
    file: Path
    request: Request


class _Range(click.ParamType[TelephoneNumberRange]):
    """START+COUNT."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> TelephoneNumberRange:
        match = _RANGE.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not like 12155550000+100", param, ctx)
        return TelephoneNumberRange(match[1], int(match[2]))


@click.group()
def command() -> None:
    """Certificate requests of keys of your own, and for delegates.

    Without ACME, `shakenctl acme request` makes key and request; with ACME, `shakenctl acme order` does all of it.
    """


@command.command()
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A private key. Without it: a delegate's new pair.",
)
@click.option("--name", metavar="NAME", help="Of a delegate's new pair, without --key.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="With --key: where. Without it: beside the key.")
@click.option("--spc", "spcs", multiple=True, metavar="CODE", help="Service provider code. Without it: spc in the settings.")
@click.option("--tn", "numbers", multiple=True, metavar="NUMBER", help="For a delegate: a telephone number, digits alone.")
@click.option(
    "--range",
    "ranges",
    multiple=True,
    type=_Range(),
    metavar="START+COUNT",
    help="For a delegate: numbers, like 12155550000+100.",
)
@click.option("--organization", metavar="NAME", help="Legal name. Without it: provider_name in the settings.")
@click.option("--country", metavar="XX", help="Two letters. Without it: country in the settings.")
@click.option("--common-name", default="", metavar="NAME", help="Without it: SHAKEN and the code; a delegate's is its name.")
@click.option("--serial-number", default="", metavar="TEXT", help="The subject's serialNumber, if your STI-CA asks for one.")
@click.option("--crl-url", metavar="URL", help="Where the STI-PA's CRL is; it comes with the SPC token.")
@click.option(
    "--crl-issuer", default="", metavar="NAME", help='Who signs it, like "L=Bridgewater, ST=NJ, CN=STI-PA CRL, C=US, O=STI-PA".'
)
@passphrase_option("The first line of FILE decrypts the key.")
@settings_option
@json_option
def new(
    *,
    key_file: Path | None,
    name: str | None,
    out: Path | None,
    spcs: tuple[str, ...],
    numbers: tuple[str, ...],
    ranges: tuple[TelephoneNumberRange, ...],
    organization: str | None,
    country: str | None,
    common_name: str,
    serial_number: str,
    crl_url: str | None,
    crl_issuer: str,
    passphrase_file: Path | None,
    settings: Path,
    as_json: bool,
) -> None:
    """Make a certificate request of a key of yours; or a delegate's key and request.

    For a new key and your own code it is `shakenctl acme request`, and with ACME `shakenctl acme order`. This is for a key
    that is somewhere of your choice (--key), and for delegates, who ask for numbers: without --key, key and request are then
    a new pair in provider_state_dir, where `shakenctl publish` finds it. The request is PKCS#10 and asks for the TNAuthList
    that a SHAKEN certificate has. --spc, --tn and --range may be given several times.

    \b
    Examples:
      shakenctl csr new --key sp1234.key --spc 1234 --organization "Example Telephone Company" --country US
      shakenctl csr new --name delegate --range 12155550000+100
    """
    if crl_issuer and not crl_url:
        raise click.UsageError("--crl-issuer goes with --crl-url.")
    if key_file is None and (out or passphrase_file):
        raise click.UsageError("--out and --passphrase-file go with --key.")
    if key_file is not None and name:
        raise click.UsageError("--name is for a new pair, without --key.")
    if key_file is None and not (numbers or ranges):
        raise click.UsageError("Name a --key of yours. For a new key and your own code: `shakenctl acme request`.")
    if key_file is None and not name:
        raise click.UsageError("A delegate's new pair has a --name.")
    with failures():
        known = settings_if_any(settings)
        if known is not None and known.provider.spc and not (spcs or numbers or ranges):
            spcs = (known.provider.spc,)
        make = partial(
            certificate_request,
            organization=_either(organization, known.provider.name if known else ""),
            country=_either(country, known.provider.country if known else ""),
            authority=TNAuthList(spcs, ranges, numbers),
            common_name=common_name,
            serial_number=serial_number,
            crl=CrlPoint(crl_url, crl_issuer) if crl_url else None,
        )
        if key_file is not None:
            made = _Made(
                "", key_file, out or key_file.with_suffix(".csr"), make(read_key(key_file, passphrase(passphrase_file)))
            )
            write_new(made.file, request_pem(made.request))
        else:
            made = _new_pair(known, str(name), spcs, make)
        form = known.provider.sti_pa.fingerprint if known is not None else "jwk"
        mark = fingerprint(read_key(made.key_file, passphrase(passphrase_file)).public_key(), form)
    data = {
        "pair": made.pair or None,
        "file": str(made.file),
        "key": str(made.key_file),
        "fingerprint": mark,
        "subject": subject_in_words(made.request),
        "tnauthlist": authority_in_words(TNAuthList(spcs, ranges, numbers)),
        "crl": {"url": crl_url, "issuer": crl_issuer} if crl_url else None,
    }
    emit(data, as_json, lambda: _told(data, made))


def _either(given: str | None, known: str) -> str:
    return known if given is None else given


def _new_pair(known: Settings | None, name: str, spcs: Sequence[str], make: Make) -> _Made:
    """Errors: those of `by_hand.begin` and `make`."""
    if known is None:
        raise click.UsageError("Name the --key; or settings, whose provider_state_dir a new pair is put into.")
    make(new_key())  # what cannot be asked for leaves no pair behind
    state_dir = known.provider.state_dir
    with pairs.alone(state_dir):
        taken, now = {pair.name for pair in pairs.pending(state_dir)}, time.time()
        if name in taken:
            raise failure("key_exists", f"{name}.key in {state_dir}")
        pair, request = by_hand.begin(state_dir, name, make, spcs[0] if spcs else "", now)
    return _Made(pair.name, pair.key_file, pair.request_file, request)


def _told(data: dict[str, Any], made: _Made) -> Iterator[str]:
    delegate = not data["tnauthlist"][0].startswith("SPC ")
    yield f"{one_line(str(made.file))}: a request for {', '.join(data['tnauthlist'])}"
    yield f"subject  {one_line(data['subject'])}"
    yield from steps(Requested(made.pair, made.key_file, made.file, data["fingerprint"], delegate))
