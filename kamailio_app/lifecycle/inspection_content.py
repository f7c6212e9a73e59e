"""What was found in a file: its kind, what it says as plain data, and what is wrong with it, each with its clause."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from kamailio_app.credentials.certificate import MALFORMED
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.grammar import one_line

PROFILE: Final = "ATIS-1000080 6.4.1"
# As the trade names them
_ATTRIBUTES: Final = {NameOID.SERIAL_NUMBER: "serialNumber", NameOID.EMAIL_ADDRESS: "emailAddress"}
_SPECIAL: Final = re.compile(r'[,+"=<>;\\]|^ | $')

T = TypeVar("T")


class Finding(NamedTuple):
    """One thing that is wrong. `token`: the failure that it would be in use, empty where it is a matter of form."""

    clause: str
    words: str
    token: str = ""

    @classmethod
    def of(cls, error: StirError) -> Finding:
        return cls(FAILURES[error.token].clause, str(error), error.token)

    @classmethod
    def of_profile(cls, text: str) -> Finding:
        """From "CLAUSE: words", as `credentials.profile` has it."""
        clause, _, words = text.partition(": ")
        return cls(clause, words)


@dataclass
class Content:
    """`fields`: what can be written as JSON, in the order in which it is shown; `spki`: SHA-256 of the public key's DER in
    hexadecimal, by which a key and its certificate know each other; `remarks`: what the reader should know of all this.
    """

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    spki: str = ""

    def read(self, parts: Mapping[str, Callable[[T], Any]], value: T, token: str) -> dict[str, Any]:
        """Each part of the value by name. One that cannot be read is None, and a finding with this token; an empty one is left
        out.
        """
        found: dict[str, Any] = {}
        for name, part in parts.items():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    held = part(value)
            except StirError as error:
                self.add(Finding.of(error))
                found[name] = None
            except MALFORMED as error:
                self.add(Finding(FAILURES[token].clause, f"{name}: {one_line(str(error))}", token))
                found[name] = None
            else:
                if held not in (None, "", [], {}):
                    found[name] = held
        return found

    def add(self, finding: Finding) -> None:
        """What several parts break is said once."""
        if finding not in self.findings:
            self.findings.append(finding)


def name_in_words(name: x509.Name) -> str:
    """The last attribute first, as RFC 4514 has it; a value with commas in quotes, as `openssl` has it."""
    return ",".join("+".join(f"{_attribute(each)}={_quoted(each.value)}" for each in rdn) for rdn in reversed(name.rdns))


def _attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    return _ATTRIBUTES.get(attribute.oid, attribute.rfc4514_attribute_name)


def _quoted(value: str | bytes) -> str:
    if isinstance(value, bytes):  # a BIT STRING
        return f"#{value.hex()}"
    return '"' + value.replace('"', "'") + '"' if _SPECIAL.search(value) else value


def moment(time: datetime) -> str:
    return f"{time:%FT%TZ}"


def authority_in_words(authority: TNAuthList) -> list[str]:
    """One line per entry."""
    return [
        *(f"SPC {spc}" for spc in authority.spcs),
        *(
            f"{span.start} to {int(span.start) + span.count - 1:0{len(span.start)}} ({span.count} numbers)"
            for span in authority.ranges
        ),
        *authority.numbers,
    ]
