"""`shakenctl key`: private keys: make one, and say its fingerprint as an SPC token has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import click

from kamailio_app.cli.known import settings_if_any
from kamailio_app.cli.output import Command, emit, failures, json_option, settings_option
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.keys import fingerprint, new_key, read_key, write_key
from kamailio_app.lifecycle.secret import secret

_FORMS: Final[tuple[Literal["jwk", "spki"], ...]] = ("jwk", "spki")
_PASSPHRASE: Final = "STIRSHAKEN_KEY_PASSPHRASE"


def passphrase_option(help_: str) -> Callable[[Command], Command]:
    """`--passphrase-file FILE`, as parameter `passphrase_file`."""
    return click.option("--passphrase-file", type=click.Path(path_type=Path), metavar="FILE", help=help_)


def passphrase(file: Path | None) -> bytes | None:
    """The file's first line; None without a file. Errors: `secret_missing`, `secret_permissions`."""
    return None if file is None else secret(file, _PASSPHRASE, "passphrase").encode()


@click.group()
def command() -> None:
    """Private keys on P-256: make one, say its fingerprint.

    Start here: `shakenctl key new sp1234.key`.
    """


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option("Encrypt the key with the first line of FILE. Servers read keys without a passphrase alone.")
@json_option
def new(*, file: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a private key that its owner alone can read.

    FILE is where it is put, as PKCS#8 in PEM; what is there already is never written over. The server looks for NAME.key in
    certificate_dir, beside its certificate NAME.pem.

    \b
    Example, and what follows:
      shakenctl key new sp1234.key
      shakenctl csr new --key sp1234.key
    """
    with failures():
        words = passphrase(passphrase_file)
        key = new_key()
        write_key(file, key, words)
    marks = {form: fingerprint(key.public_key(), form) for form in _FORMS}
    data = {"file": str(file), "curve": "P-256", "encrypted": words is not None, "fingerprints": marks}
    emit(data, as_json, lambda: _told(data))


@command.command("fingerprint")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--form",
    type=click.Choice(_FORMS),
    help="jwk: the JWK thumbprint (RFC 9448); spki: of the DER. Default: spc_token_fingerprint of the settings.",
)
@passphrase_option("The first line of FILE decrypts the key.")
@settings_option
@json_option
def fingerprint_(
    *, file: Path, form: Literal["jwk", "spki"] | None, passphrase_file: Path | None, settings: Path, as_json: bool
) -> None:
    """Say a key's fingerprint for an SPC token.

    FILE is the private key of the ACME account: an SPC token is bound to it, and its request has this fingerprint. Which form,
    your STI-CA knows.

    \b
    Example:
      shakenctl key fingerprint acme-account.key --form jwk
    """
    with failures():
        if form is None:
            known = settings_if_any(settings)
            form = known.provider.sti_pa.fingerprint if known is not None else "jwk"
        said = fingerprint(read_key(file, passphrase(passphrase_file)).public_key(), form)
    emit({"file": str(file), "form": form, "fingerprint": said}, as_json, lambda: [said])


def _told(data: dict[str, Any]) -> list[str]:
    file = one_line(data["file"])
    return [
        f"{file}: a new private key on P-256{', encrypted' if data['encrypted'] else ''}",
        *(f"{form:4}  {mark}" for form, mark in data["fingerprints"].items()),
        f"Keep it from others, and a copy in a safe place. Next: shakenctl csr new --key {file}",
    ]
