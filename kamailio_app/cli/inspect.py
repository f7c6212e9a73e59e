"""`shakenctl inspect`: what is in a file: keys, requests, certificates, CRLs, lists, tokens, PASSporTs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.key import passphrase, passphrase_option
from kamailio_app.cli.known import settings_if_any
from kamailio_app.cli.output import FINE, NO, UNUSABLE, emit, failures, json_option, settings_option, table
from kamailio_app.errors import FAILURES, KeyPairRefused, ProviderRefused, StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.inspection import AUTO, KINDS, MAX_OCTETS, Origin, inspect
from kamailio_app.lifecycle.inspection_content import Content
from kamailio_app.lifecycle.inspection_key import PRIVATE
from kamailio_app.lifecycle.inspection_trust import read_certificates, trusted

_STDIN: Final = "-"
_ROWS: Final = 40  # of a table, in text
_COLUMNS: Final = 6
_WIDEST: Final = 1024  # characters of a value, in text

_OURS: Final = (ProviderRefused, KeyPairRefused)
_ADVICE: Final = {
    "credential_expired": "Yours? `shakenctl renew` gets the next one.",
    "credential_not_yet_valid": FAILURES["credential_not_yet_valid"].advice,
    "credential_untrusted": FAILURES["credential_untrusted"].advice,
    "credential_revoked": "Do not sign with it: order another, with another key. Ask the STI-CA why.",
    "trust_list_expired": "Get the present one: `shakenctl sti-pa ca-list`.",
    "key_malformed": "A private key is PKCS#8 or SEC1 in PEM: `shakenctl key new` makes one. Encrypted? --passphrase-file.",
    "key_curve_unsupported": "SHAKEN has ES256, so keys on P-256 alone: `shakenctl key new FILE` makes one.",
    "crl_stale": "Get the present one: `shakenctl sti-pa crl`.",
}

Looked = tuple[str, list[Content] | StirError]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(allow_dash=True))
@click.option(
    "--type", "kind", type=click.Choice([AUTO, *KINDS]), default=AUTO, show_default=True, help="What it is, if you know."
)
@click.option("--strict", is_flag=True, help="Exit status 1 if anything is found to be wrong.")
@click.option(
    "--signer",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Who signed a list, token or CRL: the certificate at its x5u.",
)
@passphrase_option("The first line of FILE decrypts a private key.")
@settings_option
@json_option
def command(
    *,
    files: tuple[str, ...],
    kind: str,
    strict: bool,
    signer: Path | None,
    passphrase_file: Path | None,
    settings: Path,
    as_json: bool,
) -> None:
    """Say what is in a file and what is wrong with it.

    A FILE (- is standard input) holds a private or public key, a certificate request, certificates, a CRL, the STI-PA's list
    of STI-CAs, an SPC token, a TNAuthList in base64, a PASSporT, an Identity header or a SIP message with one; in PEM, DER,
    JSON or text. Certificates are held against the profile of ATIS-1000080 and the trust anchors of the settings; of a key and
    its certificate, both named, it is said that they belong together. Nothing is fetched, and no key is shown.

    Lines with ! are findings, each with its clause. Exit status: 0, also with findings; 1 with findings and --strict;
    3 if a file is none of these, or is malformed.

    \b
    Examples:
      shakenctl inspect sp1234.key sp1234.pem
      curl -s https://cr.example.net/sp1234.pem | shakenctl inspect --strict -
    """
    with failures():
        trust = trusted(settings_if_any(settings), read_certificates(signer) if signer else ())
        origin = Origin(trust, time.time(), passphrase=passphrase(passphrase_file))
    looked = [_look(file, kind, origin) for file in files]
    _match(looked)
    data = {"files": [_as_data(*each) for each in looked], "problems": list(trust.problems), "fine": _fine(looked)}
    emit(data, as_json, lambda: _lines(looked, trust.problems))
    if any(isinstance(found, StirError) for _, found in looked):
        sys.exit(UNUSABLE)
    sys.exit(NO if strict and not data["fine"] else FINE)


def _look(file: str, kind: str, origin: Origin) -> Looked:
    try:
        octets, mode = _read(file)
        return file, inspect(octets, origin._replace(mode=mode), kind)
    except StirError as error:
        return file, error


def _read(file: str) -> tuple[bytes, int | None]:
    """Errors: `file_unreadable`."""
    try:
        with click.open_file(file, "rb") as opened:
            octets: bytes = opened.read(MAX_OCTETS + 1)
            return octets, None if file == _STDIN else os.fstat(opened.fileno()).st_mode
    except OSError as error:
        raise failure("file_unreadable", f"{file}: {error.strerror}") from error


def _match(looked: Sequence[Looked]) -> None:
    """What belongs to a private key, among all that was named."""
    everything = [(file, content) for file, found in looked if not isinstance(found, StirError) for content in found]
    for _, key in everything:
        if key.kind == PRIVATE and key.spki:
            others = [
                f"{content.kind} {file}" for file, content in everything if content is not key and content.spki == key.spki
            ]
            if others:
                key.fields["belongs_to"] = others
            elif any(content.spki for _, content in everything if content is not key):
                key.remarks.append("none of the other files belongs to it")


def _fine(looked: Sequence[Looked]) -> bool:
    return not any(isinstance(found, StirError) or any(content.findings for content in found) for _, found in looked)


def _advice(token: str) -> str:
    """The table has what a server's operator does about a call; here it is about a file."""
    row = FAILURES[token]
    usual = row.advice if issubclass(row.error, _OURS) else "Yours? Get it anew from who issued it. Another's? Tell them."
    return _ADVICE.get(token, usual)


# --- As data --------------------------------------------------------------------------------------------------------


def _as_data(file: str, found: list[Content] | StirError) -> dict[str, Any]:
    if isinstance(found, StirError):
        return {"file": file, "error": {"token": found.token, "detail": found.detail, "advice": _advice(found.token)}}
    return {
        "file": file,
        "contents": [
            {
                "kind": content.kind,
                **content.fields,
                "findings": [finding._asdict() for finding in content.findings],
                "remarks": content.remarks,
            }
            for content in found
        ],
    }


# --- As text --------------------------------------------------------------------------------------------------------


def _lines(looked: Sequence[Looked], problems: Sequence[str]) -> Iterator[str]:
    for number, (file, found) in enumerate(looked):
        if number:
            yield ""
        if isinstance(found, StirError):
            yield f"{_shown(file)}: {_shown(str(found))}"
            yield f"  {_advice(found.token)}"
            continue
        for content in found:
            yield f"{_shown(file)}: {content.kind}"
            yield from _block(content.fields, "  ")
            yield from _judged(content)
    yield from (f"! settings: {_shown(problem)}" for problem in problems)


def _judged(content: Content) -> Iterator[str]:
    advised: set[str] = set()
    for finding in content.findings:
        yield f"  ! {finding.clause}: {_shown(finding.words)}"
        if finding.token and (advice := _advice(finding.token)) not in advised:
            advised.add(advice)
            yield f"      {advice}"
    yield from (f"  - {_shown(remark)}" for remark in content.remarks)


def _block(fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Names and values; what consists of parts is below its name."""
    width = max((len(_label(name)) for name, value in fields.items() if not _has_parts(value)), default=0)
    for name, value in fields.items():
        label = _label(name)
        if not _has_parts(value):
            first, *more = _values(value)
            yield f"{indent}{label:{width}}  {first}"
            yield from (f"{indent}{'':{width}}  {line}" for line in more)
        elif isinstance(value, Mapping):
            yield f"{indent}{label}"
            yield from _block({key: _in_json(held) for key, held in value.items()}, f"{indent}  ")
        else:
            yield f"{indent}{label}"
            yield from _parts(value, f"{indent}  ")


def _label(name: str) -> str:
    return _shown(str(name)).replace("_", " ")


def _has_parts(value: Any) -> bool:
    return (isinstance(value, Mapping) and bool(value)) or (
        isinstance(value, list) and any(isinstance(e, Mapping) for e in value)
    )


def _parts(parts: Sequence[Mapping[str, Any]], indent: str) -> Iterator[str]:
    """A table if each part is a row of words, else one block after the other."""
    head = list(dict.fromkeys(name for part in parts for name in part))
    if len(head) > _COLUMNS or any(isinstance(value, list | Mapping) for part in parts for value in part.values()):
        for number, part in enumerate(parts, 1):
            if len(parts) > 1:
                yield f"{indent}{number}"
            yield from _block({key: _in_json(held) for key, held in part.items()}, indent + ("  " if len(parts) > 1 else ""))
        return
    rows = [[_values(part.get(name, ""))[0] for name in head] for part in parts[:_ROWS]]
    yield from (f"{indent}{line}" for line in table([_label(name) for name in head], rows))
    if len(parts) > _ROWS:
        yield f"{indent}and {len(parts) - _ROWS} more: --json has them all"


def _in_json(value: Any) -> Any:
    """What is nested deeper is shown as JSON: nobody has to guess where its parts end. Lists of one kind stay as they are."""
    if isinstance(value, list) and len({isinstance(each, Mapping) for each in value if not isinstance(each, list)}) == 1:
        return value
    return json.dumps(value) if isinstance(value, list | Mapping) else value


def _values(value: Any) -> list[str]:
    if value is None:
        return ["cannot be read"]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, list):
        return [_shown(str(each)) for each in value] or ["none"]
    return [_shown(str(value))]


def _shown(text: str) -> str:
    """Whatever a stranger wrote, on a terminal."""
    return one_line(text, _WIDEST)
