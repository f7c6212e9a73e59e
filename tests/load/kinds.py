"""The kinds of call that are measured: what the edge does, what the INVITE brings, what the callee has to see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kamailio_app.errors import PASSED


class Software(StrEnum):
    """What stands behind the routes STIR_SIGN and STIR_VERIFY of the edge."""

    NONE = "none"
    OURS = "ours"
    SECSIPID = "secsipid"


class Way(StrEnum):
    """The way of a call. `DIRECT`: no edge; `CHAIN`: a signing edge, then a verifying one."""

    DIRECT = "direct"
    OUTBOUND = "outbound"
    INBOUND = "inbound"
    CHAIN = "chain"


@dataclass(frozen=True)
class Kind:
    """One row of the headline. `sees`: header and pattern without which the callee does not answer."""

    name: str
    title: str
    way: Way
    software: Software = Software.NONE
    sees: tuple[str, str] = ("Subject", ".")
    identity: bool = False  # does the caller's INVITE carry an Identity?
    base: tuple[str, ...] = ()  # the kinds whose CPU time is what the same calls cost without STIR/SHAKEN
    carrying: str = ""  # the kind that only relays what this one makes: against its base, what the size alone costs
    ours: str = ""  # of secsipid's kinds: our kind that does the same work
    chain: bool = False  # secsipid: certificate by x5u and its chain checked, not a key from a file


_IDENTITY: Final = ("Identity", "eyJ")

KINDS: Final = (
    Kind("direct", "SIPp to SIPp, no edge", Way.DIRECT),
    Kind("relay", "relay", Way.OUTBOUND),
    Kind("sign", "relay + signed by us", Way.OUTBOUND, Software.OURS, _IDENTITY, base=("relay",), carrying="relay-identity"),
    Kind(
        "secsipid-sign",
        "relay + signed by secsipid",
        Way.OUTBOUND,
        Software.SECSIPID,
        _IDENTITY,
        base=("relay",),
        carrying="relay-identity",
        ours="sign",
    ),
    Kind("relay-identity", "relay, INVITE with Identity", Way.INBOUND, sees=_IDENTITY, identity=True),
    Kind(
        "verify",
        "relay + verified by us: all checks, certificate cached",
        Way.INBOUND,
        Software.OURS,
        ("P-Asserted-Identity", f"verstat={PASSED}"),
        identity=True,
        base=("relay-identity",),
    ),
    Kind(
        "secsipid-check",
        "relay + checked by secsipid: signature only, key file",
        Way.INBOUND,
        Software.SECSIPID,
        _IDENTITY,
        identity=True,
        base=("relay-identity",),
        ours="verify",
    ),
    Kind(
        "secsipid-chain",
        "relay + checked by secsipid: signature and chain, file cache",
        Way.INBOUND,
        Software.SECSIPID,
        _IDENTITY,
        identity=True,
        base=("relay-identity",),
        ours="verify",
        chain=True,
    ),
    Kind(
        "both",
        "two edges: signed by us, verified by us",
        Way.CHAIN,
        Software.OURS,
        ("P-Asserted-Identity", f"verstat={PASSED}"),
        base=("relay", "relay-identity"),
    ),
)
BY_NAME: Final = {kind.name: kind for kind in KINDS}
# With several workers these are enough: what a worker more gives, and what two edges do
PARALLEL: Final = ("relay", "sign", "verify", "both")
