"""Every option of the settings file: meaning, default, where the default comes from, an example. One table.

`sample()` writes `cfg/stirshaken.toml` from it: `python -m kamailio_app.runtime.options > cfg/stirshaken.toml`.
Asterisk's names where the meaning is the same. What the values become is `settings`' business.
"""

from __future__ import annotations

import json
import re
import textwrap
from ipaddress import ip_address, ip_network
from typing import Any, Final

from kamailio_app.runtime.option import Items, Option
from kamailio_app.runtime.provider_options import PROVIDER_SECTIONS

_DNS_SERVER: Final = re.compile(r"(?:\[([^\[\]]+)\]|([0-9.]+)):([0-9]{1,5})")


def _is_port(item: Any) -> bool:
    return type(item) is int and 0 < item < 65536


def _is_network(item: Any) -> bool:
    try:
        return type(item) is str and "%" not in item and bool(ip_network(item))
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


def _is_dns_server(item: Any) -> bool:
    if type(item) is not str:
        return False
    with_port = _DNS_SERVER.fullmatch(item)
    if with_port is None:
        return _is_address(item)
    return _is_address(with_port[1] or with_port[2]) and _is_port(int(with_port[3]))


def _is_number(item: Any) -> bool:
    return type(item) is str and re.fullmatch(r"[0-9*#]{1,15}", item, re.ASCII) is not None


def _is_spc(item: Any) -> bool:
    return type(item) is str and re.fullmatch(r"[0-9A-Z]{1,16}", item, re.ASCII) is not None


_PORTS: Final = Items("ports", _is_port, may_be_empty=False)
_NETWORKS: Final = Items(
    'networks in CIDR form, like "10.0.0.0/8" or "2001:db8::/32", no bit set behind the prefix', _is_network
)
_DNS_SERVERS: Final = Items('addresses, like "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]:53"', _is_dns_server)
_SPCS: Final = Items('service provider codes as text, like "1234": digits and capital letters', _is_spc)
_NUMBERS: Final = Items('numbers as text, like "911": digits, * and #', _is_number)

_ACTIONS: Final = ("observe", "tag", "reject")
_ACTION_OR_NONE: Final = ("", *_ACTIONS)
_CLASS_ACTION: Final = "ours: one class may be trusted sooner than the others"
# What a [trunk.NAME] may say for itself; an option that it leaves out is that of [verification]
TRUNK: Final = "trunk"
TRUNK_OPTIONS: Final = (
    "failure_action",
    "require_identity",
    "stale_date_action",
    "no_identity_action",
    "bad_info_action",
    "unsupported_credential_action",
    "invalid_identity_action",
    "code_profile",
    "reason_header",
    "p_headers",
)

# What a [certificate.NAME] may say. It has no default: a date is named or is not there
CERTIFICATE: Final = "certificate"
SIGN_FROM: Final = "sign_from"

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
                "The NAME of the pair that signs. Empty: of the only provider's pairs that are valid now, the one that began "
                "last. With pairs of several providers this or the policy has to say whose call it is.",
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
            Option(
                "policy_file",
                "",
                "Who gets which attestation, for many customers and certificates: cfg/signing-policy.toml explains it. Empty: "
                "every call is signed as the script or attest_level says.",
                "ours",
                '"/etc/kamailio/signing-policy.toml"',
            ),
            Option(
                "inventory_file",
                "",
                "Which customer may use which numbers, as `shakenctl numbers import` writes it. Empty: the policy asks nobody.",
                "ours",
                '"/var/lib/kamailio-stirshaken/numbers.mdb"',
            ),
            Option(
                "do_not_originate_file",
                "",
                "Numbers that never call, as `shakenctl numbers import --list do-not-originate` writes it.",
                "ours; the trade's DNO list",
                '"/var/lib/kamailio-stirshaken/do-not-originate.mdb"',
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
                "What a failed verification does: observe (log only; no verstat is added, to valid calls neither), tag "
                "(the call goes on and verstat tells the callee), reject (403, 428, 436, 437 or 438). Emergency calls "
                "are never rejected.",
                "ATIS-1000074: a failed verification alone does not end a call; Asterisk's name",
                '"reject"',
                choices=_ACTIONS,
            ),
            Option(
                "require_identity",
                False,
                "A call without a usable Identity header counts as failed, and no_identity_action says what that does. "
                "False: it is never rejected, whatever the actions say.",
                "RFC 8224 6.2.2: a choice of local policy",
                "true",
            ),
            Option(
                "stale_date_action",
                "",
                "failure_action for what RFC 8224 answers with 403 Stale Date. Empty: as failure_action.",
                _CLASS_ACTION,
                '"tag"',
                choices=_ACTION_OR_NONE,
            ),
            Option(
                "no_identity_action",
                "",
                "failure_action for 428 Use Identity Header: calls without a usable Identity. reject needs require_identity, "
                "else it is tag. Empty: as failure_action.",
                _CLASS_ACTION,
                '"reject"',
                choices=_ACTION_OR_NONE,
            ),
            Option(
                "bad_info_action",
                "",
                "failure_action for 436 Bad Identity Info: the certificate cannot be had. Empty: as failure_action.",
                _CLASS_ACTION,
                '"tag"',
                choices=_ACTION_OR_NONE,
            ),
            Option(
                "unsupported_credential_action",
                "",
                "failure_action for 437 Unsupported Credential: the certificate is not accepted. Empty: as failure_action.",
                _CLASS_ACTION,
                '"reject"',
                choices=_ACTION_OR_NONE,
            ),
            Option(
                "invalid_identity_action",
                "",
                "failure_action for 438 Invalid Identity Header: header, claims or signature are wrong. Empty: as "
                "failure_action.",
                _CLASS_ACTION,
                '"reject"',
                choices=_ACTION_OR_NONE,
            ),
            Option(
                "code_profile",
                "rfc8224",
                "Which table says the SIP code of a failure, in answers and in Reason: rfc8224, atis1000082 (North America's "
                "verification servers) or man (France). The classes of the five actions above are always those of RFC 8224.",
                "RFC 8224 6.2.2",
                '"atis1000082"',
                choices=("rfc8224", "atis1000082", "man"),
            ),
            Option(
                "reason_header",
                True,
                "Tell the signer what failed: Reason: STIR in the responses, one for each Identity header that failed, with "
                "the PASSporT's signature.",
                "RFC 9410 4 to 6",
                "false",
            ),
            Option(
                "p_headers",
                False,
                "Add P-Attestation-Indicator and P-Origination-ID to valid calls; those that came from outside are removed.",
                "TS 24.229: for use inside one network",
                "true",
            ),
            Option(
                "emergency_numbers",
                ["911", "933", "112"],
                "Calls to these numbers and to urn:service:sos are verified with what is at hand: they never wait and are "
                "never rejected.",
                "ours: an emergency call is not lost to a verification; 933 tests 911",
                '["112", "15", "17", "18"]',
                items=_NUMBERS,
            ),
            Option(
                "call_time_budget",
                2.0,
                "Seconds that a call waits for a certificate, parked or blocked; what failed then is x5u_timeout. The fetch "
                "may go on for the next call.",
                "the SBC trade's usual 2 s budget",
                "1.5",
                bounds=(0.5, 30.0),
            ),
            Option(
                "replay_detection",
                "off",
                "A PASSporT that came before, in a call with another Call-ID: off, flag (say so in log and results) or fail "
                "(counts as invalid). A call that comes back through a B2BUA, diverted or not, looks like a replay.",
                "RFC 8224 12.1",
                '"flag"',
                choices=("off", "flag", "fail"),
            ),
            Option(
                "rph_signers",
                [],
                "Service provider codes that may sign Resource-Priority. Any other signature of it counts as none, and the "
                "call goes on. Empty: nobody's counts.",
                "RFC 8443 4.2: only configured signers are trusted",
                '["1234", "567A"]',
                items=_SPCS,
            ),
            Option(
                "certificate_profile",
                "lenient",
                "strict: also refuse certificates that break the SHAKEN profile in ways that do no harm by themselves.",
                "ATIS-1000080 6.4.1; field: certificates of approved CAs break it",
                '"strict"',
                choices=("lenient", "strict"),
            ),
            Option(
                "max_iat_age",
                60,
                "Seconds that a PASSporT stays fresh. UNSAFE, and said so, above 300.",
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
    "trust": (
        "Trust list and revocation list of the policy administrator (STI-PA).",
        (
            Option(
                "trust_list_url",
                "",
                "Where the STI-PA publishes the list of approved CAs; its roots are trusted besides those of ca_file.",
                "ATIS-1000084",
                '"https://sti-pa.example.net/v1/ca-list"',
            ),
            Option(
                "trust_list_file",
                "",
                "The same list as a file, for hosts that something else supplies.",
                "ours",
                '"/etc/kamailio/stirshaken/ca-list.jws"',
            ),
            Option(
                "sti_pa_ca_file",
                "",
                "PEM file with the roots of the STI-PA: what trust list and CRL have to be signed under. Who signs the CRL "
                "stands in it as well, unless it is who signs the list.",
                "ATIS-1000084",
                '"/etc/kamailio/stirshaken/sti-pa-root.pem"',
            ),
            Option(
                "crl_url",
                "",
                "Where the STI-PA publishes the list of revoked certificates.",
                "ATIS-1000080 6.4.1",
                '"https://sti-pa.example.net/v1/crl"',
            ),
            Option(
                "crl_file",
                "",
                "The same list as a file, PEM or DER.",
                "Asterisk's name",
                '"/etc/kamailio/stirshaken/sti.crl"',
            ),
            Option(
                "crl_failure",
                "soft",
                "Without a current revocation list: soft (certificates count as not revoked, and the log says so), hard "
                "(none is accepted).",
                "RFC 5280 6.3; soft: an STI-PA that is down does not end telephony",
                '"hard"',
                choices=("soft", "hard"),
            ),
            Option(
                "trust_refresh_interval",
                3600,
                "Seconds between two looks at the lists.",
                "ours",
                "900",
                bounds=(5, 604800),
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
            Option("country_code", "", "Country code of national numbers.", "ours", '"1"', pattern="[0-9]{0,3}"),
            Option("national_prefix", "", "What is dialled before a national number.", "ours", '"1"', pattern="[0-9*#]{0,8}"),
            Option(
                "international_prefix", "", "What is dialled before a country code.", "ours", '"011"', pattern="[0-9*#]{0,8}"
            ),
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
                5.0,
                "Seconds for a whole fetch: name, connection, TLS and every byte. It may go on longer than its call waits "
                "(call_time_budget): the next call has it.",
                "ours",
                "3.0",
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
                "Redirects to follow; each target has to pass the same rules. UNSAFE, and said so, if there are any: "
                "ATIS-1000074 has none followed.",
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
                items=_PORTS,
            ),
            Option(
                "x5u_permit",
                [],
                "Networks that certificates are fetched from although they are not public.",
                "Asterisk's name",
                '["10.20.0.0/16"]',
                items=_NETWORKS,
            ),
            Option(
                "x5u_deny",
                [],
                "Networks that nothing is fetched from; goes before x5u_permit.",
                "Asterisk's name",
                '["203.0.113.0/24", "2001:db8::/32"]',
                items=_NETWORKS,
            ),
            Option(
                "x5u_dns_servers",
                [],
                "Name servers to ask for repositories' names. Empty: the system's.",
                "ours",
                '["192.0.2.53", "[2001:db8::53]:5353"]',
                items=_DNS_SERVERS,
            ),
            Option(
                "max_concurrent_fetches",
                1000,
                "Fetches under way at the same time.",
                "ours",
                "200",
                bounds=(1, 10000),
            ),
            Option(
                "max_concurrent_fetches_per_host",
                32,
                "Of these, to one host.",
                "ours",
                "8",
                bounds=(1, 1000),
            ),
            Option(
                "breaker_failures",
                5,
                "Failures in a row (no connection, no answer in time) after which a host is left alone. 0: never.",
                "ours",
                "10",
                bounds=(0, 1000),
            ),
            Option(
                "breaker_seconds",
                30,
                "Seconds that such a host is left alone before one fetch tries again.",
                "ours",
                "60",
                bounds=(1, 3600),
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
                "max_shared_certificates",
                4096,
                "Certificates that all workers share, in Kamailio's shared memory (its -m): about 2 kB each. What does not "
                "fit comes from the disk.",
                "ours",
                "16384",
                bounds=(64, 65536),
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
            Option(
                "state_dir",
                "/var/lib/kamailio-stirshaken",
                "Where certificates, trust list and CRL outlive a restart. Empty: nowhere.",
                "ours",
                '"/var/lib/kamailio-stirshaken"',
            ),
            Option(
                "max_disk_certificates",
                20000,
                "Certificates kept there.",
                "ours",
                "5000",
                bounds=(0, 1000000),
            ),
        ),
    ),
    "record": (
        "The record of signed and refused calls, which answers a traceback: `shakenctl trace`.",
        (
            Option("record_calls", False, "Keep one.", "ours", "true"),
            Option(
                "record_dir",
                "/var/lib/kamailio-stirshaken/calls",
                "Where it lies: a file of JSON lines for each day, and its index.",
                "ours",
                '"/var/lib/kamailio-stirshaken/calls"',
            ),
            Option(
                "record_days",
                400,
                "Days that it is kept.",
                "ours: a year, and some",
                "90",
                bounds=(1, 10000),
            ),
            Option(
                "record_megabytes",
                20000,
                "What it may take of the disk: the oldest days go.",
                "ours",
                "5000",
                bounds=(10, 10000000),
            ),
            Option(
                "record_mask",
                0,
                "Digits at the end of every number that are not written down: in the record, and in the log's lines "
                "about calls that are signed or not.",
                "ours",
                "4",
                bounds=(0, 15),
            ),
        ),
    ),
    "log": (
        "The log.",
        (Option("calls", True, "One line per call, at level info (debug=2 in kamailio.cfg).", "ours", "false"),),
    ),
    **PROVIDER_SECTIONS,
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
    blocks.append(
        "# Trunks that are treated otherwise: a section for each, named as your routing script says in $avp(stir_trunk). It\n"
        "# may hold any of these; what it leaves out is as in [verification]:\n"
        f"{textwrap.fill(', '.join(TRUNK_OPTIONS), 110, initial_indent='# ', subsequent_indent='# ')}.\n"
        '# Example:\n# [trunk.carrier-a]\n# failure_action = "reject"\n# require_identity = true'
    )
    blocks.append(
        "# A pair that is to sign from a certain time on, instead of from the beginning of its validity: a section named as\n"
        "# the pair. The pair before it signs until then.\n"
        "# Example:\n# [certificate.sp1234-2026-12]\n# sign_from = 2026-12-01T03:00:00Z"
    )
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    print(sample(), end="")
