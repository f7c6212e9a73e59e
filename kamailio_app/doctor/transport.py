"""Do signed INVITEs fit into UDP? One of more than 1300 octets is to go by TCP (RFC 3261 18.1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kamailio_app import sti_as
from kamailio_app.doctor.configuration import text_of
from kamailio_app.doctor.finding import Check, NotLookedAt, Seen, good, unseen, warning
from kamailio_app.doctor.self_call import CALLED, CALLER
from kamailio_app.doctor.site import Site
from kamailio_app.runtime.signing import random_uuid
from kamailio_app.sip import Request

AREA: Final = "transport"
LIMIT: Final = 1300
_UDP_MTU: Final = re.compile(r"^\s*udp_mtu\s*=\s*([0-9]+)", re.MULTILINE)
_PROTOCOL: Final = re.compile(r"^\s*proto: (\w+)", re.MULTILINE)
_HOST: Final = "192.0.2.10"
# An INVITE as a provider's edge sends it to another: two hops, PAI, SDP of two codecs
_SDP: Final = (
    f"v=0\r\no=- 1764446400 1764446400 IN IP4 {_HOST}\r\ns=-\r\nc=IN IP4 {_HOST}\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0 8 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
    "a=sendrecv\r\n"
)
_INVITE: Final = (
    f"INVITE sip:+{CALLED}@{_HOST};user=phone SIP/2.0\r\nRecord-Route: <sip:{_HOST};lr>\r\n"
    f"Via: SIP/2.0/UDP {_HOST}:5060;branch=z9hG4bK5d1c.77ef8a3b0f12a4f6d1e0c5b6a7988761.0\r\n"
    f"Via: SIP/2.0/UDP {_HOST}:5060;branch=z9hG4bKd0a7c5e3b1f9;rport=5060\r\nMax-Forwards: 69\r\n"
    f"From: <sip:+{CALLER}@{_HOST};user=phone>;tag=as6f4d2b19\r\nTo: <sip:+{CALLED}@{_HOST};user=phone>\r\n"
    f"Contact: <sip:+{CALLER}@{_HOST}:5060>\r\nCall-ID: 5f2c9d84-0a6e-4f7c-9d3b-7c1e5a8b2f40@{_HOST}\r\nCSeq: 102 INVITE\r\n"
    f"P-Asserted-Identity: <sip:+{CALLER}@{_HOST};user=phone>\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, UPDATE\r\n"
    f"Supported: replaces, timer\r\nSession-Expires: 1800\r\nDate: Sun, 29 Nov 2026 20:00:00 GMT\r\nIdentity: \r\n"
    f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n\r\n{_SDP}"
)


def size_of_signed(site: Site) -> tuple[int, int]:
    """Octets of a usual INVITE with the Identity of the pair that signs now, and of the Identity. Errors: NotLookedAt."""
    uri = "sip:+{}@doctor.invalid;user=phone"
    request = Request("INVITE", uri.format(CALLED), uri.format(CALLER), uri.format(CALLED))
    longest = 0
    for signer in site.signing_now().values():
        # Its length is what counts: one for numbers alone would not sign for ours
        anyone = sti_as.Signer(signer.name, signer.x5u, 0, 1 << 40, "", signer.spcs, signer.key)
        rules = sti_as.SigningRules()
        signed = sti_as.sign(request, site.settings.attest_level, anyone, rules, now=site.now, origid=random_uuid())
        longest = max(longest, len(signed.identity))
    return len(_INVITE) + longest, longest


def _large_requests(site: Site) -> Iterator[Seen]:
    size, identity = size_of_signed(site)
    words = f"a usual signed INVITE has {size} octets, {identity} of them Identity"
    if size <= LIMIT:
        yield good(words)
        return
    try:
        protocols = set(_PROTOCOL.findall(site.server.rpc("core.sockets_list").lower()))
        defined = site.server.rpc("core.ppdefines").split()
        limit = _UDP_MTU.search(text_of(site.server))
    except NotLookedAt as error:
        yield unseen(f"{words}; how it goes is not known, see server: version", error.fix)
        return
    if "udp" not in protocols:
        yield good(f"{words}; it goes by {', '.join(sorted(protocols))}")
    elif "EDGE_UDP_MTU" in defined or (limit and int(limit[1]) > 0):
        if protocols == {"udp"}:
            yield warning(
                f"{words}; large ones are to go by TCP, and the server has no TCP socket", "Add listen=tcp:ADDRESS:PORT."
            )
        else:
            yield good(f"{words}; large ones go by TCP")
    else:
        yield warning(f"{words}; it goes by UDP and is cut into fragments, which many networks lose")


CHECKS: Final = (
    Check(
        AREA,
        "large requests",
        "The size of a signed INVITE, and whether one of more than 1300 octets goes by TCP.",
        "#!define EDGE_UDP_MTU 1300 and EDGE_LISTEN_TCP in our edges; udp_mtu=1300, udp_mtu_try_proto=TCP in yours.",
        "RFC 3261 18.1.1",
        _large_requests,
        "host",
        10.0,
    ),
)
