"""`shakenctl acme`: the account at the STI-CA, certificates ordered there, and those that come by hand."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.manual import Requested, steps
from kamailio_app.cli.output import FINE, NO, emit, failures, json_option, settings_option, table
from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import by_hand, keys, pairs, renewal
from kamailio_app.lifecycle.acme_client import ORDER_SECONDS, REASONS, Account, AcmeClient, Grant, TokenFor
from kamailio_app.lifecycle.pairs import Pending
from kamailio_app.lifecycle.request import CrlPoint
from kamailio_app.lifecycle.rotation import Rotation
from kamailio_app.lifecycle.secret import secret
from kamailio_app.lifecycle.server import Kamailio
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.choice import moment
from kamailio_app.runtime.settings import Settings

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_WIDTH: Final = 12
_REVOKED_BEFORE: Final = "alreadyRevoked"
_SUPERSEDED: Final = "superseded"
_NO_ACME: Final = (
    "Set it to what the STI-CA gave you. Has it no ACME? Then `shakenctl acme request`; `shakenctl publish status` shows pairs."
)
_HEAD: Final = ("NAME", "STATE", "BEGUN", "NOT AFTER", "NEXT TRY", "X5U OF THE STI-CA")


@click.group()
def command() -> None:
    """The STI-CA: an account there, and certificates, by ACME or by hand.

    Needs [provider] and [sti_ca] in the settings; for SPC tokens also [sti_pa] and [trust] sti_pa_ca_file. The MAC key of
    the external account binding stands alone in the file that eab_key_file names, or in the environment variable
    STIRSHAKEN_EAB_KEY; it is never an option.

    \b
    From the STI-CA's welcome letter to a certificate:
      shakenctl acme register
      shakenctl acme order
    Without ACME:
      shakenctl acme request
      shakenctl acme install sp1234-20261129 chain.pem
    """


@command.command()
@click.option(
    "--agree", is_flag=True, help="Agree to the STI-CA's terms of service: without it the command says where they are."
)
@settings_option
@json_option
def register(agree: bool, settings: Path, as_json: bool) -> None:
    """Open the account, or find the one that there is.

    Makes the account's key where there is none. May be run again at any time; after an interrupted rollover it finds out
    which key the STI-CA has.

    \b
    Example:
      shakenctl acme register --agree
    """
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir), _client(known) as client:
            account = client.account(agree=agree)
    data = _account_as_data(known, account)
    emit(data, as_json, lambda: _account_as_text(data, "Next: shakenctl acme order"))


@command.command()
@click.option(
    "--name", metavar="NAME", help="Name of the pair. Default: the one that waits, else a new one like sp1234-20261129."
)
@click.option("--another", is_flag=True, help="Order one more, though a certificate waits to be put in use.")
@click.option(
    "--token-file", type=_FILE, help="File with an SPC token, as `sti-pa token` writes it. Default: the STI-PA is asked."
)
@click.option("--crl-url", metavar="URL", help="With --token-file: where the STI-PA's CRL is; `sti-pa token` says it.")
@click.option("--crl-issuer", default="", metavar="NAME", help="With --token-file: who signs that CRL; `sti-pa token` says it.")
@click.option(
    "--wait", "seconds", type=click.FloatRange(1), default=ORDER_SECONDS, show_default=True, help="Seconds for the whole order."
)
@settings_option
@json_option
def order(
    *,
    name: str | None,
    another: bool,
    token_file: Path | None,
    crl_url: str | None,
    crl_issuer: str,
    seconds: float,
    settings: Path,
    as_json: bool,
) -> None:
    """Order a certificate, or go on with an order.

    Account, SPC token, challenge, request, chain: all of it, and all checked.

    The key is made first and never lost: an order that was interrupted goes on where it stopped when the command is run
    again. The chain is checked before it is kept: our key, our provider code, valid now, a path to a trusted root. Nothing
    is signed with it yet. While a certificate waits to be put in use, no other is ordered unless --another or --name says so.

    \b
    Examples:
      shakenctl acme order
      shakenctl acme order --name sp1234-december --wait 900
      shakenctl acme order --token-file spc.token
    """
    if (crl_url or crl_issuer) and not token_file:
        raise click.UsageError("--crl-url and --crl-issuer go with --token-file")
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir):
            name = name or _next_name(known, another)
            crl = CrlPoint(crl_url, crl_issuer) if crl_url else None
            token_for = _token_in(token_file, crl) if token_file else None
            obtained = renewal.order(known, name, token_for=token_for, seconds=seconds, say=_say)
            pair = pairs.find(known.provider.state_dir, name)
    data = _issued_as_data(pair, obtained.findings) | {"x5u": obtained.x5u or None}
    emit(data, as_json, lambda: _issued_as_text(data))


@command.command()
@settings_option
@json_option
def status(settings: Path, as_json: bool) -> None:
    """The account, and what became of orders.

    The account is shown as the STI-CA has it now. Orders nothing. NEXT TRY is when `renew` goes on with an order. A pair is
    superseded if a younger certificate came meanwhile: nobody will order for it, and `acme forget` takes it away. Exit status
    1 if the STI-CA has no valid account of ours, or a pair is in trouble.

    \b
    Example:
      shakenctl acme status --json
    """
    with failures():
        known = settings_file.load(settings)
        if not known.provider.sti_ca.directory:
            raise failure("option_invalid", "[sti_ca] acme_directory is empty", _NO_ACME)
        next_ = renewal.plan(known, time.time())
        rows = [_pair_as_data(known, pair, next_.name) for pair in pairs.pending(known.provider.state_dir)]
        account: dict[str, Any]
        try:
            with _client(known) as client:
                account = _account_as_data(known, client.account(create=False))
        except StirError as error:
            account = {"url": None, "status": None, "trouble": one_line(str(error)), "advice": error.advice}
    fine = account["status"] == "valid" and not any(row["trouble"] for row in rows if row["state"] != _SUPERSEDED)
    emit({"account": account, "pairs": rows, "fine": fine}, as_json, lambda: _status_as_text(account, rows))
    sys.exit(FINE if fine else NO)


@command.command()
@click.option("--yes", is_flag=True, help="Do not ask whether that is meant.")
@settings_option
@json_option
def rollover(yes: bool, settings: Path, as_json: bool) -> None:
    """Change the account's key.

    A new one is made, and the former is deleted when the STI-CA has taken the new one. Certificates and their keys stay as
    they are. SPC tokens that were issued for the former key are of no more use. If it is interrupted, `shakenctl acme
    register` finds out which key the STI-CA has.

    \b
    Example:
      shakenctl acme rollover --yes
    """
    if not yes:
        click.confirm("Change the key of the account at the STI-CA?", abort=True, err=True)
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir), _client(known) as client:
            data = _account_as_data(known, client.rollover())
    emit(data, as_json, lambda: _account_as_text(data, "The former key is deleted."))


@command.command()
@click.argument("name")
@click.option("--reason", type=click.Choice(list(REASONS)), default="unspecified", show_default=True, help="Why.")
@click.option("--yes", is_flag=True, help="Do not ask whether that is meant.")
@settings_option
@json_option
def revoke(*, name: str, reason: str, yes: bool, settings: Path, as_json: bool) -> None:
    """Have a certificate revoked, for ever.

    NAME is its pair's. Verifiers refuse calls that are signed with it as soon as it stands in the STI-PA's CRL. Switch to
    another pair first, if calls are signed with it: `shakenctl renew --now`.

    \b
    Example:
      shakenctl acme revoke sp1234-20261129 --reason key-compromise
    """
    if not yes:
        click.confirm(f"Revoke the certificate of {one_line(name)} for ever?", abort=True, err=True)
    with failures():
        known = settings_file.load(settings)
        certificate = renewal.certificate(known, name)
        state_dir = known.provider.state_dir
        with pairs.alone(state_dir), _client(known) as client:
            pairs.place(state_dir, name)  # what is revoked has to be remembered
            try:
                client.revoke(certificate, REASONS[reason])
            except StirError as error:
                if _REVOKED_BEFORE in error.detail:
                    pairs.mark_revoked(state_dir, name, certificate)
                raise
            pairs.mark_revoked(state_dir, name, certificate)
    data = {"name": name, "serial": f"{certificate.serial_number:x}", "reason": reason}
    emit(
        data,
        as_json,
        lambda: [
            f"{name}: revoked, serial number {data['serial']}. It is never published nor put in use again.",
            "Next: shakenctl renew --now, which gets another certificate and signs with it",
            "Then look for the serial number in the CRL: shakenctl sti-pa crl --out FILE && shakenctl inspect FILE",
        ],
    )


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask whether that is meant.")
@settings_option
@json_option
def forget(*, name: str, yes: bool, settings: Path, as_json: bool) -> None:
    """Take away a pair that will not be used: key, request and certificate.

    For pairs that were never installed: orders that failed, certificates that were superseded or revoked. What of it was
    published is withdrawn. One in certificate_dir goes with `shakenctl publish retire`. `shakenctl acme status` lists pairs.

    \b
    Example:
      shakenctl acme forget sp1234-20261129 --yes
    """
    if not yes:
        click.confirm(f"Delete {one_line(name)} and its private key?", abort=True, err=True)
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir):
            gone = Rotation(known, time.time(), Kamailio()).forget(name)
    data = {"name": name, "removed": [str(path) for path in gone]}
    emit(data, as_json, lambda: [f"{name} is gone:", *(f"  {one_line(path)}" for path in data["removed"])])


@command.command("request")
@click.argument("name", required=False)
@click.option("--crl-url", metavar="URL", help="Where the STI-PA's CRL is; it comes with the SPC token.")
@click.option(
    "--crl-issuer", default="", metavar="NAME", help='Who signs it, like "L=Bridgewater, ST=NJ, CN=STI-PA CRL, C=US, O=STI-PA".'
)
@settings_option
@json_option
def request_(*, name: str | None, crl_url: str | None, crl_issuer: str, settings: Path, as_json: bool) -> None:
    """Without ACME: make a key and a request.

    The pair waits in provider_state_dir/pairs until `acme install` brings its certificate; `renew` leaves it alone until
    then. NAME is by default like sp1234-20261129. What comes next is said, step by step. For a key that is elsewhere, and
    for delegates: `shakenctl csr new`.

    \b
    Example:
      shakenctl acme request
    """
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir):
            now = time.time()
            name = name or renewal.fresh_name(known, now)
            pair = by_hand.request(known.provider, name, now, CrlPoint(crl_url, crl_issuer) if crl_url else None)
            key = keys.read_key(pair.key_file)
    mark = keys.fingerprint(key.public_key(), known.provider.sti_pa.fingerprint)
    data = {"name": name, "key": str(pair.key_file), "request": str(pair.request_file), "fingerprint": mark}
    made = Requested(pair.name, pair.key_file, pair.request_file, mark)
    emit(data, as_json, lambda: [*(_line(*item) for item in data.items()), *steps(made)])


@command.command()
@click.argument("name")
@click.argument("chain_file", type=_FILE)
@click.option("--key", "key_file", type=_FILE, help="The private key, if it was made by `key new` and not by `acme request`.")
@click.option("--passphrase-file", type=_FILE, help="File whose first line is that key's passphrase.")
@settings_option
@json_option
def install(
    *, name: str, chain_file: Path, key_file: Path | None, passphrase_file: Path | None, settings: Path, as_json: bool
) -> None:
    """Without ACME: bring the certificate.

    CHAIN_FILE holds the chain in PEM, for the pair NAME. Checked before it is kept: that key, that provider code, valid
    now, a path to a trusted root. Nothing is signed with it yet.

    \b
    Examples:
      shakenctl acme install sp1234-20261129 chain.pem
      shakenctl acme install sp1234-2027 chain.pem --key sp1234.key
    """
    with failures():
        known = settings_file.load(settings)
        passphrase = secret(passphrase_file, "", "the key's passphrase").encode() if passphrase_file else None
        key = keys.read_key(key_file, passphrase) if key_file else None
        with pairs.alone(known.provider.state_dir):
            now = time.time()
            anchors = renewal.anchors(known, now)
            pair, findings = by_hand.install(known.provider, name, chain_file, key, anchors=anchors, now=now)
    data = _issued_as_data(pair, findings)
    emit(data, as_json, lambda: _issued_as_text(data))


# --- What is asked for ----------------------------------------------------------------------------------------------


def _client(known: Settings) -> AcmeClient:
    return AcmeClient(known.provider.sti_ca, known.provider, say=_say)


def _next_name(known: Settings, another: bool) -> str:
    """The pair whose order was begun, else a new one. Errors: `certificate_waits` if one is not in use yet."""
    now = time.time()
    next_ = renewal.plan(known, now)
    if next_.name in {pair.name for pair in pairs.pending(known.provider.state_dir)}:
        return next_.name
    waiting = renewal.current(known, now)
    if waiting is not None and waiting.state and not waiting.revoked and not another:
        words = "`shakenctl renew` publishes it and signs with it. One more is ordered with `--another`, or another `--name`."
        raise failure("certificate_waits", f"{waiting.name} is {waiting.state}, until {moment(waiting.not_after)}", words)
    return renewal.fresh_name(known, now)


def _token_in(path: Path, crl: CrlPoint | None) -> TokenFor:
    text = secret(path, "", "the SPC token")
    return lambda _fingerprint: Grant(text, crl)


def _say(words: str) -> None:
    """For who waits at a terminal."""
    if sys.stderr.isatty():
        click.echo(f"{one_line(words)} ...", err=True)


# --- As data --------------------------------------------------------------------------------------------------------


def _account_as_data(known: Settings, account: Account) -> dict[str, Any]:
    return {
        "directory": known.provider.sti_ca.directory,
        "url": account.url,
        "status": account.status,
        "created": account.created,
        "key": str(known.provider.sti_ca.account_key_file),
        "fingerprint": account.key_fingerprint,
    }


def _pair_as_data(known: Settings, pair: Pending, next_: str) -> dict[str, Any]:
    """`next_`: the pair that renew tries next."""
    record = pairs.recall(known.provider.state_dir, pair.name)
    ends: str | None = None
    with suppress(StirError, OSError):
        ends = moment(parse_chain(pair.chain_file.read_bytes())[0].not_valid_after_utc.timestamp())
    state: str = pair.state
    if pair.state == "requested" and pair.name != next_:
        state = "by hand" if record.by_hand else _SUPERSEDED
    return {
        "name": pair.name,
        "state": "revoked" if pair.revoked else state,
        "begun": moment(record.asked) if record.asked else None,
        "not_after": ends,
        "next_try": moment(record.not_before) if record.not_before and pair.name == next_ else None,
        "x5u": record.x5u or None,
        "trouble": record.trouble or None,
    }


def _issued_as_data(pair: Pending, findings: tuple[str, ...]) -> dict[str, Any]:
    signer = parse_chain(pair.chain_file.read_bytes())[0]
    return {
        "name": pair.name,
        "chain": str(pair.chain_file),
        "subject": one_line(signer.subject.rfc4514_string()),
        "issuer": one_line(signer.issuer.rfc4514_string()),
        "not_before": moment(signer.not_valid_before_utc.timestamp()),
        "not_after": moment(signer.not_valid_after_utc.timestamp()),
        "findings": list(findings),
    }


# --- As text --------------------------------------------------------------------------------------------------------


def _account_as_text(data: dict[str, Any], next_: str) -> Iterator[str]:
    yield _line("account", f"{data['url']}{', just opened' if data['created'] else ''}")
    yield _line("status", data["status"])
    yield _line("key in", data["key"])
    yield _line("fingerprint", data["fingerprint"])
    yield next_


def _issued_as_text(data: dict[str, Any]) -> Iterator[str]:
    yield _line("pair", data["name"])
    yield _line("chain in", data["chain"])
    yield _line("subject", data["subject"])
    yield _line("issuer", data["issuer"])
    yield _line("valid", f"{data['not_before']} to {data['not_after']}")
    if data.get("x5u"):
        yield _line("x5u", f"{one_line(data['x5u'])}, says the STI-CA")
    yield from (f"! {one_line(finding)}" for finding in data["findings"])
    yield f"Next: shakenctl publish stage {data['name']}, or all that follows: shakenctl renew"


def _status_as_text(account: dict[str, Any], rows: list[dict[str, Any]]) -> Iterator[str]:
    if account["url"]:
        yield from (_line(name, account[name]) for name in ("url", "status", "key", "fingerprint"))
    else:
        yield f"! {account['trouble']}"
        yield account["advice"]
    if rows:
        members = ("name", "state", "begun", "not_after", "next_try", "x5u")
        yield from table(_HEAD, ([row[member] for member in members] for row in rows))
    yield from (f"! {row['name']}: {one_line(row['trouble'])}" for row in rows if row["trouble"])
    yield from (
        f"{row['name']} will never be used; `shakenctl acme forget {row['name']}` takes it away"
        for row in rows
        if row["state"] == _SUPERSEDED
    )


def _line(name: str, value: object) -> str:
    return f"{name.ljust(_WIDTH)} {value}"
