"""TNAuthList: which providers and numbers a certificate speaks for (RFC 8226 9). Strict DER, both ways.

The ASN.1 of RFC 8226 9 is declared for cryptography's decoder; its module has EXPLICIT TAGS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from kamailio_app.errors import failure

OID: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.26")

# ATIS-1000080 has four characters, the French profile six; the alphabet is the same (decision 8)
_SPC: Final = re.compile(r"[0-9A-Z]{1,16}", re.ASCII)
_TN: Final = re.compile(r"[0-9#*]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TelephoneNumberRange:
    """`count` numbers from `start` on, all of the same length."""

    start: str
    count: int


class TNAuthList(NamedTuple):
    """The entries by kind, in the order of the certificate."""

    spcs: tuple[str, ...] = ()
    ranges: tuple[TelephoneNumberRange, ...] = ()
    numbers: tuple[str, ...] = ()

    def covers(self, tn: str) -> bool:
        """May the holder sign for this number? A provider code speaks for all of its provider's numbers (VS-13)."""
        return bool(self.spcs) or tn in self.numbers or any(_within(tn, span) for span in self.ranges)

    def encompasses(self, other: TNAuthList) -> bool:
        """May the holder delegate to `other`? RFC 9060 4: no more than it has itself. Which numbers a provider code
        speaks for is not known here, so it may delegate any.
        """
        last = [f"{int(span.start) + span.count - 1:0{len(span.start)}}" for span in other.ranges]
        return set(other.spcs) <= set(self.spcs) and (
            bool(self.spcs)
            or (
                all(map(self.covers, other.numbers))
                and all(
                    any(_within(span.start, mine) and _within(end, mine) for mine in self.ranges)
                    for span, end in zip(other.ranges, last, strict=True)
                )
            )
        )


def _within(tn: str, span: TelephoneNumberRange) -> bool:
    return tn.isdigit() and len(tn) == len(span.start) and 0 <= int(tn) - int(span.start) < span.count


@asn1.sequence
class _Range:
    start: asn1.IA5String
    count: int


@asn1.sequence
class _Entries:
    entries: Annotated[
        list[
            Annotated[asn1.Variant[asn1.IA5String, Literal["spc"]], asn1.Explicit(0)]
            | Annotated[asn1.Variant[_Range, Literal["range"]], asn1.Explicit(1)]
            | Annotated[asn1.Variant[asn1.IA5String, Literal["one"]], asn1.Explicit(2)]
        ],
        asn1.Size(1, None),
    ]


def decode(der: bytes) -> TNAuthList:
    """The list in an extension's octets. Errors: `tnauthlist_malformed`."""
    try:
        # The decoder wants a SEQUENCE with named fields at the top, so the list is put into one
        entries = asn1.decode_der(_Entries, b"\x30" + _length(len(der)) + der).entries
    except ValueError as error:
        raise failure("tnauthlist_malformed", str(error)) from error
    spcs, ranges, numbers = [], [], []
    for entry in entries:
        if isinstance(entry.value, _Range):
            ranges.append(_checked_range(entry.value.start.as_str(), entry.value.count))
        elif entry.tag == "spc":
            spcs.append(_matching(_SPC, entry.value.as_str()))
        else:
            numbers.append(_matching(_TN, entry.value.as_str()))
    return TNAuthList(tuple(spcs), tuple(ranges), tuple(numbers))


def of_certificate(certificate: x509.Certificate) -> TNAuthList | None:
    """The certificate's own list. Errors: `tnauthlist_malformed`."""
    for extension in certificate.extensions:
        if extension.oid == OID:
            return decode(extension.value.public_bytes())
    return None


def encode(value: TNAuthList) -> bytes:
    """DER of the list, for certificate requests and test certificates."""
    entries: list[Any] = [
        *(asn1.Variant(asn1.IA5String(spc), "spc") for spc in value.spcs),
        *(asn1.Variant(_Range(start=asn1.IA5String(span.start), count=span.count), "range") for span in value.ranges),
        *(asn1.Variant(asn1.IA5String(tn), "one") for tn in value.numbers),
    ]
    der = asn1.encode_der(_Entries(entries=entries))
    return der[1 + len(_length(_content_length(der))) :]


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise failure("tnauthlist_malformed", repr(text))
    return text


def _checked_range(start: str, count: int) -> TelephoneNumberRange:
    """RFC 8226 9: digits only, at least two numbers, start + count less than 10 to the power of the start's length."""
    if not start.isdigit() or not _TN.fullmatch(start) or count < 2 or int(start) + count >= 10 ** len(start):
        # The count may have more digits than Python shows
        raise failure("tnauthlist_malformed", f"range {start!r}")
    return TelephoneNumberRange(start, count)


def _length(octets: int) -> bytes:
    """DER length (X.690 8.1.3)."""
    if octets < 0x80:
        return bytes([octets])
    size = octets.to_bytes((octets.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(size)]) + size


def _content_length(der: bytes) -> int:
    if der[1] < 0x80:
        return der[1]
    return int.from_bytes(der[2 : 2 + (der[1] & 0x7F)], "big")
