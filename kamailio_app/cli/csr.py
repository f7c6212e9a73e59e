"""`shakenctl csr`: certificate requests for those who order their certificates without ACME."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.key import passphrase, passphrase_option
from kamailio_app.cli.known import settings_if_any
from kamailio_app.cli.output import emit, failures, json_option, settings_option
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.files import write_new
from kamailio_app.lifecycle.inspection_content import authority_in_words
from kamailio_app.lifecycle.keys import fingerprint, read_key
from kamailio_app.lifecycle.request import CrlPoint, certificate_request, request_pem, subject_in_words

_RANGE: Final = re.compile(r"([0-9]{1,15})\+([0-9]{1,15})", re.ASCII)


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
    """Certificate requests, for STI-CAs without ACME.

    With ACME, `shakenctl acme order` makes them by itself.
    """


@command.command()
@click.option("--key", "key_file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The private key.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where it is written. Without it: beside the key, as NAME.csr.",
)
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
    key_file: Path,
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
    """Make the certificate request of a key.

    It is PKCS#10 and asks for the TNAuthList that a SHAKEN certificate has. Give it to your STI-CA with an SPC token, and paste
    the certificate that comes back into a file beside the key. --spc, --tn and --range may be given several times.

    \b
    Example: shakenctl csr new --key sp1234.key --spc 1234 --organization "Example Telephone Company" --country US
    """
    if crl_issuer and not crl_url:
        raise click.UsageError("--crl-issuer goes with --crl-url.")
    out = out or key_file.with_suffix(".csr")
    with failures():
        known = settings_if_any(settings)
        provider = known.provider if known is not None else None
        if provider is not None and provider.spc and not (spcs or numbers or ranges):
            spcs = (provider.spc,)
        key = read_key(key_file, passphrase(passphrase_file))
        request = certificate_request(
            key,
            organization=_either(organization, provider.name if provider else ""),
            country=_either(country, provider.country if provider else ""),
            authority=TNAuthList(spcs, ranges, numbers),
            common_name=common_name,
            serial_number=serial_number,
            crl=CrlPoint(crl_url, crl_issuer) if crl_url else None,
        )
        write_new(out, request_pem(request))
    data = {
        "file": str(out),
        "key": str(key_file),
        "subject": subject_in_words(request),
        "tnauthlist": authority_in_words(TNAuthList(spcs, ranges, numbers)),
        "crl": {"url": crl_url, "issuer": crl_issuer} if crl_url else None,
        "spki": fingerprint(key.public_key(), "spki"),
    }
    emit(data, as_json, lambda: _told(data, key_file))


def _either(given: str | None, known: str) -> str:
    return known if given is None else given


def _told(data: dict[str, Any], key_file: Path) -> Iterator[str]:
    file, key, chain = (one_line(str(each)) for each in (data["file"], key_file, key_file.with_suffix(".pem")))
    yield f"{file}: a request for {', '.join(data['tnauthlist'])}"
    yield f"subject  {one_line(data['subject'])}"
    yield "Next:"
    yield "  1  shakenctl sti-pa token --out spc.token"
    yield "       an SPC token, which the STI-CA asks for"
    yield f"  2  give {file} and the token to your STI-CA"
    yield f"       and paste the chain that it gives you, its own certificate first, into {chain}"
    yield f"  3  shakenctl inspect {key} {chain}"
    yield "       whether they belong together, and what is wrong with them"
    yield "  4  shakenctl publish"
    yield "       the chain to where public_cert_url says; then key and chain into certificate_dir, and reload"
    yield "Does your STI-CA speak ACME? Then `shakenctl acme order` does all of this."
