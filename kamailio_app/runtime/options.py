"""Every option of the settings file: meaning, default, where the default comes from, an example. One table.

`sample()` writes `cfg/stirshaken.toml` from it: `python -m kamailio_app.runtime.options > cfg/stirshaken.toml`.
Asterisk's names where the meaning is the same. What the values become is `settings`' business.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Option:
    """`bounds` are inclusive. A `relax_` option is an unsafe choice and is said loudly at every start."""

    name: str
    default: Any
    meaning: str
    source: str
    example: str
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None

    def refusal(self, value: Any) -> str:
        """Why the option does not take this value; empty if it does."""
        wanted: Any = type(self.default)
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            return f"takes {_TYPES[wanted]}, not {_shown(value)}"
        if wanted is str and not value.isprintable():
            return "takes no control characters"
        if self.choices and value not in self.choices:
            return f"is one of {', '.join(self.choices)}, not {value!r}"
        if self.bounds and not self.bounds[0] <= value <= self.bounds[1]:
            return f"lies between {self.bounds[0]:g} and {self.bounds[1]:g}, not {_shown(value)}"
        if wanted is list and not (value and all(type(item) is int and 0 < item < 65536 for item in value)):
            return "takes a list of ports"
        return ""


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, default=str)[:80]
    except (ValueError, RecursionError):  # a number of 5000 digits
        return "that"


_TYPES: Final = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}

SECTIONS: Final[dict[str, tuple[str, tuple[Option, ...]]]] = {
    "signing": (
        "Signing outbound calls (STI-AS).",
        (
            Option(
                "certificate_dir",
                "/etc/kamailio/stirshaken",
                "Where keys and certificates are dropped: NAME.key (private key, P-256, PKCS#8 or SEC1) and NAME.pem "
                "(certificate chain, signer first). Without a usable pair calls pass unsigned.",
                "ours",
                '"/etc/kamailio/stirshaken"',
            ),
            Option(
                "public_cert_url",
                "",
                "The x5u URL under which the world fetches the chain; {name} stands for the pair's NAME. A new "
                "certificate needs a new NAME and so a new URL (RFC 8224 7.3). Empty: nothing is signed.",
                "Asterisk's name",
                '"https://cr.example.net/{name}.pem"',
            ),
            Option(
                "certificate",
                "",
                "The NAME of the pair that signs. Empty: of the pairs that are valid now, the one issued last.",
                "ours",
                '"sp1234-2026-11"',
            ),
            Option(
                "attest_level",
                "C",
                "Attestation where the routing script names none. Full attestation is a statement about a customer, so "
                "it is never the default.",
                "Asterisk's name; value: ATIS-1000074 5.2.3, the claim that needs no relationship",
                '"A"',
                choices=("A", "B", "C"),
            ),
            Option(
                "max_date_header_age",
                60,
                "Seconds that a Date header of the caller may be off before we decline to sign.",
                "RFC 8224 6.1 step 3; Asterisk's name",
                "60",
                bounds=(1, 3600),
            ),
        ),
    ),
    "verification": (
        "Verifying inbound calls (STI-VS).",
        (
            Option(
                "ca_file",
                "",
                "PEM file with the trust anchors: the roots of the approved STI-CAs. Empty: nothing is trusted.",
                "Asterisk's name",
                '"/etc/kamailio/stirshaken/trusted-sti-ca.pem"',
            ),
            Option(
                "failure_action",
                "tag",
                "What a failed verification does: observe (log only; no verstat is added), tag (the call goes on "
                "and verstat tells the callee), reject (403, 428, 436, 437 or 438).",
                "ATIS-1000074: a failed verification alone does not end a call; Asterisk's name",
                '"reject"',
                choices=("observe", "tag", "reject"),
            ),
            Option(
                "require_identity",
                False,
                "With reject: also answer 428 to calls without a usable Identity header.",
                "RFC 8224 6.2.2: a choice of local policy",
                "true",
            ),
            Option(
                "max_iat_age",
                60,
                "Seconds that a PASSporT stays fresh.",
                "RFC 8224 12.1, ATIS-1000074; Asterisk's name",
                "60",
                bounds=(1, 3600),
            ),
            Option(
                "max_iat_future",
                60,
                "Seconds that the signer's clock may be ahead of ours.",
                "RFC 8224 12.1: the window is to both sides",
                "5",
                bounds=(0, 3600),
            ),
            Option(
                "ignore_sip_date_header",
                True,
                "A PASSporT in full form stands for the Date header by its iat. False: Date has to be there, and fresh.",
                "RFC 8224 6.2 step 4; Asterisk's name",
                "false",
            ),
            Option(
                "max_date_header_age",
                60,
                "Seconds that a Date header may be off when it is not ignored.",
                "RFC 8224 6.2 step 4; Asterisk's name",
                "60",
                bounds=(1, 3600),
            ),
        ),
    ),
    "identities": (
        "Where caller and called party are read, for signing and verifying alike.",
        (
            Option(
                "orig_source",
                "pai",
                "pai: P-Asserted-Identity if there is one, else From; from: From only.",
                "ATIS-1000074 5.2.1",
                '"from"',
                choices=("pai", "from"),
            ),
            Option(
                "dest_source",
                "to",
                "to: the To header; request_uri: the Request-URI, for networks that rewrite To.",
                "RFC 8224 4.1",
                '"request_uri"',
                choices=("to", "request_uri"),
            ),
        ),
    ),
    "numbers": (
        "How numbers are dialled here. PASSporTs carry E.164 (RFC 8224 8.3); with all of this empty, SIP has to as well.",
        (
            Option("country_code", "", "Country code of national numbers.", "ours", '"1"'),
            Option("national_prefix", "", "What is dialled before a national number.", "ours", '"1"'),
            Option("international_prefix", "", "What is dialled before a country code.", "ours", '"011"'),
            Option(
                "national_number_length",
                0,
                "Digits of a national number without prefix.",
                "ours",
                "10",
                bounds=(0, 14),
            ),
        ),
    ),
    "x5u": (
        "Fetching other providers' certificates.",
        (
            Option(
                "fetch_timeout",
                2.0,
                "Seconds for a whole fetch: name, connection, TLS and every byte. A parked call waits half a second longer.",
                "the SBC trade's usual 2 s budget",
                "1.5",
                bounds=(0.1, 30.0),
            ),
            Option(
                "max_certificate_bytes",
                65536,
                "Largest answer that is read.",
                "ours: the largest real chain seen has 12 kB",
                "65536",
                bounds=(1024, 1048576),
            ),
            Option(
                "max_redirects",
                0,
                "Redirects to follow; each target has to pass the same rules.",
                "ATIS-1000074: none are followed",
                "0",
                bounds=(0, 5),
            ),
            Option(
                "x5u_ports",
                [443, 8443],
                "Ports that an x5u URL may name.",
                "ATIS-1000074",
                "[443, 8443]",
            ),
            Option(
                "x5u_tls_ca_file",
                "",
                "PEM file with the roots that certify repositories' web servers. Empty: the system's.",
                "ours",
                '"/etc/ssl/certs/ca-certificates.crt"',
            ),
            Option(
                "relax_x5u_private_addresses",
                False,
                "UNSAFE outside a laboratory: also fetch from loopback and private addresses, which lets any caller make "
                "this host send requests into your network.",
                "ours",
                "true",
            ),
        ),
    ),
    "cache": (
        "Validated certificates, kept by each worker and shared between them.",
        (
            Option(
                "max_cache_size",
                1000,
                "Certificates per worker.",
                "Asterisk's name and value",
                "1000",
                bounds=(1, 100000),
            ),
            Option(
                "min_cache_lifetime",
                86400,
                "Seconds a certificate is kept at least, whatever Cache-Control says; never past its own validity.",
                "ATIS-1000074: a day",
                "3600",
                bounds=(0, 604800),
            ),
            Option(
                "max_cache_lifetime",
                604800,
                "Seconds a certificate is kept at most.",
                "ours: a week, the commonest validity",
                "604800",
                bounds=(1, 2592000),
            ),
            Option(
                "negative_lifetime",
                15,
                "Seconds that a failed fetch or a refused certificate is remembered.",
                "ours: short, so that a repository that comes back is seen",
                "30",
                bounds=(1, 3600),
            ),
        ),
    ),
    "log": (
        "The log.",
        (Option("calls", True, "One line per call, at level info (debug=2 in kamailio.cfg).", "ours", "false"),),
    ),
}


def sample() -> str:
    """The sample settings file: every option with its default."""
    blocks = [
        "# Settings of kamailio-stirshaken. Every option stands here with its default; leave out what you do not change.\n"
        "# An unknown option stops the start. Copy to /etc/kamailio/stirshaken.toml."
    ]
    for section, (title, options) in SECTIONS.items():
        blocks.append(f"# {title}\n[{section}]")
        for option in options:
            text = f"{option.meaning} Default from: {option.source}."
            comment = textwrap.fill(text, 110, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
            blocks.append(
                f"{comment}\n# Example: {option.name} = {option.example}\n{option.name} = {json.dumps(option.default)}"
            )
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    print(sample(), end="")
