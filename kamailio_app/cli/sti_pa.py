"""`shakenctl sti-pa`: the account at the STI-PA tried, SPC tokens asked for, its list of STI-CAs and its CRL put into files."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.output import FINE, NO, emit, failures, json_option, settings_option
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import FAILURES, StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import keys
from kamailio_app.lifecycle.secret import secret
from kamailio_app.lifecycle.sti_pa import IssuedToken, sti_pa_of
from kamailio_app.lifecycle.sti_pa_files import KeptCrl, KeptList, keep_crl, keep_list, keep_token
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.settings import Settings

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FINGERPRINT: Final = re.compile(r"SHA256 [0-9A-F]{2}(?::[0-9A-F]{2}){31}", re.ASCII)
_WIDTH: Final = 12
_NOTHING_REPLACED: Final = "takes the place of a former one, of nothing else."


@click.group()
def command() -> None:
    """The STI-PA: try the account, get SPC tokens, the list of STI-CAs and the CRL.

    Needs [sti_pa] and [trust] sti_pa_ca_file in the settings, for tokens also [provider] spc. The password stands alone in the
    file that sti_pa_password_file names, or in the environment variable STIRSHAKEN_STI_PA_PASSWORD; it is never an option.

    \b
    From the account to a certificate:
      shakenctl sti-pa login
      shakenctl acme register
      shakenctl acme order
    `acme order` asks for its SPC token by itself; `sti-pa token` is for those who take it elsewhere.
    """


@command.command()
@settings_option
@json_option
def login(settings: Path, as_json: bool) -> None:
    """Try the account: log in, and say what the STI-PA answers.

    Exit status 1 if it refuses; 3 if it cannot be asked.

    \b
    Example:
      shakenctl sti-pa login
    """
    with failures():
        known = settings_file.load(settings)
        rules = known.provider.sti_pa
        with sti_pa_of(known) as sti_pa:
            _progress(f"Logging in at {rules.url} as {rules.user}")
            try:
                answer = sti_pa.login()
            except StirError as error:
                if error.token != "sti_pa_refused":
                    raise
                refused: StirError | None = error
            else:
                refused = None
    words = (answer.message or answer.status or "no words") if refused is None else refused.detail
    data = {"url": rules.url, "user": rules.user, "accepted": refused is None, "answer": words, "next": _after_login(known)}
    emit(data, as_json, lambda: _login_as_text(data, refused))
    sys.exit(FINE if refused is None else NO)


@command.command()
@click.option("--out", required=True, type=_FILE, help=f"File for the token, with mode 600; it {_NOTHING_REPLACED}")
@click.option(
    "--key",
    "key_file",
    type=_FILE,
    help="The ACME account's private key, whose fingerprint the token is to have. Default: acme_account_key_file.",
)
@click.option("--passphrase-file", type=_FILE, help="File whose first line is that key's passphrase.")
@click.option(
    "--fingerprint",
    metavar="TEXT",
    callback=lambda _context, _option, value: _checked(value),
    help='The fingerprint itself, "SHA256 AA:BB:...", where the key is on another host: `shakenctl key fingerprint` says it.',
)
@click.option("--spc", metavar="CODE", help="Service provider code. Default: spc of the settings.")
@click.option("--ca", is_flag=True, help="For the certificate of a CA of your own, that issues to delegates (RFC 9060).")
@settings_option
@json_option
def token(
    *,
    out: Path,
    key_file: Path | None,
    passphrase_file: Path | None,
    fingerprint: str | None,
    spc: str | None,
    ca: bool,
    settings: Path,
    as_json: bool,
) -> None:
    """Get an SPC token, checked as the STI-CA will.

    With it an ACME account may order a certificate. The token is a credential: it is written to the file and shown nowhere. It
    lives shortly, so get it right before the order; `shakenctl acme order` does so by itself.

    \b
    Examples:
      shakenctl sti-pa token --out spc.token
      shakenctl sti-pa token --out spc.token --key acme-account.key
    """
    if fingerprint and key_file:
        raise click.UsageError("--key and --fingerprint exclude each other")
    with failures():
        known = settings_file.load(settings)
        code = spc or known.provider.spc
        mark = fingerprint or _fingerprint(known, key_file, passphrase_file)
        with sti_pa_of(known) as sti_pa:
            _progress(f"Asking {known.provider.sti_pa.url} for a token for SPC {code}")
            issued = keep_token(sti_pa, out, code, TNAuthList(spcs=(code,)), mark, ca=ca, now=time.time())
    emit(_token_as_data(issued, out), as_json, lambda: _token_as_text(issued, out))


@command.command("ca-list")
@click.option("--out", required=True, type=_FILE, help=f"File for the list; it {_NOTHING_REPLACED}")
@settings_option
@json_option
def ca_list(out: Path, settings: Path, as_json: bool) -> None:
    """Get the list of trusted STI-CAs, checked as verification does.

    What is checked: signature, signer, expiry, and that it is not older than the one in the file. What is
    refused changes nothing. Servers fetch it themselves if [trust] trust_list_url is set; the file is for [trust]
    trust_list_file, on hosts that may not.

    \b
    Example:
      shakenctl sti-pa ca-list --out /etc/kamailio/sti-ca-list
    """
    with failures():
        known = settings_file.load(settings)
        with sti_pa_of(known, anonymous=True) as sti_pa:
            _progress(f"Asking {known.provider.sti_pa.url} for its list of STI-CAs")
            kept = keep_list(sti_pa, out, time.time())
            names = _names(kept)
    emit(_list_as_data(kept, names, out), as_json, lambda: _list_as_text(kept, names, out))


@command.command()
@click.option("--out", required=True, type=_FILE, help=f"File for the CRL; it {_NOTHING_REPLACED}")
@settings_option
@json_option
def crl(out: Path, settings: Path, as_json: bool) -> None:
    """Get the CRL, checked as verification does.

    What is checked: signature, signer, its time, and that it is not older than the one in the file. What is
    refused changes nothing. Servers fetch it themselves if [trust] crl_url is set; the file is for [trust] crl_file, on hosts
    that may not.

    \b
    Example:
      shakenctl sti-pa crl --out /etc/kamailio/sti-pa.crl
    """
    with failures():
        known = settings_file.load(settings)
        with sti_pa_of(known, anonymous=True) as sti_pa:
            _progress(f"Asking {known.provider.sti_pa.url} for its CRL")
            kept = keep_crl(sti_pa, out, time.time())
    emit(_crl_as_data(kept, out), as_json, lambda: _crl_as_text(kept, out))


def _checked(fingerprint: str | None) -> str | None:
    """RFC 9448 5.4."""
    if fingerprint is None or _FINGERPRINT.fullmatch(fingerprint):
        return fingerprint
    raise click.BadParameter("SHA256, a space, and 32 octets as pairs of hexadecimal capitals with colons between")


def _after_login(known: Settings) -> str:
    """A token is for a key, and there may be none yet."""
    if not known.provider.sti_ca.directory:
        return "shakenctl acme request, if your STI-CA has no ACME; else set acme_directory"
    if not known.provider.sti_ca.account_key_file.exists():
        return "shakenctl acme register"
    return "shakenctl acme order, which gets an SPC token by itself"


def _fingerprint(known: Settings, key_file: Path | None, passphrase_file: Path | None) -> str:
    """Of the ACME account's key, in the form that the settings name. Errors: those of `read_key`, `secret_*`."""
    path = key_file or known.provider.sti_ca.account_key_file
    passphrase = secret(passphrase_file, "", "the key's passphrase").encode() if passphrase_file else None
    if key_file is None and not path.exists():
        others = "Another key: --key FILE; one that is on another host, or an STI-CA without ACME: --fingerprint TEXT."
        raise failure("account_key_missing", str(path), f"{FAILURES['account_key_missing'].advice} {others}")
    return keys.fingerprint(keys.read_key(path, passphrase).public_key(), known.provider.sti_pa.fingerprint)


def _names(kept: KeptList) -> list[str]:
    return sorted(one_line(each.subject.rfc4514_string(), 256) for each in kept.value.anchors().certificates)


# --- As data --------------------------------------------------------------------------------------------------------


def _token_as_data(issued: IssuedToken, out: Path) -> dict[str, Any]:
    token, crl = issued.token, issued.crl
    return {
        "file": str(out),
        "spc": list(token.authority.spcs),
        "tkvalue": token.tkvalue,
        "ca": token.ca,
        "fingerprint": token.fingerprint,
        "expires": _moment(token.expires),
        "jti": one_line(token.jti),
        "x5u": token.x5u,
        "signer": token.issuer,
        "crl": {"url": crl.url, "issuer": crl.issuer} if crl else None,
    }


def _list_as_data(kept: KeptList, names: list[str], out: Path) -> dict[str, Any]:
    value = kept.value
    return {
        "file": str(out),
        "changed": kept.changed,
        "version": value.version,
        "sequence": value.sequence,
        "expires": _moment(value.expires),
        "signer": value.issuer,
        "cas": names,
        "skipped": value.skipped,
    }


def _crl_as_data(kept: KeptCrl, out: Path) -> dict[str, Any]:
    value = kept.value
    return {
        "file": str(out),
        "changed": kept.changed,
        "number": value.number,
        "this_update": _moment(value.this_update),
        "next_update": _moment(value.next_update),
        "issuer": value.issuer,
        "revoked": len(value.revoked),
    }


# --- As text --------------------------------------------------------------------------------------------------------


def _login_as_text(data: dict[str, Any], refused: StirError | None) -> Iterator[str]:
    yield f"{data['url']} {'accepts' if refused is None else 'refuses'} {data['user']}: {data['answer']}"
    yield refused.advice if refused else f"Next: {data['next']}"


def _token_as_text(issued: IssuedToken, out: Path) -> Iterator[str]:
    data = _token_as_data(issued, out)
    minutes = (issued.token.expires - time.time()) / 60
    yield _line("token in", data["file"])
    yield _line("SPC", f"{', '.join(data['spc'])}{', for a CA' if issued.token.ca else ''}")
    yield _line("fingerprint", data["fingerprint"])
    yield _line("expires", f"{data['expires']}, in {minutes:.0f} minutes")
    yield _line("signer", data["signer"])
    if issued.crl:
        yield _line("CRL", f"{issued.crl.url}{' of ' if issued.crl.issuer else ''}{issued.crl.issuer}")
    yield f"Next, before it expires: shakenctl acme order --token-file {out}"


def _list_as_text(kept: KeptList, names: list[str], out: Path) -> Iterator[str]:
    value = kept.value
    yield _line("list in", f"{out}{'' if kept.changed else ', which had it already'}")
    yield _line("sequence", value.sequence)
    yield _line("expires", _moment(value.expires))
    yield _line("signer", value.issuer)
    yield _line("STI-CAs", len(names))
    yield from (f"  {name}" for name in names)
    if value.skipped:
        yield f"! {value.skipped} members of the list are no certificates of CAs"


def _crl_as_text(kept: KeptCrl, out: Path) -> Iterator[str]:
    value = kept.value
    yield _line("CRL in", f"{out}{'' if kept.changed else ', which had it already'}")
    yield _line("number", value.number)
    yield _line("this update", _moment(value.this_update))
    yield _line("next update", _moment(value.next_update))
    yield _line("issuer", value.issuer)
    yield _line("revoked", len(value.revoked))


def _line(name: str, value: object) -> str:
    return f"{name.ljust(_WIDTH)} {value}"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%FT%TZ}" if 0 < seconds < 1 << 34 else "-"


def _progress(text: str) -> None:
    """For who waits at a terminal: an answer may take a minute."""
    if sys.stderr.isatty():
        click.echo(f"{text} ...", err=True)
