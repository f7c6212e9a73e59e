"""The Identity header field: text <-> value, full and compact form (RFC 8224 4, errata 5715 and 6499).

Lenient where the field is (decision 5): any parameter order, any case of parameter names, quoted `alg` and `ppt`, spaces
around separators, folded lines, several values in one field. Strict about everything that is signed or fetched.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from kamailio_app import grammar
from kamailio_app.errors import failure

MAX_FIELD_OCTETS: Final = 16384  # of one value
MAX_MERGED_OCTETS: Final = 10 * MAX_FIELD_OCTETS  # of several in one field
_REMEMBERED_PARAMETERS: Final = 1024
_WORTH_REMEMBERING: Final = 512
_STRICT_PARAMETERS: Final = 3  # info, alg, ppt: none stands twice

_DIGEST: Final = re.compile(rf"({grammar.BASE64URL}*+\.{grammar.BASE64URL}*+\.{grammar.BASE64URL}++)[ \t]*+(?=[;,]|$)")
_PARAMETER: Final = re.compile(
    rf"{grammar.LWS};{grammar.LWS}({grammar.TOKEN})"
    rf"(?:{grammar.LWS}={grammar.LWS}(?:<({grammar.URI_CHARACTERS})>|({grammar.QUOTED_STRING})|({grammar.TOKEN})))?+"
)
# RFC 8224 4, RFC 3261 25.1: absoluteURI
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*+:.", re.ASCII)
# Where one value ends and the next begins: a comma outside quotes and angle brackets. What is opened and never closed
# reaches to the end, so that no text is read twice
_VALUE: Final = re.compile(r'(?:[^,"<]++|<[^>]*+>?|"(?:[^"\\]|\\.?)*+"?)++', re.DOTALL)


class IdentityParameters(NamedTuple):
    """`info` is an absoluteURI; `alg` and `ppt` are None where absent (RFC 8224 4.1: absent alg means ES256)."""

    info: str
    alg: str | None
    ppt: str | None


class IdentityHeader(NamedTuple):
    """One value: `digest` is the PASSporT in full (a.b.c) or compact (..c) form."""

    digest: str
    parameters: IdentityParameters

    @property
    def compact(self) -> bool:
        """RFC 8225 7: header and payload left out, to be rebuilt from the SIP request."""
        return self.digest.startswith("..")

    def __str__(self) -> str:
        return self.digest + parameter_text(self.parameters)

    def in_compact_form(self) -> IdentityHeader:
        """The same value with only the signature: what RFC 9410 puts into `ppi`."""
        return IdentityHeader(".." + self.digest.rpartition(".")[2], self.parameters)


def parameter_text(parameters: IdentityParameters) -> str:
    """Parameters in the order and form that every known verifier reads: info, alg, ppt, unquoted, no spaces."""
    alg = f";alg={parameters.alg}" if parameters.alg else ""
    ppt = f";ppt={parameters.ppt}" if parameters.ppt else ""
    return f";info=<{parameters.info}>{alg}{ppt}"


def split_values(field: str) -> list[str]:
    """The values of one Identity header field. RFC 8224 4 has one per field; SIP stacks merge them with commas."""
    if len(field) > MAX_MERGED_OCTETS:
        return [field]  # parse_identity names the failure
    if "\n" in field:
        field = grammar.FOLD.sub(" ", field)
    if "," not in field:
        return [field]
    return [value for value in _VALUE.findall(field) if value.strip()]


def parse_identity(value: str) -> IdentityHeader:
    """Parse one value. Errors: `identity_too_large`, `identity_malformed`, `info_missing`, `info_malformed`."""
    if len(value) > MAX_FIELD_OCTETS:
        raise failure("identity_too_large", f"{len(value)} octets")
    if "\n" in value:
        value = grammar.FOLD.sub(" ", value)
    value = value.strip(" \t")
    digest = _DIGEST.match(value)
    if digest is None:
        # A fold inside the digest leaves spaces there; RFC 8224's examples are printed so
        head, semicolon, tail = value.partition(";")
        value = re.sub(r"[ \t]+", "", head) + semicolon + tail
        digest = _DIGEST.match(value)
        if digest is None:
            raise failure("identity_malformed", "no PASSporT in front")
    text = value[digest.end() :]
    # One signer's parameters are the same text in every call
    read = _remembered_parameters if len(text) <= _WORTH_REMEMBERING else _read_parameters
    return IdentityHeader(digest[1], read(text))


def check_strict(value: str) -> None:
    """The French profile (standards 7.3): a value that could be parsed has info, alg and ppt, and nothing else.

    Errors: `alg_mismatch`, `ppt_mismatch`, `identity_malformed`.
    """
    text = grammar.FOLD.sub(" ", value)
    names = [match[1].lower() for match in _PARAMETER.finditer(text, text.index(";"))]
    for name in ("alg", "ppt"):
        if name not in names:
            raise failure(f"{name}_mismatch", f"no {name} parameter")
    if len(names) > _STRICT_PARAMETERS:
        raise failure("identity_malformed", "parameters beside info, alg and ppt")


def _read_parameters(text: str) -> IdentityParameters:
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            raise failure("identity_malformed", f"at parameter {text[position : position + 40]!r}")
        name, uri, quoted, token = match[1].lower(), match[2], match[3], match[4]
        if name in ("info", "alg", "ppt"):
            if name in found:
                raise failure("identity_malformed", f"{name} twice")
            # RFC 8224 4: info="<" absoluteURI ">"; pitfall 3: without brackets it is no URI
            if name == "info" and (uri is None or not _SCHEME.match(uri)):
                raise failure("info_malformed", text[match.start() : match.start() + 80])
            if name != "info" and quoted is token is None:
                raise failure("identity_malformed", f"{name} has the wrong form")
            found[name] = uri or token or quoted[1:-1]
        position = match.end()
    if "info" not in found:
        raise failure("info_missing")
    return IdentityParameters(found["info"], found.get("alg"), found.get("ppt"))


_remembered_parameters = lru_cache(maxsize=_REMEMBERED_PARAMETERS)(_read_parameters)
